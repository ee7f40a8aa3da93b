"""A page of a fixed size in mm, written as PNG and PDF."""

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

from neurovault_ica.figures.png import quick_png, write_png
from neurovault_ica.runtime.files import replacing

Place = tuple[float, float]  # on a sheet, mm
DPI = 150
INK, FAINT = "#1b1f24", "#5b6570"


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
