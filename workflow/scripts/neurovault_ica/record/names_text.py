"""Write the paragraphs on names and reference networks of the methods section."""

from collections.abc import Mapping
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.naming.names import NAMING_RANK, NEAR_BEST_SHARE
from neurovault_ica.naming.nilearn_atlases import NILEARN_ATLASES
from neurovault_ica.record.bibliography import WORKS, cite, cited
from neurovault_ica.runtime.wording import counted
from neurovault_ica.statistics.p_values import LARGEST_P_CORRECTED, MIN_SURROGATES, MOST_ROUNDS, SIGNIFICANT_Q
from neurovault_ica.statistics.permuted_collections import MIN_LABEL_COLLECTIONS
from neurovault_ica.statistics.random_maps import FWHM_MM


def names_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Describe how components got their names, and the evidence for them, in one to five paragraphs."""
    if not facts["images_with_terms"]:
        start = "**Names.** No image had term weights, so the components have no terms."
        return start + _labels(facts, settings) + _maps(facts, settings) + _decision(facts)
    through = (
        "the images' loadings (the mixing matrix, whose columns are the interpretable patterns;"
        f" {cite(WORKS['haufe2014interpretation'])})"
        if settings["project_terms"]["projection"] == "mixing"
        else "the unmixing matrix"
    )
    centred = (
        ". The weights of each term were centred over images, so that terms common to all images do not name every"
        " component"
        if settings["project_terms"]["center_terms"]
        else ""
    )
    halves = (
        " The activation of an image had the image's weights. Its deactivation had those of the negative image."
        if settings["stack_images"]["signs"] == "split"
        else ""
    )
    return (
        f"**Names.** {facts['images_with_terms']:,} of {counted(facts['images_used'], 'image')} had"
        f" {_weights(facts['terms'], settings)}{halves} Negative weights were set to zero. Images without weights were"
        f" left out, not counted as zero. The weights were projected onto the components through {through}{centred}."
        f"{_evidence(facts, settings)}"
        f"{_labels(facts, settings)}{_maps(facts, settings)}{_decision(facts)}"
    )


def _weights(n_terms: int, settings: Mapping[str, Any]) -> str:
    """Describe the term weights by their origin, as the end of a sentence and possibly a second one."""
    archive, terms = open_archive(settings["archive"]), counted(n_terms, "term")
    if settings["fetch_terms"]["source"] == "database":
        return f"term weights: their correlations with the meta-analytic maps of {terms}."
    if archive.is_demo:
        return f"simulated weights of {terms}."
    if archive.has_own_terms:
        return f"weights of {terms}, which were given with the images."
    return (
        f"term weights from Neurosynth {cited('yarkoni2011neurosynth')}. They are correlations of each image with the"
        f" meta-analytic maps of {terms}."
    )


def _evidence(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Describe how terms were tested and how many were significant, or state that they were not tested."""
    if not facts["terms_tested"]:
        return " The terms are descriptive; their significance was not tested."
    n_permutations = settings["project_terms"]["n_permutations"]
    return (
        "\n\n**Tests of terms.** We tested, one-sided, whether collections with high loadings on a component also have"
        " high weights for a term. The statistic was the correlation of mean loadings (mixing matrix) and mean term"
        " weights over collections. Means were divided by their expected standard deviation, which depends on the size"
        " of the collection. There were two null hypotheses. The first is that the term weights of collections are"
        " unrelated to their loadings. To test it, collections were permuted as blocks"
        f" ({counted(n_permutations, 'permutation')}, and up to {n_permutations * MOST_ROUNDS:,} for pairs with small"
        f" p; {cite(WORKS['besag1991sequential'])}). The second is that the term's map is a random smooth map. This"
        " test is needed because loadings and term weights come from the same voxels. The weights of any map that"
        " overlaps the component therefore correlate with its loadings. The term's map was replaced with"
        f" {n_permutations * MOST_ROUNDS:,} Gaussian random maps (FWHM {FWHM_MM:g} mm)."
        " A term's p value is the larger of the two, corrected over all components and terms for the false discovery"
        f" rate {cited('benjamini1995fdr')}. {facts['terms_significant']:,} of"
        f" {facts['terms_tested']:,} pairs of component and term had q < {SIGNIFICANT_Q};"
        f" {facts['components_with_significant_terms']} of {counted(facts['components'], 'component')} had such a term."
        " The test treats collections as exchangeable; collections from one lab or sample are counted separately. A"
        " significant term is not necessarily the best name, and it does not show a component's function. Terms and"
        " components come from the same images; no independent data have confirmed the names."
    )


def _maps(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Describe how term maps were compared; empty if there were none."""
    if not facts["term_maps"]:
        return ""
    found = ""
    if facts["term_map_pairs_tested"]:
        n_surrogates = max(settings["project_terms"]["n_permutations"], MIN_SURROGATES)
        found = (
            f". The correlations were tested one-sided against {n_surrogates:,} surrogates of the component: random"
            f" maps with its autocorrelation, value distribution and left-right symmetry {cited('burt2020surrogates')}."
            " Small p values were extrapolated with a generalized Pareto distribution"
            f" {cited('knijnenburg2009fewer')} and corrected over all components and maps for the false discovery rate"
            f" {cited('benjamini1995fdr')}. {facts['term_map_pairs_significant']:,} of"
            f" {facts['term_map_pairs_tested']:,} pairs had q < {SIGNIFICANT_Q}. The negative sides of the components"
            " were compared with the same maps, and corrected separately"
        )
    n_maps, origin = counted(facts["term_maps"], "term map"), ""
    if settings["project_terms"]["term_maps"]:
        origin = (
            ": a given set, and the meta-analytic maps of other terms" if facts.get("built_term_maps") else " of ours"
        )
    return f"\n\n**Term maps.** The component maps were correlated over the mask with {n_maps}{origin}{found}."


def _decision(facts: Mapping[str, Any]) -> str:
    """State the rule for names, and how many components have a name from which source."""
    with_maps, with_terms, with_labels = (
        bool(facts[key]) for key in ("term_map_pairs_tested", "terms_tested", "labels_tested")
    )
    if not (with_maps or with_terms or with_labels):
        return (
            "\n\n**Decision.** No candidate for a name was tested for significance, so all components are unnamed. The"
            f" closest candidate, if there is one, is in parentheses.{_names_of_a_person(facts)}"
        )
    steps = []
    if with_terms:
        steps.append(f"the significant term with the largest weight, if that is among the first {NAMING_RANK}")
    if with_labels:
        steps.append(
            "the significant metadata label with the largest difference, if this label also exceeds surrogates of the"
            f" component (p ≤ {LARGEST_P_CORRECTED:g}, corrected for choosing among labels)"
        )
    starts = ["A component is named by", "Otherwise it is named by"]
    rule = ""
    if with_maps:
        rule = (
            " A component is named by a term map if its best term map is significant after correction for choosing"
            f" among all maps (p ≤ {LARGEST_P_CORRECTED:g}; largest z of each surrogate). The name is then the"
            f" significant term (q < {SIGNIFICANT_Q}) with the largest correlation, if this is at least"
            f" {NEAR_BEST_SHARE:g} of the largest correlation of all terms."
        )
        starts[0] = "If there is no such term, the component is named by"
    rule += "".join(f" {start} {step}." for start, step in zip(starts, steps, strict=False))
    if with_maps and steps:
        rule += " A term or label gives no name if its own term map does not fit the component."
    rule = f"\n\n**Decision.**{rule} All other components are unnamed, with the closest term in parentheses."
    if not facts["components_named"]:
        return f"{rule} No component has a significant name.{_names_of_a_person(facts)}"
    named = sum(facts["components_named"].values())
    sources = ", ".join(f"{count} from {source}" for source, count in facts["components_named"].items())
    have = "has" if named == 1 else "have"
    components = counted(facts["components"], "component")
    return f"{rule} {named} of {components} {have} a significant name ({sources}).{_names_of_a_person(facts)}"


def _names_of_a_person(facts: Mapping[str, Any]) -> str:
    """State how many components are shown with a name that a person gave; empty if none is."""
    number = facts["components_named_by_person"]
    return f" Figures and tables show names that we gave to {counted(number, 'component')} ourselves." if number else ""


def _labels(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Describe how metadata labels were tested and how many were significant; empty if none were tested."""
    if not facts["labels_tested"]:
        return ""
    is_split = settings["stack_images"]["signs"] == "split"
    sides = ", separately for activation and deactivation," if is_split else ""
    over, tests = (
        ("components, labels and both signs", "tests")
        if is_split
        else ("components and labels", "pairs of component and label")
    )
    return (
        f"\n\n**Metadata labels.** Labels of at least {MIN_LABEL_COLLECTIONS} collections were tested. They are"
        " paradigms and contrasts of the Cognitive Atlas, contrast definitions, and words of names and descriptions."
        " The mean loading"
        f" of images with a label was compared{sides} with that of the other images with the same field, by permuting"
        " their collections"
        f" ({counted(settings['project_terms']['n_permutations'], 'permutation')} or more). The p values were corrected"
        f" over all {over} for the false discovery rate. {facts['labels_significant']:,} of"
        f" {facts['labels_tested']:,} {tests} had q < {SIGNIFICANT_Q}."
    )


def networks_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Describe the comparison with reference networks; empty if no reference is configured."""
    reference = settings["match_networks"]["reference"]
    if reference is None:
        return []
    atlas = NILEARN_ATLASES.get(reference)
    networks = f"the networks {reference} {cited(atlas.work)}" if atlas else "a set of reference networks"
    text = (
        f"**Reference networks.** The component maps were compared with {networks} by Pearson's correlation over the"
        " voxels of the mask where the reference has data. A component's best network is the one with the largest"
        " |r|. Components and networks were also matched one to one by maximising the sum of |r|. The mean |r| of"
        f" components with their best networks was {facts['mean_best_network_r']:.2f}."
    )
    if facts["components_with_one_signed_network"]:
        text += (
            " If a network has values of one sign, the negative side of a component can only lower r."
            f" {counted(facts['components_with_one_signed_network'], 'component')} had such a best network and a"
            f" positive r: {facts['mean_one_signed_r']:.2f} on average, and {facts['mean_one_signed_positive_r']:.2f}"
            " with negative values set to 0."
        )
    if facts["networks_tested"]:
        text += (
            f" Each |r| was tested with {counted(settings['match_networks']['n_surrogates'], 'surrogate')} of the"
            " component: the null distribution is the largest |r| of each surrogate with any network. Surrogates are"
            " random maps with the component's value distribution, left-right symmetry and spatial autocorrelation"
            f" {cited('burt2020surrogates')}. The autocorrelation was fitted with the model of AFNI"
            f" {cited('cox2017clustering')}. The p values were corrected over components for the"
            f" false discovery rate {cited('benjamini1995fdr')}."
            f" {facts['components_with_significant_network']} of {counted(facts['components'], 'component')} had a"
            f" network with q < {SIGNIFICANT_Q}."
        )
    return [text]
