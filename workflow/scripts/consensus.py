"""FastICA from many starts and on many bootstraps of the collections: one solution, and how stable it is.

ICASSO: Himberg, Hyvärinen and Esposito 2004, doi:10.1016/j.neuroimage.2004.03.027.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from stage_log import progress

Array = npt.NDArray[np.floating[Any]]


class Rotation(NamedTuple):
    """One FastICA run on white data: the orthogonal `R` (n_components, n_components), and how it ended."""

    R: Array
    n_iter: int
    converged: bool


def rotate(Z: Array, *, seed: int, max_iter: int, tol: float, start: Array | None = None) -> Rotation:
    """Run scikit-learn's FastICA (parallel, logcosh) on white data.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows. Voxels are scikit-learn's samples, hence the transpose.
    seed : int
        For the random start, drawn as scikit-learn draws it.
    start : array of shape (n_components, n_components), optional
        Where to start instead.
    """
    ica = FastICA(whiten=False, random_state=seed, max_iter=max_iter, tol=tol, w_init=start)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        ica.fit(Z.T)
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return Rotation(np.asarray(ica.components_, dtype=np.float64), int(ica.n_iter_), converged)


def cluster_estimates(similarity: Array, n_clusters: int) -> npt.NDArray[np.intp]:
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
    distance = np.clip(1 - similarity, 0, None)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average")
    return fcluster(tree, n_clusters, criterion="maxclust").astype(np.intp) - 1


def cluster_quality(similarity: Array, labels: npt.NDArray[np.intp]) -> tuple[Array, npt.NDArray[np.intp]]:
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


def orthogonalize(W: Array) -> Array:
    """Find the orthogonal matrix nearest to `W`, as FastICA's symmetric decorrelation does."""
    U, _, Vt = np.linalg.svd(W)
    return U @ Vt


class Consensus(NamedTuple):
    """The solution of many restarts, and how well they agree with it."""

    rotation: Rotation  # on all voxels
    restarts: list[Rotation]
    iq: Array | None  # (n_components,), ICASSO's index over the restarts; None with one start
    correlation: Array | None  # (n_components,), mean |r| with the matched estimate of each restart


def find_consensus(Z: Array, *, n_restarts: int, random_state: int, max_iter: int, tol: float) -> Consensus:
    """Run FastICA from `n_restarts` random starts and settle on one solution.

    With one start this is scikit-learn's FastICA on all voxels. With more, each start runs on a random tenth of the
    voxels of its own; the estimates are clustered, and the clusters' centrotypes, made orthogonal, are where one last
    run over all voxels starts: its result is a solution of FastICA, while centrotypes as such are not uncorrelated.
    That run may move on from the centrotypes, so the restarts are judged by the components that it found: their
    estimates are assigned to these one to one, and ICASSO's index is taken over the clusters that result.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows.
    """
    if n_restarts == 1:
        rotation = rotate(Z, seed=random_state, max_iter=max_iter, tol=tol)
        return Consensus(rotation, [rotation], None, None)
    seeds = [int(seed) for seed in np.random.SeedSequence(random_state).generate_state(n_restarts)]
    restarts = [
        rotate(Z[:, voxel_sample(Z.shape[1], seed)], seed=seed, max_iter=max_iter, tol=tol)
        for seed in progress(seeds, total=n_restarts, unit="restart")
    ]
    # The data are white, so the inner products of rotation rows are the correlations of the maps.
    estimates = np.vstack([restart.R for restart in restarts])
    similarity = np.abs(estimates @ estimates.T)
    _, centrotypes = cluster_quality(similarity, cluster_estimates(similarity, len(Z)))
    start = orthogonalize(estimates[centrotypes])
    rotation = rotate(Z, seed=random_state, start=start, max_iter=max_iter, tol=tol)
    iq, correlation = agreement([np.abs(rotation.R @ restart.R.T) for restart in restarts], similarity)
    return Consensus(rotation, restarts, iq, correlation)


def agreement(with_reference: Sequence[Array], similarity: Array) -> tuple[Array, Array]:
    """Assign the estimates of each run to the components one to one and say how alike they are.

    Parameters
    ----------
    with_reference : sequence of arrays of shape (n_components, n_components)
        |r| of the components (rows) with the estimates (columns) of each run.
    similarity : array of shape (n_runs * n_components, n_runs * n_components)
        |r| between all estimates, run by run.

    Returns
    -------
    iq : array of shape (n_components,)
        ICASSO's index of the estimates assigned to each component.
    correlation : array of shape (n_components,)
        Their mean |r| with the component.
    """
    labels = np.empty(len(similarity), dtype=np.intp)
    matched = []
    for number, run in enumerate(with_reference):
        components, estimates = linear_sum_assignment(-run)
        labels[number * len(run) + estimates] = components
        matched.append(run[components, estimates])
    iq, _ = cluster_quality(similarity, labels)
    return iq, np.mean(matched, axis=0)


class Bootstrap(NamedTuple):
    """Stability of components over resampled collections."""

    iq: Array  # (n_components,), ICASSO's index over the bootstraps
    correlation: Array  # (n_components,), mean |r| with the matched component of each bootstrap
    n_used: int  # bootstraps with enough different images
    n_converged: int


def bootstrap_collections(
    X: Array,
    gram: Array,
    S: Array,
    collections: Sequence[int],
    *,
    n_bootstraps: int,
    random_state: int,
    max_iter: int,
    tol: float,
) -> Bootstrap | None:
    """Repeat the decomposition on collections drawn with replacement and compare.

    Collections are drawn, not images: images of one study are alike, and a claim across studies must hold for other
    studies. Each draw weighs an image by how often its collection was drawn, so the Gram matrix serves all draws.

    Parameters
    ----------
    X : array of shape (n_images, n_sampled_voxels)
        Centred images at some of the voxels.
    gram : array of shape (n_images, n_images)
        Of all voxels.
    S : array of shape (n_components, n_sampled_voxels)
        The components to judge, at the same voxels.
    collections : sequence of int
        The collection of each image.

    Returns
    -------
    Bootstrap or None
        None where fewer than two draws had enough different images for so many components.
    """
    n_components = len(S)
    names, member = np.unique(collections, return_inverse=True)
    rng = np.random.default_rng(random_state)
    estimates: list[Array] = []
    n_converged = 0
    reference = _standardize(S)
    for number in progress(range(n_bootstraps), total=n_bootstraps, unit="bootstrap"):
        drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        weight = np.sqrt(drawn[member])
        eigenvalues, U = np.linalg.eigh(weight[:, None] * gram * weight)
        eigenvalues, U = eigenvalues[::-1][:n_components], U[:, ::-1][:, :n_components]
        if eigenvalues[-1] <= eigenvalues[0] * len(gram) * np.finfo(np.float64).eps:
            continue
        Z = ((U / np.sqrt(eigenvalues)).T * weight) @ X
        rotation = rotate(Z.astype(np.float32), seed=random_state + number, max_iter=max_iter, tol=tol)
        n_converged += rotation.converged
        estimates.append(_standardize(rotation.R @ Z))
    if len(estimates) < 2:
        return None
    stacked = np.vstack(estimates)
    iq, correlation = agreement([np.abs(reference @ run.T) for run in estimates], np.abs(stacked @ stacked.T))
    return Bootstrap(iq, correlation, len(estimates), n_converged)


def _standardize(S: Array) -> Array:
    """Scale rows so that their inner products are correlations."""
    S = S - S.mean(axis=1, keepdims=True)
    return S / np.linalg.norm(S, axis=1, keepdims=True)


def voxel_sample(n_voxels: int, seed: int) -> npt.NDArray[np.intp]:
    """Draw a tenth of the voxels, but not fewer than 10,000, in ascending order."""
    size = min(n_voxels, max(n_voxels // 10, 10_000))
    return np.sort(np.random.default_rng(seed).choice(n_voxels, size=size, replace=False))
