"""Titles of terms and topics, and the terms that get no map."""

import logging

import numpy as np
import pytest
from neurovault_ica.naming.vocabulary import choose_terms, has_content, titles_of
from workflow_runs import ROOT


def test_topics_are_titled_by_their_first_words():
    labels = ["32_pain_somatosensory_stimulation", "7_reward_feedback_striatum_money", "working memory", "heschl_gyrus"]
    assert titles_of(labels) == ["pain somatosensory stimulation", "reward feedback striatum", "working memory",
                                 "heschl gyrus"]  # fmt: skip
    assert titles_of(["1_eye_gaze", "pain", "2_eye_gaze", "3t"]) == ["eye gaze (0)", "pain", "eye gaze (2)", "3t"]


@pytest.mark.parametrize(
    "term",
    ["pain", "working memory", "cognitive control", "default mode", "heschl gyrus", "reward feedback striatum", "v1",
     "posterior cingulate", "motor cortex hand", "Pain", "memory (17)", "schizophrenia", "théâtre"],
)  # fmt: skip
def test_terms_with_content_get_a_map(term):
    assert has_content(term)


@pytest.mark.parametrize(
    "term",
    ["2014", "12 healthy", "001", "method group approach", "control group", "patients", "gyrus", "posterior", "cortex",
     "year old", "group (3)", "Healthy Controls",
     "magnetic resonance", "self report", "t1 weighted", "age adults older", ""],
)  # fmt: skip
def test_terms_without_content_get_none(term):
    assert not has_content(term)


def test_terms_of_few_studies_or_of_all_are_left_out_and_counted(caplog):
    names = ["pain", "group", "fear", "reward", "vision", "2001"]
    with caplog.at_level(logging.INFO):
        chosen = choose_terms(names, np.array([20, 50, 19, 0, 100, 30]), 100, 20)
    assert [names[place] for place in chosen] == ["pain"]
    for line in (
        "left out 2 of 6 terms, because they name no mental function and no place in the brain (docs/methods.md):"
        " group, 2001",
        "left out 1 of 6 terms, because fewer than 20 studies have them (min_studies): fear",
        "left out 1 of 6 terms, because no study has them: reward",
        "left out 1 of 6 terms, because every study has them: vision",
    ):
        assert line in caplog.text
    with pytest.raises(ValueError, match=r"none of 2 terms can get a map: 2 because fewer than 20.*min_studies \(20\)"):
        choose_terms(["pain", "fear"], np.array([3, 4]), 100, 20)


def test_the_docs_publish_the_list_of_terms_without_content():
    entries = [
        line
        for line in (ROOT / "workflow/scripts/neurovault_ica/naming/empty_words.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    published = (ROOT / "docs/methods.md").read_text().partition("<!-- empty words -->")[2].partition("<!-- end -->")[0]
    assert published.split("\n\n")[1].replace("\n", " ").split(", ") == entries
    assert entries == [*sorted(e for e in entries if e[0] != "+"), *sorted(e for e in entries if e[0] == "+")]
