"""The metadata criteria in the methods text."""

import pytest
from neurovault_ica.archive.conditions import COMPARISONS, compile_term
from neurovault_ica.record.criteria_text import criteria_sentences

NONE = {
    "collection_terms": {}, "image_terms": {}, "collection_filter": None, "image_filter": None,
    "collection_ids": None, "image_ids": None, "exclude_words": [], "min_subjects": None,
}  # fmt: skip

CONDITIONS = {
    "plain": ({"map_type": "Z map"}, "map type is Z map"),
    "flag": ({"is_thresholded": False}, "is thresholded is false"),
    "is_null": ({"DOI": {"is_null": True}}, "DOI is not given"),
    "is_null: false": ({"DOI": {"is_null": False}}, "DOI is given"),
    "not_null": ({"DOI": {"not_null": True}}, "DOI is given"),
    "not_null: false": ({"DOI": {"not_null": False}}, "DOI is not given"),
    "not_equal": ({"image_type": {"not_equal": "atlas"}}, "image type is not atlas"),
    "greater_or_equal": ({"age": {"greater_or_equal": 20}}, "age is at least 20"),
    "greater_than": ({"age": {"greater_than": 20.5}}, "age is more than 20.5"),
    "less_or_equal": ({"age": {"less_or_equal": 20}}, "age is at most 20"),
    "less_than": ({"add_date": {"less_than": "2015-04-11"}}, "add date is less than 2015-04-11"),
    "is_in": ({"map_type": {"is_in": ["Z map", "T map", "F map"]}}, "map type is Z map, T map or F map"),
    "not_in": ({"id": {"not_in": [7, 8]}}, "id is not 7 or 8"),
    "not_in, many": ({"id": {"not_in": list(range(1234))}}, "id is not one of 1,234 values in run.json"),
    "contains": ({"name": {"contains": ["face", "house"]}}, "name contains face and house"),
    "not_contains": ({"name": {"not_contains": ["face", "house"]}}, "name does not contain face or house"),
    "pattern": ({"name": {"pattern": "[TZ] map"}}, "name begins with the regular expression [TZ] map"),
    "line breaks": ({"name": "a\n\n# Methods"}, "name is a # Methods"),
}


@pytest.mark.parametrize(("terms", "words"), CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition_is_written_in_words(terms, words):
    for key, term in terms.items():
        compile_term(key, term)
    assert criteria_sentences(NONE | {"image_terms": terms}) == f"Criteria of images: {words}"
    assert criteria_sentences(NONE | {"collection_terms": terms}) == f"Criteria of collections: {words}"


def test_every_comparison_has_words():
    terms = [term for condition, _ in CONDITIONS.values() for term in condition.values() if isinstance(term, dict)]
    assert {next(iter(term)) for term in terms} == set(COMPARISONS)


def test_ids_words_subjects_and_functions_are_criteria_too():
    assert criteria_sentences(NONE) == "There were no metadata criteria"
    assert criteria_sentences(NONE | {"collection_ids": [7, 9], "collection_filter": "mine.py:recent"}) == (
        "Criteria of collections: id is 7 or 9; accepted by the function mine.py:recent"
    )
    # An image needs to be in one of the two lists.
    assert criteria_sentences(NONE | {"collection_ids": [7], "image_ids": [1, 2, 3], "exclude_words": ["ica"]}) == (
        "Criteria of images: id is 1, 2 or 3, or collection is 7; name does not contain the word ica"
    )
    assert criteria_sentences(NONE | {"min_subjects": 12, "image_filter": "mine.py:memory"}) == (
        "Criteria of images: at least 12 subjects, where their number is known; accepted by the function mine.py:memory"
    )
