"""Draw brain slices: interpolate them from volumes, colour them and place them on a sheet.

The unit of a sheet is the millimetre of the page; `magnification` is the size of a mm of brain there. Slices are
interpolated and coloured here at the figure's final resolution, and matplotlib adds only lines and text. A figure then
takes a sixth of a second instead of two. Template and map are interpolated in the slice only, so neither volume is
resampled.
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
from neurovault_ica.statistics.thresholds import Thresholds
from neurovault_ica.types import Real

# The colour scale ends at this percentile of |map|, so that a single bright voxel does not make all others pale.
BRIGHTEST_PERCENTILE = 99.98
# Yellow-red and cyan-blue can be told apart by colour-blind readers. Both maps start pale and about as light as the
# brain, so that the weakest values are the least conspicuous.
POSITIVE = LinearSegmentedColormap.from_list("positive", ["#c9705f", "#e5401c", "#fb8c26", "#ffe65a"])
NEGATIVE = LinearSegmentedColormap.from_list("negative", ["#7d9fcc", "#2f74e0", "#2fb0f2", "#b4f4f5"])
# Lookup tables of shape (64, 3) for `paint`. Calling matplotlib's colour maps instead takes twice as long. Greys and
# colours together are fewer than 256, so a PDF stores one byte per pixel; with three, writing it takes thrice as long.
COLOUR_STEPS, GREY_STEPS = 64, 100
POSITIVE_STEPS, NEGATIVE_STEPS = (
    colours(np.linspace(0, 1, COLOUR_STEPS), bytes=True)[:, :3] for colours in (POSITIVE, NEGATIVE)
)
# All colours of a slice: greys of the brain, white around it, and the colours of both signs.
WHITE = GREY_STEPS + 1
GREYS = np.append(np.round(255 * (0.12 + 0.8 * np.linspace(0, 1, WHITE))), 255).astype(np.uint8)
PALETTE = np.concatenate([np.repeat(GREYS[:, None], 3, axis=1), POSITIVE_STEPS, NEGATIVE_STEPS])
# Smallest template value that counts as brain. Lower values come from interpolation at its edge. nilearn's brain mask
# uses the same limit.
LEAST_BRAIN = 0.2
# Heights of the axial slices: from below the temporal lobes to the top of the motor cortex.
AXIAL_CUTS_MM = (-40, -26, -12, 2, 16, 30, 44, 58)


class Box(NamedTuple):
    """The part of MNI space that is shown: lowest and highest coordinate of the brain."""

    low: tuple[int, int, int]  # mm
    high: tuple[int, int, int]  # mm

    def shape(self, axis: int) -> tuple[int, int]:
        """Return width and height in mm of a slice perpendicular to `axis`."""
        across, up = in_plane(axis)
        return self.high[across] - self.low[across] + 1, self.high[up] - self.low[up] + 1


class Scale(NamedTuple):
    """Thresholds of a map and the end of its colour scale, as absolute values."""

    threshold: float
    negative_threshold: float
    brightest: float


def read_template(path: str) -> tuple[Volume, Box]:
    """Read the template written by build_mask, scaled to 0..1, and the box around its brain."""
    img = nib.load(path)
    data = np.asarray(img.dataobj)
    sides = bounding_box(data > 0)
    corners = apply_affine(img.affine, [[side.start for side in sides], [side.stop - 1 for side in sides]])
    low, high = corners.min(axis=0) - 2, corners.max(axis=0) + 2
    # Half of the template is empty. Keep one empty voxel around the brain so that its edge fades out.
    kept = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in sides)
    brain = Volume(data[kept].astype(np.float32) / np.float32(data.max()), img.slicer.slice_affine(kept))
    return brain, Box(tuple(map(int, low)), tuple(map(int, high)))  # type: ignore[arg-type]


def scale_of(values: Real, limits: Thresholds) -> Scale:
    """Choose the end of the colour scale, always above the threshold so that the colour bar is not empty.

    If no values of a sign are shown, the threshold of that sign is above all values.
    """
    above_all = 1.001 * float(np.abs(values).max())
    positive, negative = (above_all if np.isinf(limit) else limit for limit in limits)
    lower = min(positive, negative)
    brightest = float(np.percentile(np.abs(values), BRIGHTEST_PERCENTILE))
    return Scale(positive, negative, max(brightest, lower * 1.25, lower + 0.1))


def in_plane(axis: int) -> tuple[int, int]:
    """Return the horizontal and vertical axes of a slice (`axis`: 0 sagittal, 1 coronal, 2 axial)."""
    return ((1, 2), (0, 2), (0, 1))[axis]


def cut(volume: Volume, box: Box, axis: int, at_mm: float, *, zoom: float = 1) -> npt.NDArray[np.float32]:
    """Read a slice of the volume by linear interpolation; the affine may be oblique.

    Parameters
    ----------
    volume : Volume
    box : Box
        The part of the slice to read.
    axis : int
        The slice is perpendicular to this axis of space (0: x, 1: y, 2: z).
    at_mm : float
        Position of the slice on this axis.
    zoom : float
        Pixels per mm.

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
    """Interpolate along one axis after another, which is fifty times faster than point by point."""
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
    """Find the two voxels around each position (in voxels) on an axis of `length` voxels, and their weights.

    Returns
    -------
    voxels : array of shape (2, n_places)
    weights : array of shape (2, n_places)
        0 outside the axis.
    """
    before = np.clip(np.floor(at), 0, length - 1).astype(np.intp)
    behind = np.minimum(before + 1, length - 1)
    share = (at - before).astype(np.float32)
    inside = (at >= 0) & (at <= length - 1)
    return np.stack([before, behind]), np.stack([1 - share, share]) * inside


def _interpolate(data: Real, taps: tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]], axis: int) -> Real:
    """Interpolate `data` along one axis."""
    (before, behind), weights = taps
    first, second = weights.reshape(2, *(-1 if side == axis else 1 for side in range(data.ndim)))
    # Index instead of np.take, which copies the whole array unless it is C-contiguous.
    along = (slice(None),) * axis
    return first * data[(*along, before)] + second * data[(*along, behind)]


def paint(values: Real, anatomy: Real, scale: Scale) -> npt.NDArray[np.uint8]:
    """Colour a slice: the map where it reaches the threshold, grey brain elsewhere, white outside the brain.

    Parameters
    ----------
    values, anatomy : array of shape (height, width)
        The map; the template from 0 (no tissue) to 1.

    Returns
    -------
    array of shape (height, width, 3)
    """
    place = np.where(anatomy > LEAST_BRAIN, np.round(GREY_STEPS * anatomy), WHITE).astype(np.uint8)
    for sizes, threshold, first in (
        (values, scale.threshold, WHITE + 1),
        (-values, scale.negative_threshold, WHITE + 1 + COLOUR_STEPS),
    ):
        shown = (sizes >= threshold) & (sizes != 0)
        span = max(scale.brightest - threshold, 0)
        share = np.minimum(sizes[shown] - threshold, span) / (span or 1)
        place[shown] = first + np.minimum(share * COLOUR_STEPS, COLOUR_STEPS - 1).astype(np.uint8)
    # Clipping instead of checking makes this four times as fast. No place is outside.
    return PALETTE.take(place, axis=0, mode="clip")


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
    magnification: float,
) -> None:
    """Draw one slice with its lower left corner at `corner`."""
    zoom = sheet.pixels_per_mm * magnification
    painted = paint(cut(volume, box, axis, at_mm, zoom=zoom), cut(template, box, axis, at_mm, zoom=zoom), scale)
    sheet.place(painted, *corner)
