"""Principal components of more images than a Gram matrix can be made of, in some passes over them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.gram import leading, n_axes_kept
from neurovault_ica.images.matrix import Block, image_blocks
from neurovault_ica.runtime.threads import in_order

# Further maps in a block, passes at most, and 1 - cos of the turn of an axis that is at rest.
OVERSAMPLING = 20
MAX_PASSES = 20
MAX_UNREST = 1e-6


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
        As from `gram.principal_axes`.
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
    U = leading(eigenvalues, U, n_components)
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
