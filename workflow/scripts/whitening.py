"""Whiten: make maps of the axes from the images, all or some of their voxels."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matrix import Block, Matrix, image_blocks
from parallel import in_order


def whiten(
    X: Matrix,
    mean: npt.NDArray[np.floating[Any]],
    K: npt.NDArray[np.floating[Any]],
    voxels: npt.NDArray[np.intp] | slice = slice(None),
    *,
    threads: int = 1,
) -> Matrix:
    """Compute ``K @ (X - mean)``, at some voxels.

    Parameters
    ----------
    X : array of shape (n_images, n_voxels)
        An array or a whole memory map.
    mean : array of shape (n_images,)
        Each image's mean over all voxels.
    K : array of shape (n_axes, n_images)
    voxels : array of int, or slice
        Which columns; all of them if not given.
    threads : int
        They share the images; the result does not depend on their number.

    Returns
    -------
    array of shape (n_axes, n_wanted_voxels)
        With the whitening matrix as `K`, uncorrelated rows of mean 0 and variance 1 over all voxels.
    """
    # Products are no more exact than the images, which are of single precision; sums over the blocks are in double.
    single_K = K.astype(np.float32)

    def products(block: Block) -> Matrix:
        return single_K[:, block.where] @ block.read()[:, voxels]

    # Weighted alike, the means need not be taken from every image.
    Z = np.repeat(-(K @ mean)[:, None], np.arange(X.shape[1])[voxels].size, axis=1)
    for part in in_order(products, image_blocks(X), threads):
        Z += part
    return Z.astype(np.float32)
