"""Go through the matrix of images x voxels in blocks, without keeping it in memory: moments, weighted sums.

Blocks are read, not mapped. What a memory map has shown counts as memory of the process, and where the system keeps
files in large pieces that is much more than was asked for: some voxels of every image were the whole matrix, and a
cluster kills a process of 9 GB.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from parallel import in_order

# Fixed, so that sums are taken in the same order on every machine.
BLOCK_IMAGES = 64
BLOCK_VOXELS = 8192

Matrix = npt.NDArray[np.float32]


class Block(NamedTuple):
    """Some rows or columns of the matrix: which, and the function that gives them as an array of its own."""

    where: slice
    read: Callable[[], Matrix]


def image_blocks(X: Matrix) -> Iterator[Block]:
    """Give the rows of `X` (n_images, n_voxels; an array or a whole memory map) in blocks."""
    for start in range(0, len(X), BLOCK_IMAGES):
        images = slice(start, min(start + BLOCK_IMAGES, len(X)))
        yield Block(images, partial(read_rows, X, images))


def voxel_blocks(X: Matrix) -> Iterator[Block]:
    """Give the columns of `X` (n_images, n_voxels; an array or a whole memory map) in blocks."""
    for start in range(0, X.shape[1], BLOCK_VOXELS):
        voxels = slice(start, min(start + BLOCK_VOXELS, X.shape[1]))
        yield Block(voxels, partial(_read_voxels, X, voxels))


def read_rows(X: Matrix, images: slice) -> Matrix:
    """Read some rows of `X` (n_images, n_voxels; an array or a whole memory map) as an array of their own."""
    if not isinstance(X, np.memmap):
        return X[images].copy()
    n_images, n_voxels = images.stop - images.start, X.shape[1]
    offset = X.offset + images.start * n_voxels * X.itemsize
    return np.fromfile(str(X.filename), np.float32, n_images * n_voxels, offset=offset).reshape(n_images, n_voxels)


def _read_voxels(X: Matrix, voxels: slice) -> Matrix:
    if not isinstance(X, np.memmap):
        return X[:, voxels].copy()
    values = np.empty((len(X), voxels.stop - voxels.start), np.float32)
    file = os.open(str(X.filename), os.O_RDONLY)
    try:
        for number, row in enumerate(values):
            os.preadv(file, [row], X.offset + (number * X.shape[1] + voxels.start) * X.itemsize)
    finally:
        os.close(file)
    return values


def image_moments(X: Matrix, threads: int = 1) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute mean and variance (n_images,) of each image of `X` (n_images, n_voxels) over the mask."""

    def moments(block: Block) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        values = block.read()
        mean = values.mean(axis=1, dtype=np.float64)
        values -= mean[:, None].astype(np.float32)
        return mean, np.square(values, out=values).mean(axis=1, dtype=np.float64)

    mean, variance = zip(*in_order(moments, image_blocks(X), threads), strict=True)
    return np.concatenate(mean), np.concatenate(variance)


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
    single_K, single_mean = K.astype(np.float32), mean.astype(np.float32)

    def products(block: Block) -> Matrix:
        centred = block.read()[:, voxels]
        centred -= single_mean[block.where, None]
        return single_K[:, block.where] @ centred

    # The means in single precision are not quite the means.
    Z = np.repeat(-(K @ (mean - single_mean))[:, None], np.arange(X.shape[1])[voxels].size, axis=1)
    for part in in_order(products, image_blocks(X), threads):
        Z += part
    return Z.astype(np.float32)
