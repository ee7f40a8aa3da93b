"""Smooth images within the mask."""

import numpy as np
from numpy.typing import NDArray

from neurovault_ica.images.targets import Target

# A Gaussian's full width at half maximum (FWHM) is this multiple of its standard deviation.
FWHM_OF_SD = np.sqrt(8 * np.log(2))
# The Gaussian is cut at this many standard deviations, where it is 4e-6 of its maximum. Farther out, its values soon
# become subnormal in single precision, and products with subnormal numbers take ten times as long.
CUT_AT_SD = 5.0


class Smoother:
    """A Gaussian filter whose weights outside the mask are zero and whose weights inside sum to 1.

    This is a normalized convolution (Knutsson and Westin 1993, doi:10.1109/CVPR.1993.341081): the smoothed image is
    divided by the smoothed mask. So zeros outside the mask do not lower the values at its border. The filter is
    separable, so it is applied by a matrix product along each axis.

    Parameters
    ----------
    target : Target
        The mask. Its axes may be oblique and its voxels anisotropic, because the filter works along these axes.
    fwhm_mm : float
        Full width at half maximum of the Gaussian.
    """

    def __init__(self, target: Target, fwhm_mm: float) -> None:
        voxel_mm = np.linalg.norm(target.affine[:3, :3], axis=0)
        lengths = target.inside.shape
        self._shape = lengths
        self._kernels = [
            _kernel(length, fwhm_mm / FWHM_OF_SD / mm) for length, mm in zip(lengths, voxel_mm, strict=True)
        ]
        self._positions = np.flatnonzero(target.inside)
        self._share_inside = self._filter(np.ones(len(self._positions), np.float32))

    def __call__(self, voxels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Smooth an image (n_voxels,)."""
        return self._filter(voxels) / self._share_inside

    def _filter(self, voxels: NDArray[np.float32]) -> NDArray[np.float32]:
        volume = np.zeros(self._shape, np.float32)
        volume.ravel()[self._positions] = voxels
        along_x, along_y, along_z = self._kernels
        volume = np.matmul(volume, along_z)
        volume = np.matmul(along_y, volume)
        volume = np.tensordot(along_x, volume, axes=1)
        return volume.ravel().take(self._positions, mode="clip")


def _kernel(n_planes: int, sd: float) -> NDArray[np.float32]:
    """Return the weights between the planes of an axis (n_planes, n_planes); `sd` is in voxels."""
    distance = np.abs(np.subtract.outer(np.arange(n_planes), np.arange(n_planes))) / sd
    return np.where(distance <= CUT_AT_SD, np.exp(-0.5 * np.square(distance.clip(max=CUT_AT_SD))), 0).astype(np.float32)
