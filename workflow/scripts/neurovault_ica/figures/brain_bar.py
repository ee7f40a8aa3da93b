"""Draw colour bars of brain slices: they end where the values end, or are pointed where values go beyond."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.patches import Polygon

from neurovault_ica.figures.sheet import Sheet, with_minus
from neurovault_ica.figures.slices import NEGATIVE_STEPS, POSITIVE_STEPS, Scale, paint
from neurovault_ica.figures.style import FAINT, INK, LINE_MM, text_mm
from neurovault_ica.runtime.wording import written_volume
from neurovault_ica.types import Real

TIP_MM = 2.2


def ends_of(values: Real, scale: Scale) -> tuple[float, float]:
    """Return the lowest and the highest value that is shown; 0 if no value of this sign is."""
    low, high = float(values.min()), float(values.max())
    return low if low <= -scale.negative_threshold else 0.0, high if high >= scale.threshold else 0.0


def range_end_of(scale: Scale) -> str:
    """Write the end of a colour scale: ``end 8.6``, or ``end 12``."""
    return f"end {scale.brightest:.{0 if scale.brightest >= 10 else 1}f}"


def extent_of(min_cluster_mm3: float) -> str:
    """Write which clusters are shown, to follow a threshold; empty if all are."""
    return f", clusters ≥ {written_volume(min_cluster_mm3)}" if min_cluster_mm3 else ""


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
    bar = _bar_of(scale, ends)
    if bar is None:
        return
    width = 4.0
    sheet.picture(bar.painted[:, None], left, bottom, width, height)
    for is_beyond, edge, tip, colour in (
        (bar.is_open[1], bottom + height, TIP_MM, POSITIVE_STEPS[-1]),
        (bar.is_open[0], bottom, -TIP_MM, NEGATIVE_STEPS[-1]),
    ):
        if is_beyond:
            corners = [(left, edge), (left + width, edge), (left + width / 2, edge + tip)]
            sheet.add(Polygon(corners, facecolor=colour / 255, linewidth=0))
    heights = [bottom + height * place for place in bar.places]
    sheet.lines([((left + width, y), (left + width + 0.8, y)) for y in heights], color=INK, linewidth=0.6)
    for value, y in zip(bar.marked, spread_numbers(heights), strict=True):
        sheet.text(left + width + 1.3, y, number_on_bar(value, unit), va="center")
    sheet.text(left + width / 2, bottom + height + TIP_MM + 0.8, unit, ha="center", va="bottom", color=FAINT)


def draw_flat_bar(
    sheet: Sheet, scale: Scale, ends: tuple[float, float], *, left: float, top: float, length: float, unit: str = "SD"
) -> None:
    """Draw the bar of `draw_brain_bar` level, 5 mm high with its numbers. Thresholds without room have no number."""
    bar = _bar_of(scale, ends)
    if bar is None:
        return
    width = 2.2
    sheet.picture(bar.painted[None], left, top - width, length, width)
    for is_beyond, edge, tip, colour in (
        (bar.is_open[1], left + length, TIP_MM / 2, POSITIVE_STEPS[-1]),
        (bar.is_open[0], left, -TIP_MM / 2, NEGATIVE_STEPS[-1]),
    ):
        if is_beyond:
            corners = [(edge, top), (edge, top - width), (edge + tip, top - width / 2)]
            sheet.add(Polygon(corners, facecolor=colour / 255, linewidth=0))
    texts = [number_on_bar(value, unit) for value in bar.marked]
    texts[-1] = f"{texts[-1]} {unit}".rstrip()
    middles = [left + length * place for place in bar.places]
    taken: list[tuple[float, float]] = []
    # The ends come first, then the thresholds.
    for number in (0, len(texts) - 1, *range(1, len(texts) - 1)):
        half = text_mm(texts[number]) / 2 + 0.5
        if all(middles[number] + half <= start or middles[number] - half >= end for start, end in taken):
            taken.append((middles[number] - half, middles[number] + half))
            sheet.text(middles[number], top - width - 0.5, texts[number], ha="center", va="top")


class _Bar(NamedTuple):
    """The colours of a bar, whether its ends are open, and the values that are marked, from 0 to 1 along the bar."""

    painted: npt.NDArray[np.uint8]  # (n_levels, 3)
    is_open: tuple[bool, bool]
    marked: list[float]
    places: list[float]


def _bar_of(scale: Scale, ends: tuple[float, float]) -> _Bar | None:
    """Return the bar from the lowest to the highest value; None if no value is shown."""
    low, high = ends
    start, end = max(low, -scale.brightest), min(high, scale.brightest)
    if start == end:
        return None
    levels = np.linspace(start, end, 400)
    painted = paint(levels[:, None], np.full((len(levels), 1), 0.75), scale)[:, 0]
    # Without a threshold, both signs begin at 0, which is marked once.
    inner = {0.0 - scale.negative_threshold} if low else set()
    inner |= {scale.threshold} if high else set()
    marked = [start, *sorted(inner), end]
    return _Bar(painted, (low < start, high > end), marked, [(value - start) / (end - start) for value in marked])


def number_on_bar(value: float, unit: str) -> str:
    """Write a value with one decimal if it is in SD. Maps in other units may have any magnitude."""
    return with_minus(f"{value:.1f}" if unit == "SD" else f"{value:.2g}")


def spread_numbers(heights: Sequence[float]) -> list[float]:
    """Move labels apart, so that they do not overlap: those of two low thresholds, then those at both ends."""
    places = list(heights)
    if len(places) == 4 and (missing := LINE_MM - (places[2] - places[1])) > 0:
        places[1:3] = places[1] - missing / 2, places[2] + missing / 2
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
        sheet.add(Polygon(corners, facecolor=steps[-1] / 255, linewidth=0))
        side = {"va": "center", "color": FAINT}
        ends = {-1: ("−end", "right"), 1: ("end", "left")}
        text, align = ends[sign]
        sheet.text(end + sign * (TIP_MM + 1), bottom + width / 2, text, ha=align, **side)
    sheet.text(middle, bottom + width / 2, "±t", ha="center", va="center", color=FAINT)
    sheet.text(middle + 4 + length + TIP_MM + text_mm("end") + 6, bottom + width / 2, limits, va="center", color=FAINT)
