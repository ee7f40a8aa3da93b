"""Combine many random starts into one solution, and measure how well the starts agree on it.

ICASSO: Himberg, Hyvärinen and Esposito 2004, doi:10.1016/j.neuroimage.2004.03.027.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.algorithms import Settings, solve
from neurovault_ica.decomposition.interface import Solution
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.types import Real

# Warn if more than this share of the restarts did not converge. tedana uses the same value.
MANY_UNCONVERGED = 0.1
# A random start uses a tenth of the voxels to save time, but at least this many.
MIN_SAMPLED_VOXELS = 10_000


def many_unconverged(n_restarts: int, n_converged: int) -> bool:
    """Tell whether more than a tenth of the restarts did not converge, which suggests too many components."""
    return n_restarts > 1 and n_restarts - n_converged > MANY_UNCONVERGED * n_restarts


def cluster_estimates(similarity: Real, n_clusters: int) -> npt.NDArray[np.intp]:
    """Cluster component estimates by average linkage on ``1 - similarity`` (ICASSO, Himberg et al. 2004, sec. 3.2).

    Parameters
    ----------
    similarity : array of shape (n_estimates, n_estimates)
        Absolute correlations.
    n_clusters : int

    Returns
    -------
    labels : array of shape (n_estimates,)
        0..n_clusters-1.
    """
    # Imported here because a single start does not need them, and importing them takes longer than that start.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distance = np.clip(1 - similarity, 0, None)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average")
    return fcluster(tree, n_clusters, criterion="maxclust").astype(np.intp) - 1


def cluster_quality(similarity: Real, labels: npt.NDArray[np.intp]) -> tuple[Real, npt.NDArray[np.intp]]:
    """Compute ICASSO's stability index and the centrotype of each cluster (Himberg et al. 2004, eq. 5).

    Parameters
    ----------
    similarity : array of shape (n_estimates, n_estimates)
        Absolute correlations.
    labels : array of shape (n_estimates,)
        The cluster of each estimate.

    Returns
    -------
    iq : array of shape (n_clusters,)
        Mean similarity within the cluster, minus mean similarity to the estimates outside. It is 1 if all estimates of
        the cluster are identical, and uncorrelated with those outside.
    centrotypes : array of shape (n_clusters,)
        Index of the estimate that is most similar to the others of its cluster.
    """
    iq, centrotypes = [], []
    for label in range(labels.max() + 1):
        inside, outside = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
        within = similarity[np.ix_(inside, inside)]
        across = similarity[np.ix_(inside, outside)].mean() if outside.size else 0.0
        iq.append(within.mean() - across)
        centrotypes.append(inside[within.sum(axis=1).argmax()])
    return np.array(iq), np.array(centrotypes)


class Consensus(NamedTuple):
    """The solution, and the restarts that it combines."""

    solution: Solution  # from all voxels
    restarts: list[Solution]  # they also measure the stability of the solution


def find_consensus(Z: Real, n_restarts: int, settings: Settings, *, threads: int = 1) -> Consensus:
    """Run the algorithm from `n_restarts` random starts and combine the results into one solution.

    A single start runs on all voxels. With several, each start runs on its own random voxels (`voxel_sample`). Their
    estimates are clustered, and a final run on all voxels starts from the centrotypes of the clusters. The centrotypes
    themselves are no solution: they may correlate with each other even if the algorithm is orthogonal.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows.
    n_restarts : int
    settings : Settings
    threads : int
        Number of threads among which the restarts are divided. The result does not depend on it.
    """
    if n_restarts == 1:
        solution = solve(Z, settings, seed=settings.random_state)
        return Consensus(solution, [solution])
    seeds = [int(seed) for seed in np.random.SeedSequence(settings.random_state).generate_state(n_restarts)]

    def restart(seed: int) -> Solution:
        return solve(Z[:, voxel_sample(Z.shape[1], seed)], settings, seed=seed, on_sample=True)

    restarts = list(progress(in_order(restart, seeds, threads), total=n_restarts, unit="restart"))
    # The data are white and the rows have length 1, so their inner products are the correlations of the maps.
    estimates = np.vstack([restart.R for restart in restarts])
    similarity = np.abs(estimates @ estimates.T)
    _, centrotypes = cluster_quality(similarity, cluster_estimates(similarity, len(Z)))
    return Consensus(solve(Z, settings, seed=settings.random_state, start=estimates[centrotypes]), restarts)


def align(reference: Real, runs: Sequence[Real]) -> Real:
    """Match the estimates of each run one to one with the components (Hungarian method, largest sum of |r|).

    Parameters
    ----------
    reference : array of shape (n_components, n_axes)
        Coordinates of the components in white axes. Rows have length 1, so inner products are correlations of maps.
    runs : sequence of arrays of shape (n_components, n_axes)
        The estimates of each run, in the same coordinates.

    Returns
    -------
    aligned : array of shape (n_runs, n_components, n_axes)
        In each run, estimate k is the match of component k.
    """
    from scipy.optimize import linear_sum_assignment

    return np.stack([run[linear_sum_assignment(-np.abs(reference @ run.T))[1]] for run in runs])


def judge_by_restarts(R: Real, restarts: Sequence[Solution]) -> tuple[Real, Real] | None:
    """Measure how well the restarts agree with the final components.

    The final run may have moved away from the centrotypes of the clusters. The estimates of the restarts are therefore
    matched with the components of the final run.

    Parameters
    ----------
    R : array of shape (n_components, n_components)
        Coordinates of the final components in the white axes.
    restarts : sequence of Solution

    Returns
    -------
    iq : array of shape (n_components,)
        ICASSO's stability index; the matches of a component form a cluster.
    correlation : array of shape (n_components,)
        Mean |r| of the component with its matches. Restarts may agree with each other but not with the component.

    With a single start, the function returns None.
    """
    if len(restarts) == 1:
        return None
    aligned = align(R, [restart.R for restart in restarts])
    return index_quality(aligned), mean_correlation(R, aligned)


def index_quality(aligned: Real) -> Real:
    """Compute ICASSO's stability index (n_components,) of the estimates that `align` matched with each component."""
    n_runs, n_components, n_axes = aligned.shape
    estimates = aligned.reshape(-1, n_axes)
    return cluster_quality(np.abs(estimates @ estimates.T), np.tile(np.arange(n_components), n_runs))[0]


def mean_correlation(first: Real, second: Real) -> Real:
    """Average |r| of matched components over runs.

    Parameters
    ----------
    first : array of shape (n_components, n_axes) or (n_runs, n_components, n_axes)
    second : array of shape (n_runs, n_components, n_axes)

    Returns
    -------
    array of shape (n_components,)
    """
    return np.abs((first * second).sum(axis=-1)).mean(axis=0)


def voxel_sample(n_voxels: int, seed: int) -> npt.NDArray[np.intp]:
    """Draw `sample_size` voxels, in ascending order."""
    return np.sort(np.random.default_rng(seed).choice(n_voxels, size=sample_size(n_voxels), replace=False))


def sample_size(n_voxels: int) -> int:
    """Return how many of `n_voxels` a restart or a bootstrap sample uses: a tenth, but at least 10,000."""
    return min(n_voxels, max(n_voxels // 10, MIN_SAMPLED_VOXELS))
