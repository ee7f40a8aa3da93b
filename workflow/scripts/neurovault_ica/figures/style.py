"""The size, resolution and text of all figures: two widths of a journal's page, TrueType fonts, no text below 7 pt."""

import re
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neurovault_ica.figures.fonts import add_fonts, advance
from neurovault_ica.images.signs import sign_at_end

MM_PER_INCH, POINTS_PER_INCH = 25.4, 72
# Widths of one and of two columns of a journal's page.
NARROW_MM, WIDE_MM = 85.0, 180.0
# Figures are planned to fit on a page of A4 with its caption, as far as the number of components allows.
TALLEST_MM = 240.0
DPI = 300
# Sizes in points. Journals ask for at least 7 pt.
TEXT, HEADING, TITLE = 7.0, 7.5, 9.0
# Distance between lines of text of 7 pt.
LINE_MM = 2.9
# Up to this length, a colour bar has room for three numbers, otherwise for five.
SHORT_BAR_MM = 40.0
INK, FAINT = "#1b1f24", "#5b6570"
# A word that is wider than its line, such as a file name, is broken after punctuation.
PART_OF_WORD = re.compile(r"[^_./:;,|+-]*[_./:;,|+-]+|[^_./:;,|+-]+")
STYLE: dict[str, Any] = {
    # `mpl.rcdefaults` keeps these two. A backend with windows, from a matplotlibrc file, fails without a screen.
    "backend": "agg",
    "interactive": False,
    # TrueType: many journals refuse matplotlib's default, Type 3.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "font.size": TEXT,
    "axes.titlesize": HEADING,
    "axes.labelsize": TEXT,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "legend.fontsize": TEXT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "axes.labelpad": 2,
    "axes.titlepad": 4,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
}


def use_style() -> None:
    """Set the style of all figures. A matplotlibrc file has no effect."""
    mpl.rcdefaults()
    settings: Any = STYLE | {"font.family": add_fonts()}
    mpl.rcParams.update(settings)


def new_figure(
    height_mm: float, *, width_mm: float = WIDE_MM, layout: Literal["constrained"] | None = None, face: str = "white"
) -> Figure:
    """Make a figure of an exact size, after setting the style."""
    use_style()
    return Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), dpi=DPI, facecolor=face, layout=layout)


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes to a figure, at a place and with a size in mm."""
    wide, tall = (MM_PER_INCH * length for length in figure.get_size_inches())
    return figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))


def add_note(figure: Figure, text: str, *, room: float) -> None:
    """Write a note in the lower left corner if it fits into `room` (mm) beside a colour bar, or else at the right."""
    wide, tall = (MM_PER_INCH * length for length in figure.get_size_inches())
    is_left = max(map(text_mm, text.split("\n"))) + 3 <= room
    place = (1.5 / wide, "left") if is_left else (1 - 1.5 / wide, "right")
    figure.text(place[0], 1.5 / tall, text, ha=place[1], va="bottom", fontsize=TEXT, color=FAINT)


def add_bar(figure: Figure, picture: Any, label: str, *, left: float, top: float, length: float) -> None:
    """Add a horizontal colour bar with its label, 12 mm high in all, below `top` (mm)."""
    place = add_axes(figure, left, top - 4.0, length, 2.2)
    bar = figure.colorbar(
        picture, cax=place, orientation="horizontal", label=label, ticks=MaxNLocator(4 if length > SHORT_BAR_MM else 2)
    )
    bar.outline.set_visible(False)


def text_mm(text: str, size: float = TEXT, *, bold: bool = False) -> float:
    """Return the width of a text in mm, in the PNG or in the PDF, whichever is larger. `size` is in points."""
    widths = [advance(character, bold, size, DPI) for character in text]
    return max(sum(one) for one in zip(*widths, strict=True)) / DPI * MM_PER_INCH if widths else 0.0


def shorten(text: str, width_mm: float, size: float = TEXT, *, bold: bool = False) -> str:
    """Shorten a text to a width in mm, after a whole word if there is one. The text then ends in an ellipsis.

    The words (activation) and (deactivation) at its end stay.
    """
    if text_mm(text, size, bold=bold) <= width_mm:
        return text
    end = "…" + sign_at_end(text)
    text = text.removesuffix(end[1:])
    room, kept = width_mm - text_mm(end, size, bold=bold), 0
    while kept < len(text) and text_mm(text[: kept + 1], size, bold=bold) <= room:
        kept += 1
    if not text[kept : kept + 1].isspace() and (word_end := text.rfind(" ", 0, kept)) >= kept / 2:
        kept = word_end
    return text[:kept].rstrip(" ;,:(") + end


def break_lines(text: str, width_mm: float, size: float = TEXT, *, bold: bool = False) -> list[str]:
    """Break a text into lines of a width in mm, between words or after the punctuation of a word that is wider.

    A wider word without punctuation has a line of its own.
    """
    return [line for _, line in _broken(text, width_mm, size, bold)]


def _broken(text: str, width_mm: float, size: float, bold: bool) -> list[tuple[str, str]]:
    """Return the lines of a text, each with the space or nothing that was before it in the text."""
    lines = [("", "")]
    # A no-break space keeps its words together.
    for word in text.split(" "):
        parts = PART_OF_WORD.findall(word) if text_mm(word, size, bold=bold) > width_mm else [word]
        for number, part in enumerate(parts):
            gap = "" if number else " "
            joint, line = lines[-1]
            longer = f"{line}{gap}{part}".strip()
            if not line or text_mm(longer, size, bold=bold) <= width_mm:
                lines[-1] = (joint, longer)
            else:
                lines.append((gap, part))
    return lines


def wrap(text: str, width_mm: float, most_lines: int, size: float = TEXT, *, bold: bool = False) -> list[str]:
    """Break a text into at most `most_lines` lines of a width in mm, as `break_lines`. Shorten the last if needed."""
    lines = _broken(text, width_mm, size, bold)
    rest = "".join(joint + line for joint, line in lines[most_lines - 1 :]).lstrip(" ")
    kept = [*(line for _, line in lines[: most_lines - 1]), rest]
    return [shorten(line, width_mm, size, bold=bold) for line in kept if line or len(kept) == 1]
