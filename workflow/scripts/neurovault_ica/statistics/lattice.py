"""Choose a regular grid of points in the brain, coarser than the voxels, at which smooth maps are compared."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from neurovault_ica.types import Array

# Distance between points. Maps are smoother than this, so a finer grid would add no information. It would take more
# time, because each surrogate needs a Fourier transform of the grid.
LATTICE_SPACING_MM = 6.0


class Lattice(NamedTuple):
    """A regular subset of the voxels of a mask."""

    points: npt.NDArray[np.bool_]  # (n_voxels,), which voxels of the mask are points
    inside: npt.NDArray[np.bool_]  # (nx, ny, nz), which positions of the coarse grid are points
    affine: Array  # (4, 4), from position in the coarse grid to mm


def every_nth(mask: npt.NDArray[np.bool_], affine: Array, spacing_mm: float) -> Lattice:
    """Take every n-th voxel of the grid along each axis, so that points are about `spacing_mm` apart.

    A small mask may contain none of them.
    """
    steps = np.maximum(1, np.rint(spacing_mm / np.linalg.norm(affine[:3, :3], axis=0))).astype(int)
    every = tuple(slice(None, None, step) for step in steps)
    chosen = np.zeros(mask.shape, dtype=bool)
    chosen[every] = mask[every]
    return Lattice(chosen[mask], mask[every], affine @ np.diag([*steps, 1.0]))


def lattice_of(mask: npt.NDArray[np.bool_], affine: Array) -> Lattice:
    """Choose points that are about 6 mm apart. The grid is cut to the box around them.

    Raises
    ------
    ValueError
        If the mask contains no point.
    """
    points, inside, to_mm = every_nth(mask, affine, LATTICE_SPACING_MM)
    if not inside.any():
        raise ValueError(
            f"the mask is too small for surrogate maps: it contains no point of a grid of {LATTICE_SPACING_MM:g} mm;"
            " use a larger mask, or switch the tests off (project_terms.n_permutations, match_networks.n_surrogates)"
        )
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    first = [side.start for side in box]
    to_mm[:3, 3] += to_mm[:3, :3] @ first
    return Lattice(points, inside[box], to_mm)


def wrapped_distance(shape: tuple[int, ...] | list[int], affine: Array) -> Array:
    """Return the distance in mm from the first position of a periodic box to each position."""
    steps = np.meshgrid(*(fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
    mm = [sum(row[axis] * steps[axis] for axis in range(3)) for row in affine[:3, :3]]
    return np.sqrt(sum(np.square(along) for along in mm))


def mirror_points(lattice: Lattice) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_], Array]:
    """Find the left-right mirror image of each point.

    Returns
    -------
    points, mirrored : array of int of shape (n_points, 3)
        Positions of the points and of their mirror images in the box. A mirror image may lie outside the box.
    apart_mm : array of shape (n_points,)
        Distance between point and mirror image.
    """
    points = np.argwhere(lattice.inside)
    exchange = np.linalg.inv(lattice.affine) @ np.diag([-1.0, 1.0, 1.0, 1.0]) @ lattice.affine
    mirrored = np.rint(points @ exchange[:3, :3].T + exchange[:3, 3]).astype(int)
    apart_mm = np.linalg.norm((points - mirrored) @ lattice.affine[:3, :3].T, axis=1)
    return points, mirrored, apart_mm
