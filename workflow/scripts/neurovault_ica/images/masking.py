"""Clean an image, measure its quality, and resample it to the voxels of the brain mask."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurovault_ica.images.nifti import Image
from neurovault_ica.images.nifti_header import UnusableError
from neurovault_ica.images.quality import measure
from neurovault_ica.images.resampling import Plan, Target, extrapolate, plan_resampling, resample

# Number of grids whose resampling plans stay in memory; a plan takes some MB. Images of one study share a grid and are
# read one after the other.
N_PLANS = 16


def mask_image(
    image: Image,
    target: Target,
    plan: Plan,
    nearest: Plan,
    *,
    extrapolate_background: bool,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Mask one image and measure its quality.

    Parameters
    ----------
    image : Image
    target : Target
        The voxels of the mask.
    plan, nearest : Plan
        For the grid of the image: `plan` for the configured interpolation, `nearest` for nearest neighbours.
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
        ``empty`` or ``outside_template``.
    """
    data, finite = image.data, np.isfinite(image.data)
    is_sound = finite.all()
    if not is_sound:
        data = np.where(finite, data, np.float32(0))
    measured = measure(data, None if is_sound else finite, image.affine, target, nearest)
    if measured["max_abs"] == 0:
        raise _nothing_in_mask(data)
    if extrapolate_background:
        data = extrapolate(data, data != 0)
    values = resample(data, plan, target, round_to_integers=image.is_unsigned)
    return values, {**measured, "dtype": image.dtype}


def _nothing_in_mask(data: NDArray[np.float32]) -> UnusableError:
    if not data.any():
        return UnusableError("empty", "no voxel that is finite and not zero")
    if data.min() == data.max():
        return UnusableError("empty", f"every voxel is {data.flat[0]:.6g}")
    return UnusableError("outside_template", "no data within the mask")


def make_masker(
    target: Target, interpolation: str, extrapolate_background: bool
) -> Callable[[Image], tuple[NDArray[np.float32], dict[str, Any]]]:
    """Return a function that masks an image with `mask_image`. It stores the plans of the last `N_PLANS` grids."""
    plans: dict[tuple, tuple[Plan, Plan]] = {}

    def masked(image: Image) -> tuple[NDArray[np.float32], dict[str, Any]]:
        grid = (image.data.shape, image.affine.tobytes())
        if grid not in plans:
            if len(plans) >= N_PLANS:
                plans.pop(next(iter(plans)))
            plan = plan_resampling(image.data.shape, image.affine, target, interpolation)
            # A plan that only selects voxels is also the plan for nearest neighbours.
            nearest = plan if plan.planes else plan_resampling(image.data.shape, image.affine, target, "nearest")
            plans[grid] = (plan, nearest)
        plan, nearest = plans[grid]
        return mask_image(image, target, plan, nearest, extrapolate_background=extrapolate_background)

    return masked
