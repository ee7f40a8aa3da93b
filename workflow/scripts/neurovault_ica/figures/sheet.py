"""A figure of a fixed size in mm, written as PNG and PDF."""

import functools
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from neurovault_ica.figures.png import write_png
from neurovault_ica.runtime.files import replacing

Place = tuple[float, float]  # on a sheet, mm
DPI = 150
# Resolution of brain slices in PDFs. matplotlib compresses them slowly, so PDFs have fewer pixels than PNGs. In the
# figure of a component, small slices still have about 1 pixel per mm, like the template, and large slices have 2.
PDF_DPI = 100
INK, FAINT = "#1b1f24", "#5b6570"


class Sheet:
    """A figure with a single axes in mm; the origin is the lower left corner."""

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
        """Place pixels behind all lines and text, unscaled; their lower left corner goes to the nearest pixel."""
        x, y = (round(place * self.pixels_per_mm) for place in (left, bottom))
        height, width = painted.shape[:2]
        self.background[::-1][y : y + height, x : x + width] = painted

    def picture(self, painted: npt.NDArray[np.uint8], left: float, bottom: float, width: float, height: float) -> None:
        """Place a picture, scaled to a size in mm. The first row of pixels is the lowest."""
        self.axes.imshow(
            painted,
            origin="lower",
            extent=(left, left + width, bottom, bottom + height),
            interpolation="bilinear",
            aspect="auto",
            zorder=1,
        )

    def lines(self, ends: Iterable[tuple[Place, Place]], **style: Any) -> None:
        """Draw straight lines between pairs of places (mm), as a single matplotlib artist to save time."""
        gap = (np.nan, np.nan)
        x, y = np.array([place for start, end in ends for place in (start, end, gap)]).T
        self.axes.add_line(Line2D(x, y, **style))

    def bar(self, left: float, bottom: float, width: float, height: float, **style: Any) -> None:
        """Draw a rectangle."""
        self.axes.add_patch(Rectangle((left, bottom), width, height, **style))

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text literally, because terms may contain ``$`` and ``_``."""
        self.axes.text(x, y, text, parse_math=False, **{"color": INK, "zorder": 4, **style})

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Draw the sheet as an array of shape (height, width, 3); the first row is the highest."""
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
            size = [round(length * PDF_DPI / DPI) for length in self.background.shape[1::-1]]
            brains = Image.fromarray(self.background).resize(size, Image.Resampling.BILINEAR)
            extent = (*self.axes.get_xlim(), *self.axes.get_ylim())
            self.axes.imshow(np.asarray(brains), extent=extent, aspect="auto", zorder=0)
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
    """Write a PDF beside the PNG. Text stays text. Without version and time, the same figure gives the same file."""
    for axes in figure.axes:
        for picture in axes.images:
            picture.set_interpolation("none")
    with replacing(Path(path).with_suffix(".pdf")) as temporary:
        metadata = {"Title": title, "Creator": None, "Producer": None, "CreationDate": None}
        figure.savefig(temporary, format="pdf", metadata=metadata)


def shown_text(text: str, longest: int) -> str:
    """Prepare text from the archive for drawing: drop control characters, replace unknown glyphs, and shorten."""
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
