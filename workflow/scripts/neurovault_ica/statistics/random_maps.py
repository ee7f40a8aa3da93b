"""Give images weights in random smooth maps: what a term would get whose map knows nothing of the brain."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from neurovault_ica.types import Real

# Smoother than the smoothest of 53 meta-analytic maps, which has 20 mm, as half of them have less than 13 mm. Wider is
# stricter: from 6 to 30 mm the 95th percentile of the null distribution rises by 0.03 to 0.06. With 20 mm, 8 % of maps
# of 30 mm had p < 0.05.
FWHM_MM = 30.0
# Blobs so far apart add up to a field whose variance is even to 1 % (1.4 standard deviations of a blob).
SPACING_MM = 18.0
# Blobs that lie outside the brain but for so much of them are left out.
NEGLIGIBLE_SHARE = 0.01


def blob_weights(images: Iterable[Real], mask: npt.NDArray[np.bool_], affine: Real) -> npt.NDArray[np.float32]:
    """Compute the inner products of images with Gaussian blobs all over the brain.

    A random smooth map is a sum of blobs of random height (white noise, smoothed), so these products are all that is
    needed to know the correlation of an image with any such map, up to the length of the map.

    Parameters
    ----------
    images : iterable of arrays of shape (n_voxels,)
        Each is given mean 0 and length 1.
    mask : boolean array of 3 dimensions
        With n_voxels voxels.
    affine : array of shape (4, 4)
        Of the mask, without shear.

    Returns
    -------
    array of shape (n_images, n_blobs)
    """
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    inside = mask[box]
    sigma_mm = FWHM_MM / np.sqrt(8 * np.log(2))
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


def map_weights(blobs: npt.NDArray[np.float32]) -> Callable[[int, np.random.Generator], npt.NDArray[np.float32]]:
    """Make the function that draws random maps and gives images their weights in them, negative ones 0.

    Parameters
    ----------
    blobs : array of shape (n_images, n_blobs)
    """

    def draw(n_maps: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        heights = rng.standard_normal((blobs.shape[1], n_maps), dtype=np.float32)
        return np.maximum(blobs @ heights, 0)

    return draw


def _blobs_along(n_voxels: int, size_mm: float, sigma_mm: float) -> npt.NDArray[np.float32]:
    """Return Gaussian profiles along one axis, (n_voxels, n_blobs), from beyond the first to beyond the last voxel."""
    voxels = size_mm * np.arange(n_voxels)
    centres = np.arange(-2 * sigma_mm, voxels[-1] + 2 * sigma_mm + SPACING_MM, SPACING_MM)
    return np.exp(-np.square(voxels[:, None] - centres) / (2 * sigma_mm**2)).astype(np.float32)


def _inner_products(volume: npt.NDArray[np.float32], axes: Sequence[npt.NDArray[np.float32]]) -> Real:
    """Multiply a volume with all products of three profiles: Gaussian blobs are separable."""
    along_x, along_y, along_z = axes
    planes = (along_x.T @ volume.reshape(len(along_x), -1)).reshape(-1, *volume.shape[1:])
    return np.matmul(along_y.T, planes) @ along_z
