"""Find independent components: FastICA from many starts, one consensus, settled in order and sign.

Rows of ``S`` are component maps, columns of ``A`` (mixing) the images' loadings, rows of ``W`` (unmixing) the weights
that make a map from the images: ``X - mean = A @ S + residual`` and ``S = W @ (X - mean)``.
"""

import logging
import warnings
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from configuration import component_labels
from outputs import read_table, replacing, write_json, write_table
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from stage_log import log_to, progress
from threadpoolctl import threadpool_limits

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


def find_consensus(
    Z: Array, *, n_restarts: int, random_state: int, max_iter: int, tol: float
) -> tuple[Rotation, Array | None, list[Rotation]]:
    """Run FastICA from `n_restarts` random starts and settle on one solution.

    With one start this is scikit-learn's FastICA on all voxels. With more, each start runs on the same random tenth of
    the voxels, their estimates are clustered, and the clusters' centrotypes, made orthogonal, are where one last
    run over all voxels starts: its result is a solution of FastICA, while centrotypes as such are not uncorrelated.

    Returns
    -------
    rotation : Rotation
        The solution on all voxels.
    iq : array of shape (n_components,) or None
        ICASSO's stability over the restarts, for the rows of ``rotation.R``; None with one start.
    restarts : list of Rotation
    """
    if n_restarts == 1:
        rotation = rotate(Z, seed=random_state, max_iter=max_iter, tol=tol)
        return rotation, None, [rotation]
    Z_part = Z[:, voxel_sample(Z.shape[1], random_state)]
    seeds = range(random_state, random_state + n_restarts)
    restarts = [
        rotate(Z_part, seed=seed, max_iter=max_iter, tol=tol)
        for seed in progress(seeds, total=n_restarts, unit="restart")
    ]
    # The data are white, so the inner products of rotation rows are the correlations of the maps.
    estimates = np.vstack([restart.R for restart in restarts])
    similarity = np.abs(estimates @ estimates.T)
    labels = cluster_estimates(similarity, len(Z))
    iq, centrotypes = cluster_quality(similarity, labels)
    start = orthogonalize(estimates[centrotypes])
    rotation = rotate(Z, seed=random_state, start=start, max_iter=max_iter, tol=tol)
    _, clusters = linear_sum_assignment(-np.abs(rotation.R @ estimates[centrotypes].T))
    return rotation, iq[clusters], restarts


def voxel_sample(n_voxels: int, seed: int) -> npt.NDArray[np.intp]:
    """Draw a tenth of the voxels, but not fewer than 10,000, in ascending order."""
    size = min(n_voxels, max(n_voxels // 10, 10_000))
    return np.sort(np.random.default_rng(seed).choice(n_voxels, size=size, replace=False))


def settle(S: Array, A: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """Decide order and sign, here and nowhere else.

    Parameters
    ----------
    S : array of shape (n_components, n_voxels)
    A : array of shape (n_images, n_components)

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


def main(
    *,
    whitened: str,
    reduction: str,
    images: str,
    mask: str,
    components: str,
    mixing: str,
    unmixing: str,
    stability: str,
    decomposition: str,
    random_state: int,
    n_restarts: int,
    max_iter: int,
    tol: float,
) -> None:
    """Decompose the whitened data and write maps, loadings and what is known of their stability."""
    Z = np.load(whitened)
    reduced = np.load(reduction)
    with threadpool_limits(1):
        rotation, iq, restarts = find_consensus(
            Z, n_restarts=n_restarts, random_state=random_state, max_iter=max_iter, tol=tol
        )
        S = rotation.R @ Z
        scale = S.std(axis=1, keepdims=True)
        S /= scale
        W = rotation.R @ reduced["K"] / scale
        # The rotation is orthogonal, so its transpose inverts it.
        A = (reduced["U"] * np.sqrt(reduced["eigenvalues"][: len(Z)])) @ rotation.R.T * scale.T
    order, signs = settle(S, A)
    S, A, W = (signs[:, None] * S)[order], (A * signs)[:, order], (signs[:, None] * W)[order]

    write_maps(components, S.astype(np.float32), mask)
    labels = component_labels(len(S))
    image_ids = [row["image_id"] for row in read_table(images)]
    for path, weights in ((mixing, A), (unmixing, W.T)):
        write_table(
            path,
            (
                {"image_id": image_id} | dict(zip(labels, row, strict=True))
                for image_id, row in zip(image_ids, weights, strict=True)
            ),
            ["image_id", *labels],
        )
    explained = np.square(A).sum(axis=0) / np.trace(reduced["gram"])
    write_table(
        stability,
        (
            {
                "component": label,
                "variance_explained": explained[number],
                "iq_restarts": None if iq is None else iq[order[number]],
            }
            for number, label in enumerate(labels)
        ),
    )
    converged = sum(restart.converged for restart in restarts)
    write_json(
        decomposition,
        {
            "n_components": len(S),
            "n_images": len(A),
            "n_voxels": S.shape[1],
            "algorithm": "FastICA, parallel, logcosh (scikit-learn)",
            "random_state": random_state,
            "max_iter": max_iter,
            "tol": tol,
            "n_iter": rotation.n_iter,
            "converged": rotation.converged,
            "n_restarts": n_restarts,
            "n_restarts_converged": converged,
            "variance_explained": float(explained.sum()),
        },
    )
    if not rotation.converged:
        logging.warning(
            "FastICA has not converged in %d iterations: probably more components than the images have structure for;"
            " lower run_ica.n_components, or raise run_ica.max_iter",
            max_iter,
        )
    logging.info(
        "%d components, %.1f %% of the variance; %d of %d restarts converged; last run %d iterations",
        len(S),
        100 * explained.sum(),
        converged,
        n_restarts,
        rotation.n_iter,
    )


def write_maps(path: str, S: npt.NDArray[np.float32], mask: str) -> None:
    """Write the rows of `S` (n_components, n_voxels) as a 4-D image on the grid of the mask."""
    mask_img = nib.load(mask)
    inside = np.asarray(mask_img.dataobj) > 0
    volume = np.zeros((*inside.shape, len(S)), dtype=np.float32)
    volume[inside] = S.T
    with replacing(path) as temporary:
        nib.save(nib.Nifti1Image(volume, mask_img.affine), temporary)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
