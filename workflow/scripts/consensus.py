"""FastICA from many starts and on many bootstraps of the collections: one solution, and how stable it is.

ICASSO: Himberg, Hyvärinen and Esposito 2004, doi:10.1016/j.neuroimage.2004.03.027.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from fastica import Rotation, orthogonalize, rotate
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from stage_log import progress

Array = npt.NDArray[np.floating[Any]]


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


class Consensus(NamedTuple):
    """The solution of many restarts, and how well they agree with it."""

    rotation: Rotation  # on all voxels
    restarts: list[Rotation]
    iq: Array | None  # (n_components,), ICASSO's index over the restarts; None with one start
    correlation: Array | None  # (n_components,), mean |r| with the matched estimate of each restart


def find_consensus(Z: Array, *, n_restarts: int, random_state: int, max_iter: int, tol: float) -> Consensus:
    """Run FastICA from `n_restarts` random starts and settle on one solution.

    With one start this is what scikit-learn's FastICA finds on all voxels. With more, each start runs on a random
    tenth of the voxels of its own; the estimates are clustered, and the clusters' centrotypes, made orthogonal, are
    where one last run over all voxels starts: its result is a solution of FastICA, while centrotypes as such are not
    uncorrelated.
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
    iq, correlation = agreement(rotation.R, align(rotation.R, [restart.R for restart in restarts]))
    return Consensus(rotation, restarts, iq, correlation)


def align(reference: Array, runs: Sequence[Array]) -> Array:
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
    return np.stack([run[linear_sum_assignment(-np.abs(reference @ run.T))[1]] for run in runs])


def agreement(reference: Array, aligned: Array) -> tuple[Array, Array]:
    """Say how alike the estimates of each component are.

    Parameters
    ----------
    reference : array of shape (n_components, n_axes)
    aligned : array of shape (n_runs, n_components, n_axes)
        From `align`.

    Returns
    -------
    iq : array of shape (n_components,)
        ICASSO's index of the estimates assigned to each component.
    correlation : array of shape (n_components,)
        Their mean |r| with the component.
    """
    n_runs, n_components, n_axes = aligned.shape
    estimates = aligned.reshape(-1, n_axes)
    iq, _ = cluster_quality(np.abs(estimates @ estimates.T), np.tile(np.arange(n_components), n_runs))
    return iq, np.abs(np.einsum("kq,rkq->rk", reference, aligned)).mean(axis=0)


def draw_bootstraps(collections: Sequence[int], n_bootstraps: int, random_state: int) -> list[Array]:
    """Draw collections with replacement; each array (n_images,) says how often each image was drawn.

    Collections are drawn, not images: images of one study are alike, and a claim across studies must hold for other
    studies.
    """
    names, member = np.unique(collections, return_inverse=True)
    rng = np.random.default_rng([random_state, 0])
    draws = [rng.integers(len(names), size=len(names)) for _ in range(n_bootstraps)]
    return [np.bincount(drawn, minlength=len(names))[member].astype(float) for drawn in draws]


def draw_halves(collections: Sequence[int], n_splits: int, random_state: int) -> list[Array]:
    """Split the collections at random into halves; each two arrays (n_images,) are 1 for the images of a half, else 0.

    Where the number of collections is odd, the first half has one less.
    """
    names, member = np.unique(collections, return_inverse=True)
    rng = np.random.default_rng([random_state, 1])
    halves = []
    for _ in range(n_splits):
        in_first = np.isin(member, rng.permutation(len(names))[: len(names) // 2])
        halves += [in_first.astype(float), (~in_first).astype(float)]
    return halves


class Estimate(NamedTuple):
    """Components found in a draw of the images."""

    E: Array  # (n_components, n_axes), coordinates in the white axes of all images: orthonormal rows
    converged: bool


def decompose_draw(
    P: Array, B: Array, counts: Array, *, n_components: int, seed: int, max_iter: int, tol: float
) -> Estimate | None:
    """Decompose the images with each counted as often as it was drawn.

    Nothing larger than the leading axes of all images is decomposed: with ``X = B @ P``, those of the drawn images are
    eigenvectors of ``B.T @ diag(counts) @ B``.

    Parameters
    ----------
    P : array of shape (n_axes, n_sampled_voxels)
        White maps of the leading principal axes of all images, at some of the voxels.
    B : array of shape (n_images, n_axes)
        Coordinates of the images in these axes.
    counts : array of shape (n_images,)
        How often each image was drawn.

    Returns
    -------
    Estimate or None
        None where the drawn images have fewer independent directions than components are wanted.
    """
    eigenvalues, V = np.linalg.eigh(B.T @ (counts[:, None] * B))
    eigenvalues, V = eigenvalues[::-1][:n_components], V[:, ::-1][:, :n_components]
    if eigenvalues[-1] <= eigenvalues[0] * len(B) * np.finfo(np.float64).eps:
        return None
    rotation = rotate((V.T @ P).astype(np.float32), seed=seed, max_iter=max_iter, tol=tol)
    return Estimate(rotation.R @ V.T, rotation.converged)


class Bootstrap(NamedTuple):
    """Stability of components over resampled collections."""

    iq: Array  # (n_components,), ICASSO's index over the bootstraps
    correlation: Array  # (n_components,), mean |r| with the matched component of each bootstrap
    n_used: int  # bootstraps with enough different images
    n_converged: int


def bootstrap_collections(
    P: Array,
    B: Array,
    reference: Array,
    collections: Sequence[int],
    *,
    n_bootstraps: int,
    random_state: int,
    max_iter: int,
    tol: float,
) -> Bootstrap | None:
    """Repeat the decomposition on collections drawn with replacement and compare.

    Parameters
    ----------
    P, B : arrays
        As in `decompose_draw`.
    reference : array of shape (n_components, n_axes)
        The components to judge, in the same axes.
    collections : sequence of int
        The collection of each image.

    Returns
    -------
    Bootstrap or None
        None where fewer than two draws had enough different images for so many components.
    """
    options: dict[str, Any] = {"n_components": len(reference), "max_iter": max_iter, "tol": tol}
    draws = draw_bootstraps(collections, n_bootstraps, random_state)
    found = [
        decompose_draw(P, B, counts, seed=random_state + number, **options)
        for number, counts in enumerate(progress(draws, total=n_bootstraps, unit="bootstrap"))
    ]
    estimates = [estimate for estimate in found if estimate is not None]
    if len(estimates) < 2:
        return None
    aligned = align(reference, [estimate.E for estimate in estimates])
    return Bootstrap(*agreement(reference, aligned), len(estimates), sum(estimate.converged for estimate in estimates))


class SplitHalf(NamedTuple):
    """Agreement of components found in two halves of the collections."""

    correlation: Array  # (n_components,), mean |r| of the two halves' matches of each component
    n_used: int  # splits whose halves both had enough different images
    n_converged: int  # of twice as many runs


def split_collections(
    P: Array,
    B: Array,
    reference: Array,
    collections: Sequence[int],
    *,
    n_splits: int,
    random_state: int,
    max_iter: int,
    tol: float,
) -> SplitHalf | None:
    """Decompose random halves of the collections, each by itself, and compare the two.

    The estimates of each half are assigned to the components one to one; what is compared is one half's match of a
    component with that of the other, and these have no collection in common.

    Parameters are those of `bootstrap_collections`.

    Returns
    -------
    SplitHalf or None
        None where no split had enough different images in both halves for so many components.
    """
    options: dict[str, Any] = {"n_components": len(reference), "max_iter": max_iter, "tol": tol}
    halves = draw_halves(collections, n_splits, random_state)
    found = [
        decompose_draw(P, B, counts, seed=random_state + number, **options)
        for number, counts in enumerate(progress(halves, total=2 * n_splits, unit="half"))
    ]
    pairs = [(a, b) for a, b in zip(found[::2], found[1::2], strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    first, second = (align(reference, [pair[side].E for pair in pairs]) for side in (0, 1))
    correlation = np.abs(np.einsum("rkq,rkq->rk", first, second)).mean(axis=0)
    return SplitHalf(correlation, len(pairs), sum(estimate.converged for pair in pairs for estimate in pair))


def voxel_sample(n_voxels: int, seed: int) -> npt.NDArray[np.intp]:
    """Draw a tenth of the voxels, but not fewer than 10,000, in ascending order."""
    size = min(n_voxels, max(n_voxels // 10, 10_000))
    return np.sort(np.random.default_rng(seed).choice(n_voxels, size=size, replace=False))
