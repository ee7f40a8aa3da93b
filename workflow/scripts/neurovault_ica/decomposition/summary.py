"""Describe a decomposition in numbers and sentences, and warn if it is weak."""

from collections.abc import Mapping, Sequence
from typing import Any

from neurovault_ica.decomposition.algorithms import ALGORITHMS, Settings
from neurovault_ica.decomposition.consensus import Consensus, many_unconverged
from neurovault_ica.decomposition.flags import FLAGS
from neurovault_ica.decomposition.loadings import effective_number, share_of_collections
from neurovault_ica.decomposition.stability import Stability
from neurovault_ica.images.signs import count_empty, is_split
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Row

# Warn below these numbers. Two halves of ten collections have five each, the fewest that are resampled. With fewer
# than three images per component, components tend to be single images.
MIN_IMAGES = 30
MIN_EFFECTIVE_COLLECTIONS = 10.0
MIN_IMAGES_PER_COMPONENT = 3
# How to choose the number of components. The log, the report and scan_components all quote this rule.
RULE = (
    "choose the smallest number of components that shows nearly all networks that are reproduced across studies; flags"
    " and convergence alone are no reason to lower it"
)


def describe_data(
    images: Sequence[Row], members: Sequence[str], reduced: Mapping[str, Any], *, shape: tuple[int, ...]
) -> dict[str, Any]:
    """Describe the decomposed data, for desc-ICA_decomposition.json.

    Parameters
    ----------
    images : sequence of mapping
        Rows of stack_images/images.tsv.
    members : sequence of str
        The collection of each row of the decomposition.
    reduced : mapping
        The arrays of reduction.npz.
    shape : tuple of two int
        Numbers of components and voxels.
    """
    n_components, n_voxels = shape
    image_variance = reduced["weights"] * reduced["image_variance"]
    balance = share_of_collections(image_variance[:, None] / image_variance.sum(), members)
    return {
        "n_components": n_components,
        "n_images": len(images),
        "n_collections": len(balance.collections),
        "n_effective_collections": float(effective_number(balance.share)[0]),
        "n_voxels": n_voxels,
        **({"signs": "split", "n_images_without": count_empty(images)} if is_split(images) else {}),
        "whitening": str(reduced["method"]),
        "n_axes_of_draws": reduced["U"].shape[1],
        # Variance of the subspace that the components span. If components correlate, their variances have another sum.
        "variance_explained": float(reduced["eigenvalues"][:n_components].sum() / image_variance.sum()),
    }


def describe_algorithm(settings: Settings) -> dict[str, Any]:
    """Describe the algorithm and its settings, for desc-ICA_decomposition.json."""
    algorithm = ALGORITHMS[settings.algorithm]
    return {
        **settings._asdict(),
        "algorithm_label": algorithm.label,
        "iteration": algorithm.iteration,
        "is_orthogonal": algorithm.is_orthogonal,
        "max_sample_iter": settings.max_sample_iter,
    }


def count_flags(raised: Sequence[Sequence[str]]) -> dict[str, int]:
    """Count the components with each flag. `raised` comes from `flags.find_flags`."""
    return {flag: sum(flag in names for names in raised) for flag in FLAGS}


def count_runs(consensus: Consensus, bootstraps: Stability | None, halves: Stability | None) -> dict[str, Any]:
    """Count the runs of the algorithm and how many of them converged, for desc-ICA_decomposition.json."""
    return {
        "n_iter": consensus.solution.n_iter,
        "converged": consensus.solution.converged,
        "n_restarts": len(consensus.restarts),
        "n_restarts_converged": sum(restart.converged for restart in consensus.restarts),
        "n_bootstraps_used": bootstraps.n_used if bootstraps else 0,
        "n_bootstraps_converged": bootstraps.n_converged if bootstraps else 0,
        "n_splits_used": halves.n_used if halves else 0,
        "n_halves_converged": halves.n_converged if halves else 0,
    }


def explain_smallness(summary: Mapping[str, Any]) -> str | None:
    """Return a warning if a run has too few images or studies for general conclusions, otherwise None.

    Parameters
    ----------
    summary : mapping
        Content of desc-ICA_decomposition.json. The effective number of collections is low if there are few collections
        or if one of them dominates.
    """
    n_images, n_components, n_effective = (
        summary[key] for key in ("n_images", "n_components", "n_effective_collections")
    )
    found = []
    if n_images < max(MIN_IMAGES, MIN_IMAGES_PER_COMPONENT * n_components):
        least = max(MIN_IMAGES, MIN_IMAGES_PER_COMPONENT * n_components)
        found.append(
            f"{counted(n_images, 'image')} for {counted(n_components, 'component')} (expected: at least {least})"
        )
    if n_effective < MIN_EFFECTIVE_COLLECTIONS:
        found.append(
            f"effective number of collections {n_effective:.1f} (expected: at least {MIN_EFFECTIVE_COLLECTIONS:g})"
        )
    if not found:
        return None
    return (
        f"This run is too small for general conclusions: {'; '.join(found)}. Other studies may give other components."
        " Add collections, or lower run_ica.n_components."
    )


def describe_result(summary: Mapping[str, Any]) -> str:
    """Write the log line about the result. `summary` is the content of desc-ICA_decomposition.json."""
    return (
        f"{summary['algorithm_label']} found {counted(summary['n_components'], 'component')} with"
        f" {100 * summary['variance_explained']:.1f} % of the variance of {counted(summary['n_images'], 'image')}"
        f" (effective number of collections: {summary['n_effective_collections']:.1f} of {summary['n_collections']});"
        f" {summary['n_restarts_converged']} of {counted(summary['n_restarts'], 'restart')} converged; the final run"
        f" took {counted(summary['n_iter'], summary['iteration'])}"
    )


def explain_problems(summary: Mapping[str, Any], *, scan: str) -> list[str]:
    """List warnings about a decomposition, with advice.

    Parameters
    ----------
    summary : mapping
        Content of desc-ICA_decomposition.json.
    scan : str
        The command that compares numbers of components.
    """
    n_components, n_restarts = summary["n_components"], summary["n_restarts"]
    n_unconverged, n_lost = n_restarts - summary["n_restarts_converged"], summary["n_flagged"]["not_reproduced"]
    found = []
    if not summary["converged"]:
        alternative = ALGORITHMS[summary["algorithm"]].alternative
        found.append(
            f"{summary['algorithm_label']} did not converge within {counted(summary['max_iter'], summary['iteration'])}"
            + (f"; run_ica.algorithm: {alternative} converges more often" if alternative else "")
        )
    if many_unconverged(n_restarts, summary["n_restarts_converged"]):
        found.append(f"{n_unconverged} of {n_restarts} restarts did not converge")
    if n_lost:
        found.append(
            f"components not reproduced across studies: {n_lost} of {n_components} (flag not_reproduced in"
            " desc-ICA_stability.tsv)"
        )
    smallness = explain_smallness(summary)
    if found:
        found.append(f"{RULE}. To compare numbers: {scan}")
    return [smallness, *found] if smallness else found
