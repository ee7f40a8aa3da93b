"""The methods paragraphs of a paper, with the numbers of the run."""

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.decomposition.algorithms import ALGORITHMS
from neurovault_ica.images.peaks import MIN_CLUSTER_MM3, MIN_PEAK_DISTANCE_MM
from neurovault_ica.naming.nilearn_atlases import NILEARN_ATLASES
from neurovault_ica.record.bibliography import cite, read_works, reference_line
from neurovault_ica.statistics.exchanged_collections import MIN_LABEL_COLLECTIONS
from neurovault_ica.statistics.mixture import NOISE_PEAK_P
from neurovault_ica.statistics.p_values import MOST_ROUNDS, SIGNIFICANT_Q
from neurovault_ica.statistics.random_maps import FWHM_MM

WORKS = read_works()


def methods_text(facts: Mapping[str, Any], decomposition: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Write the methods paragraph with the numbers of this run."""
    body = "\n\n".join(
        [
            "# Methods",
            _data_paragraph(facts, settings),
            _preparation_paragraph(facts, settings),
            _decomposition_paragraph(facts, decomposition, settings),
            *_stability_paragraph(facts, decomposition),
            _threshold_paragraph(facts, settings),
            _terms_paragraph(facts, settings),
            *_networks_paragraph(facts, settings),
            _reproducibility_paragraph(facts),
        ]
    )
    cited = [reference_line(work) for _, work in sorted(WORKS.items()) if cite(work) in body]
    end = "references.bib has these and the papers of the contributing collections; please cite those too."
    return "\n\n".join([body, "## References", "\n".join(f"- {line}" for line in cited), end]) + "\n"


def _cite(*keys: str) -> str:
    return "(" + "; ".join(cite(WORKS[key]) for key in keys) + ")"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listing(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _data_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    choice = settings["fetch_metadata"]
    origin = open_archive(settings["archive"]).sentence.format_map({key: _cite(key) for key in WORKS})
    limit = choice["max_images_per_collection"]
    balance = (
        "without a limit on the number of images of one collection"
        if limit is None
        else f"with at most {_count(limit, 'image')} of one collection, drawn at random (seed"
        f" {choice['random_state']}), to bound what one study can do"
    )
    refused = sum(facts["images_rejected"].values())
    quality = (
        f"{_count(refused, 'image')} did not pass the quality control of files and voxels"
        f" ({_listing(facts['images_rejected'])})"
        if refused
        else "All passed the quality control of files and voxels"
    )
    return (
        f"**Data.** The statistic maps {origin}. {_count(facts['images_selected'], 'image')} of"
        f" {_count(facts['collections_selected'], 'collection')} met the criteria on the metadata, {balance}."
        f" {quality}. The analysis used {_count(facts['images_used'], 'image')} of"
        f" {_count(facts['collections_used'], 'collection')} ({_listing(facts['map_types'])};"
        f" at most {facts['largest_collection_images']} of one collection)."
    )


def _preparation_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    masking = settings["mask_images"]
    mask = {"brain": "MNI152 brain mask", "gray_matter": "MNI152 grey-matter mask"}.get(masking["mask"])
    grid = (
        f"nilearn's {mask} at {masking['resolution_mm']:g} mm {_cite('abraham2014nilearn', 'fonov2011template')}"
        if mask
        else "a study-specific mask in MNI space"
    )
    interpolation = {
        "linear": "linear interpolation",
        "continuous": "third-order spline interpolation",
        "nearest": "nearest-neighbour interpolation",
    }[masking["interpolation"]]
    background = (
        "; before resampling, the background was filled by extrapolation from the rim of the data"
        if masking["extrapolate_background"]
        else ""
    )
    scaling = (
        "Each map was divided by its standard deviation over the mask, because the maps are in different units"
        if settings["stack_images"]["scale"] == "unit_variance"
        else "The maps were not scaled"
    )
    return (
        f"**Preparation.** Non-finite values were set to zero, and every map was resampled to the grid of {grid} with"
        f" {interpolation}{background}, and reduced to the {facts['voxels']:,} voxels of the mask. {scaling}."
    )


def _decomposition_paragraph(
    facts: Mapping[str, Any], decomposition: Mapping[str, Any], settings: Mapping[str, Any]
) -> str:
    algorithm = ALGORITHMS[decomposition["algorithm"]]
    steps, method = f"{algorithm.iteration}s", algorithm.method.format_map({key: _cite(key) for key in WORKS})
    weighting = (
        "; every image was weighted by one over the size of its collection, so that collections counted alike"
        if settings["reduce_images"]["weight_collections_equally"]
        else ""
    )
    start = (
        f"By their share of the variance, the {_count(facts['collections_used'], 'collection')} counted as much as"
        f" {decomposition['n_effective_collections']:.1f} of equal share (one over the sum of squared"
        f" shares){weighting}."
        f" The matrix of images by voxels was centred, reduced to {facts['components']} principal components"
        f" ({100 * facts['variance_explained']:.1f} % of the variance) and whitened, and decomposed by spatial"
        f" independent component analysis with voxels as observations: {method}, tolerance {decomposition['tol']:g},"
        f" at most {decomposition['max_iter']} {steps}, seed {decomposition['random_state']}."
    )
    n_restarts = decomposition["n_restarts"]
    orthogonal = ", made orthogonal," if algorithm.is_orthogonal else ""
    consensus = ""
    if n_restarts > 1:
        consensus = (
            f" To lessen the dependence on the starting point, {algorithm.label} was run from {n_restarts} random"
            f" starts, each on a random tenth of the voxels and for at most {decomposition['max_sample_iter']} {steps}"
            f" ({decomposition['n_restarts_converged']} converged); the estimates were clustered by average linkage on"
            f" their absolute correlations, as in ICASSO {_cite('himberg2004icasso')}, and the clusters'"
            f" centrotypes{orthogonal} were where the final run over all voxels started."
        )
    end = (
        f" The final run converged after {_count(decomposition['n_iter'], algorithm.iteration)}."
        if decomposition["converged"]
        else f" The final run did not converge within {decomposition['max_iter']} {steps}, so the components are to be"
        " read with caution."
    )
    order = (
        " Components have unit variance over the mask, are ordered by the variance that they explain, and are signed so"
        " that the largest absolute value is positive."
    )
    return f"**Decomposition.** {start}{consensus}{end}{order}"


def _stability_paragraph(facts: Mapping[str, Any], decomposition: Mapping[str, Any]) -> list[str]:
    """Say how components were judged; nothing where nothing was."""
    parts = []
    n_axes = decomposition["n_axes_of_draws"]
    within = f", within the {n_axes} leading principal axes of all images" if n_axes < facts["images_used"] else ""
    if facts["mean_iq_restarts"] is not None:
        parts.append(
            "The estimates of each restart were assigned one to one to the components. The stability index Iq over"
            f" these had a mean of {facts['mean_iq_restarts']:.2f} (lowest {facts['min_iq_restarts']:.2f}); it measures"
            " stability over starting points, not over studies."
        )
    if facts["mean_r_bootstraps"] is not None:
        parts.append(
            "To estimate how much components depend on which studies took part,"
            f" {decomposition['n_bootstraps_used']} times the collections were drawn with replacement and decomposed in"
            f" the same way on a tenth of the voxels{within}; the"
            " components' mean absolute correlation with their matches in these draws, which share images with the"
            " whole, was"
            f" {facts['mean_r_bootstraps']:.2f} (lowest {facts['min_r_bootstraps']:.2f}; axes turned at random in the"
            f" subspaces of the draws stay below {facts['mean_chance_r_bootstraps']:.2f} in 95 % of cases)."
        )
    if facts["mean_r_split_half"] is not None:
        parts.append(
            f"In {_count(decomposition['n_splits_used'], 'random split')} of the collections into halves, each half"
            " was decomposed by itself; the mean absolute correlation between the two halves' matches of a component"
            f" was {facts['mean_r_split_half']:.2f} (lowest {facts['min_r_split_half']:.2f}; by chance below"
            f" {facts['mean_chance_r_split_half']:.2f}). Each half has half of the studies only, so that values for all"
            " of them are likely to be higher. Chance levels are yardsticks, not tests."
        )
    flagged = list(_flagged(decomposition["n_flagged"], decomposition["flags"]))
    if flagged:
        parts.append(f"Of {_count(facts['components'], 'component')}, {'; '.join(flagged)}.")
    return [f"**Stability.** {' '.join(parts)}"] if parts else []


def _flagged(counts: Mapping[str, int], limits: Mapping[str, float | None]) -> Iterator[str]:
    """Say how many components have which flag, and what raises it."""
    what_raises = {
        "start_dependent": {"min_iq_restarts": "Iq over restarts", "min_r_restarts": "mean |r| with them"},
        "not_reproduced": {"min_r_bootstraps": "mean |r| in the draws", "min_r_split_half": "mean |r| between halves"},
        "one_collection": {"max_collection_share": "share of one collection in the squared loadings"},
    }
    for flag in (flag for flag, count in counts.items() if count):
        side = "above" if flag == "one_collection" else "below"
        criteria = [f"{words} {side} {limits[key]:g}" for key, words in what_raises[flag].items() if limits[key]]
        if flag == "not_reproduced":
            criteria.append("not above chance")
        yield f"{counts[flag]} {'is' if counts[flag] == 1 else 'are'} flagged as {flag} ({', or '.join(criteria)})"


def _terms_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    if not facts["images_with_terms"]:
        start = "**Names.** No image had term weights, so the components have no terms."
        return start + _labels(facts, settings) + _maps(facts)
    through = (
        "the images' loadings (the mixing matrix, whose columns are the patterns to interpret;"
        f" {cite(WORKS['haufe2014interpretation'])})"
        if settings["project_terms"]["projection"] == "mixing"
        else "the unmixing matrix"
    )
    centred = (
        ", each term centred over images so that terms common to all images do not name every component"
        if settings["project_terms"]["center_terms"]
        else ""
    )
    return (
        f"**Names.** {_count(facts['images_with_terms'], 'image')} of {facts['images_used']:,} had Neurosynth"
        f" {_cite('yarkoni2011neurosynth')} term weights (correlations of the image with the meta-analytic maps of"
        f" {facts['terms']:,} terms; negative ones set to zero; images without weights left out, not counted as zero)."
        f" The weights were projected on the components through {through}{centred}. {_evidence(facts, settings)}"
        f"{_labels(facts, settings)}{_maps(facts)}"
    )


def _evidence(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Say how terms were tested and how many passed, or that they were not tested."""
    if not facts["terms_tested"]:
        return "The terms describe; they are not tests of significance."
    n_permutations = settings["project_terms"]["n_permutations"]
    return (
        "Whether the collections that load on a component are those that carry a term was tested one-sided, by the"
        " correlation of mean loadings (mixing matrix) and mean term weights over collections, means scaled by their"
        " standard errors so that those of small and large collections vary alike, against two null hypotheses. The"
        " first is that the term weights of collections have nothing to do with their loadings: whole collections were"
        f" permuted ({_count(n_permutations, 'arrangement')}, and up to {n_permutations * MOST_ROUNDS:,} for pairs that"
        f" few of them reached; {cite(WORKS['besag1991sequential'])}). The second is that the term's map is a random"
        " smooth map: loadings and term weights come from the same voxels, so any map that overlaps the component has"
        f" weights that go with its loadings. Images were given weights in {n_permutations * MOST_ROUNDS:,} Gaussian"
        f" random maps (FWHM {FWHM_MM:g} mm). A term's p value is the larger of both, corrected over all components and"
        f" terms for the false discovery rate {_cite('benjamini1995fdr')}. {facts['terms_significant']:,} of"
        f" {facts['terms_tested']:,} pairs of component and term had q < {SIGNIFICANT_Q};"
        f" {facts['components_with_significant_terms']} of {_count(facts['components'], 'component')} had such a term."
        " This takes collections for exchangeable, so that those of one laboratory or sample count as several. It does"
        " not say that a term names a component better than others, or what a component does, and terms and components"
        " come from the same images: other data have not confirmed the names."
    )


def _maps(facts: Mapping[str, Any]) -> str:
    """Say how the maps of terms were compared, or nothing."""
    if not facts["term_maps"]:
        return ""
    found = ""
    if facts["term_map_pairs_tested"]:
        found = (
            ", and tested one-sided against surrogates of the component: random maps with its autocorrelation, its"
            f" values and the likeness of its two halves {_cite('burt2020surrogates')}."
            f" {facts['term_map_pairs_significant']:,} of {facts['term_map_pairs_tested']:,} pairs had q <"
            f" {SIGNIFICANT_Q}"
        )
    return (
        f" The component maps were correlated over the mask with {_count(facts['term_maps'], 'map')} of terms{found}."
    )


def _labels(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Say how the archive's own labels were tested and how many passed, or nothing."""
    if not facts["labels_tested"]:
        return ""
    return (
        " The mean loadings of images that share a label of the archive (paradigm or contrast of the Cognitive Atlas,"
        " contrast definition, or a word of names and descriptions; labels of at least"
        f" {MIN_LABEL_COLLECTIONS} collections) were compared with those of the other images by exchanging collections"
        f" ({_count(settings['project_terms']['n_permutations'], 'arrangement')} or more), with p values corrected over"
        " all components and labels for the false discovery rate;"
        f" {facts['labels_significant']:,} of {facts['labels_tested']:,} pairs of component and label had q <"
        f" {SIGNIFICANT_Q}."
    )


def _threshold_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    threshold = settings["plot_components"]["threshold"]
    if "percentile" in threshold:
        shown = f"from the {threshold['percentile']:g}th percentile of their absolute values on"
    elif "z" in threshold:
        shown = f"from absolute values of {threshold['z']:g} standard deviations on"
    else:
        shown = (
            f"where activation has a probability above {threshold['mixture']:g}, in a mixture fitted to each"
            " component's values of a Gaussian distribution for noise and a Gamma distribution for each tail"
            f" {_cite('beckmann2004melodic', 'woolrich2005mixture')}. A tail was fitted only where the largest value"
            " was above what a Gaussian field as smooth as the component reaches (expected Euler characteristic below"
            f" {NOISE_PEAK_P:g}; {cite(WORKS['worsley2004unified'])}); {facts['components_without_activation']} of"
            f" {_count(facts['components'], 'component')} had no such value"
        )
    return (
        f"**Thresholds and peaks.** Component maps were shown {shown}. Clusters are voxels that share a face, of at"
        f" least {MIN_CLUSTER_MM3:g} mm³ (that of the first peak also if it is smaller);"
        f" peaks in one cluster are at least {MIN_PEAK_DISTANCE_MM:g} mm apart, in MNI"
        " coordinates. The threshold says what is shown; it is no test of voxels."
    )


def _networks_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    reference = settings["match_networks"]["reference"]
    if reference is None:
        return []
    atlas = NILEARN_ATLASES.get(reference)
    networks = f"the networks {reference} {_cite(atlas.work)}" if atlas else "a set of reference networks"
    text = (
        f"**Reference networks.** The component maps were compared with {networks} by Pearson's correlation over the"
        " voxels of the mask where the reference has data. A component's best network is that with the largest"
        " |r|; components and networks were also matched one to one so that the sum of |r| is largest. The mean |r| of"
        f" components with their best networks was {facts['mean_best_network_r']:.2f}."
    )
    if facts["networks_tested"]:
        text += (
            f" Each |r| was compared with the largest that {settings['match_networks']['n_surrogates']:,} surrogates of"
            " the component had with any network: random maps with the values of the component, its spatial"
            f" autocorrelation {_cite('burt2020surrogates')}, fitted in the form of AFNI {_cite('cox2017clustering')},"
            " and its correlation of left and right, which know nothing of anatomy. Over components, p values were"
            f" corrected for the false discovery rate {_cite('benjamini1995fdr')}."
            f" {facts['components_with_significant_network']} of {_count(facts['components'], 'component')} had a"
            f" network with q < {SIGNIFICANT_Q}."
        )
    return [text]


def _reproducibility_paragraph(facts: Mapping[str, Any]) -> str:
    caution = ""
    if facts["locked_images_without_doi"]:
        caution = (
            f" {_count(facts['locked_images_without_doi'], 'locked image')} of"
            f" {_count(facts['locked_collections_without_doi'], 'collection')} without a DOI may vanish from"
            " NeuroVault."
        )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("nilearn", "scikit-learn", "nibabel", "numpy", "scipy")
    )
    return (
        f"**Reproducibility.** The analysis is a Snakemake workflow {_cite('moelder2021snakemake')} run with Snakemake"
        f" {importlib.metadata.version('snakemake')}, Python {platform.python_version()}, {versions}"
        f" {_cite('harris2020numpy', 'virtanen2020scipy')}. images.lock.tsv lists every image with its address, size"
        f" and SHA-256, run.json the configuration, seeds, versions and the hash of every result.{caution}"
    )
