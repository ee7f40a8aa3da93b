"""Write the mask that says which voxels take part: one of nilearn's MNI152 masks, or a file of the user's.

And the template that figures are drawn on. nilearn's masks are made here from its templates, because importing
nilearn.datasets takes longer than masking fifty images.
"""

import logging
import shutil
from pathlib import Path
from typing import cast

import nibabel as nib
import nilearn
import numpy as np
from mni_space import read_volumes, share_in_brain
from nibabel.spatialimages import SpatialImage
from outputs import replacing
from resampling import Target, plan_resampling, resample
from scipy import ndimage
from stage_log import log_to

# Templates of 1 mm that come with nilearn.
TEMPLATES = {
    source: Path(nilearn.__file__).parent / f"datasets/data/mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
    for source, tissue in (("brain", "t1"), ("gray_matter", "gm"))
}
MIN_INTENSITY = 0.2
N_CLOSINGS = 2

# A mask of another space overlaps with the MNI152 brain too, but not by this much.
MIN_SHARE_IN_BRAIN = 0.8


def main(mask: str, template: str, *, source: str, resolution_mm: int) -> None:
    """Write the mask `source` to `mask`, 1 inside, and nilearn's template at 1 mm to `template`, both as bytes."""
    mask_img = mni152_mask(source, resolution_mm) if source in TEMPLATES else load_mask(source)
    with replacing(mask) as temporary:
        nib.save(mask_img, temporary)
    with replacing(template) as temporary:
        shutil.copyfile(TEMPLATES["brain"], temporary)
    inside = np.asarray(mask_img.dataobj)
    logging.info(
        "%s mask: %d voxels in a grid of %s", source, np.count_nonzero(inside), "x".join(map(str, inside.shape))
    )


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


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
