"""Measure the quality of an image from its voxels.

The measures follow Menuet et al. 2022 (doi:10.1038/s41598-022-10710-1), Peraza et al. 2025
(doi:10.1038/s41598-025-20328-8) and NeuroVault's own checks. Real maps required these changes:

- Voxels outside the brain are weighted by their absolute value. Contrasts that were computed without a mask are valid
  inside the brain, although many voxels outside are not zero.
- One-signed maps are found by the share of the rarer sign in the sum of absolute values. The share of voxels does not
  find them, because a strong task activates 90 % of the voxels.
- A constant background that is not zero counts as background.
- Small values count as zero, because integers with a scale factor are rounded, and splines ring around zeros.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurovault_ica.images.boxes import bounding_box
from neurovault_ica.images.placement import Brain, displaced_share
from neurovault_ica.images.resampling import Plan, count_within, read_voxels

# Distinct values are counted up to this number. Masks and parcellations have fewer; continuous maps have about as many
# as voxels.
MAX_DISTINCT_VALUES = 100
# Size of the sample of voxels in which distinct values are counted first, because sorting all voxels is slow.
N_SAMPLED_VALUES = 5000
# Significant digits in quality.tsv; float32 has seven.
SIGNIFICANT_DIGITS = 6
# The scale of an image is this percentile of the absolute values in the brain. The maximum is not used, because a
# single wrong voxel can be a thousand times larger than all others.
SCALE_PERCENTILE = 99
# The next three limits are shares of the scale. Values up to this one count as zero. Three times this limit would turn
# plateaus of sound meta-analytic maps into zeros.
ZERO_LIMIT = 1e-3
# Only larger values show where the data are. Third-order splines ring: beside an edge, values alternate in sign, and
# each is 0.27 times the one before. Within four voxels, ringing falls below this limit. With three times this limit,
# the data of sparse sound maps would not reach the borders of the brain.
DATA_LIMIT = 0.01
# Values up to this one may be ringing around zeros. With a larger limit, sound maps with heavy tails would seem to have
# zeros.
RINGING_LIMIT = 0.05
# A constant background counts as zero if it is smaller than this share of the standard deviation.
ZERO_BACKGROUND_SD = 1e-3
# Half a step between stored integers, and a margin for the rounding of float32. Values up to this one count as zero.
HALF_STEP = 0.5 * (1 + 1e-4)


def measure(
    data: NDArray[np.float32],
    in_brain: NDArray[np.float32],
    finite: NDArray[np.bool_] | None,
    affine: NDArray[np.float64],
    brain: Brain,
    nearest: Plan,
    around: Plan,
    *,
    step: float = 0,
) -> dict[str, Any]:
    """Measure one image on its own voxels, because resampling would blur zeros and background.

    Parameters
    ----------
    data : float32 array (nx, ny, nz)
        Values that are not finite are replaced by zero.
    in_brain : float32 array (n_voxels,)
        The data at the voxels of the brain, from `resampling.read_voxels` with the plan `nearest`.
    finite : bool array (nx, ny, nz) or None
        Where the image was finite; None if it was finite everywhere.
    affine : array (4, 4)
        Voxel to mm.
    brain : Brain
        The brain mask. It is always the same, so the measures do not depend on the mask of the analysis.
    nearest, around : Plan
        From the grid of the image to ``brain.target`` and to ``brain.surroundings``, for nearest neighbours.
    step : float
        Difference of neighbouring values that the file can store: the scale factor of integers, 0 for floats.

    Returns
    -------
    measured : dict
        Shares are shares of the voxels of the brain mask, unless stated otherwise. A value counts as zero if its
        magnitude is at most half a step, or at most `ZERO_LIMIT` times the 99th percentile of the absolute values.

        shape, voxel_mm : text.
        coverage : share inside the bounding box of the image's data, without ringing. It is small for half brains and
        slabs. It is large for thresholded maps, because they have clusters near all borders.
        zero_fraction : share that is zero, background, not finite, or outside the image's grid; see `_share_of_zeros`.
        background_fraction : share with the image's constant background, if that is not zero.
        nonfinite_fraction : share that is not finite.
        outside_fraction : share of the image's sum of absolute values that lies outside the mask.
        misplaced_fraction : the smaller of outside_fraction and the share of holes (no data) in the mask within the
        bounding box. A wide mask increases only the first, a tight mask only the second, another space both.
        displaced_fraction : see `placement.displaced_share`.
        distinct_values : number of different values in the mask, counted up to 100.
        negative_share, positive_share : shares of the voxels.
        sign_share : share of the rarer sign in the sum of absolute values, without those that may be ringing.
        max_abs, mean, sd : over the mask, in the unit of the image.
        rms : root mean square over the voxels of the mask with data, in the unit of the image.
    """
    voxel_mm3 = abs(np.linalg.det(affine[:3, :3]))
    # In float32, the squares of values above 1e19 would be infinite, and those of values below 1e-23 would be zero.
    values = in_brain.astype(np.float64)
    n_distinct = count_distinct(values)
    sd = _standard_deviation(values)
    tolerance = max(HALF_STEP * step, ZERO_BACKGROUND_SD * float(sd))
    background = constant_background(data, tolerance)
    n_background = 0
    if background:
        is_background = np.abs(values - background) <= tolerance
        n_background = int(np.count_nonzero(is_background))
        values[is_background] = 0
        sd = _standard_deviation(values)
    magnitudes = np.abs(values)
    scale = percentile(magnitudes, SCALE_PERCENTILE)
    zero = max(HALF_STEP * step, ZERO_LIMIT * scale)
    ringing = max(zero, RINGING_LIMIT * scale)
    is_zero = _share_of_zeros(values, zero, ringing)
    sign_share = _share_of_rarer_sign(values, magnitudes, ringing)
    magnitudes[magnitudes <= zero] = 0

    magnitude = np.abs(data)
    if background:
        magnitude[np.abs(data - np.float32(background)) <= tolerance] = 0
    everywhere = magnitude.sum(where=magnitude > zero, dtype=np.float64) * voxel_mm3
    has_data = magnitude > max(zero, DATA_LIMIT * scale)
    covered = count_within(bounding_box(has_data), data.shape, nearest, brain.target) / values.size
    holes = 1 - (1 - is_zero) / covered if covered else 1.0
    total = magnitudes.sum()
    outside = max(0.0, 1 - total * brain.target.voxel_mm3 / everywhere) if everywhere else 0.0
    n_negative, n_positive = np.count_nonzero(values < -zero), np.count_nonzero(values > zero)
    measured = {
        "coverage": covered,
        "zero_fraction": is_zero,
        "background_fraction": n_background / values.size,
        "nonfinite_fraction": 0.0
        if finite is None
        else np.count_nonzero(read_voxels(~finite, nearest, brain.target)) / values.size,
        "outside_fraction": outside,
        "misplaced_fraction": min(outside, max(holes, 0.0)),
        "displaced_fraction": displaced_share(has_data, around, brain),
        "negative_share": n_negative / values.size,
        "positive_share": n_positive / values.size,
        "sign_share": sign_share,
        "max_abs": magnitudes.max(),
        "mean": values.mean(),
        "sd": sd,
        "rms": np.sqrt(magnitudes @ magnitudes / max(n_negative + n_positive, 1)),
    }
    return {
        "shape": "x".join(str(length) for length in data.shape),
        "voxel_mm": "x".join(f"{length:.4g}" for length in np.linalg.norm(affine[:3, :3], axis=0)),
        "distinct_values": n_distinct,
    } | {name: _rounded(value) for name, value in measured.items()}


def percentile(values: NDArray[np.float64], percent: float) -> float:
    """Return ``np.percentile(values, percent)`` in an eighth of the time.

    numpy selects three elements at once, which is much slower than selecting one. Its function would take a quarter of
    the time of masking an image.
    """
    place = (values.size - 1) * (percent / 100)
    below = int(place)
    above = np.partition(values, below)[below:]
    lower = float(above[0])
    upper = float(above[1:].min()) if above.size > 1 else lower
    share = place - below
    # As in numpy, interpolate from the nearer end.
    return lower + (upper - lower) * share if share < 0.5 else upper - (upper - lower) * (1 - share)


def _standard_deviation(values: NDArray[np.float64]) -> float:
    """Return ``values.std()`` in half the time, because the scalar product needs no array of squares."""
    centred = values - values.mean()
    return float(np.sqrt(centred @ centred / values.size))


def _share_of_zeros(values: NDArray[np.float64], zero: float, ringing: float) -> float:
    """Return the share of values that are zero, or were zero before splines resampled the image.

    In a sound map, values just above zero are about as frequent as values twice as large. Ringing around zeros adds
    small values of both signs. So twice the excess of the rarer sign estimates the number of zeros. Plateaus of small
    values have only one sign, so they do not count.
    """
    n_zeros, excess = values.size, list[int]()
    for is_beyond, sign in ((np.greater, 1), (np.less, -1)):
        # Counting the values beyond a limit takes a fifth of the time of selecting them.
        above_zero, above_ringing, above_both = (
            int(np.count_nonzero(is_beyond(values, sign * limit))) for limit in (zero, ringing, 2 * ringing - zero)
        )
        n_zeros -= above_zero
        excess.append((above_zero - above_ringing) - (above_ringing - above_both))
    return (n_zeros + 2 * max(min(excess), 0)) / values.size


def _share_of_rarer_sign(values: NDArray[np.float64], magnitudes: NDArray[np.float64], ringing: float) -> float:
    """Return the share of the rarer sign in the sum of absolute values, without those that may be ringing."""
    is_strong = (magnitudes > ringing).astype(np.float64)
    total = magnitudes @ is_strong
    return float((total - abs(values @ is_strong)) / (2 * total)) if total else 0.0


def constant_background(data: NDArray[np.float32], tolerance: float = 0) -> float:
    """Return the value at the eight corners of an image (nx, ny, nz) if they are equal and not 0; otherwise 0.

    Offsets and interpolation can leave a value such as -0.003 around the brain. Differences up to `tolerance` count as
    rounding.
    """
    corners = data[:: max(data.shape[0] - 1, 1), :: max(data.shape[1] - 1, 1), :: max(data.shape[2] - 1, 1)]
    value = float(corners.flat[0])
    is_constant = bool(np.all(np.abs(corners.astype(np.float64) - value) <= tolerance))
    return value if is_constant and abs(value) > tolerance else 0.0


def count_distinct(values: NDArray[np.floating[Any]]) -> int:
    """Count the distinct values of an array, up to 100. If a sample already has 100, the rest is not read."""
    sparse = np.unique(values[:: max(values.size // N_SAMPLED_VALUES, 1)])
    n_values = sparse.size if sparse.size >= MAX_DISTINCT_VALUES else np.unique(values).size
    return min(int(n_values), MAX_DISTINCT_VALUES)


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
