"""Compute the final components in their order and sign, and warn about weak decompositions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.algorithms import ALGORITHMS
from neurovault_ica.decomposition.consensus import Consensus, many_unconverged
from neurovault_ica.decomposition.stability import Stability
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Real

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


class Decomposition(NamedTuple):
    """Components in their final order and sign."""

    S: Real  # (n_components, n_voxels), maps of variance 1
    A: Real  # (n_images, n_components), loadings
    W: Real  # (n_components, n_images), weights of the images in each map
    R: Real  # (n_components, n_components), coordinates of the maps in the white axes; rows have length 1


def find_order_and_signs(S: Real, A: Real) -> tuple[npt.NDArray[np.intp], Real]:
    """Determine the final order and signs of the components. No other function changes them.

    Parameters
    ----------
    S : array of shape (n_components, n_voxels)
        Maps of variance 1.
    A : array of shape (n_images, n_components)
        Loadings, each multiplied by the square root of its image's weight.

    Returns
    -------
    order : array of shape (n_components,)
        Row numbers of `S`, sorted by explained variance, largest first. Maps have variance 1, so the explained variance
        is the sum of squared loadings.
    signs : array of shape (n_components,)
        In the order of `S`: -1 if the largest absolute value of the map is negative, otherwise 1.
    """
    order = np.argsort(-np.square(A).sum(axis=0), kind="stable")
    signs = np.where(-S.min(axis=1) > S.max(axis=1), -1.0, 1.0)
    return order, signs


def decompose(Z: Real, R: Real, reduced: Mapping[str, Real], *, is_orthogonal: bool) -> Decomposition:
    """Compute maps, loadings and weights from the rows that an algorithm found.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows.
    R : array of shape (n_components, n_components)
        The rows that the algorithm found, of length 1.
    reduced : mapping
        The arrays of reduction.npz, written by reduce_images.
    is_orthogonal : bool
        Whether the rows of `R` are orthonormal, so that the inverse of `R` is its transpose.
    """
    k = len(Z)
    S: Real = R.astype(Z.dtype) @ Z
    scale = S.std(axis=1, keepdims=True, dtype=np.float64)
    S /= scale
    roots = np.sqrt(reduced["weights"])[:, None]
    inverse = R.T if is_orthogonal else np.linalg.inv(R)
    weighted_A = (reduced["U"][:, :k] * np.sqrt(reduced["eigenvalues"][:k])) @ inverse * scale.T
    order, signs = find_order_and_signs(S, weighted_A)
    S, R, W = ((signs[:, None].astype(rows.dtype) * rows)[order] for rows in (S, R, R @ reduced["K"] / scale))
    return Decomposition(S, (weighted_A * signs)[:, order] / roots, W, R)


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
