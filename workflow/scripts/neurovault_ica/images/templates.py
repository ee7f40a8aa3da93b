"""The MNI152 templates in nilearn's package, and the masks that nilearn makes from them."""

from pathlib import Path
from typing import cast

import nibabel as nib
import nilearn
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray


def template_file(tissue: str) -> Path:
    """Return the path of a 1 mm template in nilearn's package: t1, gm or wm."""
    return Path(nilearn.__file__).parent / f"datasets/data/mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"


TEMPLATES = {"brain": template_file("t1"), "gray_matter": template_file("gm")}
# As in nilearn, voxels brighter than this share of the template's maximum are in the mask.
MIN_INTENSITY = 0.2
# Number of iterations of the binary closing of the grey matter mask, as in nilearn.
N_CLOSINGS = 2


def read_nilearn_template(file: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Read a 1 mm template as a share of its maximum (nx, ny, nz), and its affine (4, 4)."""
    img = cast(SpatialImage, nib.load(file))
    intensity = np.asarray(img.dataobj, dtype=np.float32)
    intensity /= intensity.max()
    return intensity, np.asarray(img.affine, dtype=np.float64)


def mni152_mask(source: str, resolution_mm: int) -> nib.Nifti1Image:
    """Make the mask that nilearn's load_mni152_brain_mask or load_mni152_gm_mask returns.

    nilearn's functions are not called, because importing nilearn.datasets takes longer than masking fifty images.

    Parameters
    ----------
    source : {"brain", "gray_matter"}
    resolution_mm : int
        Voxel size. The grid starts at the first voxel of the template, so every n-th voxel of the template is on it.

    Returns
    -------
    Nifti1Image
        uint8, 1 inside.
    """
    intensity, affine = read_nilearn_template(TEMPLATES[source])
    shape = tuple(-(-(length - 1) // resolution_mm) + 1 for length in intensity.shape)
    # The last plane of an axis may lie beyond the template.
    inside = np.zeros(shape, dtype=bool)
    every = intensity[::resolution_mm, ::resolution_mm, ::resolution_mm]
    inside[tuple(map(slice, every.shape))] = every > MIN_INTENSITY
    if source == "gray_matter":
        # Imported here because it takes longer than making the brain mask.
        from scipy import ndimage

        inside = ndimage.binary_closing(inside, iterations=N_CLOSINGS)
    return nib.Nifti1Image(inside.astype(np.uint8), affine @ np.diag([resolution_mm] * 3 + [1]))
