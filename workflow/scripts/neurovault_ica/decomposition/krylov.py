"""Compute principal components of many images in a few passes over them, without their Gram matrix."""

import logging
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.gram import leading, n_axes_kept
from neurovault_ica.images.matrix import Block, Rows, image_blocks
from neurovault_ica.runtime.threads import in_order

# Smallest number of extra maps in each pass, beyond the number of components. With more, fewer passes converge.
OVERSAMPLING = 20
# Number of maps in a pass, divided by the number of axes that are kept. Most real maps converge in six passes. Six
# passes then give 8 % more maps than axes. With fewer maps in a pass, the axes would need more passes.
MAPS_PER_AXIS = 0.18
# Largest number of passes over the images. Real maps needed six or seven.
MAX_PASSES = 20
# The axes have converged when the largest angle between two passes is below 0.08 degrees. This is its 1 - cos.
MAX_CHANGE = 1e-6
# Rows that are multiplied at once. BLAS needs 0.6 instead of 0.7 ms per row with twice `matrix.BLOCK_IMAGES`, and half
# as many sums are added in double precision. At 2 mm such a block has 120 MB.
BLOCK_ROWS = 128


def leading_axes(
    X: Rows,
    mean: npt.NDArray[np.float64],
    roots: npt.NDArray[np.float64],
    n_components: int,
    threads: int = 1,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    """Find the leading eigenvectors of the images' Gram matrix without computing it.

    Randomised block Krylov iteration (Musco and Musco 2015, arXiv:1504.05477, algorithm 2). Each pass over the images
    multiplies a block of maps by the covariance of the voxels. The orthonormalized maps of all passes span a space that
    approximates the leading axes better with each pass. The iteration ends when the axes of the components converge.

    Parameters
    ----------
    X : Rows of shape (n_images, n_voxels)
    mean : array of shape (n_images,)
        Each image's mean over the mask.
    roots : array of shape (n_images,)
        Square roots of the images' weights.
    n_components : int
    threads : int
        Number of threads among which the images are divided. The result does not depend on it.

    Returns
    -------
    eigenvalues : array of shape (n_axes,)
        The leading eigenvalues only, largest first.
    U : array of shape (n_images, n_axes)
        Eigenvectors, as from `gram.principal_axes`.
    method : str
        Text for the log: name of the method, number of passes, and last change of the axes.

    Raises
    ------
    ValueError
        If the images have fewer independent directions than `n_components`.
    """
    n_images, n_voxels = X.shape
    n_axes = n_axes_kept(n_components)
    width = max(n_components + OVERSAMPLING, math.ceil(MAPS_PER_AXIS * n_axes))
    n_needed = max(n_axes, 2 * width)
    following = np.random.default_rng(0).standard_normal((width, n_voxels))
    maps: list[npt.NDArray[np.float64]] = []
    # Coordinates of the images in all these maps. The left singular vectors of Y approximate the eigenvectors.
    Y = np.empty((n_images, 0))
    U, change = Y, 1.0
    while change > MAX_CHANGE and len(maps) < MAX_PASSES:
        # Orthogonalize twice: because of rounding, the first time leaves a part of the dominant maps.
        for _ in range(2):
            for earlier in maps:
                following -= (following @ earlier.T) @ earlier
            following = _orthonormal_rows(following)
        maps.append(following)
        coordinates, following = _multiply(X, mean, roots, following, threads)
        Y = np.hstack([Y, coordinates])
        # Axes are compared from the pass on that makes them complete, so those of the pass before are needed first.
        if Y.shape[1] + width < n_needed:
            continue
        before = U
        U, singular, _ = np.linalg.svd(Y, full_matrices=False)
        if Y.shape[1] >= n_needed:
            overlap = before[:, :n_components].T @ U[:, :n_components]
            change = 1 - np.linalg.svd(overlap, compute_uv=False).min()
    eigenvalues = np.square(singular[:n_axes]) / n_voxels
    U = leading(eigenvalues, U, n_components)
    if change > MAX_CHANGE:
        logging.warning(
            "block Krylov iteration did not converge in %d passes: 1 - cos of the last change is %.0e, expected at most"
            " %.0e; the weakest principal components may be imprecise, so try a smaller run_ica.n_components",
            MAX_PASSES,
            change,
            MAX_CHANGE,
        )
    return eigenvalues, U, f"block Krylov iteration, {len(maps)} passes, 1 - cos of the last change {change:.0e}"


def _multiply(
    X: Rows,
    mean: npt.NDArray[np.float64],
    roots: npt.NDArray[np.float64],
    maps: npt.NDArray[np.float64],
    threads: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Multiply the centred, weighted images by maps, and the transposed images by the result.

    Products are in single precision, which takes half the time. Sums over blocks of images are in double precision. The
    products are centred, not the images. The result is the same, and products have far fewer values.

    Parameters
    ----------
    X : Rows of shape (n_images, n_voxels)
    mean, roots : array of shape (n_images,)
        Means of the images, and square roots of their weights.
    maps : array of shape (width, n_voxels)
    threads : int

    Returns
    -------
    coordinates : array of shape (n_images, width)
    product : array of shape (width, n_voxels)
    """
    single_maps = maps.astype(np.float32)
    of_means = np.outer(mean, single_maps.sum(axis=1, dtype=np.float64))

    def multiply(block: Block) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        images, weights = block.read(), roots[block.where, None]
        coordinates = weights * (images @ single_maps.T - of_means[block.where])
        return coordinates, (weights * coordinates).T.astype(np.float32) @ images

    coordinates, product = [], np.zeros_like(maps)
    for of_images, part in in_order(multiply, image_blocks(X, BLOCK_ROWS), threads):
        coordinates.append(of_images)
        product += part
    return np.concatenate(coordinates), product - product.mean(axis=1, keepdims=True)


def _orthonormal_rows(M: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return an orthonormal basis of the rows of `M`. For long rows this is ten times faster than QR."""
    squares, V = np.linalg.eigh(M @ M.T)
    return (V / np.sqrt(np.maximum(squares, squares[-1] * np.finfo(np.float64).eps))).T @ M
