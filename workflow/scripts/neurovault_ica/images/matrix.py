"""Compute over the matrix of images x voxels in blocks, so that it need not fit into memory.

Blocks are read, not memory-mapped, because the pages of a memory map count as memory of the process. With large pages,
reading a few voxels of each image would load the whole matrix, and a cluster would kill the job.
"""

import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.images.signs import Halves, is_split, scales_of
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.types import Real, Row

# Block sizes limit the memory: 64 images of 230,000 voxels are 59 MB, and 8192 voxels of 10,000 images are 330 MB. They
# are the same on every machine, because rounding depends on the order of sums.
BLOCK_IMAGES = 64
BLOCK_VOXELS = 8192
# Largest number of values in the array of groups x voxels that `correlate_images` sums: 256 MB in float32.
MOST_SUMS = 2**26
Matrix = npt.NDArray[np.float32]
# Images x voxels: an array, a whole memory map, or both halves of the images.
Rows = Matrix | Halves


class Block(NamedTuple):
    """Some rows or columns of the matrix."""

    where: slice
    read: Callable[[], Matrix]  # returns a copy


def open_matrix(path: str, images: Sequence[Row]) -> Rows:
    """Open matrix.npy as the decomposition sees it.

    Parameters
    ----------
    path : path
        Images x voxels.
    images : sequence of mappings
        Rows of stack_images/images.tsv. They tell whether signs are split.

    Returns
    -------
    memory map (n_images, n_voxels), or Halves (2 * n_images, n_voxels)
    """
    X = np.load(path, mmap_mode="r")
    return Halves(X, scales_of(images)) if is_split(images) else X


def image_blocks(X: Rows, n_rows: int | None = None) -> Iterator[Block]:
    """Yield the rows of `X` (n_images, n_voxels) in blocks of `n_rows`, by default `BLOCK_IMAGES`."""
    step = n_rows or BLOCK_IMAGES
    for start in range(0, len(X), step):
        images = slice(start, min(start + step, len(X)))
        yield Block(images, partial(read_rows, X, images))


def voxel_blocks(X: Rows) -> Iterator[Block]:
    """Yield the columns of `X` (n_images, n_voxels) in blocks."""
    for start in range(0, X.shape[1], BLOCK_VOXELS):
        voxels = slice(start, min(start + BLOCK_VOXELS, X.shape[1]))
        yield Block(voxels, partial(_read_voxels, X, voxels))


def read_rows(X: Rows, images: slice) -> Matrix:
    """Read some rows of `X` (n_images, n_voxels) into a new array."""
    if isinstance(X, Halves):
        whole = slice(images.start // 2, -(-images.stop // 2))
        rows = X.split(read_rows(X.images, whole), whole)
        return rows[images.start - 2 * whole.start :][: images.stop - images.start]
    if not isinstance(X, np.memmap):
        return X[images].copy()
    n_images, n_voxels = images.stop - images.start, X.shape[1]
    offset = X.offset + images.start * n_voxels * X.itemsize
    return np.fromfile(str(X.filename), np.float32, n_images * n_voxels, offset=offset).reshape(n_images, n_voxels)


def _read_voxels(X: Rows, voxels: slice, images: slice | npt.NDArray[np.intp] = slice(None)) -> Matrix:
    if isinstance(X, Halves):
        return X.split(_read_voxels(X.images, voxels), slice(None))[images]
    if not isinstance(X, np.memmap):
        return X[images, voxels].copy()
    rows = np.arange(len(X))[images].tolist()
    values = np.empty((len(rows), voxels.stop - voxels.start), np.float32)
    file = os.open(str(X.filename), os.O_RDONLY)
    try:
        for number, row in zip(rows, values, strict=True):
            os.preadv(file, [row], X.offset + (number * X.shape[1] + voxels.start) * X.itemsize)
    finally:
        os.close(file)
    return values


def image_moments(X: Rows, threads: int = 1) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute the mean and variance of each image over the voxels.

    Parameters
    ----------
    X : Rows of shape (n_images, n_voxels)
    threads : int
        The result does not depend on their number.

    Returns
    -------
    mean, variance : arrays of shape (n_images,)
    """
    parts = in_order(lambda block: _moments_of(block.read()), image_blocks(X), threads)
    mean, variance = zip(*parts, strict=True)
    return np.concatenate(mean), np.concatenate(variance)


def _moments_of(values: Matrix) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute mean and variance of each row. Overwrites `values`."""
    mean = values.mean(axis=1, dtype=np.float64)
    values -= mean[:, None].astype(np.float32)
    return mean, np.square(values, out=values).mean(axis=1, dtype=np.float64)


def whiten(
    X: Rows,
    mean: npt.NDArray[np.floating[Any]],
    K: npt.NDArray[np.floating[Any]],
    voxels: npt.NDArray[np.intp] | slice = slice(None),
    *,
    threads: int = 1,
) -> Matrix:
    """Compute ``K @ (X - mean)`` at some voxels.

    Parameters
    ----------
    X : Rows of shape (n_images, n_voxels)
    mean : array of shape (n_images,)
        Each image's mean over all voxels.
    K : array of shape (n_axes, n_images)
    voxels : array of int, or slice
        The columns to compute; all by default.
    threads : int
        The result does not depend on their number.

    Returns
    -------
    array of shape (n_axes, n_wanted_voxels)
        If `K` is the whitening matrix, the rows are uncorrelated and have mean 0 and variance 1 over all voxels.
    """
    # The images are in single precision, so this is enough for the products. Sums over blocks are in double precision.
    single_K, single_mean = K.astype(np.float32), mean.astype(np.float32)

    def products(block: Block) -> Matrix:
        centred = block.read()[:, voxels]
        centred -= single_mean[block.where, None]
        return single_K[:, block.where] @ centred

    # Correct for the rounding of the means to single precision.
    Z = np.repeat(-(K @ (mean - single_mean))[:, None], np.arange(X.shape[1])[voxels].size, axis=1)
    for part in in_order(products, image_blocks(X), threads):
        Z += part
    return Z.astype(np.float32)


def standardize(maps: Real) -> Real:
    """Centre maps (..., n_voxels) along the last axis and scale them to length 1.

    Inner products of the result are Pearson correlations. A constant map becomes 0. The result has the precision of
    `maps`, but sums are in double precision: numpy sums the values of a map one by one if they are not adjacent, and in
    single precision correlations would then be wrong by up to 2e-5.
    """
    precision = np.result_type(maps, np.float32)
    centred = maps - maps.mean(axis=-1, keepdims=True, dtype=np.float64).astype(precision)
    length = np.sqrt(np.square(centred).sum(axis=-1, keepdims=True, dtype=np.float64)).astype(precision)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def count_images(X: Matrix) -> npt.NDArray[np.int32]:
    """Count, at each voxel, the images that are not exactly zero.

    Parameters
    ----------
    X : array of shape (n_images, n_voxels)
        An array or a whole memory map.

    Returns
    -------
    int32 array of shape (n_voxels,)
    """
    counts = np.zeros(X.shape[1], dtype=np.int32)
    for block in image_blocks(X):
        counts += np.count_nonzero(block.read(), axis=0)
    return counts


def correlate_images(X: Matrix, groups: Sequence[Hashable | None]) -> Real:
    """Compute the mean Pearson correlation over voxels between the images of each pair of groups.

    Correlations of an image with itself are left out. Standardized images are summed by group before they are
    multiplied. So the cost grows with images x voxels and with groups x groups x voxels.

    Parameters
    ----------
    X : array of shape (n_images, n_voxels)
        An array or a whole memory map.
    groups : sequence
        The group of each image. None leaves an image out.

    Returns
    -------
    array of shape (n_groups, n_groups)
        Groups are in the order of their first image. On the diagonal, NaN for a group of one image.
    """
    number_of: dict[Hashable, int] = {}
    for group in groups:
        if group is not None:
            number_of.setdefault(group, len(number_of))
    members = np.array([-1 if group is None else number_of[group] for group in groups])
    sizes = np.bincount(members[members >= 0], minlength=len(number_of)).astype(float)
    wanted = np.flatnonzero(members >= 0)
    parts = [wanted[start : start + BLOCK_IMAGES] for start in range(0, len(wanted), BLOCK_IMAGES)]
    moments = [_moments_of(_read_voxels(X, slice(0, X.shape[1]), part)) for part in parts]
    products = np.zeros((len(sizes), len(sizes)))
    step = BLOCK_VOXELS * max(1, MOST_SUMS // (len(sizes) * BLOCK_VOXELS))
    for start in range(0, X.shape[1], step):
        voxels = slice(start, min(start + step, X.shape[1]))
        sums = np.zeros((len(sizes), voxels.stop - start), np.float32)
        for part, (mean, variance) in zip(parts, moments, strict=True):
            values = _read_voxels(X, voxels, part)
            values -= mean[:, None].astype(np.float32)
            values /= np.sqrt(variance)[:, None].astype(np.float32)
            for member, image in zip(members[part], values, strict=True):
                sums[member] += image
        for first in range(0, sums.shape[1], BLOCK_VOXELS):
            columns = sums[:, first : first + BLOCK_VOXELS]
            products += columns @ columns.T
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    return (products / X.shape[1] - np.diag(sizes)) / np.where(pairs > 0, pairs, np.nan)
