"""Ids are checked, and numbers in them are sorted as numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from neurovault_ica.runtime.ids import SAFE_ID, as_numbers, natural_key, number_groups, safe_id


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_numbers_as_text_are_sorted_like_numbers(numbers):
    """Bootstrap samples of collections depend on this order, so it must not depend on the type of the ids."""
    names, member = np.unique(numbers, return_inverse=True)
    for ids in (numbers, [str(number) for number in numbers]):
        found, places = number_groups(ids)
        assert [int(name) for name in found] == names.tolist()
        assert places == member.tolist()


def test_numbers_in_names_are_ordered_as_numbers():
    ids = ["sub-10_run-1", "sub-9_run-2", "10", "sub-9_run-10", "9", "a", "ds000030"]
    assert sorted(ids, key=natural_key) == ["9", "10", "a", "ds000030", "sub-9_run-2", "sub-9_run-10", "sub-10_run-1"]


def test_only_safe_characters_are_valid_in_ids():
    for name in ("1", "ds000030", "sub-01_contrast-2", "_a", "a.b"):
        assert SAFE_ID.fullmatch(name)
    for name in ("", ".hidden", "..", "-rf", "a/b", "a b", "a\n", "\u00fc", "x" * 101):
        assert not SAFE_ID.fullmatch(name)


@given(st.text())
def test_any_name_becomes_a_valid_id(name):
    made = safe_id(name)
    assert SAFE_ID.fullmatch(made)
    assert safe_id(made) == made
    if SAFE_ID.fullmatch(name):
        assert made == name


def test_different_names_get_different_ids():
    names = ["7/2", "7_2", "7 2", "r\u00e9sum\u00e9 1", "r_sum_ 1", "-7", ".7", "x" * 101, "x" * 102]
    assert len({safe_id(name) for name in names}) == len(names)
    assert safe_id("7/2").startswith("7_2-")


def test_ids_become_int_only_if_all_are_whole_numbers():
    assert as_numbers(["3", "20"]) == [3, 20]
    assert as_numbers(["3", "sub-20"]) == ["3", "sub-20"]
