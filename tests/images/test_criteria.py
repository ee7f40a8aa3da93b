"""The table of criteria decides what is rejected, and the configuration and the docs have all its keys."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT
from jsonschema import Draft202012Validator
from neurovault_ica.images.criteria import (
    CRITERIA,
    DUPLICATE_LIMIT,
    PERCENTILE,
    SHARE,
    Criterion,
    judge,
    panels,
    quality_schema,
)
from neurovault_ica.images.rejections import IMAGE_REASONS
from neurovault_ica.runtime.layers import read_file
from neurovault_ica.runtime.tables import column_formats

KEYS = list(quality_schema()["properties"])
DEFAULTS = read_file(ROOT / "config.yaml")["stack_images"]["quality"]
# Measures of an image that meets every default limit.
GOOD = {
    "coverage": 0.9, "background_fraction": 0, "distinct_values": 100, "zero_fraction": 0.1, "outside_fraction": 0.1,
    "misplaced_fraction": 0.01, "displaced_fraction": 0, "sign_share": 0.4, "negative_share": 0.4,
    "positive_share": 0.6, "max_abs": 6, "rms": 1,
}  # fmt: skip
# For each limit: the reason, and measures on its two sides.
EDGES = {
    "min_coverage": ("coverage", {"coverage": 0.61}, {"coverage": 0.59}),
    "max_background_fraction": ("background", {"background_fraction": 0.009}, {"background_fraction": 0.011}),
    "min_distinct_values": ("few_values", {"distinct_values": 50}, {"distinct_values": 49}),
    "max_zero_fraction": ("thresholded", {"zero_fraction": 0.59}, {"zero_fraction": 0.61}),
    "max_outside_fraction": ("outside_brain", {"outside_fraction": 0.39}, {"outside_fraction": 0.41}),
    "max_misplaced_fraction": ("misplaced", {"misplaced_fraction": 0.11}, {"misplaced_fraction": 0.13}),
    "max_displaced_fraction": ("misplaced", {"displaced_fraction": 0.08}, {"displaced_fraction": 0.1}),
    "min_sign_share": ("one_signed", {"sign_share": 0.003}, {"sign_share": 0.001}),
    "sign_percentile": ("one_signed", {"negative_share": 0.16}, {"positive_share": 0.14}),
    "min_peak": ("magnitude", {"max_abs": 1.97}, {"max_abs": 1.95}),
    "max_peak": ("magnitude", {"max_abs": 49}, {"max_abs": 51}),
    "min_rms": ("unit", {"rms": 0.36}, {"rms": 0.34}),
}


@pytest.fixture
def table(monkeypatch):
    rows = (
        Criterion("low", "Too low.", ("a",), SHARE, lower="min_a", upper="max_a"),
        Criterion("rare", "Too rare.", ("b", "c"), PERCENTILE, lower="percentile_of_b_and_c"),
        Criterion("small", "Too small.", ("d",), SHARE, lower="min_d", map_types=("Z map",)),
    )
    monkeypatch.setattr("neurovault_ica.images.criteria.CRITERIA", rows)


@pytest.mark.parametrize(
    ("measured", "map_type", "verdict"),
    [
        ({}, "Z map", None),
        ({"a": 0.1}, "Z map", ("low", 0.1, 0.2)),
        ({"a": 0.9}, "Z map", ("low", 0.9, 0.8)),
        ({"a": 0.2}, "Z map", None),
        ({"c": 0.1}, "Z map", ("rare", 0.1, 0.15)),
        ({"a": 0.1, "b": 0.1, "d": 0}, "Z map", ("low", 0.1, 0.2)),
        ({"d": 0}, " Z MAP", ("small", 0, 0.3)),
        ({"d": 0}, "zstat1", ("small", 0, 0.3)),
        ({"d": 0}, "spmT_0001", None),
        ({"d": 0}, "no such type", None),
        ({"d": 0}, "T map", None),
        ({"d": 0}, None, None),
    ],
)
@pytest.mark.usefixtures("table")
def test_the_first_failed_criterion_is_the_reason(measured, map_type, verdict):
    limits = {"min_a": 0.2, "max_a": 0.8, "percentile_of_b_and_c": 15, "min_d": 0.3}
    values = dict.fromkeys("abcd", 0.5) | measured
    assert judge(values, map_type=map_type, limits=limits) == verdict
    assert judge(values, map_type=map_type, limits={}) is None
    assert judge(values, map_type=map_type, limits=dict.fromkeys(limits)) is None


@pytest.mark.parametrize("key", [key for key in KEYS if key != DUPLICATE_LIMIT])
def test_each_limit_separates_good_images_from_others(key):
    limits = DEFAULTS | {"sign_percentile": 15}
    reason, accepted, rejected = EDGES[key]
    assert judge(GOOD | accepted, map_type="Z map", limits=limits) is None
    verdict = judge(GOOD | rejected, map_type="Z map", limits=limits)
    assert verdict is not None
    assert verdict[0] == reason
    assert judge(GOOD | rejected, map_type="Z map", limits=limits | {key: None}) is None


def test_every_criterion_is_known_in_all_places_that_use_it():
    columns = column_formats("stack_images/quality.tsv")
    for criterion in CRITERIA:
        assert criterion.keys, f"{criterion.reason}: a criterion needs a limit"
        assert set(criterion.columns) <= set(columns), f"{criterion.reason}: describe its column in tables.json"
        assert IMAGE_REASONS[criterion.reason] == criterion.sentence
    assert len(KEYS) == len(set(KEYS))
    assert [criterion.panel for criterion in panels()] == sorted(criterion.panel for criterion in panels())


def test_the_defaults_set_every_limit_and_are_valid():
    assert set(DEFAULTS) == set(KEYS)
    Draft202012Validator(quality_schema()).validate(DEFAULTS)
    Draft202012Validator(quality_schema()).validate(None)


def test_the_docs_have_every_criterion_and_reason():
    methods, outputs = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("methods", "outputs"))
    for criterion in CRITERIA:
        assert f"\n| `{criterion.reason}` |" in methods, f"docs/methods.md: the reason {criterion.reason} is missing"
    for key in KEYS:
        assert re.search(rf"`{key}\b", methods), f"docs/methods.md: the key {key} is missing"
    for reason in IMAGE_REASONS:
        assert re.search(rf"^\| .*`{reason}`", outputs, re.MULTILINE), (
            f"docs/outputs.md: the reason {reason} is missing"
        )


def test_the_table_needs_the_standard_library_only():
    code = "import neurovault_ica.images.criteria, sys; print(*{'numpy', 'nibabel', 'yaml'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "workflow/scripts", capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""
