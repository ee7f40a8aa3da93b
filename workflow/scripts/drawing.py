"""Draw cuts through the brain: read them from volumes, colour them, place them on a sheet.

All pictures of a sheet lie in one matplotlib axes whose unit is the millimetre (of brain, times the panel's
magnification) and are coloured here: a figure takes a third of a second instead of two. No template is resampled: both
it and the map are read at the points of the cut.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_template
from outputs import replacing
from peaks import Volume
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy import ndimage

Array = npt.NDArray[np.floating[Any]]

# Beyond this percentile of |map| the colours no longer change: one bright voxel must not pale all others.
BRIGHTEST_PERCENTILE = 99.98
DPI = 150
# Less than half the time of zlib's usual 6, for files a tenth larger.
COMPRESSION = 3

# Yellow-red against cyan-blue differ for the colour-blind too, and in print by their names in the caption.
POSITIVE = LinearSegmentedColormap.from_list("positive", ["#a3000d", "#e3331a", "#fb8c26", "#ffe14d"])
NEGATIVE = LinearSegmentedColormap.from_list("negative", ["#0b2a86", "#1f62cf", "#3fa7ea", "#b4f0f5"])
INK, FAINT = "#1b1f24", "#5b6570"


class Box(NamedTuple):
    """The part of MNI space that is shown: lowest and highest coordinate of the brain."""

    low: tuple[int, int, int]  # mm
    high: tuple[int, int, int]  # mm

    def shape(self, axis: int) -> tuple[int, int]:
        """Return width and height in mm of a cut across `axis`."""
        across, up = in_plane(axis)
        return self.high[across] - self.low[across] + 1, self.high[up] - self.low[up] + 1


class Scale(NamedTuple):
    """What is shown of a map, and where the colours end; both absolute values."""

    threshold: float
    brightest: float


def read_template() -> tuple[Volume, Box]:
    """Read nilearn's MNI152 template at 1 mm and the box around its brain."""
    img = load_mni152_template(resolution=1)
    data = np.asarray(img.dataobj, dtype=np.float32)
    inside = np.argwhere(data > 0)
    corners = apply_affine(img.affine, [inside.min(axis=0), inside.max(axis=0)])
    low, high = corners.min(axis=0) - 2, corners.max(axis=0) + 2
    return Volume(data / data.max(), img.affine), Box(tuple(map(int, low)), tuple(map(int, high)))  # type: ignore[arg-type]


def scale_of(values: Array, threshold: float) -> Scale:
    """Decide where the colours end; always above the threshold, so that the colour bar has a length."""
    brightest = float(np.percentile(np.abs(values), BRIGHTEST_PERCENTILE))
    return Scale(threshold, max(brightest, threshold * 1.25, threshold + 0.1))


def in_plane(axis: int) -> tuple[int, int]:
    """Return the axes that run across and up in a cut across `axis` (0 sagittal, 1 coronal, 2 axial)."""
    return ((1, 2), (0, 2), (0, 1))[axis]


def cut(volume: Volume, box: Box, axis: int, at_mm: float) -> npt.NDArray[np.float32]:
    """Read a plane of the volume by linear interpolation, whatever its affine.

    Returns
    -------
    array of shape (height, width)
        One value for each mm; the first row is the lowest.
    """
    across, up = in_plane(axis)
    mm: list[Any] = [at_mm, at_mm, at_mm]
    mm[across] = np.arange(box.low[across], box.high[across] + 1)[None, :]
    mm[up] = np.arange(box.low[up], box.high[up] + 1)[:, None]
    inverse = np.linalg.inv(volume.affine)
    # Written out, because a matrix product may differ in its last bit with the number of threads.
    voxel = [row[0] * mm[0] + row[1] * mm[1] + row[2] * mm[2] + row[3] for row in inverse[:3]]
    return ndimage.map_coordinates(volume.data, np.broadcast_arrays(*voxel), order=1, mode="constant", cval=0.0)


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
    grey = np.where(anatomy > 0, 0.12 + 0.8 * anatomy, 1.0)
    painted = np.repeat(grey[..., None], 3, axis=2)
    strength = Normalize(scale.threshold, scale.brightest, clip=True)
    for shown, colours in ((values >= scale.threshold, POSITIVE), (values <= -scale.threshold, NEGATIVE)):
        shown &= values != 0
        painted[shown] = colours(strength(np.abs(values[shown])))[:, :3]
    return np.round(255 * painted).astype(np.uint8)


class Sheet:
    """A figure with one axes in mm, upward from the lower left corner, on which panels are placed."""

    def __init__(self, width_mm: float, height_mm: float, *, inches: float) -> None:
        self.figure = Figure(figsize=(inches, inches * height_mm / width_mm), dpi=DPI, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width_mm), ylim=(0, height_mm))
        self.axes.axis("off")

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

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text as it is: terms may contain ``$`` and ``_``."""
        self.axes.text(x, y, text, parse_math=False, **{"color": INK, "zorder": 4, **style})

    def save(self, path: str, *, title: str) -> None:
        """Write a PNG without version and time, so that the same maps give the same bytes; without alpha, too."""
        self.canvas.draw()
        pixels = np.asarray(self.canvas.buffer_rgba())[..., :3]
        text = PngInfo()
        text.add_itxt("Title", title)
        with replacing(path) as temporary:
            Image.fromarray(pixels).save(temporary, dpi=(DPI, DPI), pnginfo=text, compress_level=COMPRESSION)


def draw_panel(
    sheet: Sheet,
    volume: Volume,
    template: Volume,
    box: Box,
    scale: Scale,
    *,
    axis: int,
    at_mm: float,
    corner: tuple[float, float],
    magnification: float = 1,
) -> None:
    """Draw one cut with its lower left corner at `corner`."""
    width, height = box.shape(axis)
    painted = paint(cut(volume, box, axis, at_mm), cut(template, box, axis, at_mm), scale)
    sheet.picture(painted, *corner, width * magnification, height * magnification)


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


def _font_characters() -> Mapping[int, int]:
    return get_font(findfont("DejaVu Sans")).get_charmap()
