"""Lay out the surfaces and the glass brain of a component, its small pictures, and the surfaces of all components."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from neurovault_ica.figures.brain_bar import draw_brain_bar, draw_shared_bar, extent_of, range_end_of
from neurovault_ica.figures.sheet import Sheet
from neurovault_ica.figures.short_names import explain_names, fit_name
from neurovault_ica.figures.slices import Scale
from neurovault_ica.figures.style import (
    DPI,
    FAINT,
    HEADING,
    INK,
    MM_PER_INCH,
    TALLEST_MM,
    TITLE,
    WIDE_MM,
    shorten,
    text_mm,
)
from neurovault_ica.figures.surfaces import GLASS_VIEWS, HEIGHT_MM, LENGTH_MM, VIEWS, on_white
from neurovault_ica.naming.names import UNNAMED

# All lengths are in mm at print size.
MARGIN_MM, GAP_MM, LINE_MM = 2.0, 2.0, 4.0
VIEW_MM = 39.0
GLASS_MM = 38.0
# Number of columns of the gallery: the first one with which it fits on a page, or else the last. Distance between
# columns, and between lines of text.
COLUMNS = (2, 3, 4)
BETWEEN_MM, STEP_MM = 4.0, 3.0
# Width in pixels of one view in the small pictures of the gallery.
THUMBNAIL = 230
GLASS_NAMES = {"l": "from the left", "y": "from behind", "r": "from the right", "z": "from above"}


def pixels_of(mm: float) -> int:
    """Convert a length at print size to pixels."""
    return round(mm * DPI / MM_PER_INCH)


class Pictures(NamedTuple):
    """A component on the cortex and in the glass brain. The first row of each picture is the lowest."""

    views: list[npt.NDArray[np.uint8]]  # in the order of VIEWS, each (height, width, 4)
    glass: dict[str, npt.NDArray[np.uint8]]  # by GLASS_VIEWS, each (height, width, 3)


def draw_surfaces(
    pictures: Pictures, scale: Scale, ends: tuple[float, float], *, title: str, facts: str, note: str
) -> Sheet:
    """Draw four views of the cortex above the glass brain, with facts, sides, colour bar and note.

    `ends` are the lowest and the highest value that is shown, from `ends_of`.
    """
    view_height = VIEW_MM * HEIGHT_MM / LENGTH_MM
    note_height = LINE_MM if note else 0.0
    glass_bottom = MARGIN_MM + LINE_MM + note_height
    views_bottom = glass_bottom + GLASS_MM + GAP_MM
    top = views_bottom + view_height + LINE_MM
    sheet = Sheet(top + 11)
    title = shorten(title, WIDE_MM - 2 * MARGIN_MM, TITLE, bold=True)
    sheet.text(MARGIN_MM, top + 7.5, title, fontsize=TITLE, fontweight="bold", va="center")
    sheet.text(MARGIN_MM, top + 3.5, facts, va="center", color=FAINT)
    left = MARGIN_MM
    for (hemisphere, side), picture in zip(VIEWS, pictures.views, strict=True):
        sheet.place(on_white(picture), left, views_bottom)
        sheet.text(left + VIEW_MM / 2, top - 1.5, f"{hemisphere}, {side}", ha="center", va="center")
        left += VIEW_MM + GAP_MM
    bar_left = left
    widths = [pictures.glass[name].shape[1] / sheet.pixels_per_mm for name in GLASS_VIEWS]
    gap = (bar_left - GAP_MM - MARGIN_MM - sum(widths)) / (len(GLASS_VIEWS) - 1)
    left = MARGIN_MM
    for name, width in zip(GLASS_VIEWS, widths, strict=True):
        sheet.place(pictures.glass[name], left, glass_bottom)
        sheet.text(left + width / 2, glass_bottom - 2, GLASS_NAMES[name], ha="center", va="center")
        if name in "yz":
            for x, letter, at in ((left, "L", "left"), (left + width, "R", "right")):
                sheet.text(x, glass_bottom + GLASS_MM - 2, letter, ha=at, va="center", color=FAINT)
        left += width + gap
    bar_height = views_bottom + view_height - glass_bottom - 14
    draw_brain_bar(sheet, scale, ends, left=bar_left + 0.5, bottom=glass_bottom + 4, height=bar_height)
    if note:
        sheet.text(MARGIN_MM, MARGIN_MM + 0.5, f"Note: {note}.", va="center", color=FAINT)
    return sheet


def surface_thumbnail(views: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Put the four views side by side, each `THUMBNAIL` pixels wide, transparent outside of the brain."""
    height = round(THUMBNAIL * HEIGHT_MM / LENGTH_MM)
    small = [Image.fromarray(view).resize((THUMBNAIL, height), Image.Resampling.BOX) for view in views]
    return np.hstack([np.asarray(view) for view in small])


def glass_thumbnail(glass: Mapping[str, npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Put the four views of the glass brain in two rows on white: left and right above, behind and above below."""
    upper, lower = (np.hstack([_padded(glass[name], glass["l"].shape[1]) for name in row]) for row in ("lr", "yz"))
    both = Image.fromarray(np.vstack([lower, upper]))
    height = round(2 * THUMBNAIL * both.height / both.width)
    return np.asarray(both.resize((2 * THUMBNAIL, height), Image.Resampling.BOX))


def _padded(picture: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """Put a picture in the middle of a white one of this width."""
    before = max(width - picture.shape[1], 0) // 2
    after = max(width - picture.shape[1] - before, 0)
    return np.pad(picture, ((0, 0), (before, after), (0, 0)), constant_values=255)


def draw_gallery(
    thumbnails: Sequence[npt.NDArray[np.uint8]],
    titles: Sequence[str],
    scales: Sequence[Scale],
    are_on_cortex: Sequence[bool],
    min_cluster_mm3: float,
) -> Sheet:
    """Draw the surfaces of all components with their titles, and mark those that are not on the cortex.

    `min_cluster_mm3` is the smallest cluster that is shown.
    """
    for columns in COLUMNS:
        cell = (WIDE_MM - 2 * MARGIN_MM - (columns - 1) * BETWEEN_MM) / columns
        # In narrow columns, the name has a line of its own.
        caption = 5.0 if columns == COLUMNS[0] else 4.4 + STEP_MM
        height = cell * thumbnails[0].shape[0] / thumbnails[0].shape[1]
        n_rows = -(-len(thumbnails) // columns)
        foot, head = MARGIN_MM + 3 * LINE_MM, 2 * LINE_MM + 1
        cells_mm = n_rows * (height + caption)
        if foot + cells_mm + head <= TALLEST_MM:
            break
    sheet = Sheet(foot + cells_mm + head)
    for column in range(columns):
        for number, (hemisphere, side) in enumerate(VIEWS):
            middle = MARGIN_MM + column * (cell + BETWEEN_MM) + (number + 0.5) * cell / len(VIEWS)
            for line, text in enumerate((side, hemisphere)):
                place = foot + cells_mm + 2 + line * STEP_MM
                sheet.text(middle, place, text, ha="center", va="center", color=FAINT)
    rows = zip(thumbnails, titles, scales, are_on_cortex, strict=True)
    for number, (thumbnail, title, scale, is_on_cortex) in enumerate(rows):
        row, column = divmod(number, columns)
        left = MARGIN_MM + column * (cell + BETWEEN_MM)
        bottom = foot + (n_rows - 1 - row) * (height + caption)
        label, _, name = title.partition("  ")
        top = bottom + height + caption - (3.0 if columns == COLUMNS[0] else 2.4)
        sheet.text(left, top, label, fontsize=HEADING, fontweight="bold", va="center")
        end = f"{range_end_of(scale)}{'' if is_on_cortex else ' *'}"
        sheet.text(left + cell, top, end, ha="right", va="center", color=FAINT)
        beside = text_mm(label, HEADING, bold=True) + 2 if columns == COLUMNS[0] else 0
        room = cell - (beside + text_mm(end) + 2 if beside else 0)
        colour = FAINT if name.startswith(UNNAMED) else INK
        place = top if beside else top - STEP_MM
        sheet.text(left + beside, place, fit_name(name, room)[0], va="center", color=colour)
        sheet.picture(on_white(thumbnail), left, bottom, cell, height)
    meaning = f"t: {_range_of(scales)} SD{extent_of(min_cluster_mm3)}; end: SD at the end of the scale"
    draw_shared_bar(sheet, left=MARGIN_MM, bottom=MARGIN_MM + LINE_MM, limits=meaning)
    notes = [explain_names(titles).replace("\n", " ")]
    notes += [] if all(are_on_cortex) else ["* hardly any of it on the cortex, see the glass brain"]
    sheet.text(MARGIN_MM, MARGIN_MM, "; ".join(filter(None, notes)), va="center", color=FAINT)
    return sheet


def shown_limits(scale: Scale) -> str:
    """Write which values are shown: ``value ≥ 2.50 or ≤ −2.50 SD``. Thresholds above all values are left out."""
    shown = [f"≥ {scale.threshold:.2f}"] if scale.threshold <= scale.brightest else []
    shown += [f"≤ \u2212{scale.negative_threshold:.2f}"] if scale.negative_threshold <= scale.brightest else []
    if len(shown) == 2 and scale.threshold == scale.negative_threshold:
        return f"|value| {shown[0]} SD"
    return f"value {' or '.join(shown)} SD" if shown else "nothing"


def _range_of(scales: Sequence[Scale]) -> str:
    """Write the thresholds of all maps: ``2.5``, or ``1.2 to 3.1``."""
    limits = [min(limit, scale.brightest) for scale in scales for limit in (scale.threshold, scale.negative_threshold)]
    low, high = (f"{round(limit, 2):g}" for limit in (min(limits), max(limits)))
    return low if low == high else f"{low} to {high}"
