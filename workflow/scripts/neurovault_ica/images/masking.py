"""Clean an image, measure its quality, and resample it to the voxels of the brain mask."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurovault_ica.images.nifti import Image
from neurovault_ica.images.nifti_file import UnusableError
from neurovault_ica.images.placement import Brain
from neurovault_ica.images.quality import measure
from neurovault_ica.images.resampling import Plan, extrapolate, plan_resampling, read_voxels, resample
from neurovault_ica.images.targets import Target

# Number of grids whose resampling plans stay in memory. A plan takes some MB. A few are enough, because images of one
# study share a grid and are read one after another.
N_PLANS = 16


class Plans(NamedTuple):
    """How to read the images of one grid."""

    analysis: Plan  # to the mask of the analysis, with the configured interpolation
    brain: Plan  # to the voxels of the brain, for nearest neighbours
    around: Plan  # to the surroundings of the brain, for nearest neighbours


def plan_masking(
    shape: tuple[int, ...], affine: NDArray[np.float64], target: Target, brain: Brain, interpolation: str
) -> Plans:
    """Make the plans for all images with this shape and affine (4, 4)."""
    analysis = plan_resampling(shape, affine, target, interpolation)
    around = plan_resampling(shape, affine, brain.surroundings, "nearest")
    # If the plan for the analysis only selects voxels, nearest neighbours need no other plan.
    if analysis.planes and _is_same(target, brain.target):
        return Plans(analysis, analysis, around)
    return Plans(analysis, plan_resampling(shape, affine, brain.target, "nearest"), around)


def _is_same(target: Target, other: Target) -> bool:
    return (
        target.shape == other.shape
        and target.box == other.box
        and np.array_equal(target.affine, other.affine)
        and np.array_equal(target.inside, other.inside)
    )


def mask_image(
    image: Image, target: Target, brain: Brain, plans: Plans, *, extrapolate_background: bool
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Mask one image and measure its quality.

    Parameters
    ----------
    image : Image
    target : Target
        The voxels of the mask of the analysis.
    brain : Brain
        The brain on which quality is measured.
    plans : Plans
        For the grid of the image.
    extrapolate_background : bool
        Whether to fill the background with the nearest data before resampling; see `resampling.extrapolate`.

    Returns
    -------
    values : float32 array (n_voxels,)
        In the unit of the image.
    measured : dict
        The measures of `quality.measure`, and the data type of the file.

    Raises
    ------
    UnusableError
        ``empty``, ``outside_template`` or ``constant``.
    """
    data, finite = image.data, np.isfinite(image.data)
    is_sound = finite.all()
    if not is_sound:
        data = np.where(finite, data, np.float32(0))
    in_brain = read_voxels(data, plans.brain, brain.target)
    measured = measure(
        data,
        in_brain,
        None if is_sound else finite,
        image.affine,
        brain,
        plans.brain,
        plans.around,
        step=image.step,
    )
    if measured["max_abs"] == 0:
        raise _nothing_in_mask(data)
    if extrapolate_background:
        data = extrapolate(data, data != 0)
        values = resample(data, plans.analysis, target)
    else:
        values = in_brain if plans.analysis is plans.brain else resample(data, plans.analysis, target)
    if not values.any():
        raise _nothing_in_mask(data)
    if values.min() == values.max():
        raise UnusableError("constant", f"every voxel of the mask is {values[0]:.6g}")
    return values, {**measured, "dtype": image.dtype}


def _nothing_in_mask(data: NDArray[np.float32]) -> UnusableError:
    if not data.any():
        return UnusableError("empty", "no voxel that is finite and not zero")
    if data.min() == data.max():
        return UnusableError("empty", f"every voxel is {data.flat[0]:.6g}")
    return UnusableError("outside_template", "no data within the mask")


def make_masker(
    target: Target, brain: Brain, interpolation: str, extrapolate_background: bool
) -> Callable[[Image], tuple[NDArray[np.float32], dict[str, Any]]]:
    """Return a function that masks an image with `mask_image`. It stores the plans of the last `N_PLANS` grids."""
    plans: dict[tuple, Plans] = {}

    def masked(image: Image) -> tuple[NDArray[np.float32], dict[str, Any]]:
        grid = (image.data.shape, image.affine.tobytes())
        if grid not in plans:
            if len(plans) >= N_PLANS:
                plans.pop(next(iter(plans)))
            plans[grid] = plan_masking(image.data.shape, image.affine, target, brain, interpolation)
        return mask_image(image, target, brain, plans[grid], extrapolate_background=extrapolate_background)

    return masked
