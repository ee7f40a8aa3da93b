"""Measure the quality of an image from its voxels.

The measures follow Menuet et al. 2022 (doi:10.1038/s41598-022-10710-1), Peraza et al. 2025
(doi:10.1038/s41598-025-20328-8) and NeuroVault's own checks. Real maps required three changes:

- Voxels outside the brain are weighted by their absolute value, because contrasts computed without a mask are valid
  inside the brain.
- One-signed maps are found by the share of the rarer sign in the sum of absolute values. The share of voxels would not
  do, because a strong task activates 90 % of them.
- A constant background that is not zero counts as background.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurovault_ica.images.boxes import bounding_box
from neurovault_ica.images.resampling import Plan, Target, count_within, read_voxels

# Distinct values are counted up to this number. Masks and parcellations of interest have fewer; continuous maps have
# about as many as voxels.
MAX_DISTINCT_VALUES = 100
# Size of the sample of voxels in which distinct values are counted first, because sorting all voxels is slow.
N_SAMPLED_VALUES = 5000
# Significant digits in quality.tsv; float32 has seven.
DIGITS = 6


def measure(
    data: NDArray[np.float32],
    finite: NDArray[np.bool_] | None,
    affine: NDArray[np.float64],
    target: Target,
    nearest: Plan,
) -> dict[str, Any]:
    """Measure one image on its own voxels. Resampling would blur zeros and background.

    Parameters
    ----------
    data : float32 array (nx, ny, nz)
        Values that are not finite are replaced by zero.
    finite : bool array (nx, ny, nz) or None
        Where the image was finite; None if it was finite everywhere.
    affine : array (4, 4)
        Voxel to mm.
    target : Target
        The voxels of the mask.
    nearest : Plan
        For nearest neighbours, on the grid of the image.

    Returns
    -------
    measured : dict
        shape, voxel_mm : text.
        coverage : share of the mask inside the bounding box of the image's data. It is small for half brains and slabs.
        Thresholded maps have clusters near all borders, so it is large for them.
        zero_fraction : share of the mask that is background, not finite, or outside the image's grid.
        background_fraction : share of the mask with the image's constant background, if that is not zero.
        nonfinite_fraction : share of the mask that is not finite.
        outside_fraction : share of the image's sum of absolute values that lies outside the mask.
        misplaced_fraction : the smaller of outside_fraction and the share of holes (no data) in the mask within the
        bounding box. A loose mask raises only the first, a tight mask only the second; another space raises both.
        distinct_values : number of different values in the mask, counted up to 100.
        negative_share, positive_share : shares of the voxels in the mask.
        sign_share : share of the rarer sign in the sum of absolute values in the mask.
        max_abs, mean, sd : over the mask, in the unit of the image.
        rms : root mean square over the voxels of the mask with data, in the unit of the image.
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
    """Return the value at the eight corners of an image (nx, ny, nz) if they are equal, otherwise 0.

    Offsets and interpolation can leave a value such as -0.003 around the brain.
    """
    corners = data[:: max(data.shape[0] - 1, 1), :: max(data.shape[1] - 1, 1), :: max(data.shape[2] - 1, 1)]
    value = float(corners.flat[0])
    return value if np.all(corners == value) else 0.0


def count_distinct(values: NDArray[np.float32]) -> int:
    """Count the different values of an array, up to 100. If a sample already has 100, the rest is not counted."""
    sparse = np.unique(values[:: max(values.size // N_SAMPLED_VALUES, 1)])
    n_values = sparse.size if sparse.size >= MAX_DISTINCT_VALUES else np.unique(values).size
    return min(int(n_values), MAX_DISTINCT_VALUES)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
