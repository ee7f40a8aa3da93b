"""Compute the layout of the page's scatter chart of components: positions of points, labels and ticks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from neurovault_ica.report.text import format_number, percent, shorten
from neurovault_ica.types import Row

# Left, top, right and bottom in SVG units; y points down.
Rectangle = tuple[float, float, float, float]
WIDTH, HEIGHT = 560, 222
LEFT, TOP, RIGHT, BOTTOM = 50, 20, 530, 176
RADIUS = 6  # of a point, with its outline
# Size of a digit of a label, and distance of the label from its point.
DIGIT_WIDTH, DIGIT_HEIGHT, GAP = 7.5, 9, 2
# Possible distances between ticks. Correlations that differ by less than 0.01 are practically the same.
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
# Largest number of intervals between ticks. With more, the tick labels would be crowded.
MOST_STEPS = 6


def stability_chart(components: Sequence[Mapping[str, Any]], limit: float | None) -> Row | None:
    """Lay out components by their bootstrap correlation across studies and by their explained variance.

    The axis covers only the range of the components, so that similar values can be told apart. The limit is drawn only
    if it lies in this range.

    Parameters
    ----------
    components : sequence of mappings
        From `tables.describe_components`, with their ``warnings``, in the order of the page.
    limit : float or None
        Components with a lower correlation are flagged.

    Returns
    -------
    dict or None
        ``frame``, ``ticks``, ``limit`` (its x, or None), ``most`` (the largest share of the variance, at the top) and
        ``points``, each with a ``label`` (None if there is no room). None if no component has a bootstrap correlation.
    """
    shown = [row for row in components if row["r_bootstraps"] is not None]
    if not shown:
        return None
    ticks = fit_axis([row["r_bootstraps"] for row in shown])
    first, last = ticks[0], ticks[-1]
    x_limit = _place(limit, first, last) if limit is not None and first <= limit <= last else None
    most = max(row["variance_explained"] for row in shown)
    points = [
        {
            "component": row["component"],
            "x": _place(row["r_bootstraps"], first, last),
            "y": round(BOTTOM - (BOTTOM - TOP) * row["variance_explained"] / most, 1),
            "title": describe_point(row),
            "flagged": bool(row["warnings"]),
        }
        for row in shown
    ]
    # If there is no room for all labels, components with a warning come first, then those with the most variance.
    urgent = sorted(points, key=lambda point: not point["flagged"])
    for point, label in zip(urgent, place_labels(urgent, x_limit), strict=True):
        point["label"] = label
    return {
        "frame": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "top": TOP, "right": RIGHT, "bottom": BOTTOM},
        "ticks": [{"x": _place(tick, first, last), "text": f"{tick:g}"} for tick in ticks],
        "limit": x_limit,
        "most": most,
        "points": points,
    }


def _place(r: float, first: float, last: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * (r - first) / (last - first), 1)


def fit_axis(values: Sequence[float]) -> list[float]:
    """Choose a few round ticks that just cover the values, which are correlations between 0 and 1."""
    for step in STEPS:
        # Round first, because 0.29 / 0.01 is slightly below 29.
        last = math.ceil(round(max(values) / step, 6))
        first = min(math.floor(round(min(values) / step, 6)), last - 1)
        if last - first <= MOST_STEPS:
            break
    return [round(number * step, 2) for number in range(first, last + 1)]


def describe_point(row: Mapping[str, Any]) -> str:
    """Describe a point for its tooltip and for screen readers."""
    called = shorten(row["name"], 120)
    said = [f"|r| {format_number(row['r_bootstraps'])}", percent(row["variance_explained"]), *row["warnings"]]
    return f"{row['component']}{f', {called}' if called else ''}: {', '.join(said)}"


def place_labels(points: Sequence[Mapping[str, Any]], x_limit: float | None) -> list[Row | None]:
    """Place the number of each point beside it: right, left, above or below, wherever it covers nothing.

    Earlier points choose first. A point without a free place gets no number.

    Parameters
    ----------
    points : sequence of mappings
        ``component``, ``x`` and ``y``.
    x_limit : float or None
        Position of the limit's line, which labels must not cover.

    Returns
    -------
    list of dict or None
        For each point ``text``, the baseline position ``x``, ``y``, and the SVG text ``anchor``.
    """
    taken = [(p["x"] - RADIUS, p["y"] - RADIUS, p["x"] + RADIUS, p["y"] + RADIUS) for p in points]
    if x_limit is not None:
        taken.append((x_limit, 0, x_limit, BOTTOM))
    labels: list[Row | None] = []
    for point in points:
        text = point["component"].removeprefix("ICA_")
        sides = _sides(point["x"], point["y"], DIGIT_WIDTH * len(text))
        free = next((side for side in sides if _is_free(side[2], taken)), None)
        if free is None:
            labels.append(None)
            continue
        anchor, x, box = free
        taken.append(box)
        labels.append({"text": text, "anchor": anchor, "x": round(x, 1), "y": round(box[3], 1)})
    return labels


def _sides(x: float, y: float, width: float) -> list[tuple[str, float, Rectangle]]:
    """Return the possible places of a label: text anchor, x of the anchor, and the area that it covers."""
    away, half = RADIUS + GAP, DIGIT_HEIGHT / 2
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
