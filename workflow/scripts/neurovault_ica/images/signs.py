"""Split images into activation and deactivation, which are separate rows of the decomposition.

Deactivation is not mirrored activation: the regions that deactivate together are not those that activate together. So
with `stack_images.signs: split`, each image x has two rows: max(x, 0), its activation, and max(-x, 0), its
deactivation. They follow each other in this order, image by image. matrix.npy contains the images; `Halves` makes both
rows when a block of it is read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neurovault_ica.types import Row

SIGNS = ("activation", "deactivation")
# Columns of stack_images/images.tsv. They exist only if signs are split.
SCALE_COLUMNS = tuple(f"{sign}_scale" for sign in SIGNS)
# A half counts as empty if it has less than this share of the sum of absolute values. Scaled to unit variance, its few
# voxels would count as much as a whole map. Quality control has the same limit by default (min_sign_share).
MIN_HALF_SHARE = 0.0015


class Halves:
    """The activation and deactivation of images, with the shape (2 * n_images, n_voxels).

    Parameters
    ----------
    images : float32 array (n_images, n_voxels)
        An array or a whole memory map.
    scales : array (n_images, 2)
        Factors of activation and deactivation; 0 for empty halves.
    """

    def __init__(self, images: npt.NDArray[np.float32], scales: npt.ArrayLike) -> None:
        self.images = images
        self.scales = np.asarray(scales, dtype=np.float32)
        self.shape = (2 * images.shape[0], images.shape[1])

    def __len__(self) -> int:
        """Count the rows."""
        return self.shape[0]

    def split(self, values: npt.NDArray[np.float32], images: slice) -> npt.NDArray[np.float32]:
        """Split the values of some images (n_images_of_block, n_values) into twice as many rows."""
        rows = np.empty((2 * len(values), values.shape[1]), np.float32)
        factors = self.scales[images] * np.array([1, -1], np.float32)
        # Row by row, because a row of 1 MB stays in the processor's cache between both steps.
        for row, image, factor in zip(rows, np.repeat(np.arange(len(values)), 2), factors.flat, strict=True):
            np.multiply(values[image], factor, out=row)
            np.maximum(row, 0, out=row)
        return rows


def find_scales(voxels: npt.NDArray[np.float32], *, scale: str) -> dict[str, float]:
    """Compute the factors that scale activation and deactivation of an image.

    Parameters
    ----------
    voxels : array (n_voxels,)
    scale : {"unit_variance", "none"}
        Whether each half gets a variance of 1 over the voxels.

    Returns
    -------
    dict
        The scale by `SCALE_COLUMNS`; 0 if the half is empty.
    """
    halves = [np.maximum(voxels, 0), np.minimum(voxels, 0)]
    sums = np.array([abs(half.sum(dtype=np.float64)) for half in halves])
    variances = [
        float(half @ half) / half.size - (total / half.size) ** 2 for half, total in zip(halves, sums, strict=True)
    ]
    scales = {}
    for column, total, variance in zip(SCALE_COLUMNS, sums, variances, strict=True):
        is_empty = variance <= 0 or total < MIN_HALF_SHARE * sums.sum()
        scales[column] = 0.0 if is_empty else float(1 / np.sqrt(variance)) if scale == "unit_variance" else 1.0
    return scales


def is_split(images: Sequence[Row]) -> bool:
    """Return whether each image has two rows in the decomposition, from the rows of stack_images/images.tsv."""
    return images[0].get(SCALE_COLUMNS[0]) is not None


def scales_of(images: Sequence[Row]) -> npt.NDArray[np.float64]:
    """Return the scales of the halves (n_images, 2) from the rows of stack_images/images.tsv."""
    return np.array([[image[column] for column in SCALE_COLUMNS] for image in images])


def rows_of(images: Sequence[Row]) -> list[Row]:
    """Return one row for each row of the decomposition: the images or, with split signs, each image once per `sign`."""
    if not is_split(images):
        return list(images)
    return [image | {"sign": sign} for image in images for sign in SIGNS]


def count_empty(images: Sequence[Row]) -> dict[str, int]:
    """Count the images without activation, and without deactivation."""
    return dict(zip(SIGNS, (scales_of(images) == 0).sum(axis=0).tolist(), strict=True))


def both_signs(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Interleave the rows of `values` (n_images, ...) with their negatives, like the rows of `Halves`."""
    return np.stack([values, -values], axis=1).reshape(2 * len(values), *values.shape[1:])


def join_moments(mean: npt.NDArray[Any], variance: npt.NDArray[Any], scales: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Compute the variance of images from the means and variances of their scaled halves.

    Parameters
    ----------
    mean, variance : array (2 * n_images,)
        Over the voxels, of activation and deactivation.
    scales : array (n_images, 2)
        Empty halves count as 0.

    Returns
    -------
    array (n_images,)
    """
    unscaled = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    # One of the halves is 0 at each voxel, so their covariance is minus the product of their means.
    means = mean.reshape(-1, 2) * unscaled
    return (variance.reshape(-1, 2) * np.square(unscaled)).sum(axis=1) + 2 * means[:, 0] * means[:, 1]


def sign_at_end(title: str) -> str:
    """Return the end of the title of a half, such as `` (activation)``; otherwise an empty text.

    A shortened title keeps this end. Otherwise, both halves of a map would have the same title.
    """
    return next((end for end in (f" ({sign})" for sign in SIGNS) if title.endswith(end)), "")
