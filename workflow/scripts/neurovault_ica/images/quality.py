"""Measure from an image's voxels what quality control judges it by.

The measures follow Menuet et al. 2022 (doi:10.1038/s41598-022-10710-1), Peraza et al. 2025
(doi:10.1038/s41598-025-20328-8) and NeuroVault's own checks. Three are defined otherwise, because real maps asked for
it: what lies outside of the brain is weighted by its size (contrasts made without a mask are sound inside); being
one-signed is judged by how much the rarer sign holds (a strong task activates 90 % of the voxels), and a background
that is constant but not zero counts as background.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurovault_ica.images.boxes import bounding_box
from neurovault_ica.images.resampling import Plan, Target, count_within, read_voxels

# Counting on is pointless: continuous values have as many as there are voxels.
MAX_DISTINCT_VALUES = 100
N_SAMPLED_VALUES = 5000
DIGITS = 6


def measure(
    data: NDArray[np.float32],
    finite: NDArray[np.bool_] | None,
    affine: NDArray[np.float64],
    target: Target,
    nearest: Plan,
) -> dict[str, Any]:
    """Measure one image on its own voxels, not on resampled ones, where ringing would hide the zeros.

    Parameters
    ----------
    data : float32 array (nx, ny, nz)
        Cleaned: zero where it was not finite.
    finite : bool array (nx, ny, nz) or None
        Where the image was finite; None if everywhere.
    affine : array (4, 4)
        Voxel to mm.
    target : Target
        The mask.
    nearest : Plan
        Nearest neighbours of this grid.

    Returns
    -------
    measured : dict
        shape, voxel_mm : text.
        coverage : share of the mask inside the box that holds the image's data. Sees half brains and slabs, while a
        thresholded map has clusters in all corners.
        zero_fraction : share of the mask that is background, not finite or outside of the image's grid.
        background_fraction : share of the mask that has the image's constant background, where that is not zero.
        nonfinite_fraction : share of the mask that is not finite.
        outside_fraction : share of the image's sum of absolute values that lies outside of the mask.
        misplaced_fraction : the smaller of outside_fraction and the share of the mask within the box that has no data.
        A loose mask has only the first, a tight one only the second; an image in another space has both.
        distinct_values : number of values in the mask, counted up to 100.
        negative_share, positive_share : shares of the mask's voxels.
        sign_share : share of the sum of absolute values in the mask that the rarer sign holds.
        max_abs, mean, sd : over the mask, in the image's unit.
        rms : root of the mean square over the voxels of the mask that have data, in the image's unit.
    """
    voxel_mm3 = abs(np.linalg.det(affine[:3, :3]))
    background = constant_background(data)
    has_data = (data != background) & (data != 0) if background else data != 0
    values = read_voxels(data, nearest, target)
    n_background = 0
    if background:
        n_background = int(np.count_nonzero(values == background))
        values[values == background] = 0
    covered = count_within(bounding_box(has_data), data.shape, nearest, target) / values.size
    n_negative, n_positive = np.count_nonzero(values < 0), np.count_nonzero(values > 0)
    is_zero = (values.size - n_negative - n_positive) / values.size
    holes = 1 - (1 - is_zero) / covered if covered else 1.0
    magnitudes = np.abs(values)
    total = magnitudes.sum(dtype=np.float64)
    net = values.sum(dtype=np.float64)
    centred = values - net / values.size
    everywhere = np.abs(data[has_data] if background else data).sum(dtype=np.float64) * voxel_mm3
    outside = max(0.0, 1 - total * target.voxel_mm3 / everywhere) if everywhere else 0.0
    measured = {
        "coverage": covered,
        "zero_fraction": is_zero,
        "background_fraction": n_background / values.size,
        "nonfinite_fraction": 0.0
        if finite is None
        else np.count_nonzero(read_voxels(~finite, nearest, target)) / values.size,
        "outside_fraction": outside,
        "misplaced_fraction": min(outside, max(holes, 0.0)),
        "negative_share": n_negative / values.size,
        "positive_share": n_positive / values.size,
        "sign_share": (total - abs(net)) / (2 * total) if total else 0.0,
        "max_abs": magnitudes.max(),
        "mean": net / values.size,
        "sd": np.sqrt(centred @ centred / values.size),
        "rms": np.sqrt(magnitudes @ magnitudes / max(n_negative + n_positive, 1)),
    }
    return {
        "shape": "x".join(str(length) for length in data.shape),
        "voxel_mm": "x".join(f"{length:.4g}" for length in np.linalg.norm(affine[:3, :3], axis=0)),
        "distinct_values": count_distinct(values),
    } | {name: _rounded(value) for name, value in measured.items()}


def constant_background(data: NDArray[np.float32]) -> float:
    """Return the value that all eight corners of the image have, or 0.

    Offsets and interpolation leave images with, say, -0.003 around the brain.
    """
    corners = data[:: max(data.shape[0] - 1, 1), :: max(data.shape[1] - 1, 1), :: max(data.shape[2] - 1, 1)]
    value = float(corners.flat[0])
    return value if np.all(corners == value) else 0.0


def count_distinct(values: NDArray[np.float32]) -> int:
    """Count the different values, but not beyond 100; sparse voxels are enough to see that there are more."""
    sparse = np.unique(values[:: max(values.size // N_SAMPLED_VALUES, 1)])
    n_values = sparse.size if sparse.size >= MAX_DISTINCT_VALUES else np.unique(values).size
    return min(int(n_values), MAX_DISTINCT_VALUES)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
