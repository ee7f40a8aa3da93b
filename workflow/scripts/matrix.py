"""Go through the matrix of images x voxels in blocks without keeping it in memory.

What a memory map has read counts as memory of the process until the map is closed: with one map, a matrix of 9 GB makes
a process of 9 GB, which a cluster kills. So every block has a map of its own.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Fixed, so that sums are taken in the same order on every machine.
BLOCK_IMAGES = 64
BLOCK_VOXELS = 8192


class Block(NamedTuple):
    """Some rows or columns of the matrix, and which they are."""

    where: slice
    values: npt.NDArray[np.float32]


def image_blocks(X: npt.NDArray[np.float32]) -> Iterator[Block]:
    """Give the rows of `X` (n_images, n_voxels; an array or a whole memory map) in blocks, and which ones they are."""
    for start in range(0, len(X), BLOCK_IMAGES):
        images = slice(start, start + BLOCK_IMAGES)
        yield Block(images, _mapped_anew(X)[images])


def voxel_blocks(X: npt.NDArray[np.float32]) -> Iterator[Block]:
    """Give the columns of `X` (n_images, n_voxels; an array or a whole memory map) in blocks, and which they are."""
    for start in range(0, X.shape[1], BLOCK_VOXELS):
        voxels = slice(start, start + BLOCK_VOXELS)
        yield Block(voxels, _mapped_anew(X)[:, voxels])


def _mapped_anew(X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.load(str(X.filename), mmap_mode="r") if isinstance(X, np.memmap) else X
