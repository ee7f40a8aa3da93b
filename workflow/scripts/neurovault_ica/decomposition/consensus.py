"""FastICA from many starts: one solution, and how well the starts agree on it.

ICASSO: Himberg, Hyvärinen and Esposito 2004, doi:10.1016/j.neuroimage.2004.03.027.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.fastica import Rotation, orthogonalize, rotate
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.types import Real

# FastICA on a tenth of the voxels that has not converged by then mostly goes to and fro: more iterations cost much and
# change nothing.
MAX_SAMPLE_ITER = 100
# tedana warns from this share of runs that do not converge, too.
MANY_UNCONVERGED = 0.1


class Settings(NamedTuple):
    """How FastICA runs: keys of section ``run_ica`` of the configuration."""

    random_state: int
    max_iter: int
    tol: float

    @property
    def max_sample_iter(self) -> int:
        """Iterations at most where FastICA runs on a sample of the voxels."""
        return min(self.max_iter, MAX_SAMPLE_ITER)


def many_unconverged(n_restarts: int, n_converged: int) -> bool:
    """Tell whether so many restarts did not converge that it is a sign of too many components."""
    return n_restarts > 1 and n_restarts - n_converged > MANY_UNCONVERGED * n_restarts


def cluster_estimates(similarity: Real, n_clusters: int) -> npt.NDArray[np.intp]:
    """Group component estimates by average linkage on ``1 - similarity`` (ICASSO, Himberg et al. 2004, sec. 3.2).

    Parameters
    ----------
    similarity : array of shape (n_estimates, n_estimates)
        Absolute correlations.

    Returns
    -------
    labels : array of shape (n_estimates,)
        0..n_clusters-1.
    """
    # Take longer to import than FastICA takes on a hundred images; a single start needs none of them.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distance = np.clip(1 - similarity, 0, None)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average")
    return fcluster(tree, n_clusters, criterion="maxclust").astype(np.intp) - 1


def cluster_quality(similarity: Real, labels: npt.NDArray[np.intp]) -> tuple[Real, npt.NDArray[np.intp]]:
    """Compute ICASSO's stability index and the centrotype of each cluster (Himberg et al. 2004, eq. 5).

    Returns
    -------
    iq : array of shape (n_clusters,)
        Mean similarity inside the cluster minus mean similarity to all other estimates; 1 is a perfect cluster.
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
    """The solution of many restarts, and the restarts, by which it is to be judged."""

    rotation: Rotation  # on all voxels
    restarts: list[Rotation]


def find_consensus(Z: Real, n_restarts: int, settings: Settings, *, threads: int = 1) -> Consensus:
    """Run FastICA from `n_restarts` random starts and settle on one solution.

    With one start this is what scikit-learn's FastICA finds on all voxels. With more, each start runs on a random
    tenth of the voxels of its own; the estimates are clustered, and the clusters' centrotypes, made orthogonal, are
    where one last run over all voxels starts: its result is a solution of FastICA, while centrotypes as such are not
    uncorrelated.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows.
    n_restarts : int
    settings : Settings
    threads : int
        They share the restarts; what comes out does not depend on their number.
    """
    options: dict[str, Any] = {"max_iter": settings.max_iter, "tol": settings.tol}
    if n_restarts == 1:
        rotation = rotate(Z, seed=settings.random_state, **options)
        return Consensus(rotation, [rotation])
    sample_options = options | {"max_iter": settings.max_sample_iter}
    seeds = [int(seed) for seed in np.random.SeedSequence(settings.random_state).generate_state(n_restarts)]

    def restart(seed: int) -> Rotation:
        return rotate(Z[:, voxel_sample(Z.shape[1], seed)], seed=seed, **sample_options)

    restarts = list(progress(in_order(restart, seeds, threads), total=n_restarts, unit="restart"))
    # The data are white, so the inner products of rotation rows are the correlations of the maps.
    estimates = np.vstack([restart.R for restart in restarts])
    similarity = np.abs(estimates @ estimates.T)
    _, centrotypes = cluster_quality(similarity, cluster_estimates(similarity, len(Z)))
    start = orthogonalize(estimates[centrotypes])
    rotation = rotate(Z, seed=settings.random_state, start=start, **options)
    return Consensus(rotation, restarts)


def align(reference: Real, runs: Sequence[Real]) -> Real:
    """Assign the estimates of each run to the components one to one, by the largest sum of |r| (Hungarian method).

    Parameters
    ----------
    reference : array of shape (n_components, n_axes)
        The components as coordinates in white axes: rows of length 1, whose inner products are correlations of maps.
    runs : sequence of arrays of shape (n_components, n_axes)
        The estimates of each run, likewise.

    Returns
    -------
    aligned : array of shape (n_runs, n_components, n_axes)
        Estimate k of each run is the one assigned to component k.
    """
    from scipy.optimize import linear_sum_assignment

    return np.stack([run[linear_sum_assignment(-np.abs(reference @ run.T))[1]] for run in runs])


def judge_by_restarts(R: Real, restarts: Sequence[Rotation]) -> tuple[Real, Real] | None:
    """Say how well the restarts agree on the components that came out.

    The last run may have moved on from the centrotypes, so estimates are assigned to what it found, one to one.

    Returns
    -------
    iq : array of shape (n_components,)
        ICASSO's index over the clusters that result.
    correlation : array of shape (n_components,)
        Mean |r| of the component with its estimates: restarts may agree with each other, and not with it.
    None with a single start.
    """
    if len(restarts) == 1:
        return None
    aligned = align(R, [restart.R for restart in restarts])
    return index_quality(aligned), mean_correlation(R, aligned)


def index_quality(aligned: Real) -> Real:
    """Compute ICASSO's index (n_components,) of the estimates assigned to each component by `align`."""
    n_runs, n_components, n_axes = aligned.shape
    estimates = aligned.reshape(-1, n_axes)
    return cluster_quality(np.abs(estimates @ estimates.T), np.tile(np.arange(n_components), n_runs))[0]


def mean_correlation(first: Real, second: Real) -> Real:
    """Average |r| of components over runs.

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
    """Draw a tenth of the voxels, but not fewer than 10,000, in ascending order."""
    size = min(n_voxels, max(n_voxels // 10, 10_000))
    return np.sort(np.random.default_rng(seed).choice(n_voxels, size=size, replace=False))
