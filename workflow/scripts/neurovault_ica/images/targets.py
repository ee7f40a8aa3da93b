"""The voxels of a mask, to which images are resampled."""

from typing import NamedTuple

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from neurovault_ica.images.boxes import bounding_box


class Target(NamedTuple):
    """The voxels to which images are resampled: a mask, cropped to its bounding box."""

    shape: tuple[int, ...]  # of the grid before cropping
    affine: NDArray[np.float64]  # (4, 4), mm
    box: tuple[slice, ...]  # bounding box of the mask
    inside: NDArray[np.bool_]  # the mask within the box, with the shape of the box

    @property
    def n_voxels(self) -> int:
        """Count the voxels of the mask."""
        return int(np.count_nonzero(self.inside))

    @property
    def voxel_mm3(self) -> float:
        """Return the volume of a voxel in mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


def target_of(mask_img: SpatialImage) -> Target:
    """Return the target for a 3-D mask image, not zero inside. The target's voxels are in C order."""
    mask = np.asarray(mask_img.dataobj) != 0
    box = bounding_box(mask)
    return Target(mask.shape, np.asarray(mask_img.affine, dtype=float), box, np.ascontiguousarray(mask[box]))
