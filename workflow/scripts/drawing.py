"""Draw cuts through the brain: read them from volumes, colour them, place them on a sheet.

A sheet has one matplotlib axes whose unit is the millimetre (of brain, times the panel's magnification). Pictures are
read and coloured here, pixel by pixel as they will be, and matplotlib adds lines and text: a figure takes a sixth of a
second instead of two. No template is resampled: both it and the map are read where the cut is.
"""

import functools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from maps import Volume
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from nibabel.affines import apply_affine
from outputs import replacing
from peaks import enclosing_box
from png import quick_png, write_png
from scipy import ndimage

Array = npt.NDArray[np.floating[Any]]
Place = tuple[float, float]  # on a sheet, mm

# Beyond this percentile of |map| the colours no longer change: one bright voxel must not pale all others.
BRIGHTEST_PERCENTILE = 99.98
DPI = 150

# Yellow-red against cyan-blue differ for the colour-blind too, and in print by their names in the caption.
POSITIVE = LinearSegmentedColormap.from_list("positive", ["#a3000d", "#e3331a", "#fb8c26", "#ffe14d"])
NEGATIVE = LinearSegmentedColormap.from_list("negative", ["#0b2a86", "#1f62cf", "#3fa7ea", "#b4f0f5"])
# What paint looks up, (256, 3): matplotlib takes twice as long.
POSITIVE_STEPS, NEGATIVE_STEPS = (colours(np.arange(256), bytes=True)[:, :3] for colours in (POSITIVE, NEGATIVE))
INK, FAINT = "#1b1f24", "#5b6570"
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


class Limits(NamedTuple):
    """From which absolute values on a map is shown; infinite where nothing of this sign is."""

    positive: float
    negative: float


class Scale(NamedTuple):
    """What is shown of a map, and where the colours end; absolute values."""

    threshold: float
    negative_threshold: float
    brightest: float


def read_template(path: str) -> tuple[Volume, Box]:
    """Read the template that build_mask has written, as values from 0 to 1, and the box around its brain."""
    img = nib.load(path)
    sides = enclosing_box(np.asarray(img.dataobj) > 0)
    corners = apply_affine(img.affine, [[side.start for side in sides], [side.stop - 1 for side in sides]])
    low, high = corners.min(axis=0) - 2, corners.max(axis=0) + 2
    # Half of the template is empty. One voxel of that stays, for the brain to fade into.
    img = img.slicer[tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in sides)]
    data = np.asarray(img.dataobj)
    return Volume(data / np.float32(data.max()), img.affine), Box(tuple(map(int, low)), tuple(map(int, high)))  # type: ignore[arg-type]


def scale_of(values: Array, limits: Limits) -> Scale:
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
    data: npt.NDArray[np.float32], inverse: Array, mm: Sequence[npt.NDArray[np.float64]], axis: int
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


def _taps(at: Array, length: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
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


def _interpolate(data: Array, taps: tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]], axis: int) -> Array:
    """Read an axis of `data` between its voxels."""
    (before, behind), weights = taps
    first, second = weights.reshape(2, *(-1 if side == axis else 1 for side in range(data.ndim)))
    # Not take, which copies the whole of an array whose last axis is not the one that lies together in memory.
    along = (slice(None),) * axis
    return first * data[(*along, before)] + second * data[(*along, behind)]


def paint(values: Array, anatomy: Array, scale: Scale) -> npt.NDArray[np.uint8]:
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


class Sheet:
    """A figure with one axes in mm, upward from the lower left corner, on which panels are placed."""

    def __init__(self, width_mm: float, height_mm: float, *, inches: float) -> None:
        self.figure = Figure(figsize=(inches, inches * height_mm / width_mm), dpi=DPI, facecolor="none")
        self.canvas = FigureCanvasAgg(self.figure)
        width, height = self.canvas.get_width_height()
        self.pixels_per_mm = width / width_mm
        self.background = np.full((height, width, 3), 255, dtype=np.uint8)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width_mm), ylim=(0, height_mm))
        self.axes.axis("off")

    def place(self, painted: npt.NDArray[np.uint8], left: float, bottom: float) -> None:
        """Place pixels as they are behind all lines and text, with the lower left corner at the nearest pixel."""
        x, y = (round(place * self.pixels_per_mm) for place in (left, bottom))
        height, width = painted.shape[:2]
        self.background[::-1][y : y + height, x : x + width] = painted

    def picture(self, painted: npt.NDArray[np.uint8], left: float, bottom: float, width: float, height: float) -> None:
        """Place a painted cut, or several in one picture."""
        self.axes.imshow(
            painted,
            origin="lower",
            extent=(left, left + width, bottom, bottom + height),
            interpolation="bilinear",
            aspect="auto",
            zorder=1,
        )

    def lines(self, ends: Iterable[tuple[Place, Place]], **style: Any) -> None:
        """Draw straight lines between pairs of places (mm), all as one: each that matplotlib knows of costs time."""
        gap = (np.nan, np.nan)
        x, y = np.array([place for start, end in ends for place in (start, end, gap)]).T
        self.axes.add_line(Line2D(x, y, **style))

    def bar(self, left: float, bottom: float, width: float, height: float, **style: Any) -> None:
        """Draw a rectangle."""
        self.axes.add_patch(Rectangle((left, bottom), width, height, **style))

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text as it is: terms may contain ``$`` and ``_``."""
        self.axes.text(x, y, text, parse_math=False, **{"color": INK, "zorder": 4, **style})

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Draw all of it, (height, width, 3); the first row is the highest."""
        self.canvas.draw()
        drawn = np.asarray(self.canvas.buffer_rgba()).reshape(-1, 4)
        covered = np.flatnonzero(drawn[:, 3])
        above = drawn[covered]
        opacity = above[:, 3:] / np.float32(255)
        pixels = self.background.copy()
        flat = pixels.reshape(-1, 3)
        flat[covered] = np.round(opacity * above[:, :3] + (1 - opacity) * flat[covered])
        return pixels

    def save(self, path: str, *, title: str) -> None:
        """Write the sheet as PNG and PDF."""
        _save_pixels(self.pixels(), path, title)
        if (self.background != 255).any():
            self.axes.imshow(
                self.background, extent=(*self.axes.get_xlim(), *self.axes.get_ylim()), aspect="auto", zorder=0
            )
        _save_pdf(self.figure, path, title)


def save_figure(figure: Figure, path: str, *, title: str) -> None:
    """Write a figure as PNG and PDF."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    _save_pixels(np.asarray(canvas.buffer_rgba())[..., :3], path, title)
    _save_pdf(figure, path, title)


def _save_pixels(pixels: npt.NDArray[np.uint8], path: str, title: str) -> None:
    with replacing(path) as temporary, temporary.open("wb") as stream:
        write_png(stream, pixels, dpi=DPI, title=title)


def _save_pdf(figure: Figure, path: str, title: str) -> None:
    """Write a PDF beside the PNG, for papers: text as text, pictures pixel by pixel, no version and no time."""
    for axes in figure.axes:
        for picture in axes.images:
            picture.set_interpolation("none")
    with replacing(Path(path).with_suffix(".pdf")) as temporary, quick_png():
        metadata = {"Title": title, "Creator": None, "Producer": None, "CreationDate": None}
        figure.savefig(temporary, format="pdf", metadata=metadata)


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


def shown_text(text: str, longest: int) -> str:
    """Make text from the network fit to be drawn: no control characters, nothing the font lacks, not too long."""
    known = _font_characters()
    kept = "".join(
        (character if ord(character) in known else "\ufffd")
        for character in " ".join(text.split())
        if not unicodedata.category(character).startswith("C")
    )
    return kept if len(kept) <= longest else kept[: longest - 1].rstrip() + "…"


def with_minus(number: str) -> str:
    """Write a number with a true minus sign."""
    return number.replace("-", "\u2212")


@functools.cache
def _font_characters() -> Mapping[int, int]:
    return get_font(findfont("DejaVu Sans")).get_charmap()
