"""Write the mask of the analysis, the brain mask for quality control, and the template for figures."""

import logging
import shutil

import nibabel as nib
import numpy as np
from neurovault_ica.images.masks import load_mask
from neurovault_ica.images.templates import TEMPLATES, mni152_mask
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.wording import counted

# Voxel size of the brain mask on which quality is measured. It is fixed, so quality does not depend on the grid of the
# analysis.
BRAIN_MM = 2


def main(mask: str, brain: str, template: str, *, source: str, resolution_mm: int) -> None:
    """Write the masks and the template.

    Parameters
    ----------
    mask, brain, template : path
        The files to write: the mask of the analysis, nilearn's brain mask, and nilearn's MNI152 template at 1 mm. Masks
        are uint8, 1 inside.
    source : str
        brain, gray_matter, or the path of a NIfTI file.
    resolution_mm : int
        Voxel size of nilearn's masks. A mask from a file keeps its own.
    """
    brain_img = mni152_mask("brain", BRAIN_MM)
    if (source, resolution_mm) == ("brain", BRAIN_MM):
        mask_img = brain_img
    else:
        mask_img = mni152_mask(source, resolution_mm) if source in TEMPLATES else load_mask(source)
    for path, img in ((mask, mask_img), (brain, brain_img)):
        with replacing(path) as temporary:
            nib.save(img, temporary)
    with replacing(template) as temporary:
        shutil.copyfile(TEMPLATES["brain"], temporary)
    inside = np.asarray(mask_img.dataobj)
    logging.info(
        "mask %s: %s in a grid of %s",
        source,
        counted(int(np.count_nonzero(inside)), "voxel"),
        "x".join(map(str, inside.shape)),
    )


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
