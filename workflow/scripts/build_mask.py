"""Write the brain mask (one of nilearn's MNI152 masks or a file of the user) and the template for figures."""

import logging
import shutil

import nibabel as nib
import numpy as np
from neurovault_ica.images.masks import TEMPLATES, load_mask, mni152_mask
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to


def main(mask: str, template: str, *, source: str, resolution_mm: int) -> None:
    """Write the mask and the template.

    Parameters
    ----------
    mask, template : path
        The files to write: the mask (uint8, 1 inside), and nilearn's MNI152 template at 1 mm.
    source : str
        brain, gray_matter, or the path of a NIfTI file.
    resolution_mm : int
        Voxel size of nilearn's masks; a file keeps its own.
    """
    mask_img = mni152_mask(source, resolution_mm) if source in TEMPLATES else load_mask(source)
    with replacing(mask) as temporary:
        nib.save(mask_img, temporary)
    with replacing(template) as temporary:
        shutil.copyfile(TEMPLATES["brain"], temporary)
    inside = np.asarray(mask_img.dataobj)
    logging.info(
        "mask %s: %d voxels in a grid of %s", source, np.count_nonzero(inside), "x".join(map(str, inside.shape))
    )


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
