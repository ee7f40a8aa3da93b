"""Brain masks in MNI space: nilearn's, made from its templates, or a file of the user."""

from pathlib import Path
from typing import cast

import nibabel as nib
import nilearn
import numpy as np
from nibabel.spatialimages import SpatialImage
from scipy import ndimage

from neurovault_ica.images.mni_space import read_volumes, share_in_brain
from neurovault_ica.images.resampling import Target, plan_resampling, resample


def template_file(tissue: str) -> Path:
    """Return the path of a 1 mm template in nilearn's package: t1, gm or wm."""
    return Path(nilearn.__file__).parent / f"datasets/data/mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"


TEMPLATES = {"brain": template_file("t1"), "gray_matter": template_file("gm")}
# As in nilearn: the mask is where the template is brighter than this share of its maximum, and the grey matter is
# closed twice.
MIN_INTENSITY = 0.2
N_CLOSINGS = 2
# Smallest share of a user's mask that must be in the MNI152 brain. Masks in another space overlap less.
MIN_SHARE_IN_BRAIN = 0.8


def mni152_mask(source: str, resolution_mm: int) -> nib.Nifti1Image:
    """Make the mask that nilearn's load_mni152_brain_mask or load_mni152_gm_mask returns.

    nilearn's functions are not used, because importing nilearn.datasets takes longer than masking fifty images.

    Parameters
    ----------
    source : {"brain", "gray_matter"}
    resolution_mm : int
        The template is resampled to this voxel size with cubic splines, starting at its first voxel.

    Returns
    -------
    Nifti1Image
        uint8, 1 inside.
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

    At least 80 % of its voxels must lie in nilearn's MNI152 brain mask, dilated by 6 mm.

    Returns
    -------
    Nifti1Image
        uint8, 1 inside.

    Raises
    ------
    ValueError
        If the file is not such a mask.
    """
    problem = f"mask_images.mask {path}: "
    if not Path(path).is_file():
        raise ValueError(f"{problem}no such file; give the path of a NIfTI file, or one of {', '.join(TEMPLATES)}")
    try:
        data, affine = read_volumes(path)
    except ValueError as error:
        raise ValueError(f"{problem}{error}") from error
    if data.ndim != 3:
        raise ValueError(f"{problem}its shape is {data.shape}; give a 3-D image, such as one of its volumes")
    if not np.isfinite(data).all():
        raise ValueError(f"{problem}{np.count_nonzero(~np.isfinite(data))} voxels are not finite; set them to 0 or 1")
    if not data.any():
        raise ValueError(f"{problem}all {data.size} voxels are 0; give a mask with voxels inside")
    values = np.unique(data)
    if values.size > 2 or 0 not in values:
        raise ValueError(
            f"{problem}it has {values.size} different values from {values[0]:g} to {values[-1]:g}; a mask is "
            "0 outside and has one other value inside; threshold it first"
        )
    share = share_in_brain(data != 0, affine)
    if share < MIN_SHARE_IN_BRAIN:
        raise ValueError(
            f"{problem}only {share:.0%} of its voxels lie in the MNI152 brain, but at least "
            f"{MIN_SHARE_IN_BRAIN:.0%} must; register it to MNI152 first"
        )
    return nib.Nifti1Image((data != 0).astype(np.uint8), affine)
