"""A term or label gives no name if the map of the same term does not fit the component."""

from neurovault_ica.naming.agreement import refuse_contradicted
from neurovault_ica.naming.names import Candidate

MAPS = [
    {"component": "ICA_00", "term": term, "r": r, "p": p}
    for term, r, p in [
        ("pain somatosensory", 0.4, 0.001), ("chronic pain", 0.1, 0.3),
        ("creativity", 0.02, 0.4), ("Memory", -0.2, 0.9),
    ]
]  # fmt: skip


def refused(rows, *names):
    found = refuse_contradicted({"terms": [Candidate("ICA_00", name, 1.0, 0.01) for name in names]}, rows)
    return [candidate.name for candidate in found["terms"] if not candidate.may_name]


def test_terms_and_labels_without_an_agreeing_map_are_refused():
    names = [
        "pain",
        "creativity",
        "creativity task",
        "memory",
        "painful heat",
        "memory of pain",
        "chronic pain",
        "words",
    ]
    assert refused(MAPS, *names) == ["creativity", "creativity task", "memory", "chronic pain"]


def test_without_tests_the_sign_of_the_correlation_decides():
    untested = [row | {"p": None} for row in MAPS]
    assert refused(untested, "pain", "creativity", "memory") == ["memory"]


def test_other_components_and_missing_maps_refuse_nothing():
    assert refused([], "pain", "creativity") == []
    assert refused([row | {"component": "ICA_01"} for row in MAPS], "creativity") == []
