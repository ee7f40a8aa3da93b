"""The paragraphs describe what a run did, and nothing else."""

import tomllib

import pytest
import yaml
from conftest import ROOT
from neurovault_ica.record.data_text import data_paragraph, list_map_types
from neurovault_ica.record.facts import run_facts
from neurovault_ica.record.methods_text import WORKFLOW, methods_text, preparation_paragraph, threshold_paragraph
from neurovault_ica.record.names_text import names_paragraph, networks_paragraph
from neurovault_ica.runtime.layers import read_file

FLAGS = {
    "min_iq_restarts": 0.6,
    "min_r_restarts": None,
    "min_r_bootstraps": 0.5,
    "min_r_split_half": 0.4,
    "max_collection_share": 0.6,
    "min_grey_matter_share": 0.45,
    "max_outside_tissue_share": None,
    "max_rim_share": 0.25,
}
MEASURES = (
    "iq_restarts", "r_bootstraps", "chance_r_bootstraps", "r_split_half", "chance_r_split_half", "grey_matter_share",
)  # fmt: skip


def test_the_methods_name_the_workflow_as_it_is_cited():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f"{citation['title']} {citation['version']}" == WORKFLOW
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == citation["version"]


def test_map_types_are_in_singular_or_plural():
    counts = {"T map": 1, "Z map": 59, "P map (given null hypothesis)": 2, "Other": 17, "variance": 3}
    assert list_map_types(counts) == (
        "59 Z maps, 17 maps of other types, 3 maps of type variance, 2 P maps (given null hypothesis), 1 T map"
    )


def test_methods_follow_the_configuration():
    settings = read_file(ROOT / "config.yaml")
    settings["stack_images"]["scale"] = "none"
    settings["match_networks"]["reference"] = None
    settings["mask_images"] |= {"interpolation": "continuous", "mask": "my/mask.nii.gz", "extrapolate_background": True}
    settings["mask_images"] |= {"clip_infinite": False, "smoothing_mm": 6}
    settings["project_terms"] |= {"projection": "unmixing", "center_terms": False}
    settings["fetch_metadata"]["max_images_per_collection"] = None
    decomposition = {
        "n_components": 8, "n_voxels": 1000, "n_iter": 200, "converged": False,
        "algorithm": "fastica", "max_iter": 200, "max_sample_iter": 100, "tol": 0.0001,
        "n_restarts": 1, "n_restarts_converged": 0, "random_state": 3, "variance_explained": 0.5,
        "n_effective_collections": 1.0,
        "n_axes_of_draws": 7, "flags": FLAGS,
        "n_flagged": {"start_dependent": 0, "not_reproduced": 0, "one_collection": 0},
        "signs": "split", "n_images_without": {"activation": 0, "deactivation": 2},
    }  # fmt: skip
    terms = [{"component": "ICA_00", "term": "motor", "images": 1, "q": None}]
    facts = run_facts(
        selection=[{"image_id": 1, "collection_id": 7}],
        images=[{"image_id": 1, "collection_id": 7, "map_type": "Z map"}],
        rejected=[],
        collections=[{"collection_id": 7, "DOI": None, "preprint_DOI": None}],
        decomposition=decomposition,
        terms=terms,
        labels=[],
        map_terms=[],
        names=[],
        stability=[dict.fromkeys(MEASURES)],
        networks=[],
        mixtures=[],
    )
    text = methods_text(facts, decomposition, settings)
    for words in (
        "without a limit on the number of images per collection",
        "No image was rejected",
        "third-order spline interpolation",
        "extrapolation from the edge of the data",
        "Non-finite values were set to zero.",
        "a study-specific mask",
        "smoothed within the mask with a Gaussian of 6 mm full width at half maximum",
        "The maps were not scaled",
        "two rows, max(x, 0) and max(-x, 0); 2 maps had no deactivation.",
        "Its deactivation had those of the negative image.",
        "did not converge within 200 iterations",
        "seed 3",
        "through the unmixing matrix.",
        "their significance was not tested",
    ):
        assert words in text, words
    for words in (
        "ICASSO",
        "centred over images",
        "my/mask",
        "random starts",
        "bootstrap sample",
        "Benjamini",
        "term map",
        "halves",
        "equal weight",
    ):
        assert words not in text, words


def test_methods_say_how_images_were_selected():
    settings = read_file(ROOT / "config.yaml")
    facts = {
        "images_selected": 18, "collections_selected": 5, "images_rejected": {}, "images_used": 18,
        "collections_used": 5, "map_types": {"Z map": 18}, "largest_collection_images": 6,
    }  # fmt: skip

    def text(**choice):
        settings["fetch_metadata"] |= choice
        return data_paragraph(facts, settings)

    assert (
        ". 18 images of 5 collections met the metadata criteria, with at most 10 images per collection, drawn at random"
        " (seed 0) to limit the influence of single studies. Criteria of collections: number of images is given; name"
        " does not contain temporary collection. Criteria of images: modality is fMRI-BOLD; map type is Z map, T map or"
        " univariate-beta map; analysis level is group; name does not contain the word ica, pca, ppi, seed or"
        " connectivity; at least 10 subjects, where their number is known. No image was rejected. The analysis"
    ) in text(max_images=19)
    # If the limit was reached, more images may have met the criteria.
    assert (
        ". Of the images that met the metadata criteria, 18 images of 5 collections were drawn at random (seed 7), with"
        " at most 10 images per collection to limit the influence of single studies. Collections were drawn one at a"
        " time until there were 18 images. Criteria of collections: number"
    ) in text(max_images=18, random_state=7)
    assert "were drawn at random (seed 7), without a limit on the number of images per collection. Collections" in text(
        max_images_per_collection=None
    )
    facts["images_rejected"] = {"thresholded": 3}
    assert (
        "known. 3 images were rejected (3 thresholded). The file rejected.tsv lists each with its reason, measured"
        " value and limit. The analysis"
    ) in text()
    facts["images_rejected"] = {}
    settings["stack_images"]["quality"] |= dict.fromkeys(settings["stack_images"]["quality"])
    assert ". No limits of image quality were set. No image was rejected." in text()
    settings["stack_images"]["quality"] = {"min_peak": 1.96}
    settings["archive"]["lock"] = "paper.lock.tsv"
    locked = text()
    assert ". The lock file of an earlier run gave the selection: 18 images of 5 collections. No image" in locked
    assert "Criteria" not in locked
    assert "criteria" not in locked
    assert "seed" not in locked


def test_methods_mention_resampled_copies():
    settings = read_file(ROOT / "config.yaml")
    facts = {"voxels": 1000}
    assert preparation_paragraph(facts, settings).startswith("**Preparation.** Infinite values")
    settings["download_images"] |= {"resample": True, "interpolation": "nearest"}
    assert preparation_paragraph(facts, settings).startswith(
        "**Preparation.** The maps were first resampled to voxels of 3 mm with nearest-neighbour interpolation, as in"
        " nilearn. Infinite values"
    )


def test_methods_say_how_terms_were_tested_and_how_many_passed():
    settings = read_file(ROOT / "config.yaml")
    settings["project_terms"]["n_permutations"] = 2500
    settings["match_networks"]["reference"] = None
    decomposition = {
        "n_components": 3, "n_voxels": 1000, "n_iter": 20, "converged": True,
        "algorithm": "fastica", "max_iter": 200, "max_sample_iter": 100, "tol": 0.0001,
        "n_restarts": 1, "n_restarts_converged": 1, "random_state": 3, "variance_explained": 0.5,
        "n_effective_collections": 1.0,
        "n_axes_of_draws": 7, "flags": FLAGS,
        "n_flagged": {"start_dependent": 0, "not_reproduced": 0, "one_collection": 0},
    }  # fmt: skip
    facts = run_facts(
        selection=[],
        images=[{"image_id": 1, "collection_id": 7, "map_type": "Z map"}],
        rejected=[],
        collections=[],
        decomposition=decomposition,
        terms=[
            {"component": f"ICA_0{k}", "term": term, "images": 1, "q": q}
            for k, term, q in [(0, "motor", 0.01), (0, "hand", 0.0499), (1, "motor", 0.2), (1, "hand", 0.05)]
        ],
        labels=[{"q": 0.04}, {"q": 0.05}, {"q": None}],
        map_terms=[{"term": term, "q": q} for term, q in [("pain", 0.01), ("pain", 0.5), ("heat", 0.2), ("heat", 0.3)]],
        names=[],
        stability=[],
        networks=[],
        mixtures=[],
    )
    assert facts["components_with_significant_terms"] == 1
    text = methods_text(facts, decomposition, settings)
    for words in (
        "permuted as blocks (2,500 permutations, and up to 250,000 for pairs with small p; Besag and Clifford 1991)",
        "replaced with 250,000 Gaussian random maps (FWHM 30 mm)",
        "\n\n**Tests of terms.** We tested, one-sided,",
        "\n\n**Metadata labels.** Labels of at least 3 collections",
        "1 of 2 tests had q < 0.05.\n\n**Term maps.** The component",
        "correlated over the mask with 2 term maps. The correlations were tested one-sided against 2,500 surrogates",
        "The name is then the significant term (q < 0.05) with the largest correlation, if this is at least 0.9",
        "(Benjamini and Hochberg 1995). 1 of 4 pairs had q < 0.05. The negative sides",
        "false discovery rate (Benjamini and Hochberg 1995)",
        "2 of 4 pairs of component and term had q < 0.05; 1 of 3 components had such a term.",
        "- Benjamini, Yoav; Hochberg, Yosef (1995).",
    ):
        assert words in text, words
    assert "was not tested" not in text


def test_the_decision_names_only_tests_that_were_made():
    settings = read_file(ROOT / "config.yaml")
    facts = {
        "images_with_terms": 0, "images_used": 3, "components": 4, "terms": 0, "terms_tested": 0, "labels_tested": 0,
        "labels_significant": 0, "term_maps": 0, "term_map_pairs_tested": 0, "term_map_pairs_significant": 0,
        "components_named": {}, "components_named_by_person": 0,
    }  # fmt: skip

    def decision(**changed):
        return names_paragraph(facts | changed, settings).partition("**Decision.** ")[2]

    nothing = (
        "No candidate for a name was tested for significance, so all components are unnamed. The closest candidate, if"
        " there is one, is in parentheses."
    )
    assert decision() == decision(terms=40, term_maps=7) == nothing
    own = " Figures and tables show names that we gave to 2 components ourselves."
    assert decision(components_named_by_person=2) == f"{nothing}{own}"
    by_labels = decision(labels_tested=9, labels_significant=1)
    assert by_labels.startswith(
        "A component is named by the significant metadata label with the largest difference, if"
    )
    assert "term with" not in by_labels
    by_maps = decision(term_maps=7, term_map_pairs_tested=28)
    assert by_maps.startswith("A component is named by a term map if its best term map is significant")
    assert "of all terms. All other components are unnamed, with the closest term in parentheses. No comp" in by_maps
    by_both = decision(term_maps=7, term_map_pairs_tested=28, labels_tested=9, components_named={"metadata": 1})
    for words in (
        "If there is no such term, the component is named by the significant metadata label",
        "A term or label gives no name if its own term map does not fit the component. All other",
        "1 of 4 components has a significant name (1 from metadata).",
    ):
        assert words in by_both, words


def test_methods_say_where_term_maps_come_from():
    settings = read_file(ROOT / "config.yaml")
    facts = {
        "images_with_terms": 0, "terms": 0, "terms_tested": 0, "labels_tested": 0, "term_maps": 7,
        "term_map_pairs_tested": 0, "components_named": {}, "built_term_maps": 5, "components_named_by_person": 0,
    }  # fmt: skip
    assert "with 7 term maps.\n" in names_paragraph(facts, settings)
    settings["project_terms"]["term_maps"] = "my/maps"
    text = names_paragraph(facts, settings)
    assert "with 7 term maps: a given set, and the meta-analytic maps of other terms.\n" in text
    assert "with 7 term maps of ours.\n" in names_paragraph(facts | {"built_term_maps": 0}, settings)
    assert "my/maps" not in text


def test_methods_describe_stability_and_flags():
    settings = read_file(ROOT / "config.yaml")
    settings["reduce_images"]["weight_collections_equally"] = True
    decomposition = {
        "n_components": 2, "n_voxels": 200_009, "n_iter": 20, "converged": True,
        "algorithm": "fastica", "max_iter": 200, "max_sample_iter": 100, "tol": 0.0001,
        "n_restarts": 20, "n_restarts_converged": 17, "random_state": 3, "variance_explained": 0.5,
        "n_effective_collections": 7.25, "n_bootstraps_used": 19, "n_splits_used": 10,
        "n_axes_of_draws": 7, "flags": FLAGS,
        "n_flagged": {"start_dependent": 0, "not_reproduced": 1, "one_collection": 2, "not_grey_matter": 1},
        "tissue_shares_of_mask": {"grey_matter": 0.529},
    }  # fmt: skip
    images = [{"image_id": k, "collection_id": k, "map_type": "Z map"} for k in range(8)]
    facts = run_facts(
        selection=[],
        images=images,
        rejected=[],
        collections=[],
        decomposition=decomposition,
        terms=[],
        labels=[],
        map_terms=[],
        names=[],
        stability=[
            dict(zip(MEASURES, values, strict=True))
            for values in ((0.9, 0.8, 0.5, 0.7, 0.3, 0.65), (0.7, 0.4, 0.6, 0.2, 0.4, 0.43))
        ],
        networks=[
            {"best_r": -0.5, "best_q": 0.01, "best_positive_r": -0.2, "best_one_signed": True},
            {"best_r": 0.25, "best_q": 0.06, "best_positive_r": 0.4, "best_one_signed": True},
            {"best_r": 0.55, "best_q": None, "best_positive_r": 0.7, "best_one_signed": True},
            {"best_r": 0.2, "best_q": None, "best_positive_r": 0.1, "best_one_signed": False},
        ],
        mixtures=[{"positive_share": 0.0, "negative_share": 0.0}, {"positive_share": 0.0, "negative_share": 0.1}],
    )
    assert (facts["networks_tested"], facts["components_with_significant_network"]) == (2, 1)
    assert facts["mean_best_network_r"] == 0.375
    assert facts["components_with_one_signed_network"] == 2
    assert (facts["mean_one_signed_r"], facts["mean_one_signed_positive_r"]) == pytest.approx((0.4, 0.55))
    assert facts["components_without_activation"] == 1
    text = methods_text(facts, decomposition, settings)
    for words in (
        "The effective number of collections was 7.2 of 8 (one over the sum",
        "so that collections had equal weight.",
        "from 20 random starts (17 converged). Each run used a random tenth of the voxels and at most 100 iterations.",
        "The stability index Iq of these matches had a mean of 0.80 (lowest 0.70)",
        "we decomposed 19 bootstrap samples of the collections in the same way.",
        "Each was decomposed on a random tenth of the voxels, within the 7 leading principal axes of all images. The",
        "was 0.60 (lowest 0.40; 95th percentile under random rotation: 0.55)",
        "In 10 random splits of the collections into halves",
        "was 0.45 (lowest 0.20; 95th percentile under random rotation: 0.35)",
        "Of 2 components, 1 was flagged as not_reproduced (mean |r| in bootstrap samples below 0.5, or mean |r| between"
        " halves below 0.4, or not above chance); 2 were flagged as one_collection (share of a single collection in the"
        " squared loadings above 0.6); 1 was flagged as not_grey_matter (share of the squared map in grey matter below"
        " 0.45, or share within 3 mm of the brain's surface above 0.25).",
        "On average, 54 % of a component's squared map was in grey matter (lowest 43 %; of the mask 53 %), by the",
    ):
        assert words in text, words
    assert "start_dependent" not in text
    # A criterion whose measure is missing raises no flag.
    text = methods_text(facts | {"mean_r_bootstraps": None}, decomposition, settings)
    assert "1 was flagged as not_reproduced (mean |r| between halves below 0.4, or not above chance); 2 were" in text
    once = methods_text(facts, decomposition | {"max_iter": 1, "max_sample_iter": 1, "converged": False}, settings)
    for words in ("the limit 1 iteration, and", "and at most 1 iteration. The", "not converge within 1 iteration, so"):
        assert words in once, words
    # A restart uses at least 10,000 voxels.
    for n_voxels, words in ((29_398, "10,000 random voxels"), (10_000, "all voxels")):
        text = methods_text(facts, decomposition | {"n_voxels": n_voxels}, settings)
        assert f"Each run used {words} and at most" in text
        assert f"Each was decomposed on {words}, within" in text
        assert "tenth" not in text
    # Eight images have 16 rows, and one row is empty. So 15 axes are all axes, and the text does not mention them.
    split = {"signs": "split", "n_images_without": {"activation": 0, "deactivation": 1}}
    for n_axes, is_said in ((14, True), (15, False)):
        text = methods_text(facts, decomposition | split | {"n_axes_of_draws": n_axes}, settings)
        assert (f"within the {n_axes} leading principal axes" in text) is is_said


def test_methods_name_the_reference_networks_and_count_components_with_one():
    settings = read_file(ROOT / "config.yaml")
    facts = dict.fromkeys(["networks_tested", "components"], 2) | {
        "mean_best_network_r": 0.375, "components_with_significant_network": 1,
        "components_with_one_signed_network": 2, "mean_one_signed_r": 0.35, "mean_one_signed_positive_r": 0.4,
    }  # fmt: skip
    assert "the networks seitzman_2018 (Seitzman et al. 2020) by" in networks_paragraph(facts, settings)[0]
    assert networks_paragraph(facts, settings | {"match_networks": {"reference": None}}) == []
    settings["match_networks"] |= {"reference": "yeo_2011_7", "n_surrogates": 5000}
    (text,) = networks_paragraph(facts, settings)
    for words in (
        "compared with the networks yeo_2011_7 (Yeo et al. 2011)",
        "with their best networks was 0.38.",
        "2 components had such a best network and a positive r: 0.35 on average, and 0.40 with negative values set",
        "5,000 surrogates",
        "1 of 2 components had a network with q < 0.05.",
    ):
        assert words in text, words
    settings["match_networks"]["reference"] = "lab/mine.nii.gz"
    settings["match_networks"]["n_surrogates"] = 1
    assert "tested with 1 surrogate of the component" in networks_paragraph(facts, settings)[0]
    (text,) = networks_paragraph(facts | {"networks_tested": 0}, settings)
    assert "compared with a set of reference networks by" in text
    assert "mine" not in text
    assert "surrogates" not in text


def test_methods_name_the_atlas_of_regions():
    settings = read_file(ROOT / "config.yaml")
    sentence = " Regions of peaks are those of the AAL3 atlas (Rolls et al. 2020)."
    assert sentence in threshold_paragraph({}, settings)
    settings["plot_components"]["atlas"] = "my_atlas.nii.gz"
    assert " Regions of peaks are those of a given atlas." in threshold_paragraph({}, settings)
    settings["plot_components"]["atlas"] = None
    assert "Regions" not in threshold_paragraph({}, settings)


def test_methods_describe_the_threshold():
    settings = read_file(ROOT / "config.yaml")
    facts = {"components": 20, "components_without_activation": 2}
    for threshold, words in (
        ({"percentile": 90}, "thresholded at the 90th percentile of their absolute values. A cluster"),
        ({"percentile": 91}, "thresholded at the 91st percentile of their absolute values. A cluster"),
        ({"percentile": 99.9}, "thresholded at the 99.9th percentile of their absolute values. A cluster"),
        ({"z": 2.5}, "thresholded at an absolute value of 2.5 standard deviations. A cluster"),
        ({"mixture": 0.5}, "probability of activation above 0.5. The probability comes from a mixture model"),
        ({"mixture": 0.5}, "(Beckmann and Smith 2004; Woolrich et al. 2005)"),
        ({"mixture": 0.5}, "below 0.025; Worsley et al. 2004). 2 of 20 components had no tail. A cluster"),
    ):
        settings["plot_components"]["threshold"] = threshold
        assert words in threshold_paragraph(facts, settings)
    facts["components_without_activation"] = 0
    assert "Worsley et al. 2004). All 20 components had a tail. A cluster" in threshold_paragraph(facts, settings)
