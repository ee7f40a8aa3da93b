"""The comparisons give the same results as nilearn's helpers."""

import datetime
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurovault_ica.archive.conditions import COMPARISONS, compile_term, describe_term, load_function, word_pattern
from neurovault_ica.runtime.yaml_text import as_configured
from nilearn.datasets import neurovault as nilearn_neurovault
from snakemake.iocontainers import Namedlist

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=4),
    st.sampled_from(["T map", "Z map", "3", "2.5", ""]), st.lists(st.integers(0, 3), max_size=3),
)  # fmt: skip
BOUNDS = st.one_of(st.integers(-3, 3), st.floats(-3, 3), st.sampled_from(["a", "T map"]))
LISTS = st.lists(st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["a", "T map", "Z map"])), max_size=3)
STRINGS = st.lists(st.sampled_from(["a", "map", "T", " "]), min_size=1, max_size=2)


def agrees(name, argument, nilearn_term, value):
    ours = compile_term("field", {name: argument})(value)
    assert ours == (nilearn_term == value), (name, argument, value)


@given(VALUES)
def test_null_comparisons(value):
    agrees("is_null", True, nilearn_neurovault.IsNull(), value)
    agrees("not_null", True, nilearn_neurovault.NotNull(), value)
    assert compile_term("field", {"is_null": False})(value) == compile_term("field", {"not_null": True})(value)


# A list without a comparison is an error, because people mean is_in.
@given(VALUES, VALUES.filter(lambda value: not isinstance(value, list)))
def test_equality(value, other):
    assert compile_term("field", other)(value) == (value == other)
    agrees("not_equal", other, nilearn_neurovault.NotEqual(other), value)


@given(VALUES, BOUNDS)
def test_order_comparisons(value, bound):
    agrees("greater_or_equal", bound, nilearn_neurovault.GreaterOrEqual(bound), value)
    agrees("greater_than", bound, nilearn_neurovault.GreaterThan(bound), value)
    agrees("less_or_equal", bound, nilearn_neurovault.LessOrEqual(bound), value)
    agrees("less_than", bound, nilearn_neurovault.LessThan(bound), value)


def test_infinity_is_not_a_whole_number():
    # nilearn's helper raises an error for infinity.
    assert not compile_term("field", {"greater_than": 3})(float("inf"))


@given(VALUES, LISTS)
def test_membership(value, accepted):
    if accepted:
        agrees("is_in", accepted, nilearn_neurovault.IsIn(*accepted), value)
    agrees("not_in", accepted, nilearn_neurovault.NotIn(*accepted), value)


@given(st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just("T map")), STRINGS)
def test_containment(value, parts):
    agrees("contains", parts, nilearn_neurovault.Contains(*parts), value)
    agrees("not_contains", parts, nilearn_neurovault.NotContains(*parts), value)


@given(VALUES, st.sampled_from(["T", "[TZ] map", ".*map$", ""]))
def test_pattern(value, pattern):
    agrees("pattern", pattern, nilearn_neurovault.Pattern(pattern), value)


def test_all_comparisons_of_nilearn_exist():
    special = nilearn_neurovault._SpecialValue
    theirs = {
        name for name, kind in vars(nilearn_neurovault).items()
        if isinstance(kind, type) and issubclass(kind, special) and not name.startswith("_")
    }  # fmt: skip
    assert len(COMPARISONS) == len(theirs)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"is_inn": ["a"]}, "not a comparison; write one of is_null"),
        ({"is_in": ["a"], "not_in": ["b"]}, "not a comparison"),
        ({"is_in": "Z map"}, r"is_in takes a list, not 'Z map'; write is_in: \[Z map\]"),
        ({"not_null": "yes"}, "not_null takes true or false"),
        ({"contains": [1]}, r"contains takes a list of text, not \[1\]"),
        ({"not_contains": ["a", None]}, "not_contains takes a list of text"),
        ({"pattern": 3}, "pattern takes text, not 3; write it in quotes"),
        ({"pattern": "("}, "not a regular expression"),
        ("not_null", r"not_null is a comparison without its argument; write \{not_null: true\}"),
        ("is_in", r"is_in is a comparison without its argument; write \{is_in: \.\.\.\}"),
        ({"is_in": []}, "is_in has an empty list, which accepts nothing; list at least one value"),
        (["Z map", "T map"], r"is a list, not one value; write \{is_in: \['Z map', 'T map'\]\} to accept any of these"),
        ({"greater_than": None}, "greater_than takes a number or text, not null"),
        ({"greater_than": True}, "greater_than takes a number or text, not true"),
        ({"less_or_equal": [3]}, r"less_or_equal takes a number or text, not \[3\]"),
        ({"greater_than": datetime.date(2020, 1, 31)}, 'the date 2020-01-31 is not text; .* quotes: "2020-01-31"'),
        ({"not_in": [datetime.date(2020, 1, 31)]}, "the date 2020-01-31 is not text"),
        (datetime.datetime(2020, 1, 31, 12), "the date 2020-01-31 12:00:00 is not text"),
    ],
)
def test_wrong_terms_are_explained(term, message):
    with pytest.raises(ValueError, match=message):
        compile_term("image_terms.map_type", term)


def test_a_date_in_quotes_is_compared_as_text():
    term = compile_term("image_terms.add_date", {"greater_than": "2020-01-31"})
    assert [term(date) for date in ("2020-02-01T10:00:00", "2019-12-31T10:00:00")] == [True, False]


def test_only_whole_words_match():
    pattern = word_pattern(["ica", "seed", "temporary collection"])
    assert all(
        pattern.search(name) for name in ["ICA 12", "group_ICA.nii", "ica12", "seed-PCC", "My temporary collection"]
    )
    assert not any(pattern.search(name) for name in ["semantICAlly", "seeds of change", "africa", "ICAs"])


def test_filter_function_from_file(tmp_path):
    (tmp_path / "mine.py").write_text("def keep(metadata):\n    return metadata['id'] == 3\n")
    keep = load_function(f"{tmp_path}/mine.py:keep")
    assert keep({"id": 3})
    assert not keep({"id": 4})
    with pytest.raises(ValueError, match="has no function drop"):
        load_function(f"{tmp_path}/mine.py:drop")
    with pytest.raises(ValueError, match=r"write file\.py:function"):
        load_function("mine.keep")
    with pytest.raises(ValueError, match="does not exist"):
        load_function("nowhere.py:keep")


def test_a_filter_that_fails_is_explained(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def keep(metadata):\n    return metadata['mine'] > 3\n")
    with pytest.raises(
        ValueError, match=rf"filter keep of {path} failed for the record with id 7: KeyError: 'mine' \(line 2\)"
    ):
        load_function(f"{path}:keep")({"id": 7})
    path.write_text("import nothing_of_this_name\n")
    with pytest.raises(ValueError, match=rf"{path} cannot be run: ModuleNotFoundError: .* \(line 1\)"):
        load_function(f"{path}:keep")
    path.write_text("def keep(:\n")
    with pytest.raises(ValueError, match="cannot be run: SyntaxError"):
        load_function(f"{path}:keep")


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ({"is_in": ["Z map", None]}, "field is_in [Z map, null]"), ({"not_null": True}, "field not_null true"),
        ("fMRI-BOLD", "field = fMRI-BOLD"), ({"pattern": "a: b"}, "field pattern 'a: b'"),
        (200 * "x y", f"field = {200 * 'x y'}"),
    ],
)  # fmt: skip
def test_terms_are_described_as_they_were_written(term, text):
    assert describe_term("field", term) == text


def test_snakemakes_lists_and_mappings_are_written_as_plain_yaml():
    value = MappingProxyType({"image_terms": Namedlist(["Z map", ("T map", None)]), 3: 0.5})
    assert as_configured(value) == "{'3': 0.5, image_terms: [Z map, [T map, null]]}"
