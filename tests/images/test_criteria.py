"""The table of criteria decides what is rejected, and the configuration and the docs have all its keys."""

import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT
from jsonschema import Draft202012Validator
from neurovault_ica.images.criteria import CRITERIA, PERCENTILE, SHARE, Criterion, judge, panels, quality_schema
from neurovault_ica.images.rejections import REASONS
from neurovault_ica.runtime.tables import column_formats

KEYS = list(quality_schema()["properties"])


@pytest.fixture
def table(monkeypatch):
    rows = (
        Criterion("low", "Too low.", ("a",), SHARE, lower="min_a", upper="max_a"),
        Criterion("rare", "Too rare.", ("b", "c"), PERCENTILE, lower="percentile_of_b_and_c"),
        Criterion("small", "Too small.", ("d",), SHARE, lower="min_d", map_types=("z map", "z")),
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
        ({"d": 0}, "T map", None),
        ({"d": 0}, None, None),
    ],
)
@pytest.mark.usefixtures("table")
def test_the_first_criterion_that_is_not_met_is_the_reason(measured, map_type, verdict):
    limits = {"min_a": 0.2, "max_a": 0.8, "percentile_of_b_and_c": 15, "min_d": 0.3}
    values = dict.fromkeys("abcd", 0.5) | measured
    assert judge(values, map_type=map_type, limits=limits) == verdict
    assert judge(values, map_type=map_type, limits={}) is None
    assert judge(values, map_type=map_type, limits=dict.fromkeys(limits)) is None


def test_every_row_is_known_where_it_is_used():
    columns = column_formats("stack_images/quality.tsv")
    for criterion in CRITERIA:
        assert criterion.keys, f"{criterion.reason}: a criterion needs a limit"
        assert set(criterion.columns) <= set(columns), f"{criterion.reason}: describe its column in tables.json"
        assert REASONS[criterion.reason] == criterion.sentence
    assert len(KEYS) == len(set(KEYS))
    assert {criterion.panel for criterion in panels()} >= set(range(1, 10))


def test_the_defaults_set_every_limit_and_are_valid():
    defaults = yaml.safe_load((ROOT / "config.yaml").read_text())["stack_images"]["quality"]
    assert set(defaults) == set(KEYS)
    Draft202012Validator(quality_schema()).validate(defaults)
    Draft202012Validator(quality_schema()).validate(None)


def test_the_docs_have_every_criterion_and_reason():
    methods, outputs = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("methods", "outputs"))
    for criterion in CRITERIA:
        assert f"\n| `{criterion.reason}` |" in methods, f"docs/methods.md: the reason {criterion.reason} is missing"
    for key in KEYS:
        assert re.search(rf"`{key}\b", methods), f"docs/methods.md: the key {key} is missing"
    for reason in REASONS:
        assert re.search(rf"^\| .*`{reason}`", outputs, re.MULTILINE), (
            f"docs/outputs.md: the reason {reason} is missing"
        )


def test_the_table_needs_the_standard_library_only():
    code = "import neurovault_ica.images.criteria, sys; print(*{'numpy', 'nibabel', 'yaml'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "workflow/scripts", capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""
