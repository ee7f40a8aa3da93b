"""Read images out at the voxels of a mask, equal to nilearn's resampling and several times faster.

Almost every statistic map has axes that line up with the template's, flipped or permuted at most. Spline
interpolation is separable then: along each axis it is one small matrix, and three matrix products take the image
to the template. The matrices are made by giving scipy's own one-dimensional interpolation the columns of the
identity, so prefilter, borders and rounding are scipy's. nilearn calls the same scipy functions on the volume.
"""

import functools
from typing import NamedTuple

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from scipy import linalg, ndimage

SPLINE_ORDERS = {"continuous": 3, "linear": 1, "nearest": 0}
# Spline weights fall by 0.27 a voxel: what is below this is lost in rounding, and dropping it leaves whole-voxel
# shifts as a pure choice of voxels.
NEGLIGIBLE_WEIGHT = 1e-12
# Rotations that move no voxel further than this (in voxels) are rounding errors of the header.
NEGLIGIBLE_SHIFT = 1e-6


class Target(NamedTuple):
    """The voxels to read out: a mask, cut to its bounding box."""

    shape: tuple[int, ...]  # of the whole grid
    affine: NDArray[np.float64]  # (4, 4), mm
    box: tuple[slice, ...]  # bounding box of the mask
    inside: NDArray[np.bool_]  # the mask within the box

    @property
    def n_voxels(self) -> int:
        """Count the voxels of the mask."""
        return int(np.count_nonzero(self.inside))

    @property
    def voxel_mm3(self) -> float:
        """Return the volume of a voxel in mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


class Plan(NamedTuple):
    """How the images of one grid are read out at the voxels of a target.

    There are three ways. `weights` is None and `positions` is not: each voxel is a voxel of the image. Both are
    given: three matrix products, then `positions`. Neither: the axes are oblique and scipy interpolates in 3-D.
    """

    transform: NDArray[np.float64]  # (4, 4), voxel of the target's grid -> voxel of the image
    order: int  # of the spline
    weights: tuple[NDArray[np.float64], ...] | None  # per axis of the image: (planes of the box, planes used)
    used: tuple[slice, ...]  # the part of the image that has weight
    positions: NDArray[np.intp] | None  # (n_voxels,), flat position of each voxel in what is read out
    outside: NDArray[np.intp]  # voxels of the mask that lie outside of the image's grid (only without weights)
    # Only without weights: by axis of the image, in the order of the target's axes, the image's plane for each plane of
    # the box, -1: none.
    planes: dict[int, NDArray[np.intp]]


def target_of(mask_img: SpatialImage) -> Target:
    """Return the voxels of `mask_img`, a 3-D image that is not zero inside the mask, in C order."""
    mask = np.asarray(mask_img.dataobj) != 0
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return Target(mask.shape, np.asarray(mask_img.affine, dtype=float), box, np.ascontiguousarray(mask[box]))


def plan_resampling(shape: tuple[int, ...], affine: NDArray[np.float64], target: Target, interpolation: str) -> Plan:
    """Prepare to resample images of one grid; the plan serves all images with the same shape and affine.

    Parameters
    ----------
    shape : (nx, ny, nz)
    affine : array (4, 4)
        Voxel to mm; regular.
    target : Target
    interpolation : {"continuous", "linear", "nearest"}
        Cubic spline, trilinear or nearest neighbour, as in nilearn.
    """
    transform = _transform(shape, affine, target)
    order = SPLINE_ORDERS[interpolation]
    axes = _aligned_axes(transform, shape, target.shape)
    if axes is None:
        return Plan(transform, order, None, (slice(None),) * 3, None, np.empty(0, np.intp), {})

    along_target = []
    for axis, source_axis in enumerate(axes):
        step = transform[source_axis, axis : axis + 1]
        # scipy rounds coordinates differently for a diagonal and for a general matrix, and a plane that falls on
        # the border may change sides by it: take the same branch as the volume would.
        step = step if axes == (0, 1, 2) and _is_diagonal(transform) else step[:, np.newaxis]
        weights = _axis_weights(shape[source_axis], step, transform[source_axis, 3], target.shape[axis], order)
        along_target.append(weights[target.box[axis]])

    chosen = [_chosen_planes(weights) for weights in along_target]
    if all(planes is not None for planes in chosen):
        return _plan_choice(shape, transform, order, axes, [planes for planes in chosen if planes is not None], target)
    return _plan_products(transform, order, axes, along_target, target)


def resample(data: NDArray, plan: Plan, target: Target, *, round_to_integers: bool = False) -> NDArray[np.float32]:
    """Resample one image to the voxels of the target, never beyond the image's own range (with zero).

    Parameters
    ----------
    data : float32 array (nx, ny, nz)
        Finite. Fortran order is fastest.
    plan : Plan
        Of this grid.
    target : Target
    round_to_integers : bool
        Unsigned integer files stay integers in nilearn and scipy rounds halves up; asks for the same.

    Returns
    -------
    voxels : float32 array (n_voxels,)

    Notes
    -----
    Equals ``NiftiMasker(mask_img).transform(smooth_img(img, None))`` for continuous interpolation, and
    ``resample_img`` within the mask for the others. Limit BLAS to one thread around it for the same bits everywhere.
    """
    if plan.weights is None and plan.positions is not None:
        return read_voxels(data, plan)
    # Splines spread the rounding error of the largest values over the whole image, linear weights do not.
    dtype = np.float64 if plan.order == 3 or round_to_integers else np.float32
    if plan.positions is None or plan.weights is None:
        voxels = _resample_oblique(data.astype(dtype, copy=False), plan, target)
    else:
        product = _multiply(data[plan.used].astype(dtype, copy=False), plan.weights)
        voxels = product.ravel().take(plan.positions, mode="clip")
    if round_to_integers:
        voxels = np.floor(voxels + 0.5)
    return voxels.clip(min(data.min(), 0), max(data.max(), 0)).astype(np.float32, copy=False)


def read_voxels(data: NDArray, plan: Plan, target: Target | None = None) -> NDArray:
    """Read the image's own values at the voxels of the target, by a plan for nearest neighbours.

    Returns an array (n_voxels,) of the image's dtype, zero where the image's grid does not reach.
    """
    if plan.positions is None:
        if target is None:
            raise ValueError("read_voxels: oblique images need the target")
        kept = data.astype(np.uint8) if data.dtype == bool else data
        return _resample_oblique(kept, plan, target).astype(data.dtype, copy=False)
    # No position is out of range; not having to look takes a third of the time.
    voxels = data.reshape(-1, order="F").take(plan.positions, mode="clip")
    voxels[plan.outside] = 0
    return voxels


def count_within(box: tuple[slice, ...], shape: tuple[int, ...], plan: Plan, target: Target) -> int:
    """Count the voxels of the target that, by a plan for nearest neighbours, lie in a box of the image's grid."""
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
    """Give each voxel that is not valid the value of the nearest valid one, so that zeros do not bleed into the rim.

    As in the analysis of Gorgolewski et al. 2015 (doi:10.3389/fninf.2015.00008). Distances are in voxels.
    """
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return np.asfortranarray(data[tuple(nearest)])


def _transform(shape: tuple[int, ...], affine: NDArray[np.float64], target: Target) -> NDArray[np.float64]:
    """Map voxels of the target to voxels of the image; nilearn takes equal grids as equal up to rounding."""
    if shape == target.shape and np.allclose(target.affine, affine):
        return np.eye(4)
    return np.dot(linalg.inv(affine), target.affine)


def _is_diagonal(transform: NDArray[np.float64]) -> bool:
    matrix = transform[:3, :3]
    return bool(np.all(np.diag(np.diag(matrix)) == matrix))


def _aligned_axes(
    transform: NDArray[np.float64], shape: tuple[int, ...], target_shape: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Return the image's axis that runs along each axis of the target, or None if the image is oblique."""
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
    # The tiny rotation may still decide on which side of the image's border, or of the middle between two voxels,
    # a voxel lies. Only when no plane comes that near can it be left out.
    for axis, source_axis in enumerate(axes):
        planes = transform[source_axis, 3] + matrix[source_axis, axis] * np.arange(target_shape[axis])
        within = (planes > -1) & (planes < shape[source_axis])
        to_half_voxel = np.abs(2 * planes - np.round(2 * planes)) / 2
        if np.any(within & (to_half_voxel <= 2 * NEGLIGIBLE_SHIFT)):
            return None
    return axes


def _axis_weights(
    n_source: int, step: NDArray[np.float64], offset: float, n_target: int, order: int
) -> NDArray[np.float64]:
    """Return scipy's interpolation along one axis as a matrix (n_target, n_source)."""
    interpolate = functools.partial(
        ndimage.affine_transform, matrix=step, offset=offset, output_shape=(n_target,), order=order
    )
    weights = np.stack([interpolate(unit) for unit in np.eye(n_source)], axis=1)
    weights[np.abs(weights) < NEGLIGIBLE_WEIGHT] = 0
    return weights


def _chosen_planes(weights: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """Return the source plane of each target plane (-1: none) if interpolation only chooses planes, or None."""
    is_one = np.abs(weights - 1) < NEGLIGIBLE_WEIGHT
    if np.any((weights != 0) & ~is_one):
        return None
    return np.where(is_one.any(axis=1), is_one.argmax(axis=1), -1)


def _plan_choice(
    shape: tuple[int, ...],
    transform: NDArray[np.float64],
    order: int,
    axes: tuple[int, ...],
    chosen: list[NDArray[np.intp]],
    target: Target,
) -> Plan:
    """Plan for target voxels that are voxels of the image: `positions` counts in Fortran order of the image."""
    strides = np.cumprod((1, *shape[:2]))
    index = np.zeros(target.inside.shape, dtype=np.intp)
    outside = np.zeros(target.inside.shape, dtype=bool)
    for axis, (source_axis, planes) in enumerate(zip(axes, chosen, strict=True)):
        along = np.expand_dims(planes, tuple({0, 1, 2} - {axis}))
        index += np.maximum(along, 0) * strides[source_axis]
        outside |= along < 0
    lies_outside = np.flatnonzero(outside[target.inside])
    planes_of = dict(zip(axes, chosen, strict=True))
    return Plan(transform, order, None, (slice(None),) * 3, index[target.inside], lies_outside, planes_of)


def _plan_products(
    transform: NDArray[np.float64],
    order: int,
    axes: tuple[int, ...],
    along_target: list[NDArray[np.float64]],
    target: Target,
) -> Plan:
    """Plan for three matrix products: `positions` counts in C order of their result, see `_multiply`."""
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
    """Interpolate along z, y and x; the result is (z, y, x), which for data in Fortran order needs no copy."""
    along_x, along_y, along_z = (matrix.astype(data.dtype) for matrix in weights)
    volume = np.tensordot(along_z, data.T, axes=1)
    volume = np.matmul(along_y, volume)
    return np.matmul(volume, along_x.T)


def _resample_oblique(data: NDArray, plan: Plan, target: Target) -> NDArray:
    """Interpolate in 3-D by the call that nilearn's resample_img makes."""
    matrix = plan.transform[:3, :3]
    volume = ndimage.affine_transform(
        data,
        np.diag(matrix) if _is_diagonal(plan.transform) else matrix,
        offset=plan.transform[:3, 3],
        output_shape=target.shape,
        order=plan.order,
    )
    return volume[target.box][target.inside]
