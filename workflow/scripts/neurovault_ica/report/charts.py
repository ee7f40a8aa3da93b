"""Lay out the page's chart of stability across studies: positions of points, labels, ticks and limits."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from neurovault_ica.report.text import format_number, percent, shorten_text
from neurovault_ica.report.trust import limit_in_force
from neurovault_ica.report.warnings import flags_in
from neurovault_ica.types import Row

# Left, top, right and bottom of an area in SVG units; y points down.
Rectangle = tuple[float, float, float, float]
WIDTH, HEIGHT = 560, 390
LEFT, TOP, RIGHT, BOTTOM = 66, 18, 526, 336
# Radius of the component with most variance, and smallest radius. Between them, areas are proportional to the variance.
LARGEST_RADIUS, SMALLEST_RADIUS = 11.0, 3.5
# Size of a digit of a label, and distance between label and point.
DIGIT_WIDTH, DIGIT_HEIGHT, GAP = 7.5, 9, 3
# Possible distances between ticks. Smaller ones are useless: correlations that differ by less are practically equal.
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
# Largest number of intervals between ticks; with more, the tick labels would be crowded.
MOST_STEPS = 6
NOT_REPRODUCED = "not_reproduced"


class Axis(NamedTuple):
    """An axis of the chart: a measure of stability across studies, or the variance explained."""

    column: str
    title: str
    limit: str | None  # key of the limit in run_ica.flags


BOOTSTRAP = Axis("r_bootstraps", "bootstrap |r| (studies resampled)", "min_r_bootstraps")
SPLIT_HALF = Axis("r_split_half", "split-half |r| (between halves of the studies)", "min_r_split_half")
VARIANCE = Axis("variance_explained", "variance explained", None)


def trust_chart(components: Sequence[Mapping[str, Any]], flags: Mapping[str, float | None]) -> Row | None:
    """Lay out components by their stability across studies, with the limits that apply.

    Parameters
    ----------
    components : sequence of mappings
        From `tables.describe_components`, with their ``warnings``, in the order of the page.
    flags : mapping
        Section ``run_ica.flags``.

    Returns
    -------
    dict or None
        ``frame``, the axes ``x`` and ``y`` (each with ``title``, ``ticks`` and ``limit``, see `_scale`), and
        ``points``, each with a ``label`` (None if there is no room). None if stability across studies was not measured.
    """
    measured = [axis for axis in (BOOTSTRAP, SPLIT_HALF) if any(row[axis.column] is not None for row in components)]
    if not measured:
        return None
    across, up = measured if len(measured) == 2 else (measured[0], VARIANCE)
    shown = [row for row in components if row[across.column] is not None and row[up.column] is not None]
    x, to_x = _scale(shown, across, flags, (LEFT, RIGHT))
    y, to_y = _scale(shown, up, flags, (BOTTOM, TOP))
    most = max(row["variance_explained"] for row in shown)
    points = [
        {
            "component": row["component"],
            "x": to_x(row[across.column]),
            "y": to_y(row[up.column]),
            "r": round(max(SMALLEST_RADIUS, LARGEST_RADIUS * math.sqrt(row["variance_explained"] / most)), 1),
            "title": describe_point(row),
            "is_flagged": NOT_REPRODUCED in flags_in(row),
            "has_warning": bool(row["warnings"]),
        }
        for row in shown
    ]
    # Components with a warning get their labels first, because there may be no room for all.
    urgent = sorted(points, key=lambda point: not point["has_warning"])
    for point, label in zip(urgent, place_labels(urgent, x["limit"], y["limit"]), strict=True):
        point["label"] = label
    frame = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "top": TOP, "right": RIGHT, "bottom": BOTTOM}
    # Large points are drawn first, so that they do not hide small ones.
    return {"frame": frame, "x": x, "y": y, "points": sorted(points, key=lambda point: -point["r"])}


def _scale(
    rows: Sequence[Mapping[str, Any]], axis: Axis, flags: Mapping[str, float | None], ends: tuple[float, float]
) -> tuple[Row, Callable[[float], float]]:
    """Choose the scale of an axis so that it covers the values and the limits.

    Returns
    -------
    dict
        ``title``; ``ticks``, each with ``at`` and ``text``; ``limit`` and ``highest_limit``, the positions of the
        lowest and the highest limit that applies, or None; ``limits_text``, these limits as text. The limits of
        components differ if chance, which differs between components, is above the configured limit.
    callable
        Converts a value to its position.
    """
    limits = [
        least
        for row in rows
        if axis.limit and (least := limit_in_force(flags[axis.limit], row.get(f"chance_{axis.column}"))) is not None
    ]
    ticks = fit_axis([row[axis.column] for row in rows] + limits) if axis.limit else _from_zero(rows, axis)
    first, last = ticks[0], ticks[-1]

    def place(value: float) -> float:
        return round(ends[0] + (ends[1] - ends[0]) * (value - first) / (last - first), 1)

    shown_limits = sorted({format_number(limit) for limit in limits})
    return {
        "title": axis.title,
        "ticks": [{"at": place(tick), "text": f"{tick:g}" if axis.limit else percent(tick)} for tick in ticks],
        "limit": place(min(limits)) if limits else None,
        "highest_limit": place(max(limits)) if limits else None,
        "limits_text": " to ".join((shown_limits[0], shown_limits[-1]) if len(shown_limits) > 1 else shown_limits),
    }, place


def _from_zero(rows: Sequence[Mapping[str, Any]], axis: Axis) -> list[float]:
    most = max(row[axis.column] for row in rows)
    return [most * part / 4 for part in range(5)]


def fit_axis(values: Sequence[float]) -> list[float]:
    """Choose a few round ticks whose range just covers the values, which are correlations from 0 to 1."""
    for step in STEPS:
        # Round first, because 0.29 / 0.01 is slightly below 29.
        last = math.ceil(round(max(values) / step, 6))
        first = min(math.floor(round(min(values) / step, 6)), last - 1)
        if last - first <= MOST_STEPS:
            break
    return [round(number * step, 2) for number in range(first, last + 1)]


def describe_point(row: Mapping[str, Any]) -> str:
    """Describe a point for its tooltip and for screen readers."""
    called = shorten_text(row["name"], 120)
    facts = [
        f"{name} {format_number(row[column])}"
        for column, name in (("r_bootstraps", "bootstrap |r|"), ("r_split_half", "split-half |r|"))
        if row[column] is not None
    ]
    facts += [f"{percent(row['variance_explained'])} of the variance", *row["warnings"]]
    return f"{row['component']}{f', {called}' if called else ''}: {', '.join(facts)}"


def place_labels(points: Sequence[Mapping[str, Any]], x_limit: float | None, y_limit: float | None) -> list[Row | None]:
    """Place the number of each point to the right, left, top or bottom of it, where it covers nothing.

    Places are given in the order of the points. A point without a free place gets no number.

    Parameters
    ----------
    points : sequence of mappings
        ``component``, ``x``, ``y`` and the radius ``r``.
    x_limit, y_limit : float or None
        Positions of the lines that show the limits; labels must not cover them.

    Returns
    -------
    list of dict or None
        For each point ``text``, the baseline position ``x``, ``y``, and the SVG text ``anchor``.
    """
    taken = [(p["x"] - p["r"], p["y"] - p["r"], p["x"] + p["r"], p["y"] + p["r"]) for p in points]
    if x_limit is not None:
        taken.append((x_limit, 0, x_limit, BOTTOM))
    if y_limit is not None:
        taken.append((LEFT, y_limit, RIGHT, y_limit))
    labels: list[Row | None] = []
    for point in points:
        text = point["component"].removeprefix("ICA_")
        sides = _sides(point["x"], point["y"], point["r"] + GAP, DIGIT_WIDTH * len(text))
        free = next((side for side in sides if _is_free(side[2], taken)), None)
        if free is None:
            labels.append(None)
            continue
        anchor, x, box = free
        taken.append(box)
        labels.append({"text": text, "anchor": anchor, "x": round(x, 1), "y": round(box[3], 1)})
    return labels


def _sides(x: float, y: float, away: float, width: float) -> list[tuple[str, float, Rectangle]]:
    """Return the possible places of a label: text anchor, x of the anchor, and the area that it covers."""
    half = DIGIT_HEIGHT / 2
    return [
        ("start", x + away, (x + away, y - half, x + away + width, y + half)),
        ("end", x - away, (x - away - width, y - half, x - away, y + half)),
        ("middle", x, (x - width / 2, y - away - DIGIT_HEIGHT, x + width / 2, y - away)),
        ("middle", x, (x - width / 2, y + away, x + width / 2, y + away + DIGIT_HEIGHT)),
    ]


def _is_free(box: Rectangle, taken: Sequence[Rectangle]) -> bool:
    left, top, right, bottom = box
    is_inside = left >= LEFT and top >= 0 and right <= WIDTH and bottom <= BOTTOM
    return is_inside and not any(left < x1 and x0 < right and top < y1 and y0 < bottom for x0, y0, x1, y1 in taken)
