"""The chart places points at their values, and labels cover nothing."""

import numpy as np
import pytest
from neurovault_ica.report.charts import (
    BOTTOM,
    DIGIT_HEIGHT,
    DIGIT_WIDTH,
    LARGEST_RADIUS,
    LEFT,
    RIGHT,
    SMALLEST_RADIUS,
    TOP,
    fit_axis,
    trust_chart,
)

FLAGS = {"min_r_bootstraps": 0.5, "min_r_split_half": 0.4}
NO_LIMIT = dict.fromkeys(FLAGS)


def component(number, r, variance, *, halves=None, warnings=(), name="", flags="", chance=None):
    known = {"name": name, "warnings": list(warnings), "flags": flags, "chance_r_bootstraps": chance}
    measures = {"r_bootstraps": r, "r_split_half": halves, "variance_explained": variance}
    return {"component": f"ICA_{number:02d}"} | measures | known


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


def places_of(chart):
    return {point["component"]: (point["x"], point["y"]) for point in chart["points"]}


def test_points_are_placed_by_both_measures_of_stability_and_sized_by_variance():
    rows = [
        component(0, 0.8, 0.08, halves=0.6),
        component(1, 0.4, 0.02, halves=0.2, flags="one_collection,not_reproduced", warnings=["not reproduced"]),
        component(2, 0.6, 0.0001, halves=0.3, warnings=["one study"], flags="one_collection"),
        component(3, None, 0.9),
    ]
    chart = trust_chart(rows, FLAGS)
    assert places_of(chart) == {"ICA_00": (RIGHT, TOP), "ICA_01": (LEFT, BOTTOM), "ICA_02": (296.0, 256.5)}
    assert [tick["text"] for tick in chart["x"]["ticks"]] == ["0.4", "0.5", "0.6", "0.7", "0.8"]
    by_name = {point["component"]: point for point in chart["points"]}
    assert [by_name[f"ICA_0{n}"]["r"] for n in range(3)] == [LARGEST_RADIUS, LARGEST_RADIUS / 2, SMALLEST_RADIUS]
    assert [by_name[f"ICA_0{n}"]["is_flagged"] for n in range(3)] == [False, True, False]
    assert [by_name[f"ICA_0{n}"]["has_warning"] for n in range(3)] == [False, True, True]
    assert trust_chart([component(0, None, 0.1)], FLAGS) is None


def test_flagged_components_are_on_their_side_of_both_limits():
    rows = [component(n, r, 0.1, halves=h) for n, (r, h) in enumerate([(0.95, 0.9), (0.9, 0.39), (0.49, 0.8)])]
    chart = trust_chart(rows, FLAGS)
    x, y = chart["x"]["limit"], chart["y"]["limit"]
    places = places_of(chart)
    assert places["ICA_00"][0] > x > places["ICA_02"][0]
    # y points down.
    assert places["ICA_00"][1] < y < places["ICA_01"][1]
    assert (chart["x"]["limits_text"], chart["y"]["limits_text"]) == ("0.50", "0.40")


def test_a_limit_is_on_the_axis_and_as_high_as_chance():
    rows = [component(0, 0.94, 0.1, chance=0.58), component(1, 0.96, 0.2, chance=0.3)]
    chart = trust_chart(rows, FLAGS)
    assert LEFT <= chart["x"]["limit"] < chart["x"]["highest_limit"] < min(x for x, _ in places_of(chart).values())
    assert chart["x"]["limits_text"] == "0.50 to 0.58"
    # With only one measure of stability, the other axis is the variance explained, which has no limit.
    assert chart["y"]["limit"] is None
    assert [tick["text"] for tick in chart["y"]["ticks"]] == ["0.0 %", "5.0 %", "10.0 %", "15.0 %", "20.0 %"]
    assert trust_chart(rows, NO_LIMIT)["x"]["limit"] is None


def test_points_have_a_description():
    rows = [
        component(0, 0.9, 0.08, name="pain; itch", halves=0.7),
        component(1, 0.4, 0.041, name="unnamed (closest: rest)", warnings=["one study", "name uncertain"], halves=0.3),
    ]
    assert sorted(point["title"] for point in trust_chart(rows, FLAGS)["points"]) == [
        "ICA_00, pain; itch: bootstrap |r| 0.90, split-half |r| 0.70, 8.0 % of the variance",
        "ICA_01, unnamed (closest: rest): bootstrap |r| 0.40, split-half |r| 0.30, 4.1 % of the variance, one study,"
        " name uncertain",
    ]


def labels_of(chart):
    return {point["component"]: point["label"] and point["label"]["anchor"] for point in chart["points"]}


def test_a_label_is_right_of_its_point_or_where_there_is_room():
    apart = [component(0, 0.9, 0.1), component(1, 0.8, 0.05)]
    assert labels_of(trust_chart(apart, NO_LIMIT)) == {"ICA_00": "start", "ICA_01": "start"}
    beside = [component(n, r, 0.1) for n, r in enumerate([0.815, 0.817, 0.819, 0.85])]
    labels = {"ICA_00": "end", "ICA_01": "middle", "ICA_02": "start", "ICA_03": "start"}
    assert labels_of(trust_chart(beside, NO_LIMIT)) == labels


def test_a_label_does_not_cover_the_limit():
    apart = [component(0, 0.87, 0.1), component(1, 0.8, 0.1), component(2, 0.95, 0.1)]
    assert labels_of(trust_chart(apart, {"min_r_bootstraps": 0.9}))["ICA_00"] == "start"
    assert labels_of(trust_chart(apart, {"min_r_bootstraps": 0.877}))["ICA_00"] == "end"


def test_points_with_a_warning_get_the_labels_if_there_is_little_room():
    crowd = [component(n, 0.9, 0.1) for n in range(6)] + [component(6, 0.9, 0.1, warnings=["one study"])]
    labels = labels_of(trust_chart([*crowd, component(7, 0.5, 0.2)], NO_LIMIT))
    assert sorted(name for name, label in labels.items() if label) == ["ICA_00", "ICA_01", "ICA_02", "ICA_06", "ICA_07"]
    assert labels["ICA_06"] == "start"


def test_labels_cover_no_point_and_no_label():
    rng = np.random.default_rng(0)
    rows = [component(n, rng.normal(0.8, 0.05), rng.gamma(2, 0.01)) for n in range(80)]
    points = trust_chart(rows, FLAGS)["points"]
    labels = [point["label"] for point in points if point["label"]]
    assert 30 < len(labels) < 80
    width = 2 * DIGIT_WIDTH
    shift = {"start": 0, "middle": width / 2, "end": width}
    boxes = [(label["x"] - shift[label["anchor"]], label["y"] - DIGIT_HEIGHT, width, DIGIT_HEIGHT) for label in labels]
    boxes += [(point["x"] - point["r"], point["y"] - point["r"], 2 * point["r"], 2 * point["r"]) for point in points]
    for number, (left, top, wide, high) in enumerate(boxes[: len(labels)]):
        for x, y, w, h in boxes[number + 1 :]:
            # Places are rounded to a tenth.
            assert max(x - left - wide, left - x - w, y - top - high, top - y - h) > -0.2
