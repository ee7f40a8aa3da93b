"""A figure of a fixed size in mm, written as PNG and PDF."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import Affine2D
from PIL import Image

from neurovault_ica.figures.fonts import known_characters
from neurovault_ica.figures.png import write_png
from neurovault_ica.figures.style import DPI, INK, MM_PER_INCH, POINTS_PER_INCH, TEXT, WIDE_MM, new_figure, use_style
from neurovault_ica.images.signs import sign_at_end
from neurovault_ica.runtime.files import replacing

Place = tuple[float, float]  # on a sheet, mm


class Sheet:
    """A figure drawn in mm of the printed page; the origin is the lower left corner. It needs no axes."""

    def __init__(self, height_mm: float, *, width_mm: float = WIDE_MM) -> None:
        self.figure = new_figure(height_mm, width_mm=width_mm, face="none")
        self.canvas = FigureCanvasAgg(self.figure)
        width, height = self.canvas.get_width_height()
        self.pixels_per_mm = DPI / MM_PER_INCH
        self.background = np.full((height, width, 3), 255, dtype=np.uint8)
        self.placed: list[tuple[slice, slice]] = []  # rows and columns of the background, the first row is the lowest
        self.in_mm = Affine2D().scale(1 / MM_PER_INCH) + self.figure.dpi_scale_trans

    def place(self, painted: npt.NDArray[np.uint8], left: float, bottom: float) -> None:
        """Place pixels behind all lines and text, unscaled; their lower left corner goes to the nearest pixel."""
        x, y = (round(place * self.pixels_per_mm) for place in (left, bottom))
        height, width = painted.shape[:2]
        place = slice(y, y + height), slice(x, x + width)
        self.background[::-1][place] = painted
        self.placed.append(place)

    def picture(self, painted: npt.NDArray[np.uint8], left: float, bottom: float, width: float, height: float) -> None:
        """Place a picture, scaled to a size in mm. The first row of pixels is the lowest."""
        size = [max(1, round(length * self.pixels_per_mm)) for length in (width, height)]
        scaled = Image.fromarray(painted).resize((size[0], size[1]), Image.Resampling.BOX)
        self.place(np.asarray(scaled), left, bottom)

    def lines(self, ends: Iterable[tuple[Place, Place]], **style: Any) -> None:
        """Draw straight lines between pairs of places (mm), as a single matplotlib artist to save time."""
        gap = (np.nan, np.nan)
        x, y = np.array([place for start, end in ends for place in (start, end, gap)]).T
        self.add(Line2D(x, y, **style))

    def bar(self, left: float, bottom: float, width: float, height: float, **style: Any) -> None:
        """Draw a rectangle."""
        self.add(Rectangle((left, bottom), width, height, **style))

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text literally, because terms may contain ``$`` and ``_``."""
        look = {"color": INK, "fontsize": TEXT, "zorder": 4, **style}
        self.figure.text(x, y, text, parse_math=False, transform=self.in_mm, **look)

    def add(self, artist: Artist) -> None:
        """Add a line or a shape, with places in mm."""
        artist.set_transform(self.in_mm)
        self.figure.add_artist(artist)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Draw the sheet as an array of shape (height, width, 3); the first row is the highest."""
        self.canvas.draw()
        return blend(np.asarray(self.canvas.buffer_rgba()), self.background)

    def save(self, path: str, *, title: str) -> None:
        """Write the sheet as PNG and PDF."""
        _save_pixels(self.pixels(), path, title)
        for rows, columns in self.placed:
            self._add_picture(rows, columns)
        _save_pdf(self.figure, path, title)

    def _add_picture(self, rows: slice, columns: slice) -> None:
        """Add a part of the background to the axes, without its white border."""
        painted = self.background[::-1][rows, columns]
        drawn = is_drawn(painted)
        up, across = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
        if not len(up):
            return
        bottom, top, left, right = up[0], up[-1] + 1, across[0], across[-1] + 1
        self.figure.add_artist(_Picture(painted[bottom:top, left:right], columns.start + left, rows.start + bottom))


class _Picture(Artist):
    """Pixels in a PDF, unscaled and behind all else.

    `imshow` takes ten times as long: it scales each picture, and adds an opacity, which the PDF leaves out again.
    """

    def __init__(self, painted: npt.NDArray[np.uint8], left: int, bottom: int) -> None:
        """Take pixels (height, width, 3), the lowest row first, and the place of their corner on the sheet."""
        super().__init__()
        self.painted, self.corner = painted, (left, bottom)
        self.set_zorder(0)

    def draw(self, renderer: Any) -> None:
        """Draw the pixels."""
        context = renderer.new_gc()
        left, bottom = (renderer.points_to_pixels(pixel * POINTS_PER_INCH / DPI) for pixel in self.corner)
        renderer.draw_image(context, left, bottom, self.painted)
        context.restore()


def blend(picture: npt.NDArray[np.uint8], below: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lay a picture with opacity (height, width, 4) over another one (height, width, 3)."""
    pixels = below.copy()
    flat, above = pixels.reshape(-1, 3), picture.reshape(-1, 4)
    covered = np.flatnonzero(above[:, 3] != 0)
    above = above[covered]
    flat[covered] = above[:, :3]
    # Most pixels hide those below, so only the others are averaged.
    is_partly = above[:, 3] < 255
    covered, above = covered[is_partly], above[is_partly]
    opacity = above[:, 3:] / np.float32(255)
    flat[covered] = np.round(opacity * above[:, :3] + (1 - opacity) * below.reshape(-1, 3)[covered])
    return pixels


def is_drawn(painted: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return which pixels (height, width) of a picture (height, width, 3) are not white."""
    # Looking for the largest value along the short axis takes ten times as long.
    return (painted[..., 0] & painted[..., 1] & painted[..., 2]) != 255


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
        use_style()
        figure.savefig(temporary, format="pdf", metadata=metadata)


def shown_text(text: str, longest: int) -> str:
    """Prepare text from the archive for drawing: drop control characters, replace unknown glyphs, and shorten."""
    known = known_characters()
    kept = "".join(
        (character if ord(character) in known else "\ufffd")
        for character in " ".join(text.split())
        if not unicodedata.category(character).startswith("C")
    )
    if len(kept) <= longest:
        return kept
    end = "…" + sign_at_end(kept)
    return kept[: longest - len(end)].rstrip() + end


def with_minus(number: str) -> str:
    """Write a number with a true minus sign."""
    return number.replace("-", "\u2212")
