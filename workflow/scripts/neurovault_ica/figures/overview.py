"""Draw the overview of all components."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from neurovault_ica.figures.brain_bar import draw_shared_bar, extent_of, range_end_of
from neurovault_ica.figures.component import draw_sides
from neurovault_ica.figures.sheet import Sheet, with_minus
from neurovault_ica.figures.short_names import explain_names, fit_name
from neurovault_ica.figures.shown import Display
from neurovault_ica.figures.slices import Box, Scale
from neurovault_ica.figures.style import FAINT, HEADING, INK, LINE_MM, TALLEST_MM, WIDE_MM, text_mm
from neurovault_ica.images.peaks import Point
from neurovault_ica.naming.names import UNNAMED
from neurovault_ica.runtime.wording import ordinal

# Number of columns: the first one with which the sheet fits on a page, or else the last.
COLUMNS = (4, 5, 6, 7, 8)
# mm: between cells, between slices, between text and brains, below brains, and below all for the colour bar.
GAP, BETWEEN, SPACE, BELOW, FOOT = 3.6, 1.6, 1.0, 1.5, 11.2


def draw_overview(
    thumbnails: Sequence[npt.NDArray[np.uint8]],
    titles: Sequence[str],
    scales: Sequence[Scale],
    peaks: Sequence[Point],
    box: Box,
    meaning: str,
) -> Sheet:
    """Draw the thumbnails of all components. Each has its name, its peak and the end of its colour scale.

    Parameters
    ----------
    thumbnails : sequence of array (height, width, 4)
        From `draw_thumbnail`: three slices side by side, the lowest row first.
    titles : sequence of str
        Label, two spaces, and name.
    scales : sequence of Scale
    peaks : sequence of Point
        Where the slices are.
    box : Box
        The part of the brain in the thumbnails.
    meaning : str
        What is shown, written beside the colour bar.
    """
    tallest, width = thumbnails[0].shape[:2]
    for columns in COLUMNS:
        cell = WIDE_MM / columns
        zoom = (cell - GAP - 2 * BETWEEN) / width
        names = [fit_name(title.partition("  ")[2], cell - GAP, 2) for title in titles]
        # The lines of text above the brains of each row.
        heads = [
            LINE_MM * (1 + max(map(len, names[start : start + columns]))) + SPACE
            for start in range(0, len(names), columns)
        ]
        height = sum(heads) + len(heads) * (tallest * zoom + BELOW) + FOOT
        if height <= TALLEST_MM:
            break
    sheet = Sheet(height)
    rows = zip(thumbnails, titles, names, scales, peaks, strict=True)
    for number, (thumbnail, title, lines, scale, peak) in enumerate(rows):
        row, column = divmod(number, columns)
        head = heads[row]
        left, top = GAP / 2 + column * cell, height - 0.8 - sum(heads[:row]) - row * (tallest * zoom + BELOW)
        label, _, name = title.partition("  ")
        sheet.text(left, top - LINE_MM / 2 - 0.4, label, fontsize=HEADING, fontweight="bold", va="center")
        place = ", ".join(with_minus(f"{mm:.0f}") for mm in peak)
        range_end = range_end_of(scale)
        room = cell - GAP - text_mm(label, HEADING, bold=True) - 1
        fact = next((text for text in (f"{place}; {range_end}", range_end) if text_mm(text) < room), "")
        sheet.text(left + cell - GAP, top - LINE_MM / 2 - 0.4, fact, ha="right", va="center", color=FAINT)
        colour = FAINT if name.startswith(UNNAMED) else INK
        for order, line in enumerate(lines):
            sheet.text(left, top - LINE_MM * (order + 1.5) - 0.4, line, va="center", color=colour)
        corner = (left, top - head - tallest * zoom)
        start = 0
        for axis in range(3):
            end = start + box.shape(axis)[0]
            _place(sheet, thumbnail[:, start:end], corner, zoom)
            size = (box.shape(axis)[0] * zoom, tallest * zoom)
            draw_sides(sheet, axis, corner, size)
            corner, start = (corner[0] + size[0] + BETWEEN, corner[1]), end
    draw_shared_bar(sheet, left=GAP / 2, bottom=1.5 + LINE_MM, limits=meaning)
    notes = ["coordinates: peak and slices (x, y, z in mm)", explain_names(titles).replace("\n", " ")]
    sheet.text(GAP / 2, 1.5, "; ".join(filter(None, notes)), va="center", color=FAINT)
    return sheet


def meaning_of(display: Display) -> str:
    """Write what the shared colour bar means: ``t: 2.5 SD, clusters ≥ 200 mm³; end: ...``."""
    threshold = display.threshold
    if "z" in threshold:
        start = f"t: {threshold['z']:g} SD"
    elif "percentile" in threshold:
        start = f"t: {ordinal(threshold['percentile'])} percentile"
    else:
        start = f"t: P(active) > {threshold['mixture']:g}"
    return f"{start}{extent_of(display.min_cluster_mm3)}; end: SD at the end of the scale"


def _place(sheet: Sheet, thumbnail: npt.NDArray[np.uint8], corner: tuple[float, float], zoom: float) -> None:
    """Place a thumbnail on white, at the resolution of the sheet."""
    is_brain = thumbnail[..., 3:] > 0
    picture = Image.fromarray(np.where(is_brain, thumbnail[..., :3], 255).astype(np.uint8))
    size = [round(length * zoom * sheet.pixels_per_mm) for length in (picture.width, picture.height)]
    if size != [picture.width, picture.height]:
        picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    sheet.place(np.asarray(picture), *corner)
