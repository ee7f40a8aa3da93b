"""Measure whether the data of an image lie where the brain is."""

from typing import NamedTuple

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from scipy import fft

from neurovault_ica.images.resampling import Plan, plan_resampling, read_voxels
from neurovault_ica.images.targets import Target, target_of

# Voxel size of the grid on which brain and data are compared. With 6 mm, results on real maps are the same.
GRID_MM = 8
# Largest shift along each axis that is tried. The grid extends this far beyond the brain.
LARGEST_SHIFT_MM = 64


class Brain(NamedTuple):
    """The brain mask on which quality is measured."""

    target: Target  # its voxels
    surroundings: Target  # all voxels of a coarse grid around it
    spectrum: NDArray[np.complex64]  # conjugate Fourier transform of the brain on the coarse grid


def brain_of(mask_img: SpatialImage) -> Brain:
    """Prepare a 3-D brain mask, not zero inside."""
    target = target_of(mask_img)
    corners = np.array([[box.start, box.stop - 1] for box in target.box])
    corners_mm = np.sort(target.affine[:3, :3] @ corners + target.affine[:3, 3:], axis=1)
    low = corners_mm[:, 0] - LARGEST_SHIFT_MM
    lengths = np.ceil((corners_mm[:, 1] + LARGEST_SHIFT_MM - low) / GRID_MM) + 1
    n_x, n_y, n_z = (fft.next_fast_len(int(length), real=True) for length in lengths)
    affine = np.diag([float(GRID_MM)] * 3 + [1])
    affine[:3, 3] = low
    shape = (n_x, n_y, n_z)
    surroundings = Target(shape, affine, tuple(map(slice, shape)), np.ones(shape, dtype=bool))
    plan = plan_resampling(target.shape, target.affine, surroundings, "nearest")
    mask = np.asfortranarray(np.asarray(mask_img.dataobj) != 0)
    inside = read_voxels(mask, plan, surroundings).reshape(shape)
    return Brain(target, surroundings, np.conj(fft.rfftn(inside.astype(np.float32))))


def displaced_share(has_data: NDArray[np.bool_], plan: Plan, brain: Brain) -> float:
    """Compare the overlap of data and brain with the largest overlap that a shift would give.

    The overlaps of all shifts are a cross-correlation, which is computed with the Fourier transform. No shift gives a
    larger overlap if the data contain the brain, or lie within it.

    Parameters
    ----------
    has_data : bool array (nx, ny, nz)
        On the grid of the image.
    plan : Plan
        From the grid of the image to ``brain.surroundings``, for nearest neighbours.
    brain : Brain

    Returns
    -------
    float
        1 - overlap / largest overlap: 0 if no shift is better, 1 if data and brain do not overlap.
    """
    shape = brain.surroundings.shape
    data = read_voxels(has_data, plan, brain.surroundings).reshape(shape)
    # Overlaps are counts of voxels that are rounded afterwards, so single precision is enough.
    overlaps = np.rint(fft.irfftn(fft.rfftn(data.astype(np.float32)) * brain.spectrum, s=shape)).astype(int)
    n_steps = LARGEST_SHIFT_MM // GRID_MM
    shifts = np.arange(-n_steps, n_steps + 1)
    largest = overlaps[np.ix_(shifts, shifts, shifts)].max()
    return float(1 - overlaps[0, 0, 0] / largest) if largest else 1.0
