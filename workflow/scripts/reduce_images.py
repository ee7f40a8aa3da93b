"""Centre and whiten: principal components of the images from their Gram matrix."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from outputs import read_table, replacing, write_table
from stage_log import log_to
from threadpoolctl import threadpool_limits

# Fixed, so that sums are taken in the same order on every machine; 16k voxels of 1,000 images are 64 MB.
BLOCK_VOXELS = 16384
# Draws of the collections are decomposed within so many leading axes: all of them up to 300 images.
MAX_AXES = 300


def weigh_images(collections: Sequence[int], *, equally: bool) -> npt.NDArray[np.float64]:
    """Give each image its weight: 1, or one over the size of its collection, so that collections count alike.

    Parameters
    ----------
    collections : sequence of int
        The collection of each image.
    equally : bool
        Whether collections shall count alike.

    Returns
    -------
    array of shape (n_images,)
        With mean 1.
    """
    _, member, sizes = np.unique(collections, return_inverse=True, return_counts=True)
    return len(member) / (len(sizes) * sizes[member]) if equally else np.ones(len(member))


def gram_matrix(X: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute the mean of each image and the covariance of images over voxels, reading `X` in blocks.

    Parameters
    ----------
    X : array of shape (n_images, n_voxels)
        May be a memory map.

    Returns
    -------
    mean : array of shape (n_images,)
        Each image's mean over the mask.
    gram : array of shape (n_images, n_images)
        ``(X - mean) @ (X - mean).T / n_voxels``, in float64.
    """
    n_images, n_voxels = X.shape
    mean = X.mean(axis=1, dtype=np.float64)
    gram = np.zeros((n_images, n_images))
    for start in range(0, n_voxels, BLOCK_VOXELS):
        block = X[:, start : start + BLOCK_VOXELS] - mean[:, None]
        gram += block @ block.T
    return mean, gram / n_voxels


def principal_axes(
    gram: npt.NDArray[np.float64], n_components: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Find the leading eigenvectors of the Gram matrix.

    Returns
    -------
    eigenvalues : array of shape (n_images,)
        All of them, largest first; variances of the principal components.
    U : array of shape (n_images, n_axes)
        Eigenvectors, as many as are independent but not more than the larger of `MAX_AXES` and `n_components`. The
        first entry of each is positive as in scikit-learn's FastICA, so that a seed gives the same start there and
        here.

    Raises
    ------
    ValueError
        If the images have fewer independent directions than `n_components`.
    """
    eigenvalues, eigenvectors = np.linalg.eigh(gram)
    eigenvalues, eigenvectors = eigenvalues[::-1], eigenvectors[:, ::-1]
    # An eigenvalue of the Gram matrix is a squared singular value and is exact to machine epsilon of the largest.
    rank = int((eigenvalues > eigenvalues[0] * len(gram) * np.finfo(np.float64).eps).sum())
    if n_components > rank:
        raise ValueError(
            f"the {len(gram)} images have {rank} independent directions and run_ica.n_components is {n_components};"
            f" lower n_components to at most {rank}, or select more images"
        )
    U = eigenvectors[:, : min(rank, max(n_components, MAX_AXES))]
    return eigenvalues, U * np.where(U[0] < 0, -1.0, 1.0)


def whiten(
    X: npt.NDArray[np.float32], mean: npt.NDArray[np.float64], K: npt.NDArray[np.float64], Z: npt.NDArray[np.float32]
) -> None:
    """Write ``K @ (X - mean)`` into `Z`, block by block.

    Parameters
    ----------
    X : array of shape (n_images, n_voxels)
    mean : array of shape (n_images,)
    K : array of shape (n_components, n_images)
    Z : array of shape (n_components, n_voxels)
        Filled in place; its rows have mean 0 and variance 1.
    """
    for start in range(0, X.shape[1], BLOCK_VOXELS):
        voxels = slice(start, start + BLOCK_VOXELS)
        Z[:, voxels] = K @ (X[:, voxels] - mean[:, None])


def variance_rows(eigenvalues: npt.NDArray[np.float64], n_components: int) -> list[dict[str, Any]]:
    """Tabulate how much variance each principal component carries and whether it is kept."""
    share = np.maximum(eigenvalues, 0) / np.maximum(eigenvalues, 0).sum()
    return [
        {
            "principal_component": number,
            "eigenvalue": value,
            "variance_explained": part,
            "cumulative_variance_explained": total,
            "kept": number < n_components,
        }
        for number, (value, part, total) in enumerate(zip(eigenvalues, share, np.cumsum(share), strict=True))
    ]


def main(
    *,
    matrix: str,
    images: str,
    whitened: str,
    reduction: str,
    variance: str,
    n_components: int,
    weight_collections_equally: bool,
) -> None:
    """Reduce the matrix to `n_components` white rows.

    Raises
    ------
    ValueError
        If there are fewer images, or independent directions, than components.
    """
    X = np.load(matrix, mmap_mode="r")
    collections = [image["collection_id"] for image in read_table(images)]
    n_images = len(collections)
    if n_images < n_components:
        raise ValueError(
            f"{n_images} images are left and run_ica.n_components is {n_components}; lower n_components, or see where"
            " the others went: results/fetch_metadata/selection.tsv and results/stack_images/rejected.tsv"
        )
    # One BLAS thread: the order of summation, and so the last digit, must not depend on the number of cores.
    with threadpool_limits(1):
        mean, gram = gram_matrix(X)
        weights = weigh_images(collections, equally=weight_collections_equally)
        roots = np.sqrt(weights)
        eigenvalues, U = principal_axes(roots[:, None] * gram * roots, n_components)
        K = (U[:, :n_components] / np.sqrt(eigenvalues[:n_components])).T * roots
        with replacing(whitened) as temporary:
            Z = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(n_components, X.shape[1]))
            whiten(X, mean, K, Z)
            Z.flush()
    with replacing(reduction) as temporary:
        np.savez(temporary, mean=mean, image_variance=np.diag(gram), weights=weights, eigenvalues=eigenvalues, U=U, K=K)
    rows = variance_rows(eigenvalues, n_components)
    write_table(variance, rows)
    logging.info(
        "%d images x %d voxels to %d components that carry %.1f %% of the variance",
        *X.shape,
        n_components,
        100 * rows[n_components - 1]["cumulative_variance_explained"],
    )


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
