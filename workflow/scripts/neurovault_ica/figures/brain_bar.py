"""Draw colour bars of brain slices: they end where the values end, or are pointed where values go beyond."""

from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Polygon

from neurovault_ica.figures.sheet import Sheet, with_minus
from neurovault_ica.figures.slices import NEGATIVE_STEPS, POSITIVE_STEPS, Scale, paint
from neurovault_ica.figures.style import FAINT, INK, LINE_MM, text_mm
from neurovault_ica.types import Real

TIP_MM = 2.2


def ends_of(values: Real, scale: Scale) -> tuple[float, float]:
    """Return the lowest and the highest value that is shown; 0 if no value of this sign is."""
    low, high = float(values.min()), float(values.max())
    return low if low <= -scale.negative_threshold else 0.0, high if high >= scale.threshold else 0.0


def draw_brain_bar(
    sheet: Sheet,
    scale: Scale,
    ends: tuple[float, float],
    *,
    left: float,
    bottom: float,
    height: float,
    unit: str = "SD",
) -> None:
    """Draw an upright bar from the lowest to the highest value of a map, with thresholds. Hidden values are grey.

    `ends` come from `ends_of`. The colours end at `Scale.brightest`. If values go beyond, the end is pointed.
    """
    low, high = ends
    start, end = max(low, -scale.brightest), min(high, scale.brightest)
    if start == end:
        return
    width = 4.0
    levels = np.linspace(start, end, 400)
    painted = paint(levels[:, None], np.full((len(levels), 1), 0.75), scale)
    sheet.picture(painted, left, bottom, width, height)
    for is_beyond, edge, tip, colour in (
        (high > end, bottom + height, TIP_MM, POSITIVE_STEPS[-1]),
        (low < start, bottom, -TIP_MM, NEGATIVE_STEPS[-1]),
    ):
        if is_beyond:
            corners = [(left, edge), (left + width, edge), (left + width / 2, edge + tip)]
            sheet.axes.add_patch(Polygon(corners, facecolor=colour / 255, linewidth=0))
    marked = [start]
    marked += [-scale.negative_threshold] if low else []
    marked += [scale.threshold] if high else []
    marked += [end]
    heights = [bottom + height * (value - start) / (end - start) for value in marked]
    sheet.lines([((left + width, y), (left + width + 0.8, y)) for y in heights], color=INK, linewidth=0.6)
    for value, y in zip(marked, spread_numbers(heights), strict=True):
        sheet.text(left + width + 1.3, y, with_minus(f"{value:.1f}"), va="center")
    sheet.text(left + width / 2, bottom + height + TIP_MM + 0.8, unit, ha="center", va="bottom", color=FAINT)


def spread_numbers(heights: Sequence[float]) -> list[float]:
    """Move the labels at both ends away from their neighbours, so that they do not overlap."""
    places = list(heights)
    for end, inner, sign in ((0, 1, -1), (-1, -2, 1)):
        if len(places) > 2 and sign * (places[end] - places[inner]) < LINE_MM:
            places[end] = places[inner] + sign * LINE_MM
    return places


def draw_shared_bar(sheet: Sheet, *, left: float, bottom: float, limits: str) -> None:
    """Draw a bar for maps with scales of their own: from the threshold to the end of each scale, for both signs."""
    length, width = 24.0, 2.6
    middle = left + text_mm("−end") + 1 + TIP_MM + length + 4
    for sign, steps in ((-1, NEGATIVE_STEPS), (1, POSITIVE_STEPS)):
        start = middle + sign * 4
        sheet.picture(steps[None, ::sign], min(start, start + sign * length), bottom, length, width)
        end = start + sign * length
        corners = [(end, bottom), (end, bottom + width), (end + sign * TIP_MM, bottom + width / 2)]
        sheet.axes.add_patch(Polygon(corners, facecolor=steps[-1] / 255, linewidth=0))
        side = {"va": "center", "color": FAINT}
        ends = {-1: ("−end", "right"), 1: ("end", "left")}
        text, align = ends[sign]
        sheet.text(end + sign * (TIP_MM + 1), bottom + width / 2, text, ha=align, **side)
    sheet.text(middle, bottom + width / 2, "±t", ha="center", va="center", color=FAINT)
    sheet.text(middle + 4 + length + TIP_MM + text_mm("end") + 6, bottom + width / 2, limits, va="center", color=FAINT)
