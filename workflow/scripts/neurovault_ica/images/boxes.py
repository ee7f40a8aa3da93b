"""Bounding boxes of voxels."""

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray


def enclosing_box(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Return the smallest box around the voxels that are true, of which there is one or more."""
    sides = []
    for axis in range(3):
        along = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        sides.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(sides)  # type: ignore[return-value]


def bounding_box(has_data: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box with all true voxels; empty if there is none."""
    in_xy = np.asarray(has_data.any(axis=2))
    profiles = (in_xy.any(axis=1), in_xy.any(axis=0), has_data.any(axis=(0, 1)))
    box = []
    for profile in profiles:
        planes = np.flatnonzero(profile)
        box.append(slice(int(planes[0]), int(planes[-1]) + 1) if planes.size else slice(0, 0))
    return tuple(box)
