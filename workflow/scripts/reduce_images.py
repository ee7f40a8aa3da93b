"""Centre and whiten: principal components of the images from their Gram matrix, or without it if there are too many."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matrix import Block, image_blocks, voxel_blocks
from outputs import read_table, replacing, write_table
from parallel import in_order
from stage_log import log_to
from threadpoolctl import threadpool_limits

# Beyond so many images, making and decomposing the Gram matrix takes longer than some passes over the images.
MAX_GRAM_IMAGES = 3000
# Draws of the collections are decomposed within so many leading axes, or so many for each component if that is more.
MIN_AXES = 300
AXES_PER_COMPONENT = 10
# Of `leading_axes`: further maps in a block, passes at most, and 1 - cos of the turn of an axis that is at rest.
OVERSAMPLING = 20
MAX_PASSES = 20
MAX_UNREST = 1e-6


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


def image_means(X: npt.NDArray[np.float32], threads: int = 1) -> npt.NDArray[np.float64]:
    """Compute the mean of each image of `X` (n_images, n_voxels) over the mask."""

    def means(block: Block) -> npt.NDArray[np.float64]:
        return block.read().mean(axis=1, dtype=np.float64)

    return np.concatenate(list(in_order(means, image_blocks(X), threads)))


def image_variances(
    X: npt.NDArray[np.float32], mean: npt.NDArray[np.float64], threads: int = 1
) -> npt.NDArray[np.float64]:
    """Compute the variance of each image of `X` (n_images, n_voxels) over the mask, given their means."""

    def variances(block: Block) -> npt.NDArray[np.float64]:
        centred = block.read()
        centred -= mean[block.where, None].astype(np.float32)
        return np.square(centred, out=centred).mean(axis=1, dtype=np.float64)

    return np.concatenate(list(in_order(variances, image_blocks(X), threads)))


def gram_matrix(X: npt.NDArray[np.float32], mean: npt.NDArray[np.float64], threads: int = 1) -> npt.NDArray[np.float64]:
    """Compute the covariance of images over voxels, ``(X - mean) @ (X - mean).T / n_voxels``.

    In single precision, as the images are, which takes half the time; sums over the blocks of voxels are in double. So
    an entry is off by the rounding of a correlation, about 1e-7 times the standard deviations of its two images.

    Parameters
    ----------
    X : array of shape (n_images, n_voxels)
        May be a memory map.
    mean : array of shape (n_images,)
        Each image's mean over the mask.
    threads : int
        They share the voxels; the result does not depend on their number.

    Returns
    -------
    array of shape (n_images, n_images)
    """
    single_mean = mean.astype(np.float32)

    def products(block: Block) -> npt.NDArray[np.float32]:
        centred = block.read()
        centred -= single_mean[:, None]
        return centred @ centred.T

    gram = np.zeros((len(X), len(X)))
    for part in in_order(products, voxel_blocks(X), threads):
        gram += part
    return gram / X.shape[1]


def n_axes_kept(n_components: int) -> int:
    """Say how many leading axes are kept at most."""
    return max(MIN_AXES, AXES_PER_COMPONENT * n_components)


def principal_axes(
    gram: npt.NDArray[np.float64], n_components: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Find the leading eigenvectors of the Gram matrix.

    Parameters
    ----------
    gram : array of shape (n_images, n_images)
        From `gram_matrix`, weighted or not.
    n_components : int

    Returns
    -------
    eigenvalues : array of shape (n_images,)
        All of them, largest first; variances of the principal components.
    U : array of shape (n_images, n_axes)
        Eigenvectors, as many as are independent but not more than `n_axes_kept`. The first entry of each is positive as
        in scikit-learn's FastICA, so that a seed gives the same start there and here.

    Raises
    ------
    ValueError
        If the images have fewer independent directions than `n_components`.
    """
    gram, n_independent = _without_rounding(gram)
    eigenvalues, eigenvectors = np.linalg.eigh(gram)
    eigenvalues = eigenvalues[::-1]
    return eigenvalues, _leading(eigenvalues[:n_independent], eigenvectors[:, ::-1], n_components)


def _without_rounding(gram: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], int]:
    """Take out of a Gram matrix the directions that are nothing but rounding, and count the others.

    Rounding is relative to each image, so which images depend on others shows in their correlations. In the Gram matrix
    itself the rounding of an image in large units would pass for the variance of images in small ones.
    """
    deviations = np.sqrt(np.diag(gram))
    # An image without variance correlates with nothing.
    inverse = np.divide(1, deviations, out=np.zeros(len(gram)), where=deviations > 0)
    correlations = inverse[:, None] * gram * inverse
    # Directions that hold nothing else have up to 4e-7 in 300 real maps, which are not all independent.
    rounding = np.sqrt(len(gram)) * np.finfo(np.float32).eps
    # Most often none depends on others, and eigenvalues alone take half the time.
    if np.linalg.eigvalsh(correlations)[0] > rounding:
        return gram, len(gram)
    shares, directions = np.linalg.eigh(correlations)
    independent = shares > rounding
    factors = deviations[:, None] * directions[:, independent] * np.sqrt(shares[independent])
    return factors @ factors.T, int(independent.sum())


def _leading(
    eigenvalues: npt.NDArray[np.float64], eigenvectors: npt.NDArray[np.float64], n_components: int
) -> npt.NDArray[np.float64]:
    """Take the eigenvectors that are kept, of those whose eigenvalues are known."""
    n_images = len(eigenvectors)
    # An eigenvalue is a squared singular value, and the images are of single precision.
    rank = int((eigenvalues > eigenvalues[0] * n_images * np.finfo(np.float32).eps ** 2).sum())
    if n_components > rank:
        raise ValueError(
            f"the {n_images} images have {rank} independent directions and run_ica.n_components is {n_components};"
            f" lower n_components to at most {rank}, or select more images"
        )
    U = eigenvectors[:, : min(rank, n_axes_kept(n_components))]
    return U * np.where(U[0] < 0, -1.0, 1.0)


def leading_axes(
    X: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float64],
    roots: npt.NDArray[np.float64],
    n_components: int,
    threads: int = 1,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    """Find the leading eigenvectors of a Gram matrix that is too large to be made.

    Randomised block Krylov iteration (Musco and Musco 2015, arXiv:1504.05477, algorithm 2): each pass over the images
    multiplies a block of maps by the covariance of the voxels; all maps so far, made orthonormal, span a space that
    holds the leading axes ever better. It ends when those of the components have come to rest.

    Parameters
    ----------
    X : array of shape (n_images, n_voxels)
    mean : array of shape (n_images,)
    roots : array of shape (n_images,)
        Square roots of the images' weights.
    n_components : int
    threads : int
        They share the images; the result does not depend on their number.

    Returns
    -------
    eigenvalues : array of shape (n_axes,)
        The leading ones only.
    U : array of shape (n_images, n_axes)
        As from `principal_axes`.
    method : str
        What was done, and how well the axes have come to rest.
    """
    n_images, n_voxels = X.shape
    n_axes, width = n_axes_kept(n_components), n_components + OVERSAMPLING
    following = np.random.default_rng(0).standard_normal((width, n_voxels))
    maps: list[npt.NDArray[np.float64]] = []
    # Coordinates of the images in these maps; their left singular vectors are what is sought.
    Y = np.empty((n_images, 0))
    U, unrest = Y, 1.0
    while unrest > MAX_UNREST and len(maps) < MAX_PASSES:
        # Twice, because rounding leaves something of the large ones the first time.
        for _ in range(2):
            for earlier in maps:
                following -= (following @ earlier.T) @ earlier
            following = _orthonormal_rows(following)
        maps.append(following)
        coordinates, following = _multiply(X, mean, roots, following, threads)
        Y = np.hstack([Y, coordinates])
        before = U
        U, singular, _ = np.linalg.svd(Y, full_matrices=False)
        if Y.shape[1] >= max(n_axes, 2 * width):
            overlap = before[:, :n_components].T @ U[:, :n_components]
            unrest = 1 - np.linalg.svd(overlap, compute_uv=False).min()
    eigenvalues = np.square(singular[:n_axes]) / n_voxels
    U = _leading(eigenvalues, U, n_components)
    return eigenvalues, U, f"block Krylov iteration, {len(maps)} passes, 1 - cos of the last turn {unrest:.0e}"


def _multiply(
    X: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float64],
    roots: npt.NDArray[np.float64],
    maps: npt.NDArray[np.float64],
    threads: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Multiply maps (width, n_voxels) by the centred, weighted images, which gives (n_images, width), and back.

    In single precision, which takes half the time; sums over the blocks of images are in double.
    """
    single_maps, single_mean, single_roots = (a.astype(np.float32) for a in (maps, mean, roots))

    def multiply(block: Block) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        weights = single_roots[block.where, None]
        centred = block.read()
        centred -= single_mean[block.where, None]
        coordinates = weights * (centred @ single_maps.T)
        return coordinates, (weights * coordinates).T @ centred

    coordinates, product = [], np.zeros_like(maps)
    for of_images, part in in_order(multiply, image_blocks(X), threads):
        coordinates.append(of_images)
        product += part
    return np.concatenate(coordinates).astype(np.float64), product


def _orthonormal_rows(M: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn the rows of `M` into as many orthonormal ones; ten times faster than a QR decomposition of long rows."""
    squares, V = np.linalg.eigh(M @ M.T)
    return (V / np.sqrt(np.maximum(squares, squares[-1] * np.finfo(np.float64).eps))).T @ M


def whiten(
    X: npt.NDArray[np.float32], mean: npt.NDArray[np.float64], K: npt.NDArray[np.float64], threads: int = 1
) -> npt.NDArray[np.float32]:
    """Compute ``K @ (X - mean)``.

    Parameters
    ----------
    X : array of shape (n_images, n_voxels)
    mean : array of shape (n_images,)
    K : array of shape (n_components, n_images)
    threads : int

    Returns
    -------
    array of shape (n_components, n_voxels)
        Its rows have mean 0 and variance 1.
    """
    # Products are no more exact than the images, which are of single precision; sums over the blocks are in double.
    single_K, single_mean = K.astype(np.float32), mean.astype(np.float32)

    def products(block: Block) -> npt.NDArray[np.float32]:
        centred = block.read()
        centred -= single_mean[block.where, None]
        return single_K[:, block.where] @ centred

    Z = np.zeros((len(K), X.shape[1]))
    for part in in_order(products, image_blocks(X), threads):
        Z += part
    return Z.astype(np.float32)


def variance_rows(eigenvalues: npt.NDArray[np.float64], of_images: float, n_components: int) -> list[dict[str, Any]]:
    """Tabulate how much of the variance `of_images` each principal component carries and whether it is kept."""
    share = np.maximum(eigenvalues, 0) / of_images
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
    threads: int,
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
        mean = image_means(X, threads)
        weights = weigh_images(collections, equally=weight_collections_equally)
        roots = np.sqrt(weights)
        if n_images > MAX_GRAM_IMAGES:
            image_variance = image_variances(X, mean, threads)
            eigenvalues, U, method = leading_axes(X, mean, roots, n_components, threads)
        else:
            gram = gram_matrix(X, mean, threads)
            image_variance = np.diag(gram)
            eigenvalues, U = principal_axes(roots[:, None] * gram * roots, n_components)
            method = "eigenvectors of the Gram matrix"
        K = (U[:, :n_components] / np.sqrt(eigenvalues[:n_components])).T * roots
        with replacing(whitened) as temporary:
            np.save(temporary, whiten(X, mean, K, threads))
    with replacing(reduction) as temporary:
        np.savez(
            temporary, mean=mean, image_variance=image_variance, weights=weights, eigenvalues=eigenvalues, U=U, K=K,
            method=method,
        )  # fmt: skip
    rows = variance_rows(eigenvalues, float(weights @ image_variance), n_components)
    write_table(variance, rows)
    logging.info(
        "%d images x %d voxels to %d components that carry %.1f %% of the variance (%s)",
        *X.shape,
        n_components,
        100 * rows[n_components - 1]["cumulative_variance_explained"],
        method,
    )


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
