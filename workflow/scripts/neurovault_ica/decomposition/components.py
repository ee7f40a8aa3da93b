"""Final components: order, sign, loadings, stability and warnings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.consensus import Consensus, many_unconverged
from neurovault_ica.decomposition.loadings import Shares, effective_number
from neurovault_ica.decomposition.stability import Stability
from neurovault_ica.types import Real


class Decomposition(NamedTuple):
    """Components, settled in order and sign."""

    S: Real  # (n_components, n_voxels), maps of variance 1
    A: Real  # (n_images, n_components), loadings
    W: Real  # (n_components, n_images), weights
    R: Real  # (n_components, n_components), the maps as coordinates in the white axes


def settle(S: Real, A: Real) -> tuple[npt.NDArray[np.intp], Real]:
    """Decide order and sign, here and nowhere else.

    Parameters
    ----------
    S : array of shape (n_components, n_voxels)
    A : array of shape (n_images, n_components)
        Loadings, times the square roots of the images' weights.

    Returns
    -------
    order : array of shape (n_components,)
        By explained variance, largest first. The maps have unit variance, so that is the squared norm of the loadings.
    signs : array of shape (n_components,)
        In the old order: -1 where the largest absolute value of the map is negative.
    """
    order = np.argsort(-np.square(A).sum(axis=0), kind="stable")
    signs = np.where(-S.min(axis=1) > S.max(axis=1), -1.0, 1.0)
    return order, signs


def decompose(Z: Real, R: Real, reduced: Mapping[str, Real]) -> Decomposition:
    """Turn a rotation of the white data into maps, loadings and weights.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows.
    R : array of shape (n_components, n_components)
        Orthogonal.
    reduced : mapping
        What reduce_images has written.
    """
    k = len(Z)
    S: Real = R.astype(Z.dtype) @ Z
    scale = S.std(axis=1, keepdims=True, dtype=np.float64)
    S /= scale
    roots = np.sqrt(reduced["weights"])[:, None]
    # The rotation is orthogonal, so its transpose inverts it.
    weighted_A = (reduced["U"][:, :k] * np.sqrt(reduced["eigenvalues"][:k])) @ R.T * scale.T
    order, signs = settle(S, weighted_A)
    S, R, W = ((signs[:, None].astype(rows.dtype) * rows)[order] for rows in (S, R, R @ reduced["K"] / scale))
    return Decomposition(S, (weighted_A * signs)[:, order] / roots, W, R)


def count_runs(consensus: Consensus, bootstraps: Stability | None, halves: Stability | None) -> dict[str, Any]:
    """Count the runs of FastICA, and those that converged."""
    return {
        "n_iter": consensus.rotation.n_iter,
        "converged": consensus.rotation.converged,
        "n_restarts": len(consensus.restarts),
        "n_restarts_converged": sum(restart.converged for restart in consensus.restarts),
        "n_bootstraps_used": bootstraps.n_used if bootstraps else 0,
        "n_bootstraps_converged": bootstraps.n_converged if bootstraps else 0,
        "n_splits_used": halves.n_used if halves else 0,
        "n_halves_converged": halves.n_converged if halves else 0,
    }


def stability_rows(
    labels: Sequence[str],
    explained: Real,
    measures: Mapping[str, Real | None],
    shares: Shares,
    raised: Sequence[Sequence[str]],
) -> Iterator[dict[str, Any]]:
    """Say of each component how much it explains, how stable it is, and how many collections carry it."""
    n_effective, largest = effective_number(shares.share), shares.share.argmax(axis=0)
    for number, label in enumerate(labels):
        yield (
            {"component": label, "variance_explained": explained[number]}
            | {name: None if values is None else values[number] for name, values in measures.items()}
            | {
                "effective_collections": n_effective[number],
                "largest_collection_id": shares.collections[largest[number]],
                "largest_collection_share": shares.share[largest[number], number],
                "flags": ",".join(raised[number]),
            }
        )


def find_warnings(summary: Mapping[str, Any]) -> list[str]:
    """Say in plain words what is wrong with a decomposition, from its summary, and what may help."""
    n_components, n_restarts = summary["n_components"], summary["n_restarts"]
    n_unconverged, n_lost = n_restarts - summary["n_restarts_converged"], summary["n_flagged"]["not_reproduced"]
    found = []
    if not summary["converged"]:
        found.append(f"FastICA has not converged in {summary['max_iter']} iterations")
    if many_unconverged(n_restarts, summary["n_restarts_converged"]):
        found.append(f"{n_unconverged} of {n_restarts} restarts have not converged")
    if n_lost:
        found.append(
            f"{n_lost} of {n_components} components correlate with those of draws or halves of the collections by less"
            " than run_ica.flags asks for, or no more than by chance (not_reproduced in desc-ICA_stability.tsv)"
        )
    if found:
        found.append(
            "there may be more components than the images have structure for: lower run_ica.n_components;"
            " snakemake --cores 2 scan_components compares numbers and advises"
        )
    return found
