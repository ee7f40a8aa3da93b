"""Name the rows and columns of a matrix: all of them, in whole terms and words, on one or two levels, or none."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from neurovault_ica.figures.sheet import shown_text
from neurovault_ica.figures.short_names import LONGEST, fit_name, fits, label_of
from neurovault_ica.figures.style import (
    FAINT,
    INK,
    LINE_MM,
    MM_PER_INCH,
    POINTS_PER_INCH,
    TALLEST_MM,
    WIDE_MM,
    text_mm,
    wrap,
)

# mm: largest cell, margin, and a colour bar with its labels.
LARGEST_CELL, MARGIN, BAR_MM = 7.0, 1.5, 12.0
# mm: longest name of a component, and its longest name if a single term is too long for that.
COMPONENT_MM, TERM_MM = 56.0, 100.0
# mm: a row or column of this size has room for its name. In half of it, labels fit on two levels.
LEAST_CELL = 2.6
# mm: columns are made narrower step by step until the names of the rows have room, within these limits.
CELLS = (4.0, LEAST_CELL, LEAST_CELL / 2)
FEWEST_MM, MOST_MM = 45.0, 115.0
# A name of a row has at most this number of lines.
MOST_LINES = 3


class Labels(NamedTuple):
    """The names of all rows or all columns as they are drawn."""

    texts: list[str]  # with line breaks; empty if there is no room for names
    n_levels: int  # neighbours are on different levels

    @property
    def level_mm(self) -> float:
        """Length of the longest name, with a margin."""
        lines = [line for text in self.texts for line in text.split("\n")]
        return MARGIN + max(map(text_mm, lines), default=0.0)

    @property
    def depth_mm(self) -> float:
        """Distance from the matrix to the end of the names, with a margin."""
        return MARGIN + (self.n_levels * self.level_mm if self.texts else LINE_MM + MARGIN)


def fit_labels(titles: Sequence[str], cell: float, term_mm: float = TERM_MM) -> Labels:
    """Fit the titles of components, such as ``ICA_03 motor; hand``, beside cells of this size in mm.

    Names that have no room are left out, and only the labels remain, on two levels if needed. A name of one long term
    may have a length of `term_mm`.
    """
    if cell >= LEAST_CELL:
        n_lines = max(1, min(int(cell / LINE_MM), MOST_LINES))
        return Labels(["\n".join(fit_name(title, COMPONENT_MM, n_lines, term_mm=term_mm)) for title in titles], 1)
    if cell >= LEAST_CELL / 2:
        return Labels([label_of(title) for title in titles], 2)
    return Labels([], 0)


class Layout(NamedTuple):
    """A matrix of named rows and components, across the width of a page. All lengths are in mm."""

    rows: Labels
    names: list[str]  # the rows' names that are drawn, before they are broken into lines
    columns: Labels
    left: float
    cell: float  # width of a column
    line: float  # height of a row


def lay_out(rows: Sequence[str], columns: Sequence[str], shorter: Sequence[Sequence[str]] = ()) -> Layout:
    """Choose the width of columns and the lines of each row, so that the names of the rows are whole if possible.

    A name that has no room is replaced by the one in the first list of `shorter`, if this has no room by the one in the
    second list, and so on. The last one is cut.
    """
    names = [shown_text(row, LONGEST) for row in rows]
    # Names of the columns never make the figure taller than a page.
    tall = TALLEST_MM - BAR_MM - 3 * MARGIN
    term_mm = max(COMPONENT_MM, min(TERM_MM, tall - LINE_MM * len(names)))
    room = tall - fit_labels(columns, LEAST_CELL, term_mm).level_mm
    n_lines = max(1, min(int(room / LINE_MM / len(names)), MOST_LINES))
    # Lines that break between words are not full.
    needed = max(map(text_mm, names)) / (1 if n_lines == 1 else 0.8 * n_lines)
    for cell in CELLS:
        width = WIDE_MM - 3 * MARGIN - cell * len(columns)
        if width >= min(max(needed, FEWEST_MM), MOST_MM):
            break
    width = min(max(width, FEWEST_MM), MOST_MM)
    for briefs in shorter:
        names = [name if fits(name, width, n_lines) else brief for name, brief in zip(names, briefs, strict=True)]
    labels = Labels(["\n".join(wrap(name, width, n_lines)) for name in names], 1)
    left = MARGIN + labels.level_mm
    cell = min(LARGEST_CELL, (WIDE_MM - left - MARGIN) / len(columns))
    lines = 1 + max(text.count("\n") for text in labels.texts)
    return Layout(labels, names, fit_labels(columns, cell, term_mm), left, cell, lines * LINE_MM)


def write_rows(axes: Axes, labels: Labels) -> None:
    """Write the names of the rows at the left of a matrix."""
    style = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "center"}
    for number, text in enumerate(labels.texts):
        _write(axes, labels, text, number, (0, number), (-1, 0), style)


def write_columns(axes: Axes, labels: Labels, n_columns: int) -> None:
    """Write the names of the columns above a matrix, or say their number."""
    axes.set(xticks=[], yticks=[])
    if not labels.texts:
        axes.xaxis.set_label_position("top")
        axes.set_xlabel(f"{n_columns} components, in the order of the table")
    style = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom", "rotation": 90, "ma": "left"}
    for number, text in enumerate(labels.texts):
        _write(axes, labels, text, number, (number, 1), (0, 1), style)


def _write(
    axes: Axes,
    labels: Labels,
    text: str,
    number: int,
    place: tuple[float, float],
    outwards: tuple[int, int],
    style: dict[str, Any],
) -> None:
    """Write a name at the end of its row or column. From the second level, a line leads to it."""
    level = number % labels.n_levels
    points = (MARGIN / 2 + level * labels.level_mm) * POINTS_PER_INCH / MM_PER_INCH
    leader = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 0} if level else None
    shift = points * outwards[0], points * outwards[1]
    options: dict[str, Any] = {"textcoords": "offset points", "arrowprops": leader, "color": INK, "parse_math": False}
    axes.annotate(text, place, shift, **options, **style)
