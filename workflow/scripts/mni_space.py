"""Tell whether an image lies where the MNI152 brain is."""

import numpy as np
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_brain_mask
from numpy.typing import NDArray
from scipy import ndimage

# Brains of other MNI templates reach some millimetres beyond nilearn's.
BRAIN_MARGIN_MM = 6
RESOLUTION_MM = 2


def share_in_brain(volume: NDArray, affine: NDArray[np.float64]) -> float:
    """Return the share of the sum of a volume that lies in nilearn's MNI152 brain mask, widened by 6 mm.

    Parameters
    ----------
    volume : array of shape (nx, ny, nz)
        Not negative, and not all 0.
    affine : array of shape (4, 4)
        Voxel to mm.
    """
    brain_img = load_mni152_brain_mask(resolution=RESOLUTION_MM)
    brain = ndimage.binary_dilation(np.asarray(brain_img.dataobj), iterations=BRAIN_MARGIN_MM // RESOLUTION_MM)
    places = np.argwhere(volume)
    values = volume[tuple(places.T)].astype(np.float64)
    voxels = np.rint(apply_affine(np.linalg.inv(brain_img.affine) @ affine, places)).astype(int)
    on_grid = np.all((voxels >= 0) & (voxels < brain.shape), axis=1)
    return float(values[on_grid] @ brain[tuple(voxels[on_grid].T)] / values.sum())
