"""Each warning appears when its condition holds."""

from neurovault_ica.report.warnings import find_warnings, flags_of

SOUND = {
    "component": "ICA_00", "words": ["a", "b", "c"], "mark": "", "evidence_name": "", "flags": None,
    "largest_collection_id": 7, "largest_collection_share": 0.2, "n_significant_terms": 2, "n_significant_labels": None,
    "r_bootstraps": 0.8, "r_split_half": 0.6,
    "n_significant_maps": None, "n_peaks": 3,
}  # fmt: skip
CALM = {
    "algorithm": "fastica", "algorithm_label": "FastICA", "iteration": "iteration", "converged": True, "max_iter": 500,
    "n_restarts": 20, "n_restarts_converged": 19,
    "n_images": 60, "n_components": 20, "n_effective_collections": 10.0,
}  # fmt: skip


def warnings_of(components, **changes):
    settings = {"decomposition": CALM, "n_images": 60, "n_rejected": 3, "n_with_terms": 60, "recovery": []}
    return find_warnings(components=components, **(settings | changes))


def test_a_sound_run_has_no_warning():
    assert warnings_of([SOUND]) == []


def test_components_of_the_same_terms_are_reported_in_one_sentence():
    components = [SOUND, SOUND | {"component": "ICA_01", "words": ["A", "b", "c"]}]
    assert warnings_of(components) == [
        "The same terms fit ICA_00 and ICA_01. Their names therefore also state where they lie."
    ]
    components += [SOUND | {"component": label, "words": ["d"]} for label in ("ICA_02", "ICA_03", "ICA_04")]
    assert warnings_of(components) == [
        "The same terms fit ICA_00 and ICA_01; ICA_02, ICA_03 and ICA_04. Their names therefore also state where they"
        " lie."
    ]
    assert warnings_of([SOUND, SOUND | {"component": "ICA_01", "words": ["c", "b", "a"]}]) == []


def test_every_problem_of_a_run_gives_a_warning():
    components = [
        SOUND
        | {"words": [f"word {k}"], "mark": "n.s.", "n_significant_terms": 0, "component": f"ICA_0{k}", "flags": flags}
        for k, flags in enumerate(("start_dependent,one_collection", "not_reproduced"))
    ]
    worried = CALM | {"converged": False, "n_restarts_converged": 12, "n_images": 5, "n_effective_collections": 1.2}
    found = warnings_of(components, decomposition=worried, n_images=5, n_rejected=9, n_with_terms=2)
    assert "Set run_ica.algorithm: picard" in found[1]
    assert found[0].startswith(
        "This run is too small for general conclusions: 5 images for 20 components (expected: at least 60);"
        " effective number of collections 1.2 (expected: at least 10)."
    )
    assert [line.split(":")[0] for line in found] == [
        "This run is too small for general conclusions",
        "FastICA did not converge within 500 iterations",
        "8 of 20 restarts did not converge.",
        "Different random starts give different components",
        "Not reproduced across studies (bootstrap or split-half), or no better than chance",
        "ICA_00 depends on one collection",
        "Only 2 of 5 images have term weights. The terms are based on these alone.",
        "Unnamed, because no candidate passed both tests for a name (q < 0.05, and a better fit than 95 % of random"
        " maps)",
        "More images were rejected (9) than used (5). The reasons are under Images.",
    ]
    assert found[3].endswith(": ICA_00.")
    assert ": ICA_01. These may not appear in other samples" in found[4]
    assert "collection 7 has 20.0 % of its squared loadings" in found[5]
    assert found[7].endswith(": ICA_00 and ICA_01. The closest terms in parentheses may be noise.")


def test_a_component_without_a_peak_is_reported():
    empty = SOUND | {"component": "ICA_01", "n_peaks": 0}
    (found,) = warnings_of([SOUND, empty | {"words": ["d"]}])
    assert found.startswith("No value reaches the threshold (plot_components.threshold): ICA_01.")
    assert flags_of(empty) == ["nothing above threshold"]


def test_missing_measurements_are_reported():
    found = warnings_of(
        [SOUND | {"mark": "untested", "n_significant_terms": None, "r_bootstraps": None, "r_split_half": None}]
    )
    assert [line.split(" (")[0] for line in found] == [
        "Stability across studies is unknown: there was no bootstrap or split-half analysis",
        "Names were not tested",
    ]
    assert warnings_of([SOUND | {"r_bootstraps": None}]) == []


def test_candidates_without_a_test_are_reported_beside_tested_ones():
    tested = SOUND | {"mark": "n.s.", "words": ["pain"]}
    untested = SOUND | {"component": "ICA_01", "mark": "untested", "words": ["object"]}
    found = warnings_of([tested, untested])
    assert [line.partition(": ")[::2] for line in found] == [
        (
            "Unnamed, because there are too few collections to test terms and labels",
            "ICA_01. The closest terms in parentheses may be noise.",
        ),
        (
            "Unnamed, because no candidate passed both tests for a name (q < 0.05, and a better fit than 95 % of random"
            " maps)",
            "ICA_00. The closest terms in parentheses may be noise.",
        ),
    ]


def test_a_database_that_could_not_be_fetched_is_a_warning():
    kinds = ("coordinates", "metadata", "features", "vocabulary")
    database = [{"kind": kind, "status": "ok", "reason": None} for kind in kinds]
    assert warnings_of([SOUND], database=database) == []
    database[2] |= {"status": "failed", "reason": "no_connection"}
    (found,) = warnings_of([SOUND], database=database)
    assert "database could not be fetched (no_connection)" in found
    assert "snakemake --cores 2 update" in found


def test_names_from_metadata_alone_are_a_warning():
    (found,) = warnings_of([SOUND], n_with_terms=0)
    assert "names come from metadata alone. Set build_term_maps.database to neurosynth" in found
    assert warnings_of([SOUND | {"maps": [{"term": "pain"}]}], n_with_terms=0) == []


def test_a_failed_demo_check_is_a_warning():
    found = warnings_of([SOUND], recovery=[{"passed": True}, {"passed": False}])
    assert found == ["Demo check: 1 check of 2 failed; see the section Demo check."]


def test_flags_have_short_names():
    assert flags_of(SOUND) == []
    assert flags_of(SOUND | {"flags": "start_dependent"}) == ["unstable start"]
    assert flags_of(SOUND | {"flags": "not_reproduced,one_collection"}) == ["not reproduced", "one study"]
    assert flags_of(SOUND | {"flags": "of_tomorrow"}) == ["of_tomorrow"]


def test_a_name_is_uncertain_only_if_no_candidate_is_significant():
    unsure = SOUND | {"mark": "n.s.", "n_significant_terms": 0}
    assert flags_of(unsure) == ["name uncertain"]
    # A label can be significant and still give no name.
    assert flags_of(unsure | {"n_significant_labels": 2}) == ["name uncertain"]
    assert flags_of(unsure | {"mark": "untested"}) == []
    assert flags_of(unsure | {"evidence_name": "unnamed (closest: a)"}) == []
    assert flags_of(SOUND) == []
