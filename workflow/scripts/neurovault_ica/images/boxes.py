"""Bounding boxes of voxels."""

import numpy as np
import numpy.typing as npt


def bounding_box(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Return the smallest box that contains all true voxels, as one slice per axis; empty if there are none.

    Parameters
    ----------
    inside : bool array (nx, ny, nz)
    """
    # Reading a large volume takes most of the time, so the profiles along x and y come from one projection.
    in_xy = np.asarray(inside.any(axis=2))
    return _extent(in_xy.any(axis=1)), _extent(in_xy.any(axis=0)), _extent(inside.any(axis=(0, 1)))


def _extent(profile: npt.ArrayLike) -> slice:
    planes = np.flatnonzero(np.asarray(profile))
    return slice(int(planes[0]), int(planes[-1]) + 1) if planes.size else slice(0, 0)
