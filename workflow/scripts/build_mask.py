"""Write the mask that says which voxels take part: one of nilearn's MNI152 masks, or a file of the user's.

A rule of its own because importing nilearn takes longer than masking a batch of images.
"""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
from mni_space import read_volumes, share_in_brain
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_mask
from outputs import replacing
from stage_log import log_to

TEMPLATES = {"brain": load_mni152_brain_mask, "gray_matter": load_mni152_gm_mask}

# A mask of another space overlaps with the MNI152 brain too, but not by this much.
MIN_SHARE_IN_BRAIN = 0.8


def main(mask: str, *, source: str, resolution_mm: float) -> None:
    """Write the mask `source` to `mask` as unsigned bytes, 1 inside."""
    mask_img = TEMPLATES[source](resolution=resolution_mm) if source in TEMPLATES else load_mask(source)
    inside = np.asarray(mask_img.dataobj) != 0
    with replacing(mask) as temporary:
        nib.save(nib.Nifti1Image(inside.astype(np.uint8), mask_img.affine), temporary)
    logging.info(
        "%s mask: %d voxels in a grid of %s", source, np.count_nonzero(inside), "x".join(map(str, inside.shape))
    )


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


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
