"""Warnings come when they should, in words."""

from page_warnings import find_warnings, flags_of


def test_warnings_in_words():
    component = {
        "iq_restarts": 0.9,
        "r_restarts": 0.9,
        "r_bootstraps": 0.9,
        "collections": 5,
        "collection_share": 0.2,
        "collection_id": 7,
    }
    component["n_significant_terms"] = None
    components = [component | {"component": f"ICA_0{k}", "names": ["a", "b", "c"][:: (-1) ** k]} for k in range(2)]
    calm = {"converged": True, "max_iter": 500, "n_restarts": 20, "n_restarts_converged": 19}
    found = find_warnings(
        components=components, decomposition=calm, n_images=60, n_rejected=3, n_with_terms=60, recovery=[]
    )
    assert found == ["ICA_00 and ICA_01 have the same first three terms."]
    components[1]["names"] = []
    components[0]["n_significant_terms"] = components[1]["n_significant_terms"] = 0
    worried = calm | {"converged": False, "n_restarts_converged": 12}
    found = find_warnings(
        components=components, decomposition=worried, n_images=5, n_rejected=9, n_with_terms=2, recovery=[]
    )
    assert [line.split(":")[0] for line in found] == [
        "FastICA did not converge in 500 iterations",
        "8 of 20 restarts of FastICA did not converge.",
        "Only 5 images for 2 components",
        "Only 2 of 5 images have term weights",
        "ICA_00 and ICA_01",
        "More images were refused (9) than used (5); see the reasons below.",
    ]


def test_flags_name_what_speaks_against_a_component():
    sound = {
        "iq_restarts": 0.9, "r_restarts": 0.9, "r_bootstraps": 0.9, "collections": 5, "collection_share": 0.2,
        "n_significant_terms": 3,
    }  # fmt: skip
    assert flags_of(sound) == []
    assert flags_of(sound | {"r_restarts": 0.7}) == ["depends on the start"]
    assert flags_of(sound | {"r_bootstraps": 0.4, "collection_share": 0.6}) == [
        "not in other studies",
        "one collection",
    ]
    assert flags_of(sound | {"collections": 1, "collection_share": 1.0, "n_significant_terms": 0}) == [
        "name may be noise"
    ]
    unmeasured = {"iq_restarts": None, "r_restarts": None, "r_bootstraps": None, "n_significant_terms": None}
    assert flags_of(sound | unmeasured) == []
