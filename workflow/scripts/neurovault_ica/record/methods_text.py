"""Write the methods section of a paper with the numbers of the run."""

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.decomposition.algorithms import ALGORITHMS
from neurovault_ica.decomposition.consensus import sample_size
from neurovault_ica.images.peaks import MIN_CLUSTER_MM3, MIN_PEAK_DISTANCE_MM
from neurovault_ica.images.tissues import RIM_MM
from neurovault_ica.naming.region_atlases import AAL3
from neurovault_ica.record.bibliography import WORKS, cite, cited, reference_line
from neurovault_ica.record.data_text import data_paragraph
from neurovault_ica.record.database_text import database_paragraph
from neurovault_ica.record.names_text import names_paragraph, networks_paragraph
from neurovault_ica.runtime.wording import counted, ordinal, written_volume
from neurovault_ica.statistics.mixture import NOISE_PEAK_P

# A test compares the version with CITATION.cff and pyproject.toml, which are not part of every copy of the workflow.
WORKFLOW = "NeuroVault cross-study ICA 0.1.0"

INTERPOLATIONS = {
    "linear": "linear interpolation",
    "continuous": "third-order spline interpolation",
    "nearest": "nearest-neighbour interpolation",
}


def methods_text(facts: Mapping[str, Any], decomposition: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Write the methods paragraphs with the numbers of this run, and the list of references.

    Parameters
    ----------
    facts : mapping
        From `facts.run_facts`.
    decomposition : mapping
        Content of desc-ICA_decomposition.json.
    settings : mapping
        The configuration.

    Returns
    -------
    str
        Markdown.
    """
    archive = open_archive(settings["archive"])
    body = "\n\n".join(
        [
            "# Methods",
            data_paragraph(facts, settings),
            preparation_paragraph(facts, settings),
            _decomposition_paragraph(facts, decomposition, settings),
            *_stability_paragraph(facts, decomposition),
            threshold_paragraph(facts, settings),
            *database_paragraph(settings, facts.get("built_term_maps", 0)),
            names_paragraph(facts, settings),
            *networks_paragraph(facts, settings),
            _reproducibility_paragraph(facts, "" if archive.is_demo else archive.public_name),
        ]
    )
    works = [reference_line(work) for _, work in sorted(WORKS.items()) if cite(work) in body]
    end = "references.bib contains these works and the papers of the contributing collections; please cite those too."
    return "\n\n".join([body, "## References", "\n".join(f"- {line}" for line in works), end]) + "\n"


def preparation_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Describe how the maps were cleaned, resampled, masked, smoothed and scaled."""
    masking = settings["mask_images"]
    mask = {"brain": "MNI152 brain mask", "gray_matter": "MNI152 grey-matter mask"}.get(masking["mask"])
    grid = (
        f"nilearn's {mask} at {masking['resolution_mm']:g} mm {cited('abraham2014nilearn', 'fonov2011template')}"
        if mask
        else "a study-specific mask in MNI space"
    )
    interpolation = INTERPOLATIONS[masking["interpolation"]]
    background = (
        ". Before resampling, the background was filled by extrapolation from the edge of the data"
        if masking["extrapolate_background"]
        else ""
    )
    nonfinite = (
        "Infinite values were set to the strongest finite value of their map, and missing ones to zero"
        if masking["clip_infinite"]
        else "Non-finite values were set to zero"
    )
    scaling = (
        "Each map was divided by its standard deviation over the mask, because the maps have different units"
        if settings["stack_images"]["scale"] == "unit_variance"
        else "The maps were not scaled"
    )
    smoothing = (
        f" Each map was smoothed within the mask with a Gaussian of {masking['smoothing_mm']:g} mm full width at half"
        " maximum; weights outside the mask were set to zero, and the others scaled to a sum of 1."
        if masking["smoothing_mm"]
        else ""
    )
    downloads = settings["download_images"]
    copies = (
        f"The maps were first resampled to voxels of 3 mm with {INTERPOLATIONS[downloads['interpolation']]}, as in"
        " nilearn. "
        if downloads["resample"]
        else ""
    )
    return (
        f"**Preparation.** {copies}{nonfinite}. Every map was resampled to the grid of {grid} with {interpolation}"
        f"{background}. The {facts['voxels']:,} voxels inside the mask were kept.{smoothing} {scaling}."
    )


def _decomposition_paragraph(
    facts: Mapping[str, Any], decomposition: Mapping[str, Any], settings: Mapping[str, Any]
) -> str:
    algorithm = ALGORITHMS[decomposition["algorithm"]]
    limit = counted(decomposition["max_iter"], algorithm.iteration)
    method = algorithm.method.format_map({key: cited(key) for key in WORKS})
    weighting = (
        "; each image was weighted by one over the size of its collection, so that collections had equal weight"
        if settings["reduce_images"]["weight_collections_equally"]
        else ""
    )
    rows = (
        " Activation and deactivation were separate observations: each map x gave two rows, max(x, 0) and max(-x, 0)"
        + (", each scaled to unit variance" if settings["stack_images"]["scale"] == "unit_variance" else "")
        + _empty_halves(decomposition["n_images_without"])
        + "."
        if "signs" in decomposition
        else ""
    )
    matrix = "matrix of both rows of each image" if rows else "matrix of images"
    start = (
        f"The effective number of collections was {decomposition['n_effective_collections']:.1f} of"
        f" {facts['collections_used']:,} (one over the sum of their squared shares of the variance){weighting}."
        f"{rows} The {matrix} by voxels was centred, reduced to {facts['components']} principal components"
        f" ({100 * facts['variance_explained']:.1f} % of the variance) and whitened. It was decomposed by spatial"
        f" independent component analysis with voxels as observations. The algorithm was {method}. The tolerance was"
        f" {decomposition['tol']:g}, the limit {limit}, and the seed"
        f" {decomposition['random_state']}."
    )
    end = (
        f" The final run converged after {counted(decomposition['n_iter'], algorithm.iteration)}."
        if decomposition["converged"]
        else f" The final run did not converge within {limit}, so the components should be interpreted with caution."
    )
    order = (
        " Components have unit variance over the mask, are ordered by explained variance, and are signed so that the"
        " largest absolute value is positive."
    )
    return f"**Decomposition.** {start}{_consensus(decomposition)}{end}{order}"


def _consensus(decomposition: Mapping[str, Any]) -> str:
    """Describe how the restarts were combined; empty for a single start."""
    if decomposition["n_restarts"] == 1:
        return ""
    algorithm = ALGORITHMS[decomposition["algorithm"]]
    orthogonal = ", made orthogonal," if algorithm.is_orthogonal else ""
    return (
        f" To reduce the dependence on the starting point, {algorithm.label} was run from"
        f" {decomposition['n_restarts']} random starts ({decomposition['n_restarts_converged']} converged). Each run"
        f" used {_voxels_of_sample(decomposition)} and at most"
        f" {counted(decomposition['max_sample_iter'], algorithm.iteration)}. The estimates were clustered by average"
        f" linkage on their absolute correlations, as in ICASSO {cited('himberg2004icasso')}. The clusters'"
        f" centrotypes{orthogonal} initialised the final run on all voxels."
    )


def _voxels_of_sample(decomposition: Mapping[str, Any]) -> str:
    """State how many voxels restarts and bootstrap samples use; see `sample_size`."""
    n_voxels = decomposition["n_voxels"]
    size = sample_size(n_voxels)
    if size == n_voxels:
        return "all voxels"
    return "a random tenth of the voxels" if size == n_voxels // 10 else f"{size:,} random voxels"


def _empty_halves(n_images_without: Mapping[str, int]) -> str:
    """Count the images without activation or deactivation, as an addition to a sentence."""
    found = [f"{counted(count, 'map')} had no {sign}" for sign, count in n_images_without.items() if count]
    return f"; {' and '.join(found)}" if found else ""


def _stability_paragraph(facts: Mapping[str, Any], decomposition: Mapping[str, Any]) -> list[str]:
    """Describe how stability was measured; return an empty list if it was not."""
    parts = []
    n_axes, n_rows = decomposition["n_axes_of_draws"], facts["images_used"]
    if "signs" in decomposition:
        n_rows = 2 * n_rows - sum(decomposition["n_images_without"].values())
    within = f", within the {n_axes} leading principal axes of all images" if n_axes < n_rows else ""
    if facts["mean_iq_restarts"] is not None:
        parts.append(
            "The estimates of each restart were matched one to one with the components. The stability index Iq of these"
            f" matches had a mean of {facts['mean_iq_restarts']:.2f} (lowest {facts['min_iq_restarts']:.2f}). It"
            " measures stability across starting points, not across studies."
        )
    if facts["mean_r_bootstraps"] is not None:
        parts.append(
            "To estimate how much the components depend on the choice of studies, we decomposed"
            f" {counted(decomposition['n_bootstraps_used'], 'bootstrap sample')} of the collections in the same way."
            f" Each was decomposed on {_voxels_of_sample(decomposition)}{within}. The components' mean absolute"
            f" correlation with their matches in these samples was {facts['mean_r_bootstraps']:.2f} (lowest"
            f" {facts['min_r_bootstraps']:.2f}; 95th percentile under random rotation:"
            f" {facts['mean_chance_r_bootstraps']:.2f}). Bootstrap samples share images with the full data."
        )
    if facts["mean_r_split_half"] is not None:
        parts.append(
            f"In {counted(decomposition['n_splits_used'], 'random split')} of the collections into halves, each half"
            " was decomposed separately. The mean absolute correlation between the two halves' matches of a component"
            f" was {facts['mean_r_split_half']:.2f} (lowest {facts['min_r_split_half']:.2f}; 95th percentile under"
            f" random rotation: {facts['mean_chance_r_split_half']:.2f}). Each half contains only half of the studies,"
            " so stability with all studies is probably higher. Chance levels are benchmarks, not tests."
        )
    if (grey := facts["mean_grey_matter_share"]) is not None:
        parts.append(
            f"On average, {100 * grey:.0f} % of a component's squared map was in grey matter (lowest"
            f" {100 * facts['min_grey_matter_share']:.0f} %; of the mask"
            f" {100 * decomposition['tissue_shares_of_mask']['grey_matter']:.0f} %), by the tissue probabilities of the"
            f" MNI152 template {cited('fonov2011template')}."
        )
    flagged = list(_flagged(decomposition["n_flagged"], _applied_limits(facts, decomposition["flags"])))
    if flagged:
        parts.append(f"Of {counted(facts['components'], 'component')}, {'; '.join(flagged)}.")
    return [f"**Stability.** {' '.join(parts)}"] if parts else []


def _applied_limits(facts: Mapping[str, Any], limits: Mapping[str, float | None]) -> dict[str, float]:
    """Select the limits that are switched on and whose measure exists."""
    measures = {"min_r_bootstraps": "mean_r_bootstraps", "min_r_split_half": "mean_r_split_half"}
    return {
        key: limit
        for key, limit in limits.items()
        if limit is not None and (key not in measures or facts[measures[key]] is not None)
    }


def _flagged(counts: Mapping[str, int], limits: Mapping[str, float]) -> Iterator[str]:
    """State how many components have each flag, with its criteria."""
    what_raises = {
        "start_dependent": {"min_iq_restarts": "Iq across restarts", "min_r_restarts": "mean |r| with restarts"},
        "not_reproduced": {
            "min_r_bootstraps": "mean |r| in bootstrap samples",
            "min_r_split_half": "mean |r| between halves",
        },
        "one_collection": {"max_collection_share": "share of a single collection in the squared loadings"},
        "not_grey_matter": {
            "min_grey_matter_share": "share of the squared map in grey matter",
            "max_outside_tissue_share": "share outside grey and white matter",
            "max_rim_share": f"share within {RIM_MM:g} mm of the brain's surface",
        },
    }
    for flag in (flag for flag, count in counts.items() if count):
        criteria = [
            f"{words} {'above' if key.startswith('max') else 'below'} {limits[key]:g}"
            for key, words in what_raises[flag].items()
            if key in limits
        ]
        if flag == "not_reproduced":
            criteria.append("not above chance")
        yield f"{counts[flag]} {'was' if counts[flag] == 1 else 'were'} flagged as {flag} ({', or '.join(criteria)})"


def threshold_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Describe how maps were thresholded and peaks were found."""
    threshold = settings["plot_components"]["threshold"]
    if "percentile" in threshold:
        shown = f"at the {ordinal(threshold['percentile'])} percentile of their absolute values"
    elif "z" in threshold:
        shown = f"at an absolute value of {threshold['z']:g} standard deviations"
    else:
        without, components = facts["components_without_activation"], counted(facts["components"], "component")
        tails = f"{without} of {components} had no tail" if without else f"All {components} had a tail"
        shown = (
            f"at a probability of activation above {threshold['mixture']:g}. The probability comes from a mixture model"
            " of each component's values: a Gaussian distribution for noise and a Gamma distribution for each"
            f" tail {cited('beckmann2004melodic', 'woolrich2005mixture')}. A tail was fitted only if its largest"
            " value was too large for an equally smooth Gaussian field (expected Euler characteristic below"
            f" {NOISE_PEAK_P:g}; {cite(WORKS['worsley2004unified'])}). {tails}"
        )
    atlas = settings["plot_components"]["atlas"]
    source = f"the AAL3 atlas {cited('rolls2020aal3')}" if atlas == AAL3 else "a given atlas"
    labelled = f" Regions of peaks are those of {source}." if atlas else ""
    surfaces = (
        f" Maps were drawn on the cortical surface fsaverage5 {cited('fischl1999surface')}, averaged between the white"
        f" and the pial surface, and in glass brains of nilearn {cited('abraham2014nilearn')}."
        if settings["plot_components"]["surfaces"]
        else ""
    )
    min_mm3 = settings["plot_components"]["min_cluster_mm3"]
    extent = f"of at least {written_volume(min_mm3)} are shown" if min_mm3 else "of any size are shown"
    if min_mm3 < MIN_CLUSTER_MM3:
        extent += f", and clusters of at least {written_volume(MIN_CLUSTER_MM3)} are listed"
    return (
        f"**Thresholds and peaks.** Component maps were thresholded {shown}. A cluster is a set of voxels connected by"
        f" their faces. Clusters {extent}; the cluster with the highest peak is kept even if it is smaller."
        f" Peaks within a cluster are at least {MIN_PEAK_DISTANCE_MM:g} mm apart. Coordinates are in MNI"
        f" space.{labelled} The threshold is for display; it is not a voxelwise test.{surfaces}"
    )


def _reproducibility_paragraph(facts: Mapping[str, Any], archive: str) -> str:
    """Describe what a rerun needs. `archive` names an archive that may later remove images; empty if there is none."""
    caution = ""
    if archive and facts["locked_images_without_doi"]:
        caution = (
            f" {counted(facts['locked_images_without_doi'], 'image')} in the lock (from"
            f" {counted(facts['locked_collections_without_doi'], 'collection')} without a DOI) may be removed from"
            f" {archive}."
        )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("nilearn", "scikit-learn", "nibabel", "numpy", "scipy")
    )
    return (
        f"**Reproducibility.** The analysis was run with the workflow {WORKFLOW},"
        f" Snakemake {importlib.metadata.version('snakemake')} {cited('moelder2021snakemake')}, Python"
        f" {platform.python_version()}, {versions}"
        f" {cited('harris2020numpy', 'virtanen2020scipy')}. The file images.lock.tsv lists every image with its URL or"
        " path, its size and its SHA-256 checksum. The file run.json lists the configuration, seeds, versions and the"
        f" checksum of every result.{caution}"
    )
