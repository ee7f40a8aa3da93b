"""Go through the matrix of images x voxels in blocks, without keeping it in memory: moments, weighted sums.

Blocks are read, not mapped. What a memory map has shown counts as memory of the process, and where the system keeps
files in large pieces that is much more than was asked for: some voxels of every image were the whole matrix, and a
cluster kills a process of 9 GB.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.types import Real

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


def standardize(maps: Real) -> Real:
    """Give maps, along the last axis, mean 0 and length 1, so that inner products are correlations; constant ones 0."""
    centred = maps - maps.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def write_npy_header(stream: IO[bytes], shape: tuple[int, int]) -> None:
    """Write the header of a float32 .npy file; numpy leaves room in it for a growing first axis."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})


def count_images(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Count, voxel by voxel, the images that have data there: not exactly zero.

    Parameters
    ----------
    matrix : array of shape (n_images, n_voxels)
        May be a memory map; it is read in blocks.
    """
    counts = np.zeros(matrix.shape[1], dtype=np.int32)
    for block in image_blocks(matrix):
        counts += np.count_nonzero(block.read(), axis=0)
    return counts


def correlate(matrix: npt.NDArray[np.float32], groups: Sequence[int]) -> Real:
    """Correlate images over voxels and average over the images of two groups, leaving out each image with itself.

    Parameters
    ----------
    matrix : array of shape (n_images, n_voxels)
        May be a memory map; it is read in blocks of voxels.
    groups : sequence of int
        The group of each image.

    Returns
    -------
    array of shape (n_groups, n_groups)
        In the order in which the groups come; NaN within a group of a single image.
    """
    numbers = np.asarray(groups)
    members = [np.flatnonzero(numbers == group) for group in dict.fromkeys(groups)]
    mean, variance = image_moments(matrix)
    centre, scale = mean[:, None].astype(np.float32), np.sqrt(variance)[:, None].astype(np.float32)
    products = np.zeros((len(members), len(members)))
    for block in voxel_blocks(matrix):
        values = block.read()
        values -= centre
        values /= scale
        # Added up first: images are too many to be multiplied with each other.
        sums = np.stack([values[images].sum(axis=0) for images in members])
        products += sums @ sums.T
    sizes = np.array([len(images) for images in members], dtype=float)
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    return (products / matrix.shape[1] - np.diag(sizes)) / np.where(pairs > 0, pairs, np.nan)


class StackedVoxels:
    """The images of several batch files as one read-only sequence of rows, none of them held in memory.

    Parameters
    ----------
    files : list of path
        voxels-{batch}.npy, each (n_images_of_batch, n_voxels).
    places : list of (int, int)
        For each row of the stack: which file, which row of it.
    """

    def __init__(self, files: Sequence[str], places: Sequence[tuple[int, int]]) -> None:
        self._files = files
        self._places = places
        self.shape = (len(places), np.load(files[0], mmap_mode="r").shape[1])

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._places)

    def __getitem__(self, number: int) -> npt.NDArray[np.float32]:
        """Read one row (n_voxels,)."""
        file, row = self._places[number]
        # Opened anew each time: there may be more files than a process may have open.
        return read_rows(np.load(self._files[file], mmap_mode="r"), slice(row, row + 1))[0]


def write_matrix(path: str, stack: StackedVoxels, rows: list[int], *, scale: str) -> list[float]:
    """Write the wanted rows of `stack` as one .npy file, row by row, scaled, and return their standard deviations.

    Parameters
    ----------
    path : path
        Array of shape (n_rows, n_voxels), float32.
    stack : StackedVoxels
    rows : list of int
        Rows of `stack`, in the order of the matrix.
    scale : {"unit_variance", "none"}
        Images come in other units (z of 5, betas of 1000): unscaled, those with large numbers own the result.
    """
    sds = []
    with replacing(path) as temporary, temporary.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), stack.shape[1])}
        np.lib.format.write_array_header_1_0(stream, header)
        for row in rows:
            voxels = stack[row]
            sds.append(float(voxels.std(dtype=np.float64)))
            if scale == "unit_variance":
                voxels /= np.float32(sds[-1])
            stream.write(voxels.data)
    return sds
