"""Compute the weights of images for random smooth maps, the null model of a term's map."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from neurovault_ica.images.boxes import bounding_box
from neurovault_ica.images.smoothing import FWHM_OF_SD
from neurovault_ica.types import Real

# Smoothness of the random maps. Of 53 meta-analytic maps, the median FWHM was 13 mm and the largest 20 mm. Smoother
# random maps make the test stricter: from 6 to 30 mm, the 95th percentile of the null distribution rises by 0.03 to
# 0.06. With 20 mm, 8 % of unrelated maps with a FWHM of 30 mm had p < 0.05.
FWHM_MM = 30.0
# Distance between blobs: 1.4 standard deviations of a blob. The variance of a map then varies by at most 1 %.
BLOB_SPACING_MM = 18.0
# Drop blobs whose part inside the brain is below this share of the largest such part.
NEGLIGIBLE_SHARE = 0.01


def blob_weights(images: Iterable[Real], mask: npt.NDArray[np.bool_], affine: Real) -> npt.NDArray[np.float32]:
    """Compute the inner products of images with Gaussian blobs on a grid that covers the brain.

    A random smooth map is smoothed white noise, which is a sum of blobs of random height. So its inner product with an
    image is the same sum of these products. It is proportional to the correlation of image and map.

    Parameters
    ----------
    images : iterable of arrays of shape (n_voxels,)
        Each is scaled to mean 0 and length 1 first.
    mask : boolean array of 3 dimensions
        With n_voxels voxels.
    affine : array of shape (4, 4)
        Affine of the mask, without shear.

    Returns
    -------
    array of shape (n_images, n_blobs)
    """
    box = bounding_box(mask)
    inside = mask[box]
    sigma_mm = FWHM_MM / FWHM_OF_SD
    size_mm = np.linalg.norm(affine[:3, :3], axis=0)
    axes = [_blobs_along(n, mm, sigma_mm) for n, mm in zip(inside.shape, size_mm, strict=True)]
    share = _inner_products(inside.astype(np.float32), axes)
    kept = share > NEGLIGIBLE_SHARE * share.max()
    volume = np.zeros(inside.shape, dtype=np.float32)
    weights = []
    for image in images:
        values = image.astype(np.float64)
        values -= values.mean()
        volume[inside] = values / (np.linalg.norm(values) or 1)
        weights.append(_inner_products(volume, axes)[kept])
    return np.stack(weights)


def map_weights(
    blobs: npt.NDArray[np.float32], rows: npt.NDArray[np.intp] | None = None
) -> Callable[[int, np.random.Generator], npt.NDArray[np.float32]]:
    """Return a function that draws random maps and computes the weights of the images. Negative weights become 0.

    Parameters
    ----------
    blobs : array of shape (n_images, n_blobs)
        From `blob_weights`.
    rows : array of int, optional
        The images whose weights are wanted; all by default.

    Returns
    -------
    callable
        Takes a number of maps and a random generator; returns an array of shape (n_images, n_maps).
    """
    wanted = blobs if rows is None else blobs[rows]

    def draw(n_maps: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        heights = rng.standard_normal((blobs.shape[1], n_maps), dtype=np.float32)
        return np.maximum(wanted @ heights, 0)

    return draw


def _blobs_along(n_voxels: int, size_mm: float, sigma_mm: float) -> npt.NDArray[np.float32]:
    """Return Gaussian profiles along one axis (n_voxels, n_blobs). Centres extend beyond the first and last voxel."""
    voxels = size_mm * np.arange(n_voxels)
    centres = np.arange(-2 * sigma_mm, voxels[-1] + 2 * sigma_mm + BLOB_SPACING_MM, BLOB_SPACING_MM)
    return np.exp(-np.square(voxels[:, None] - centres) / (2 * sigma_mm**2)).astype(np.float32)


def _inner_products(volume: npt.NDArray[np.float32], axes: Sequence[npt.NDArray[np.float32]]) -> Real:
    """Compute the inner products of a volume with all blobs. A Gaussian blob is the product of three profiles."""
    along_x, along_y, along_z = axes
    planes = (along_x.T @ volume.reshape(len(along_x), -1)).reshape(-1, *volume.shape[1:])
    return np.matmul(along_y.T, planes) @ along_z
