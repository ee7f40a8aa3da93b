"""Measure how smooth a map is from how alike neighbouring voxels are.

Forman et al. 1995, doi:10.1002/mrm.1910330508.
"""

import numpy as np
import numpy.typing as npt

from neurovault_ica.types import Real

# Neighbouring voxels of a field whose FWHM is one voxel; with less, voxels are as good as independent.
R_OF_ONE_VOXEL = 0.25


def neighbour_correlations(values: Real, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Correlate each voxel with its next along each axis, as far as both are in the mask.

    Parameters
    ----------
    values : array of shape (n_voxels,)
    inside : boolean array of 3 dimensions
        The mask, with n_voxels voxels.

    Returns
    -------
    array of shape (3,)
        1 less the mean squared difference over twice the variance; negative where neighbours differ more than others.
    """
    volume = np.zeros(inside.shape)
    volume[inside] = values
    r = np.empty(3)
    for axis in range(3):
        along, mask = np.swapaxes(volume, 0, axis), np.swapaxes(inside, 0, axis)
        steps = np.diff(along, axis=0)[mask[1:] & mask[:-1]]
        r[axis] = 1 - np.square(steps).mean() / (2 * np.var(values))
    return r


def count_resels(values: Real, inside: npt.NDArray[np.bool_]) -> float:
    """Measure the volume of a mask in units of the product of a map's FWHM along the three axes.

    Where a map has fine and coarse parts, its FWHM is near that of the fine ones, by which the number of peaks goes
    that noise makes.

    Parameters
    ----------
    values : array of shape (n_voxels,)
    inside : boolean array of 3 dimensions
        The mask, with n_voxels voxels.
    """
    resels = float(len(values))
    for r in np.maximum(neighbour_correlations(values, inside), R_OF_ONE_VOXEL):
        resels /= float(np.sqrt(2 * np.log(2) / -np.log(r)))
    return resels
