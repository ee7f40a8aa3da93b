"""Rows of the page follow from the tables of the run."""

import re

import pytest
from conftest import ROOT
from page_tables import REASONS, count_missing_terms, explain_rejections, funnel, main_collection


def test_funnel_ends_with_the_images_of_the_matrix():
    selection = [{"level": "image", "criterion": "a", "tested": 30, "dropped": 10, "kept": 20}]
    rejected = [{"stage": "stack_images"}] * 3 + [{"stage": "mask_images"}] * 2 + [{"stage": "download_images"}]
    steps = funnel(selection, rejected)
    assert [(step["tested"], step["dropped"], step["kept"]) for step in steps] == [
        (30, 10, 20), (20, 1, 19), (19, 2, 17), (17, 3, 14),
    ]  # fmt: skip


def test_missing_terms_are_counted_over_the_used_images():
    status = [
        {"image_id": 1, "terms": 5, "reason": None},
        {"image_id": 2, "terms": 0, "reason": "malformed"},
        {"image_id": 3, "terms": 0, "reason": "missing_file"},
    ]
    assert count_missing_terms(status, [1, 2]) == (1, [("unreadable answer", 1)])


def test_main_collection_is_by_squared_loadings():
    images = {1: {"collection_id": 7}, 2: {"collection_id": 8}, 3: {"collection_id": 8}}
    mixing = [{"image_id": 1, "ICA_00": -3.0}, {"image_id": 2, "ICA_00": 2.0}, {"image_id": 3, "ICA_00": 2.0}]
    assert main_collection("ICA_00", mixing, images) == (7, pytest.approx(9 / 17))


def test_every_reason_of_the_workflow_is_explained():
    codes = set()
    for script in ("download_images", "mask_images", "quality", "stack_images"):
        source = (ROOT / "workflow" / "scripts" / f"{script}.py").read_text()
        codes |= set(re.findall(r'(?:UnusableError|_failed|_rejection|Duplicate)\(\s*"(\w+)"', source))
        codes |= set(re.findall(r'^ {8,12}\("(\w+)", (?:measured|rarer)', source, flags=re.MULTILINE))
    assert {"missing_file", "unreadable", "not_3d", "thresholded", "one_signed"} <= codes
    assert codes <= set(REASONS)
    rows = explain_rejections([{"reason": "duplicate", "stage": "stack_images"}] * 2)
    assert rows == [{"reason": "duplicate", "stage": "stack_images", "count": 2, "explanation": REASONS["duplicate"]}]
