"""Go through the matrix of images x voxels in blocks without keeping it in memory.

Blocks are read, not mapped. What a memory map has shown counts as memory of the process, and where the system keeps
files in large pieces that is much more than was asked for: some voxels of every image were the whole matrix, and a
cluster kills a process of 9 GB.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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
