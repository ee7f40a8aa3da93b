"""Final components: maps, loadings and weights in their order and sign, and warnings about the decomposition."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.algorithms import ALGORITHMS
from neurovault_ica.decomposition.consensus import Consensus, many_unconverged
from neurovault_ica.decomposition.stability import Stability
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Real

# Below these, components describe a few studies, and no stability analysis can show more. Halves of ten collections
# have five each, the fewest that are resampled. With fewer than three images each, components are single images.
MIN_IMAGES = 30
MIN_EFFECTIVE_COLLECTIONS = 10.0
MIN_IMAGES_PER_COMPONENT = 3
# The one rule for the number of components. Log, report and scan_components say it in the same words.
RULE = (
    "choose the smallest number of components that shows nearly all networks that are reproduced across studies; flags"
    " and convergence alone are no reason to lower it"
)


class Decomposition(NamedTuple):
    """Components in their final order and sign."""

    S: Real  # (n_components, n_voxels), maps of variance 1
    A: Real  # (n_images, n_components), loadings
    W: Real  # (n_components, n_images), weights
    R: Real  # (n_components, n_components), the maps as coordinates in the white axes: rows of length 1


def settle(S: Real, A: Real) -> tuple[npt.NDArray[np.intp], Real]:
    """Determine the order and the signs of the components. No other function changes them.

    Parameters
    ----------
    S : array of shape (n_components, n_voxels)
        Maps of variance 1.
    A : array of shape (n_images, n_components)
        Loadings, multiplied by the square roots of the images' weights.

    Returns
    -------
    order : array of shape (n_components,)
        Rows of `S` by explained variance, largest first. With maps of variance 1, this is the sum of squared loadings.
    signs : array of shape (n_components,)
        In the order of `S`: -1 where the largest absolute value of the map is negative, 1 elsewhere.
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
        Rows of length 1.
    reduced : mapping
        The arrays of reduction.npz, written by reduce_images.
    is_orthogonal : bool
        Whether the rows of `R` are orthonormal. The inverse of `R` is then its transpose.
    """
    k = len(Z)
    S: Real = R.astype(Z.dtype) @ Z
    scale = S.std(axis=1, keepdims=True, dtype=np.float64)
    S /= scale
    roots = np.sqrt(reduced["weights"])[:, None]
    inverse = R.T if is_orthogonal else np.linalg.inv(R)
    weighted_A = (reduced["U"][:, :k] * np.sqrt(reduced["eigenvalues"][:k])) @ inverse * scale.T
    order, signs = settle(S, weighted_A)
    S, R, W = ((signs[:, None].astype(rows.dtype) * rows)[order] for rows in (S, R, R @ reduced["K"] / scale))
    return Decomposition(S, (weighted_A * signs)[:, order] / roots, W, R)


def count_runs(consensus: Consensus, bootstraps: Stability | None, halves: Stability | None) -> dict[str, Any]:
    """Count the runs of the algorithm, and the runs that converged."""
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
    """Say in a sentence that a run has too few images or studies for claims, or return None.

    Parameters
    ----------
    summary : mapping
        As in desc-ICA_decomposition.json. The effective number of collections is low if there are few collections, and
        if one of them dominates.
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
        f"This run is too small for claims: {'; '.join(found)}. Other studies may give other components. Add"
        " collections, or lower run_ica.n_components."
    )


def describe_result(summary: Mapping[str, Any]) -> str:
    """Say in one sentence of the log what was found; `summary` is the content of desc-ICA_decomposition.json."""
    return (
        f"{summary['algorithm_label']} found {counted(summary['n_components'], 'component')} with"
        f" {100 * summary['variance_explained']:.1f} % of the variance of {counted(summary['n_images'], 'image')}"
        f" (effective number of collections: {summary['n_effective_collections']:.1f} of {summary['n_collections']});"
        f" {summary['n_restarts_converged']} of {counted(summary['n_restarts'], 'restart')} converged; the final run"
        f" took {counted(summary['n_iter'], summary['iteration'])}"
    )


def explain_problems(summary: Mapping[str, Any], *, scan: str) -> list[str]:
    """Return warnings about a decomposition from its summary, with advice.

    Parameters
    ----------
    summary : mapping
        As in desc-ICA_decomposition.json.
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
