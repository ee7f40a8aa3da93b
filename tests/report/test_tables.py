"""The rows of the page follow from the tables of the run."""

import re

from conftest import ROOT
from neurovault_ica.images.criteria import CRITERIA
from neurovault_ica.report.tables import (
    REASONS,
    count_missing_terms,
    describe_images,
    explain_rejections,
    funnel,
    histogram,
    scaled_terms,
    shared_words,
    shown_rows,
    significant_labels,
)


def test_funnel_ends_with_the_images_of_the_matrix():
    selection = [{"level": "image", "criterion": "a", "tested": 30, "dropped": 10, "kept": 20}]
    refused = {"few_values": "stack_images", "empty": "mask_images", "timeout": "download_images"}
    rejected = [
        {"reason": reason, "stage": refused[reason]} for reason in ["few_values"] * 3 + ["empty"] * 2 + ["timeout"]
    ]
    steps = funnel(selection, rejected)
    assert [(step["tested"], step["dropped"], step["kept"]) for step in steps] == [
        (30, 10, 20), (20, 1, 19), (19, 2, 17), (17, 3, 14),
    ]  # fmt: skip
    assert [step["reasons"] for step in steps] == [
        [],
        ["1 not downloaded in time"],
        ["2 without data"],
        ["3 with few different values"],
    ]


def test_missing_terms_are_counted_over_the_used_images():
    status = [
        {"image_id": 1, "terms": 5, "reason": None},
        {"image_id": 2, "terms": 0, "reason": "malformed"},
        {"image_id": 3, "terms": 0, "reason": "missing_file"},
    ]
    assert count_missing_terms(status, [1, 2]) == (1, [("unreadable answer", 1)])


def test_funnel_bars_are_shares_of_the_largest_count_of_their_level():
    selection = [
        {"level": "collection", "criterion": "a", "tested": 8, "dropped": 4, "kept": 4},
        {"level": "image", "criterion": "b", "tested": 40, "dropped": 10, "kept": 30},
    ]
    assert [step["share"] for step in funnel(selection, [])] == [0.5, 0.75, 0.75, 0.75, 0.75]


def test_histogram_is_symmetric_and_keeps_one_collection_apart():
    found = histogram([(-1.0, 7), (0.0, 8), (0.01, 7), (0.99, 8), (2.0, 7)], 7)
    assert found["limit"] == 2.0
    assert found["most"] == 2
    assert sum(entry["largest"] for entry in found["bins"]) == 3
    assert found["bins"][20] == {"others": 1, "largest": 1}
    assert found["bins"][-1] == {"others": 0, "largest": 1}
    assert found["bins"][10] == {"others": 0, "largest": 1}
    assert histogram([], None)["most"] == 0


def test_bars_of_terms_are_relative_to_the_strongest():
    terms = [{"rank": rank, "weight": weight} for rank, weight in ((2, 1.0), (1, 4.0), (3, -1.0))]
    assert [term["length"] for term in scaled_terms(terms)] == [100, 25, 0]
    assert [term["length"] for term in scaled_terms([{"rank": 1, "weight": -2.0}])] == [0]


def test_significant_labels_are_named_once():
    rows = [
        {"label": label, "difference": difference, "q": q}
        for label, difference, q in [
            ("pain", 0.5, 0.01), ("pain", 0.4, 0.02), ("rest", -0.4, 0.01), ("music", 0.3, 0.2), ("heat", 0.2, None),
            ("touch", 0.1, 0.04),
        ]
    ]  # fmt: skip
    assert significant_labels(rows) == ["pain", "touch"]


def test_images_used_and_refused_have_the_same_keys():
    used = [{"image_id": 1, "map_type": "Z map", "number_of_subjects": 20, "cognitive_paradigm_cogatlas": None}]
    refused = [{"image_id": 2, "reason": "coverage", "value": "0.2", "threshold": "0.6", "stage": "stack_images"}]
    first, second = describe_images(used, refused)
    assert set(first) == set(second)
    assert first["reason"] is None
    assert second["reason"] == "coverage"


def test_every_reason_of_the_workflow_is_explained():
    package = ROOT / "workflow/scripts/neurovault_ica"
    rooms = [path for room in ("archive", "images", "net") for path in (package / room).glob("*.py")]
    pattern = re.compile(r'(?:UnusableError|\b_?failed|\brejection)\(\s*"(\w+)"')
    raised = {reason for file in rooms for reason in pattern.findall(file.read_text(encoding="utf-8"))}
    assert {"missing_file", "damaged_file", "unreadable", "not_3d", "empty", "constant"} <= raised
    measured = {criterion.reason for criterion in CRITERIA} | {"duplicate", "inverted_contrast", "timeout"}
    assert raised | measured <= set(REASONS)
    rows = explain_rejections([{"reason": "duplicate", "stage": "stack_images"}] * 2)
    assert rows == [{"reason": "duplicate", "stage": "stack_images", "count": 2, "explanation": REASONS["duplicate"]}]


def test_words_of_two_sources_are_listed_as_agreed():
    assert shared_words(["Pain", "noxious heat"], ["pain task", "task > rest"], ["heat"]) == ["pain", "heat"]
    assert shared_words(["pain", "pain"], [], []) == []


def test_the_words_of_a_name_are_shown_wherever_they_rank():
    rows = [{"label": label} for label in "abcdef"]
    assert [row["label"] for row in shown_rows(rows, "label", ["e", "b"], 3)] == ["a", "b", "c", "e"]
    assert shown_rows(rows, "label", [], 2) == rows[:2]
