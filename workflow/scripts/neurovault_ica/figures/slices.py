"""Draw cuts through the brain: read them from volumes, colour them, place them on a sheet.

A sheet has one matplotlib axes whose unit is the millimetre (of brain, times the panel's magnification). Pictures are
read and coloured here, pixel by pixel as they will be, and matplotlib adds lines and text: a figure takes a sixth of a
second instead of two. No template is resampled: both it and the map are read where the cut is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from nibabel.affines import apply_affine
from scipy import ndimage

from neurovault_ica.figures.sheet import Place, Sheet
from neurovault_ica.images.boxes import bounding_box
from neurovault_ica.images.maps import Volume
from neurovault_ica.statistics.thresholds import Limits
from neurovault_ica.types import Real

# Beyond this percentile of |map| the colours no longer change: one bright voxel must not pale all others.
BRIGHTEST_PERCENTILE = 99.98
# Yellow-red against cyan-blue differ for the colour-blind too, and in print by their names in the caption.
POSITIVE = LinearSegmentedColormap.from_list("positive", ["#a3000d", "#e3331a", "#fb8c26", "#ffe14d"])
NEGATIVE = LinearSegmentedColormap.from_list("negative", ["#0b2a86", "#1f62cf", "#3fa7ea", "#b4f0f5"])
# What paint looks up, (256, 3): matplotlib takes twice as long.
POSITIVE_STEPS, NEGATIVE_STEPS = (colours(np.arange(256), bytes=True)[:, :3] for colours in (POSITIVE, NEGATIVE))
# Of the template; below lies what interpolation makes at the rim. nilearn's brain mask begins here.
LEAST_BRAIN = 0.2


class Box(NamedTuple):
    """The part of MNI space that is shown: lowest and highest coordinate of the brain."""

    low: tuple[int, int, int]  # mm
    high: tuple[int, int, int]  # mm

    def shape(self, axis: int) -> tuple[int, int]:
        """Return width and height in mm of a cut across `axis`."""
        across, up = in_plane(axis)
        return self.high[across] - self.low[across] + 1, self.high[up] - self.low[up] + 1


class Scale(NamedTuple):
    """What is shown of a map, and where the colours end; absolute values."""

    threshold: float
    negative_threshold: float
    brightest: float


def read_template(path: str) -> tuple[Volume, Box]:
    """Read the template that build_mask has written, as values from 0 to 1, and the box around its brain."""
    img = nib.load(path)
    sides = bounding_box(np.asarray(img.dataobj) > 0)
    corners = apply_affine(img.affine, [[side.start for side in sides], [side.stop - 1 for side in sides]])
    low, high = corners.min(axis=0) - 2, corners.max(axis=0) + 2
    # Half of the template is empty. One voxel of that stays, for the brain to fade into.
    img = img.slicer[tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in sides)]
    data = np.asarray(img.dataobj)
    return Volume(data / np.float32(data.max()), img.affine), Box(tuple(map(int, low)), tuple(map(int, high)))  # type: ignore[arg-type]


def scale_of(values: Real, limits: Limits) -> Scale:
    """Decide where the colours end; always above the threshold, so that the colour bar has a length.

    Of a sign of which nothing is shown, the threshold is above all values.
    """
    above_all = 1.001 * float(np.abs(values).max())
    positive, negative = (above_all if np.isinf(limit) else limit for limit in limits)
    lower = min(positive, negative)
    brightest = float(np.percentile(np.abs(values), BRIGHTEST_PERCENTILE))
    return Scale(positive, negative, max(brightest, lower * 1.25, lower + 0.1))


def in_plane(axis: int) -> tuple[int, int]:
    """Return the axes that run across and up in a cut across `axis` (0 sagittal, 1 coronal, 2 axial)."""
    return ((1, 2), (0, 2), (0, 1))[axis]


def cut(volume: Volume, box: Box, axis: int, at_mm: float, *, zoom: float = 1) -> npt.NDArray[np.float32]:
    """Read a plane of the volume by linear interpolation, whatever its affine.

    Parameters
    ----------
    zoom : float
        Pixels for each mm.

    Returns
    -------
    array of shape (height, width)
        The first row is the lowest.
    """
    across, up = in_plane(axis)
    mm = [np.array([at_mm])] * 3
    for side in (across, up):
        length = box.high[side] - box.low[side] + 1
        mm[side] = box.low[side] - 0.5 + (np.arange(round(zoom * length)) + 0.5) * length / round(zoom * length)
    inverse = np.linalg.inv(volume.affine)
    if np.count_nonzero(inverse[:3, :3]) == 3:
        return _cut_along_axes(volume.data, inverse, mm, axis)
    grid = np.stack([*np.meshgrid(*mm, indexing="ij"), np.ones([len(ticks) for ticks in mm])])
    voxels = np.tensordot(inverse[:3], grid, axes=1)
    return ndimage.map_coordinates(volume.data, voxels, order=1).squeeze(axis).T


def _cut_along_axes(
    data: npt.NDArray[np.float32], inverse: Real, mm: Sequence[npt.NDArray[np.float64]], axis: int
) -> npt.NDArray[np.float32]:
    """Interpolate along one axis after the other, fifty times faster than point by point."""
    order = np.abs(inverse[:3, :3]).argmax(axis=0)
    data = data.transpose(order)
    taps = [
        _taps(inverse[order[side], side] * ticks + inverse[order[side], 3], data.shape[side])
        for side, ticks in enumerate(mm)
    ]
    across, up = in_plane(axis)
    plane = np.ascontiguousarray(_interpolate(data, taps[axis], axis).squeeze(axis).T)
    return _interpolate(_interpolate(plane, taps[up], 0), taps[across], 1)


def _taps(at: Real, length: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Find the voxels before and behind places (in voxels) on an axis of `length` voxels, and their weights.

    Returns
    -------
    voxels : array of shape (2, n_places)
    weights : array of shape (2, n_places)
        0 outside of the axis.
    """
    before = np.clip(np.floor(at), 0, length - 1).astype(np.intp)
    behind = np.minimum(before + 1, length - 1)
    share = (at - before).astype(np.float32)
    inside = (at >= 0) & (at <= length - 1)
    return np.stack([before, behind]), np.stack([1 - share, share]) * inside


def _interpolate(data: Real, taps: tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]], axis: int) -> Real:
    """Read an axis of `data` between its voxels."""
    (before, behind), weights = taps
    first, second = weights.reshape(2, *(-1 if side == axis else 1 for side in range(data.ndim)))
    # Not take, which copies the whole of an array whose last axis is not the one that lies together in memory.
    along = (slice(None),) * axis
    return first * data[(*along, before)] + second * data[(*along, behind)]


def paint(values: Real, anatomy: Real, scale: Scale) -> npt.NDArray[np.uint8]:
    """Colour a cut: the map where it reaches the threshold, the brain in grey elsewhere, white around it.

    Parameters
    ----------
    values, anatomy : array of shape (height, width)
        The map; the template from 0 (none) to 1.

    Returns
    -------
    array of shape (height, width, 3)
    """
    grey = np.round(255 * np.where(anatomy > LEAST_BRAIN, 0.12 + 0.8 * anatomy, 1.0)).astype(np.uint8)
    painted = np.repeat(grey[..., None], 3, axis=2)
    for sizes, threshold, steps in (
        (values, scale.threshold, POSITIVE_STEPS),
        (-values, scale.negative_threshold, NEGATIVE_STEPS),
    ):
        shown = (sizes >= threshold) & (sizes != 0)
        span = max(scale.brightest - threshold, 0)
        share = np.minimum(sizes[shown] - threshold, span) / (span or 1)
        painted[shown] = steps[np.minimum(share * len(steps), len(steps) - 1).astype(np.uint8)]
    return painted


def draw_panel(
    sheet: Sheet,
    volume: Volume,
    template: Volume,
    box: Box,
    scale: Scale,
    *,
    axis: int,
    at_mm: float,
    corner: Place,
    magnification: float = 1,
) -> None:
    """Draw one cut with its lower left corner at `corner`."""
    zoom = sheet.pixels_per_mm * magnification
    painted = paint(cut(volume, box, axis, at_mm, zoom=zoom), cut(template, box, axis, at_mm, zoom=zoom), scale)
    sheet.place(painted, *corner)
