"""Lay out the surfaces and the glass brain of a component, its small pictures, and the surfaces of all components."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from neurovault_ica.figures.sheet import DPI, FAINT, INK, Sheet, shown_text, with_minus
from neurovault_ica.figures.slices import Scale, paint
from neurovault_ica.figures.surfaces import GLASS_VIEWS, HEIGHT_MM, LENGTH_MM, VIEWS, on_white
from neurovault_ica.naming.names import UNNAMED

# Two columns of a journal. All lengths are in mm at print size, and fonts in points.
WIDTH_MM = 180.0
MARGIN_MM, GAP_MM, LINE_MM = 2.0, 2.0, 4.0
VIEW_MM = 39.0
GLASS_MM = 38.0
SMALL, TITLE = 7, 9
# A title with more characters is drawn smaller, and a name with more is cut.
LONGEST_TITLE, LONGEST_GALLERY_NAME = 95, 44
# A name in the gallery beside the note that hardly any of the cortex is shown.
LONGEST_NAME_BEFORE_NOTE = 27
# Width in pixels of one view in the small pictures of the gallery.
THUMBNAIL = 230
GLASS_NAMES = {"l": "from the left", "y": "from behind", "r": "from the right", "z": "from above"}


def pixels_of(mm: float) -> int:
    """Convert a length at print size to pixels."""
    return round(mm * DPI / 25.4)


class Pictures(NamedTuple):
    """A component on the cortex and in the glass brain. The first row of each picture is the lowest."""

    views: list[npt.NDArray[np.uint8]]  # in the order of VIEWS, each (height, width, 4)
    glass: dict[str, npt.NDArray[np.uint8]]  # by GLASS_VIEWS, each (height, width, 3)


def draw_surfaces(pictures: Pictures, scale: Scale, *, title: str, note: str) -> Sheet:
    """Draw four views of the cortex above the glass brain, with sides, colour bar and note."""
    view_height = VIEW_MM * HEIGHT_MM / LENGTH_MM
    note_height = LINE_MM if note else 0.0
    glass_bottom = MARGIN_MM + LINE_MM + note_height
    views_bottom = glass_bottom + GLASS_MM + GAP_MM
    top = views_bottom + view_height + LINE_MM
    sheet = Sheet(WIDTH_MM, top + 8, inches=WIDTH_MM / 25.4)
    size = min(TITLE, TITLE * LONGEST_TITLE / len(title))
    sheet.text(MARGIN_MM, top + 4.5, title, fontsize=max(size, SMALL), fontweight="bold", va="center")
    left = MARGIN_MM
    for (hemisphere, side), picture in zip(VIEWS, pictures.views, strict=True):
        sheet.place(on_white(picture), left, views_bottom)
        sheet.text(left + VIEW_MM / 2, top - 1.5, f"{hemisphere}, {side}", fontsize=SMALL, ha="center", va="center")
        left += VIEW_MM + GAP_MM
    bar_left = left
    widths = [pictures.glass[name].shape[1] / sheet.pixels_per_mm for name in GLASS_VIEWS]
    gap = (bar_left - GAP_MM - MARGIN_MM - sum(widths)) / (len(GLASS_VIEWS) - 1)
    left = MARGIN_MM
    for name, width in zip(GLASS_VIEWS, widths, strict=True):
        sheet.place(pictures.glass[name], left, glass_bottom)
        sheet.text(left + width / 2, glass_bottom - 2, GLASS_NAMES[name], fontsize=SMALL, ha="center", va="center")
        if name in "yz":
            for x, letter, at in ((left, "L", "left"), (left + width, "R", "right")):
                sheet.text(x, glass_bottom + GLASS_MM - 2, letter, fontsize=SMALL, ha=at, va="center", color=FAINT)
        left += width + gap
    bar_height = views_bottom + view_height - glass_bottom - 14
    draw_bar(sheet, scale, left=bar_left + 0.5, bottom=glass_bottom + 4, height=bar_height)
    if note:
        sheet.text(MARGIN_MM, MARGIN_MM + 0.5, f"Note: {note}.", fontsize=SMALL, va="center", color=FAINT)
    return sheet


def draw_bar(sheet: Sheet, scale: Scale, *, left: float, bottom: float, height: float) -> None:
    """Draw the colour bar with thresholds and ends. Values that are not shown are grey."""
    levels = np.linspace(-scale.brightest, scale.brightest, 401)
    painted = paint(levels[:, None], np.full((len(levels), 1), 0.75), scale)
    sheet.picture(painted, left, bottom, 2.5, height)
    marked = (-scale.brightest, -scale.negative_threshold, scale.threshold, scale.brightest)
    values = [value for value in marked if abs(value) <= scale.brightest]
    heights = [bottom + height * (value + scale.brightest) / (2 * scale.brightest) for value in values]
    sheet.lines([((left + 2.5, y), (left + 3.2, y)) for y in heights], color=INK, linewidth=0.6)
    for value, y in zip(values, heights, strict=True):
        sheet.text(left + 3.8, y, with_minus(f"{value:.1f}"), fontsize=SMALL, va="center")
    sheet.text(left, bottom + height + 3, "SD", fontsize=SMALL, va="center", color=FAINT)


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
    thumbnails: Sequence[npt.NDArray[np.uint8]], titles: Sequence[str], are_on_cortex: Sequence[bool]
) -> Sheet:
    """Draw the surfaces of all components with their titles, in two columns, and say which are not on the cortex."""
    columns, caption = 2, 5.0
    cell = (WIDTH_MM - 2 * MARGIN_MM - 4.0) / columns
    height = cell * thumbnails[0].shape[0] / thumbnails[0].shape[1]
    n_rows = -(-len(thumbnails) // columns)
    foot = MARGIN_MM + 2 * LINE_MM
    sheet = Sheet(WIDTH_MM, n_rows * (height + caption) + foot + MARGIN_MM, inches=WIDTH_MM / 25.4)
    for number, (thumbnail, title) in enumerate(zip(thumbnails, titles, strict=True)):
        row, column = divmod(number, columns)
        left = MARGIN_MM + column * (cell + 4.0)
        bottom = foot + (n_rows - 1 - row) * (height + caption)
        label, _, name = title.partition("  ")
        sheet.text(left, bottom + height + 2, label, fontsize=SMALL + 0.5, fontweight="bold", va="center")
        colour = FAINT if name.startswith(UNNAMED) else INK
        name = shown_text(name, LONGEST_GALLERY_NAME if are_on_cortex[number] else LONGEST_NAME_BEFORE_NOTE)
        sheet.text(left + 14, bottom + height + 2, name, fontsize=SMALL + 0.5, va="center", color=colour)
        sheet.picture(thumbnail, left, bottom, cell, height)
        if not are_on_cortex[number]:
            place = (left + cell, bottom + height + 2)
            sheet.text(*place, "(hardly on the cortex)", fontsize=SMALL, ha="right", va="center", color=FAINT)
    lines = (
        "From left to right: left hemisphere, lateral and medial; right hemisphere, medial and lateral.",
        "Red to yellow: positive; blue to light blue: negative. Colours start at the threshold of each component.",
    )
    for number, line in enumerate(lines):
        sheet.text(MARGIN_MM, MARGIN_MM + (1 - number) * 3.5, line, fontsize=SMALL, va="center", color=FAINT)
    return sheet
