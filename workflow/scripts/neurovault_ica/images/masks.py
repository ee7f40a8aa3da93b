"""Read a mask in MNI space from a file of the user."""

from pathlib import Path

import nibabel as nib
import numpy as np

from neurovault_ica.images.mni_space import read_volumes, share_in_brain
from neurovault_ica.images.templates import TEMPLATES
from neurovault_ica.runtime.wording import counted

# Smallest share of a user's mask that must be in the MNI152 brain. Masks in another space overlap less.
MIN_MASK_IN_BRAIN = 0.8


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
        n_infinite = int(np.count_nonzero(~np.isfinite(data)))
        raise ValueError(f"{problem}{counted(n_infinite, 'voxel is', 'voxels are')} not finite; set such voxels to 0")
    if not data.any():
        raise ValueError(f"{problem}all {data.size} voxels are 0; give a mask with voxels inside")
    values = np.unique(data)
    if values.size > 2 or 0 not in values:
        raise ValueError(
            f"{problem}it has {values.size} different values from {values[0]:g} to {values[-1]:g}, but a mask is "
            "0 outside and has one other value inside; threshold it first"
        )
    share = share_in_brain(data != 0, affine)
    if share < MIN_MASK_IN_BRAIN:
        raise ValueError(
            f"{problem}only {share:.0%} of its voxels lie in the MNI152 brain, but at least "
            f"{MIN_MASK_IN_BRAIN:.0%} must; register it to MNI152 first"
        )
    return nib.Nifti1Image((data != 0).astype(np.uint8), affine)
