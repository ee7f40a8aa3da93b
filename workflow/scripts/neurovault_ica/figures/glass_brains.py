"""Draw images as small glass brains, so that a page can show thousands of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, io_orientation

from neurovault_ica.images.matrix import image_blocks
from neurovault_ica.runtime.log import progress
from neurovault_ica.types import Real

# The colour scale ends at this percentile of the absolute values; otherwise, a few extreme voxels would make all others
# pale.
GLASS_PERCENTILE = 99.5
# Largest number of glass brains. 2,000 take about 5 MB of the page.
MOST_GLASS_BRAINS = 2000


def glass_brain(
    values: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], affine: Real, step: int
) -> npt.NDArray[np.int8]:
    """Project an image from the left, from behind and from above: the largest absolute value along each line.

    Parameters
    ----------
    values : array of shape (n_voxels,)
    inside : array of shape (nx, ny, nz)
        The mask.
    affine : array of shape (4, 4)
        Voxel to mm. The voxels of FSL's masks, for example, are stored from right to left.
    step : int
        Number of voxels along each axis that form one pixel.

    Returns
    -------
    array of shape (height, width)
        The three views side by side, head up, with the left side of the brain at the left. 127 is the 99.5th
        percentile of the absolute values, or more; -127 is its negative, or less.
    """
    brightest = np.percentile(np.abs(values), GLASS_PERCENTILE) or 1.0
    volume = np.zeros(inside.shape, np.float32)
    volume[inside] = values / brightest
    volume = _in_order(volume, affine)
    views = [_coarse(_strongest(volume, axis), step).T[::-1] for axis in range(3)]
    return np.round(127 * np.clip(side_by_side(views), -1, 1)).astype(np.int8)


def glass_outline(inside: npt.NDArray[np.bool_], affine: Real, step: int) -> npt.NDArray[np.bool_]:
    """Project the mask in the same way as `glass_brain`."""
    inside = _in_order(inside, affine)
    return side_by_side([_coarse(inside.max(axis=axis).astype(np.float32), step).T[::-1] for axis in range(3)]) > 0


def side_by_side(views: Sequence[Real]) -> Real:
    """Join pictures side by side, padded at the top to the same height."""
    tallest = max(len(view) for view in views)
    return np.hstack([np.pad(view, ((tallest - len(view), 0), (0, 2))) for view in views])


def _in_order(volume: Any, affine: Real) -> Any:
    """Flip and exchange the axes of a volume, so that they go from left to right, back to front and bottom to top."""
    return apply_orientation(volume, io_orientation(affine))


def _strongest(volume: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    high, low = volume.max(axis=axis), volume.min(axis=axis)
    return np.where(high >= -low, high, low)


def _coarse(view: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.float32]:
    """Reduce each square of step x step pixels to its largest absolute value, with its sign."""
    padded = np.pad(view, [(0, -length % step) for length in view.shape])
    squares = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    return _strongest(squares.transpose(0, 2, 1, 3).reshape(squares.shape[0], squares.shape[2], -1), axis=2)


def glass_brains(
    batches: Iterable[tuple[npt.NDArray[np.float32], Sequence[Any]]],
    inside: npt.NDArray[np.bool_],
    affine: Real,
    step: int,
) -> tuple[list[Any], list[npt.NDArray[np.int8]]]:
    """Draw images up to `MOST_GLASS_BRAINS`; return their ids and pictures.

    Parameters
    ----------
    batches : iterable
        Images (n_images, n_voxels), mapped, and the id of each.
    inside, affine, step
        As in `glass_brain`.
    """
    ids: list[Any] = []
    pictures: list[npt.NDArray[np.int8]] = []
    for voxels, image_ids in batches:
        images = (image for block in image_blocks(voxels) for image in block.read())
        for image_id, values in zip(image_ids, progress(images, total=len(image_ids), unit="image"), strict=True):
            if len(ids) == MOST_GLASS_BRAINS:
                return ids, pictures
            ids.append(image_id)
            pictures.append(glass_brain(values, inside, affine, step))
    return ids, pictures
