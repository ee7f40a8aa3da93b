"""Resample images to the voxels of a mask. Results equal nilearn's, and take a fraction of the time.

The axes of almost all statistic maps are parallel to those of the template, perhaps flipped or permuted. Spline
interpolation is then separable: it is a small matrix along each axis, and three matrix products resample the image.
Each matrix is scipy's one-dimensional interpolation applied to the identity. So prefilter, borders and rounding are
those of scipy, whose functions nilearn calls for the volume.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage

from neurovault_ica.images.targets import Target

SPLINE_ORDERS = {"continuous": 3, "linear": 1, "nearest": 0}
# Smaller weights are set to zero. Spline weights fall by a factor of 0.27 per voxel, so smaller ones are lost in
# rounding errors. With zeros, a shift by whole voxels is a selection of voxels.
NEGLIGIBLE_WEIGHT = 1e-12
# A rotation that moves no voxel by more than this, in voxels, is treated as a rounding error of the header.
NEGLIGIBLE_SHIFT = 1e-6
# Number of interpolation matrices that stay in memory, of about 0.1 MB each. Grids of different studies often differ
# along one axis only, and such a matrix takes a millisecond.
N_AXES = 64


class Plan(NamedTuple):
    """How to resample images of one grid to the voxels of a target.

    There are three cases:

    - `positions` without `weights`: each voxel of the target is a voxel of the image, so voxels are only selected.
    - `positions` and `weights`: three matrix products, then `positions` selects from their result.
    - neither: the axes are oblique, so scipy interpolates in 3-D.
    """

    transform: NDArray[np.float64]  # (4, 4), voxel of the target's grid to voxel of the image
    order: int  # of the spline
    weights: tuple[NDArray[np.float64], ...] | None  # per axis of the image: (planes of the box, planes used)
    used: tuple[slice, ...]  # the part of the image to which the weights apply
    positions: NDArray[np.intp] | None  # (n_voxels,), flat index of each voxel in the image or in the product
    outside: NDArray[np.intp]  # voxels of the mask outside the image's grid; only used if voxels are selected
    # Axis of the image -> the image's plane for each plane of the box (-1: none). The entries are in the order of the
    # target's axes. Empty unless voxels are only selected.
    planes: dict[int, NDArray[np.intp]]


def plan_resampling(shape: tuple[int, ...], affine: NDArray[np.float64], target: Target, interpolation: str) -> Plan:
    """Make the plan for all images with this shape and affine.

    Parameters
    ----------
    shape : (nx, ny, nz)
    affine : array (4, 4)
        Voxel to mm; invertible.
    target : Target
    interpolation : {"continuous", "linear", "nearest"}
        Cubic splines, trilinear or nearest neighbour, as in nilearn.
    """
    transform = _transform(shape, affine, target)
    order = SPLINE_ORDERS[interpolation]
    axes = _aligned_axes(transform, shape, target.shape)
    if axes is None:
        return Plan(transform, order, None, (slice(None),) * 3, None, np.empty(0, np.intp), {})

    along_target = []
    # Use the same kind of matrix as for the volume. scipy rounds coordinates differently for a diagonal and for a
    # general matrix, and rounding decides whether a plane on the border is inside.
    is_diagonal = axes == (0, 1, 2) and _is_diagonal(transform)
    for axis, source_axis in enumerate(axes):
        step, offset = float(transform[source_axis, axis]), float(transform[source_axis, 3])
        weights = _axis_weights(
            shape[source_axis], step, offset, target.shape[axis], order=order, is_diagonal=is_diagonal
        )
        along_target.append(weights[target.box[axis]])

    selected = [_selected_planes(weights) for weights in along_target]
    if all(planes is not None for planes in selected):
        return _plan_selection(
            shape, transform, order, axes, [planes for planes in selected if planes is not None], target
        )
    return _plan_products(transform, order, axes, along_target, target)


def resample(data: NDArray, plan: Plan, target: Target) -> NDArray[np.float32]:
    """Resample one image to the voxels of the target.

    The result is clipped to the range of the image's values and 0.

    Parameters
    ----------
    data : float32 array (nx, ny, nz)
        Finite. Fortran order is fastest.
    plan : Plan
        For the grid of the image.
    target : Target

    Returns
    -------
    voxels : float32 array (n_voxels,)

    Notes
    -----
    For continuous interpolation, the result equals ``NiftiMasker(mask_img).transform(smooth_img(img, None))``. For
    the others, it equals ``resample_img`` of the data as floating point numbers, within the mask. Limit BLAS to one
    thread to get the same bits with any number of cores.
    """
    if plan.weights is None and plan.positions is not None:
        return read_voxels(data, plan)
    # Splines spread the rounding errors of the largest values over the image, so they need double precision.
    dtype = np.float64 if plan.order == 3 else np.float32
    if plan.positions is None or plan.weights is None:
        voxels = _resample_oblique(data.astype(dtype, copy=False), plan, target)
    else:
        product = _multiply(data[plan.used].astype(dtype, copy=False), plan.weights)
        voxels = product.ravel().take(plan.positions, mode="clip")
    return voxels.clip(min(data.min(), 0), max(data.max(), 0)).astype(np.float32, copy=False)


def read_voxels(data: NDArray, plan: Plan, target: Target | None = None) -> NDArray:
    """Read the values of an image at the voxels of the target, without interpolation.

    Parameters
    ----------
    data : array (nx, ny, nz)
    plan : Plan
        For nearest neighbours.
    target : Target, optional
        Needed if the axes are oblique.

    Returns
    -------
    array (n_voxels,)
        With the type of `data`; zero outside the image's grid.

    Raises
    ------
    ValueError
        If the axes are oblique and there is no `target`.
    """
    if plan.positions is None:
        if target is None:
            raise ValueError("read_voxels: target is None, but the axes of the image are oblique; give the target")
        kept = data.astype(np.uint8) if data.dtype == bool else data
        return _resample_oblique(kept, plan, target).astype(data.dtype, copy=False)
    # All positions are in range, so mode="clip" only skips numpy's check, which takes two thirds of the time.
    voxels = data.reshape(-1, order="F").take(plan.positions, mode="clip")
    voxels[plan.outside] = 0
    return voxels


def count_within(box: tuple[slice, ...], shape: tuple[int, ...], plan: Plan, target: Target) -> int:
    """Count the voxels of the target that lie in a box of the image's grid.

    Parameters
    ----------
    box : tuple of slice
    shape : (nx, ny, nz)
        Of the image.
    plan : Plan
        For nearest neighbours.
    target : Target
    """
    if not plan.planes:
        in_box = np.zeros(shape, dtype=bool, order="F")
        in_box[box] = True
        return int(np.count_nonzero(read_voxels(in_box, plan, target)))
    part = []
    for source_axis, planes in plan.planes.items():
        within = np.flatnonzero((planes >= box[source_axis].start) & (planes < box[source_axis].stop))
        part.append(slice(within[0], within[-1] + 1) if len(within) else slice(0, 0))
    return int(np.count_nonzero(target.inside[tuple(part)]))


def extrapolate(data: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Replace each invalid voxel by the nearest valid one (Gorgolewski et al. 2015, doi:10.3389/fninf.2015.00008).

    Otherwise, interpolation would mix zeros of the background into the rim of the data. Distances are in voxels.

    Parameters
    ----------
    data : float32 array (nx, ny, nz)
    valid : bool array (nx, ny, nz)

    Returns
    -------
    float32 array (nx, ny, nz)
        In Fortran order.
    """
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return np.asfortranarray(data[tuple(nearest)])


def _transform(shape: tuple[int, ...], affine: NDArray[np.float64], target: Target) -> NDArray[np.float64]:
    """Return the matrix from voxels of the target to voxels of the image.

    As in nilearn, grids that are equal up to rounding count as equal.
    """
    if shape == target.shape and np.allclose(target.affine, affine):
        return np.eye(4)
    return np.dot(linalg.inv(affine), target.affine)


def _is_diagonal(transform: NDArray[np.float64]) -> bool:
    matrix = transform[:3, :3]
    return bool(np.all(np.diag(np.diag(matrix)) == matrix))


def _aligned_axes(
    transform: NDArray[np.float64], shape: tuple[int, ...], target_shape: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Return the image's axis parallel to each axis of the target, or None if the image is oblique."""
    matrix = transform[:3, :3]
    axes = tuple(int(axis) for axis in np.abs(matrix).argmax(axis=0))
    if sorted(axes) != [0, 1, 2]:
        return None
    rest = np.abs(matrix)
    rest[axes, (0, 1, 2)] = 0
    if not rest.any():
        return axes
    if (rest @ np.asarray(target_shape)).max() > NEGLIGIBLE_SHIFT:
        return None
    # Even a tiny rotation can decide whether a voxel is inside the image, or which of two voxels is nearer. So it is
    # ignored only if no plane is that close to the centre of a voxel, or to the middle between two voxels.
    for axis, source_axis in enumerate(axes):
        planes = transform[source_axis, 3] + matrix[source_axis, axis] * np.arange(target_shape[axis])
        within = (planes > -1) & (planes < shape[source_axis])
        to_half_voxel = np.abs(2 * planes - np.round(2 * planes)) / 2
        if np.any(within & (to_half_voxel <= 2 * NEGLIGIBLE_SHIFT)):
            return None
    return axes


@functools.lru_cache(maxsize=N_AXES)
def _axis_weights(
    n_source: int, step: float, offset: float, n_target: int, *, order: int, is_diagonal: bool
) -> NDArray[np.float64]:
    """Return scipy's interpolation along one axis, as a matrix (n_target, n_source)."""
    interpolate = functools.partial(
        ndimage.affine_transform,
        matrix=np.array([step] if is_diagonal else [[step]]),
        offset=offset,
        output_shape=(n_target,),
        order=order,
    )
    if order == 0:
        # One call returns the number of the nearest plane, counted from 1, and 0 outside.
        nearest = interpolate(np.arange(1.0, n_source + 1))
        return (nearest[:, np.newaxis] == np.arange(1, n_source + 1)).astype(np.float64)
    weights = np.stack([interpolate(unit) for unit in np.eye(n_source)], axis=1)
    weights[np.abs(weights) < NEGLIGIBLE_WEIGHT] = 0
    return weights


def _selected_planes(weights: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """Return the source plane of each target plane (-1: none), or None if any target plane mixes source planes."""
    is_one = np.abs(weights - 1) < NEGLIGIBLE_WEIGHT
    if np.any((weights != 0) & ~is_one):
        return None
    return np.where(is_one.any(axis=1), is_one.argmax(axis=1), -1)


def _plan_selection(
    shape: tuple[int, ...],
    transform: NDArray[np.float64],
    order: int,
    axes: tuple[int, ...],
    selected: list[NDArray[np.intp]],
    target: Target,
) -> Plan:
    """Plan for targets whose voxels are voxels of the image. `positions` are in the image's Fortran order."""
    strides = np.cumprod((1, *shape[:2]))
    along = [np.maximum(planes, 0) * strides[source_axis] for source_axis, planes in zip(axes, selected, strict=True)]
    index = functools.reduce(np.add.outer, along)
    outside = functools.reduce(np.logical_or.outer, [planes < 0 for planes in selected])
    lies_outside = np.flatnonzero(outside[target.inside])
    planes_of = dict(zip(axes, selected, strict=True))
    return Plan(transform, order, None, (slice(None),) * 3, index[target.inside], lies_outside, planes_of)


def _plan_products(
    transform: NDArray[np.float64],
    order: int,
    axes: tuple[int, ...],
    along_target: list[NDArray[np.float64]],
    target: Target,
) -> Plan:
    """Plan for three matrix products. `positions` are in C order of the result of `_multiply`."""
    along_source = [along_target[axes.index(source_axis)] for source_axis in range(3)]
    used = tuple(_used_planes(weights) for weights in along_source)
    weights = tuple(matrix[:, planes] for matrix, planes in zip(along_source, used, strict=True))
    product_shape = [len(matrix) for matrix in reversed(weights)]
    position = np.arange(np.prod(product_shape)).reshape(product_shape)
    index = position.T.transpose(axes)[target.inside]
    return Plan(transform, order, weights, used, index, np.empty(0, np.intp), {})


def _used_planes(weights: NDArray[np.float64]) -> slice:
    used = np.flatnonzero(weights.any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)


def _multiply(data: NDArray, weights: tuple[NDArray[np.float64], ...]) -> NDArray:
    """Interpolate along z, y and x. The result has the axes (z, y, x), so that data in Fortran order need no copy."""
    along_x, along_y, along_z = (matrix.astype(data.dtype) for matrix in weights)
    volume = np.tensordot(along_z, data.T, axes=1)
    volume = np.matmul(along_y, volume)
    return np.matmul(volume, along_x.T)


def _resample_oblique(data: NDArray, plan: Plan, target: Target) -> NDArray:
    """Interpolate in 3-D with the same call as nilearn's resample_img."""
    matrix = plan.transform[:3, :3]
    volume = ndimage.affine_transform(
        data,
        np.diag(matrix) if _is_diagonal(plan.transform) else matrix,
        offset=plan.transform[:3, 3],
        output_shape=target.shape,
        order=plan.order,
    )
    return volume[target.box][target.inside]
