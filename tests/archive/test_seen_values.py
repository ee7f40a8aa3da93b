"""If no record has the value that a condition asks for, the message lists the values that exist."""

import logging

import pytest
from neurovault_ica.archive.filters import image_criteria
from neurovault_ica.archive.seen_values import SeenValues, check_values

IMAGES = [
    {"id": n, "modality": kind, "map_type": "Z map"} for n, kind in enumerate(["fMRI-BOLD"] * 5 + ["MEG"] * 2 + [None])
]


def explain(terms, records=IMAGES, *, is_any_left=False):
    seen = SeenValues("image_terms", terms)
    seen.add(records[:3])
    seen.add(records[3:])
    return list(seen.explain(is_any_left=is_any_left))


@pytest.mark.parametrize(
    "term",
    ["fmri bold", "FMRI-Bold", {"is_in": ["MEG", "fMRI_BOLD"]}, {"not_equal": "fMRI BOLD"}, {"not_in": ["fMRIBOLD"]}],
)
@pytest.mark.parametrize("is_any_left", [True, False])
def test_a_misspelled_value_gets_a_suggestion_and_the_list(term, is_any_left):
    (line,) = explain({"modality": term}, is_any_left=is_any_left)
    assert line.startswith("fetch_metadata.image_terms.modality: no image has the value ")
    assert line.endswith("; did you mean fMRI-BOLD? existing values: fMRI-BOLD (5), MEG (2), no value (1)")


def test_another_value_is_explained_only_if_nothing_is_left():
    assert explain({"modality": {"is_in": ["MEG", "Diffusion MRI"]}}, is_any_left=True) == []
    (line,) = explain({"modality": "EEG"})
    assert "no image has the value EEG; did you mean MEG?" in line or "EEG; existing values: fMRI-BOLD (5)" in line


@pytest.mark.parametrize(
    "term", ["MEG", {"is_in": ["MEG", "fMRI-BOLD"]}, {"contains": ["fMRI BOLD"]}, {"pattern": "fMRI BOLD"}]
)
def test_existing_values_and_other_comparisons_are_not_explained(term):
    assert explain({"modality": term}) == []
    assert explain({"map_type": "zstat"}) == [], "another spelling of Z map"


def test_numbers_and_flags_are_compared_as_values():
    records = [{"number_of_subjects": 12, "is_valid": True}]
    assert explain({"number_of_subjects": 12, "is_valid": True}, records) == []
    lines = explain({"number_of_subjects": 13, "is_valid": False}, records)
    assert [line.split("; ")[1] for line in lines] == [
        "existing values: 12 (1)",
        "existing values: true (1)",
    ]


def test_long_lists_are_cut_and_free_texts_are_not_listed():
    def of(number):
        (line,) = explain({"task": "n-back"}, [{"task": f"{n:03}"} for n in range(number)]) or [None]
        return line

    assert of(20).endswith("011 (1) and 8 more") or of(20).endswith("'011' (1) and 8 more")
    assert of(1000) is None


def test_without_records_nothing_is_said():
    assert explain({"modality": "fMRI BOLD"}, []) == []


def test_the_run_stops_if_nothing_is_left_and_warns_otherwise(caplog):
    seen = SeenValues("image_terms", {"modality": "fMRI BOLD"})
    seen.add(IMAGES)
    with pytest.raises(ValueError, match="did you mean fMRI-BOLD"):
        check_values(seen, is_any_left=False)
    with caplog.at_level(logging.WARNING):
        check_values(seen, is_any_left=True)
    assert "did you mean fMRI-BOLD" in caplog.text


@pytest.mark.parametrize(
    "term", [7, "7", {"is_in": [7, 8]}, {"is_in": ["7"]}, {"not_equal": 8}, {"not_in": ["8"]}, {"greater_than": 6}]
)
@pytest.mark.parametrize("number", [7, "7"])
def test_ids_in_conditions_may_be_numbers_or_text(term, number):
    criteria = image_criteria(
        image_terms={"collection_id": term}, image_filter=None, image_ids=None, collection_ids=None, exclude_words=[],
        min_subjects=None,
    )  # fmt: skip
    ((_, holds),) = criteria
    assert holds({"collection_id": number})
