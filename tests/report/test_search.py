"""The search finds all texts of a component, the strongest evidence first."""

from neurovault_ica.report.search import NAME, PLACE, SIGNIFICANT, STUDY, UNLIKELY, list_findings

COMPONENT = {
    "component": "ICA_03",
    "name": "pain; itch",
    "evidence_name": "",
    "is_certain": True,
    "maps": [{"term": "pain", "q": 0.002, "r": 0.5}, {"term": "touch", "q": 0.9996, "r": 0.2}],
    "terms": [{"term": "heat", "q": None, "length": 40.0}],
    "labels": [{"label": "n-back", "q": 0.3, "difference": 0.4}],
    "network": {"best_network": "Salience", "best_q": 0.01, "best_r": 0.4}
    | {"matched_network": "salience", "matched_q": 0.6, "matched_r": 0.3},
    "peaks": [{"value": 8.0, "region": "Insula_R"}, {"value": -4.0, "region": "Insula_R"}],
    "regions": ["Insula_R", "Thalamus_L"],
    "images": [{"loading": -0.7, "name": "heat > warm", "collection_name": "Study nine"}],
}


def test_every_kind_is_found_in_the_order_of_its_evidence():
    found = list_findings(COMPONENT, [{"share": 0.25, "name": "Study seven"}])
    assert [(one.tier, one.kind, one.text, one.evidence) for one in found if one.text] == [
        (NAME, "component", "ICA_03", ""),
        (NAME, "name", "pain; itch", ""),
        (SIGNIFICANT, "term map", "pain", "r 0.50, q\u00a00.002"),
        (SIGNIFICANT, "reference network", "Salience", "r 0.40, q\u00a00.010"),
        (2, "metadata", "n-back", "q\u00a00.300"),
        (2, "term", "heat", ""),
        (PLACE, "region", "Insula_R", "peak of 8.0 SD"),
        (PLACE, "region", "Thalamus_L", ""),
        (STUDY, "image", "heat > warm", "loading \u22120.70"),
        (STUDY, "collection of an image", "Study nine", "loading \u22120.70"),
        (STUDY, "collection", "Study seven", "25.0 % of the squared loadings"),
        (UNLIKELY, "term map", "touch", "r 0.20, q\u00a0> 0.99"),
    ]


def test_an_uncertain_name_is_weaker_than_significant_evidence():
    found = list_findings(COMPONENT | {"is_certain": False}, [])
    order = [one.kind for one in found]
    assert order.index("term map") < order.index("name")
