"""Draw images as small glass brains, so that a page can show thousands of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, io_orientation

from neurovault_ica.images.matrix import Rows, read_rows
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
    images: Sequence[tuple[Any, Rows, int]], inside: npt.NDArray[np.bool_], affine: Real, step: int
) -> tuple[list[Any], list[npt.NDArray[np.int8]]]:
    """Draw images up to `MOST_GLASS_BRAINS`; return their ids and pictures.

    Parameters
    ----------
    images : sequence
        Id of each image, the array (n_images, n_voxels) that has it, and its row there.
    inside, affine, step
        As in `glass_brain`.
    """
    drawn = images[:MOST_GLASS_BRAINS]
    voxels = (read_rows(X, slice(row, row + 1))[0] for _, X, row in progress(drawn, total=len(drawn), unit="image"))
    return [image_id for image_id, _, _ in drawn], [glass_brain(values, inside, affine, step) for values in voxels]
