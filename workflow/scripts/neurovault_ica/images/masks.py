"""Brain masks, and the voxels of an image inside one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import nilearn
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from scipy import ndimage

from neurovault_ica.images.mni_space import read_volumes, share_in_brain
from neurovault_ica.images.nifti import Image, UnusableError
from neurovault_ica.images.quality import measure
from neurovault_ica.images.resampling import Plan, Target, extrapolate, plan_resampling, resample

# Templates of 1 mm that come with nilearn.
TEMPLATES = {
    source: Path(nilearn.__file__).parent / f"datasets/data/mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
    for source, tissue in (("brain", "t1"), ("gray_matter", "gm"))
}
MIN_INTENSITY = 0.2
N_CLOSINGS = 2
# A mask of another space overlaps with the MNI152 brain too, but not by this much.
MIN_SHARE_IN_BRAIN = 0.8
N_PLANS = 16


def mni152_mask(source: str, resolution_mm: int) -> nib.Nifti1Image:
    """Make nilearn's MNI152 mask of the brain or of the grey matter, as its load_mni152_brain_mask and _gm_mask do.

    The template is resampled from its first voxel on by cubic splines; inside is where it is brighter than a fifth of
    its maximum. Grey matter is closed.
    """
    template_img = cast(SpatialImage, nib.load(TEMPLATES[source]))
    intensity = np.asarray(template_img.dataobj, dtype=np.float32)
    intensity /= intensity.max()
    shape = tuple(-(-(length - 1) // resolution_mm) + 1 for length in intensity.shape)
    affine = template_img.affine @ np.diag([resolution_mm] * 3 + [1])
    everywhere = Target(shape, affine, tuple(map(slice, shape)), np.ones(shape, dtype=bool))
    plan = plan_resampling(intensity.shape, template_img.affine, everywhere, "continuous")
    inside = resample(intensity, plan, everywhere).reshape(shape) > MIN_INTENSITY
    if source == "gray_matter":
        inside = ndimage.binary_closing(inside, iterations=N_CLOSINGS)
    return nib.Nifti1Image(inside.astype(np.uint8), affine)


def load_mask(path: str) -> nib.Nifti1Image:
    """Read a mask in MNI space.

    It counts as in MNI space when 80 % of its voxels lie in nilearn's MNI152 brain mask, widened by 6 mm.

    Raises
    ------
    ValueError
        If the file is no such mask.
    """
    problem = f"mask_images.mask {path}: "
    if not Path(path).is_file():
        raise ValueError(f"{problem}no such file; it is neither that nor one of {', '.join(TEMPLATES)}")
    try:
        data, affine = read_volumes(path)
    except ValueError as error:
        raise ValueError(f"{problem}{error}") from error
    if data.ndim != 3:
        raise ValueError(f"{problem}its shape is {data.shape}; give a 3-D image, or choose one volume of it")
    if not np.isfinite(data).all():
        raise ValueError(f"{problem}{np.count_nonzero(~np.isfinite(data))} voxels are not finite; set them to 0 or 1")
    if not data.any():
        raise ValueError(f"{problem}it is empty, all {data.size} voxels are 0")
    values = np.unique(data)
    if values.size > 2 or 0 not in values:
        raise ValueError(
            f"{problem}it has {values.size} different values from {values[0]:g} to {values[-1]:g}; a mask is 0 outside "
            "and has one other value inside: threshold it first"
        )
    share = share_in_brain(data != 0, affine)
    if share < MIN_SHARE_IN_BRAIN:
        raise ValueError(
            f"{problem}only {share:.0%} of its voxels lie in the MNI152 brain, so it is not a brain mask in MNI space "
            f"({MIN_SHARE_IN_BRAIN:.0%} are asked for); register it to MNI152 first"
        )
    return nib.Nifti1Image((data != 0).astype(np.uint8), affine)


def mask_image(
    image: Image,
    target: Target,
    plan: Plan,
    nearest: Plan,
    *,
    extrapolate_background: bool,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return the voxels of one image within the mask, float32 (n_voxels,), and its measured quality.

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
    """Return `mask_image` for this target; the plans of the last grids are kept, as studies share their grid."""
    plans: dict[tuple, tuple[Plan, Plan]] = {}

    def masked(image: Image) -> tuple[NDArray[np.float32], dict[str, Any]]:
        grid = (image.data.shape, image.affine.tobytes())
        if grid not in plans:
            if len(plans) >= N_PLANS:
                plans.pop(next(iter(plans)))
            plan = plan_resampling(image.data.shape, image.affine, target, interpolation)
            # A plan that only chooses voxels chooses the nearest ones.
            nearest = plan if plan.planes else plan_resampling(image.data.shape, image.affine, target, "nearest")
            plans[grid] = (plan, nearest)
        plan, nearest = plans[grid]
        return mask_image(image, target, plan, nearest, extrapolate_background=extrapolate_background)

    return masked
