"""Estimate the smoothness of a map from the correlation of neighbouring voxels.

Forman et al. 1995, doi:10.1002/mrm.1910330508.
"""

import numpy as np
import numpy.typing as npt

from neurovault_ica.types import Real

# Correlation of neighbouring voxels in a field with a FWHM of one voxel. Rougher maps are treated as if they had it.
R_OF_ONE_VOXEL = 0.25


def neighbour_correlations(values: Real, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Correlate each voxel with the next along each axis, where both are in the mask.

    Parameters
    ----------
    values : array of shape (n_voxels,)
    inside : boolean array of 3 dimensions
        The mask, with n_voxels voxels.

    Returns
    -------
    array of shape (3,)
        One minus half the mean squared difference of neighbours, divided by the variance. It is negative if neighbours
        differ more than other voxels do, and 0 along an axis without neighbours, as in a mask of one slice.
    """
    volume = np.zeros(inside.shape)
    volume[inside] = values
    r = np.empty(3)
    for axis in range(3):
        along, mask = np.swapaxes(volume, 0, axis), np.swapaxes(inside, 0, axis)
        steps = np.diff(along, axis=0)[mask[1:] & mask[:-1]]
        r[axis] = 1 - np.square(steps).mean() / (2 * np.var(values)) if steps.size else 0
    return r


def count_resels(values: Real, inside: npt.NDArray[np.bool_]) -> float:
    """Measure the volume of a mask in resels. One resel is the product of a map's FWHM along the three axes.

    If a map mixes fine and coarse structure, the estimated FWHM is close to that of the fine structure. This is wanted,
    because the fine structure determines how many peaks noise produces.

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
