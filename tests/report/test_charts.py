"""The chart places points by their numbers, and labels cover nothing."""

import numpy as np
import pytest
from neurovault_ica.report.charts import (
    BOTTOM,
    DIGIT_HEIGHT,
    DIGIT_WIDTH,
    LEFT,
    RADIUS,
    RIGHT,
    TOP,
    fit_axis,
    stability_chart,
)


def component(number, r, variance, *, warnings=(), name=""):
    known = {"name": name, "warnings": list(warnings)}
    return {"component": f"ICA_{number:02d}", "r_bootstraps": r, "variance_explained": variance} | known


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.947, 0.976], [0.94, 0.95, 0.96, 0.97, 0.98]),
        ([0.31, 0.9], [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ([0.0, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ([0.58, 0.21], [0.2, 0.3, 0.4, 0.5, 0.6]),
        ([0.29], [0.28, 0.29]),
        ([1.0], [0.99, 1]),
    ],
)
def test_the_axis_covers_the_values_and_little_more(values, ticks):
    assert fit_axis(values) == ticks


def test_points_are_placed_by_their_values():
    chart = stability_chart([component(0, 0.94, 0.08), component(1, 0.96, 0.04), component(2, None, 0.9)], 0.5)
    assert [(point["x"], point["y"]) for point in chart["points"]] == [(LEFT, TOP), (RIGHT, (TOP + BOTTOM) / 2)]
    assert [tick["text"] for tick in chart["ticks"]] == ["0.94", "0.95", "0.96"]
    assert [tick["x"] for tick in chart["ticks"]] == [LEFT, (LEFT + RIGHT) / 2, RIGHT]
    assert chart["most"] == 0.08
    assert stability_chart([component(0, None, 0.1)], 0.5) is None


@pytest.mark.parametrize(("limit", "x"), [(0.5, None), (0.955, 410.0), (0.94, 50.0), (0.99, None), (None, None)])
def test_the_limit_is_drawn_only_within_the_range_of_the_axis(limit, x):
    assert stability_chart([component(0, 0.94, 0.1), component(1, 0.96, 0.1)], limit)["limit"] == x


def test_points_have_a_description():
    rows = [
        component(0, 0.9, 0.08, name="pain; itch"),
        component(1, 0.4, 0.041, name="unnamed (closest: rest)", warnings=["one study", "name uncertain"]),
        component(2, 0.5, 0.04),
    ]
    assert [point["title"] for point in stability_chart(rows, 0.5)["points"]] == [
        "ICA_00, pain; itch: |r| 0.90, 8.0 %",
        "ICA_01, unnamed (closest: rest): |r| 0.40, 4.1 %, one study, name uncertain",
        "ICA_02: |r| 0.50, 4.0 %",
    ]


def labels_of(chart):
    return {point["component"]: point["label"] and point["label"]["anchor"] for point in chart["points"]}


def test_a_label_is_right_of_its_point_or_where_there_is_room():
    apart = [component(0, 0.9, 0.1), component(1, 0.8, 0.05)]
    assert labels_of(stability_chart(apart, None)) == {"ICA_00": "start", "ICA_01": "start"}
    beside = [component(n, r, 0.1) for n, r in enumerate([0.815, 0.817, 0.819, 0.85])]
    labels = {"ICA_00": "end", "ICA_01": "middle", "ICA_02": "start", "ICA_03": "start"}
    assert labels_of(stability_chart(beside, None)) == labels


def test_a_label_does_not_cover_the_limit():
    apart = [component(0, 0.89, 0.1), component(1, 0.85, 0.1), component(2, 0.95, 0.1)]
    assert labels_of(stability_chart(apart, 0.9))["ICA_00"] == "start"
    assert labels_of(stability_chart(apart, 0.893))["ICA_00"] == "end"


def test_points_with_a_warning_get_the_labels_if_there_is_little_room():
    crowd = [component(n, 0.9, 0.1) for n in range(6)] + [component(6, 0.9, 0.1, warnings=["one study"])]
    labels = labels_of(stability_chart([*crowd, component(7, 0.5, 0.1)], None))
    assert [name for name, label in labels.items() if label] == ["ICA_00", "ICA_01", "ICA_02", "ICA_06", "ICA_07"]
    assert labels["ICA_06"] == "start"


def test_labels_cover_no_point_and_no_label():
    rng = np.random.default_rng(0)
    rows = [component(n, rng.normal(0.8, 0.05), rng.gamma(2, 0.01)) for n in range(80)]
    points = stability_chart(rows, 0.5)["points"]
    labels = [point["label"] for point in points if point["label"]]
    assert 30 < len(labels) < 80
    width = 2 * DIGIT_WIDTH
    shift = {"start": 0, "middle": width / 2, "end": width}
    boxes = [(label["x"] - shift[label["anchor"]], label["y"] - DIGIT_HEIGHT, width, DIGIT_HEIGHT) for label in labels]
    boxes += [(point["x"] - RADIUS, point["y"] - RADIUS, 2 * RADIUS, 2 * RADIUS) for point in points]
    for number, (left, top, wide, high) in enumerate(boxes[: len(labels)]):
        for x, y, w, h in boxes[number + 1 :]:
            # Places are rounded to a tenth.
            assert max(x - left - wide, left - x - w, y - top - high, top - y - h) > -0.2
