"""Name the region of an atlas that a place lies in."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nibabel.affines import apply_affine

from neurovault_ica.images.mni_space import read_volumes, share_in_brain
from neurovault_ica.images.names_beside import names_beside, read_names
from neurovault_ica.images.peaks import Point

# An atlas in another space overlaps with the MNI152 brain too, but not by this much.
MIN_SHARE_IN_BRAIN = 0.5


class Regions(NamedTuple):
    """An atlas: which region each voxel is of, and what the regions are called."""

    volume: npt.NDArray[np.integer[Any]]  # (nx, ny, nz), 0 where there is no region
    affine: npt.NDArray[np.float64]  # (4, 4), voxel to mm
    names: dict[int, str]


def read_regions(image: str, names_file: str | None) -> Regions:
    """Read an atlas of regions.

    Parameters
    ----------
    image : path
        3-D, with the number of its region in each voxel, in MNI space.
    names_file : path or None
        As `atlases.read_names` takes them; None: beside the image, called the same.

    Raises
    ------
    ValueError
        If they are no such files.
    """
    try:
        data, affine = read_volumes(image)
        if data.ndim != 3 or not np.array_equal(data, np.rint(data)) or data.min() < 0:
            raise ValueError(
                f"its shape is {data.shape} and its values reach from {data.min():g} to {data.max():g}; give a 3-D"
                " image with the number of its region in each voxel, such as a maxprob file of FSL's"
            )
        if not data.any() or share_in_brain(data != 0, affine) < MIN_SHARE_IN_BRAIN:
            raise ValueError("most of it lies outside the MNI152 brain; register it to MNI152, or correct its header")
        file = names_file or names_beside(image)
        if file is None:
            raise ValueError("there is no file of names beside it; give one as plot_components.atlas_names")
    except ValueError as error:
        raise ValueError(f"plot_components.atlas {image}: {error}") from error
    names = {order if index is None else index: name for order, (index, name) in enumerate(read_names(file), start=1)}
    return Regions(data.astype(np.int32), affine, names)


def region_at(regions: Regions | None, point: Point) -> str | None:
    """Name the region of the voxel nearest to a place in mm; None where there is none, and without an atlas."""
    if regions is None:
        return None
    voxel = np.rint(apply_affine(np.linalg.inv(regions.affine), point)).astype(int)
    if (voxel < 0).any() or (voxel >= regions.volume.shape).any():
        return None
    number = int(regions.volume[tuple(voxel)])
    return regions.names.get(number, f"region {number}") if number else None
