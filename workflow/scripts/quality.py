"""Measure what an image is from its voxels, judge it by the configured criteria, and find copies.

The criteria follow Menuet et al. 2022 (doi:10.1038/s41598-022-10710-1), Peraza et al. 2025
(doi:10.1038/s41598-025-20328-8) and NeuroVault's own checks. Three are defined otherwise, because real maps asked for
it: what lies outside of the brain is weighted by its size (contrasts made without a mask are sound inside); being
one-signed is judged by how much the rarer sign holds (a strong task activates 90 % of the voxels), and a background
that is constant but not zero counts as background.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from resampling import Plan, Target, count_within, read_voxels

# Counting on is pointless: continuous values have as many as there are voxels.
MAX_DISTINCT_VALUES = 100
N_SAMPLED_VALUES = 5000
DIGITS = 6

# Pairs whose |r| on a subset of voxels comes this close to the threshold are compared on all voxels. The standard
# error of r = 0.99 on 2,000 independent voxels is 0.0005; tails are heavy, so far more is allowed.
N_SUBSET_VOXELS = 2000
SUBSET_MARGIN = 0.02
BLOCK_IMAGES = 512

PEAK_MAP_TYPES = ("z map", "t map", "z", "t")


class Rows(Protocol):
    """Images x voxels: an array, a memory map, or anything that gives one image at a time."""

    def __len__(self) -> int:
        """Count the images."""

    def __getitem__(self, row: int, /) -> NDArray[np.float32]:
        """Return the voxels of one image, (n_voxels,)."""


class Duplicate(NamedTuple):
    """An image that is a copy of an earlier one."""

    row: int  # of the matrix
    of_row: int  # the earlier image, which is kept
    reason: str  # duplicate or inverted_contrast
    correlation: float


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
    covered = count_within(_bounding_box(has_data), data.shape, nearest, target) / values.size
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


def judge(
    measured: Mapping[str, Any], *, map_type: str | None, criteria: Mapping[str, float | None]
) -> tuple[str, float, float] | None:
    """Say why an image is refused, or None.

    Parameters
    ----------
    measured : mapping
        As from `measure`.
    map_type : str or None
        NeuroVault's; Z and T maps have a known unit, so that their size can be judged.
    criteria : mapping
        Section ``stack_images.quality``. A criterion that is absent or None is off.

    Returns
    -------
    (reason, value, threshold) or None
        Of the first criterion that the image does not meet.
    """
    rarer_sign = min(measured["negative_share"], measured["positive_share"])
    sign_percentile = criteria.get("sign_percentile")
    has_known_unit = (map_type or "").strip().lower() in PEAK_MAP_TYPES
    # Reason, value, lower limit, upper limit: the plainest explanation first.
    checks: list[tuple[str, float, float | None, float | None]] = [
        ("coverage", measured["coverage"], criteria.get("min_coverage"), None),
        ("background", measured["background_fraction"], None, criteria.get("max_background_fraction")),
        ("few_values", measured["distinct_values"], criteria.get("min_distinct_values"), None),
        ("thresholded", measured["zero_fraction"], None, criteria.get("max_zero_fraction")),
        ("outside_brain", measured["outside_fraction"], None, criteria.get("max_outside_fraction")),
        ("misplaced", measured["misplaced_fraction"], None, criteria.get("max_misplaced_fraction")),
        ("one_signed", measured["sign_share"], criteria.get("min_sign_share"), None),
        # The 15th percentile is below 0 if and only if more than 15 % of the voxels are.
        ("one_signed", rarer_sign, None if sign_percentile is None else sign_percentile / 100, None),
    ]
    if has_known_unit:
        checks.append(("magnitude", measured["max_abs"], criteria.get("min_peak"), criteria.get("max_peak")))
        checks.append(("unit", measured["rms"], criteria.get("min_rms"), None))
    for reason, value, lowest, highest in checks:
        if lowest is not None and value < lowest:
            return reason, value, lowest
        if highest is not None and value > highest:
            return reason, value, highest
    return None


def find_duplicates(
    matrix: Rows,
    threshold: float,
    *,
    rows: Iterable[int] | None = None,
    random_state: int = 0,
) -> list[Duplicate]:
    """Find images that correlate with an earlier kept image by at least `threshold`, of either sign.

    Candidates come from correlations on a seeded subset of voxels, block by block; only they are compared on all.
    At 10,000 images that is 2e11 multiplications and one pass over the matrix, not 2e13.

    Parameters
    ----------
    matrix : float32 array (n_images, n_voxels)
        Only ``len(matrix)`` and ``matrix[row]`` are used, so that the rows may also come from files one by one.
    threshold : float
        Of the absolute Pearson correlation over all voxels.
    rows : iterable of int, optional
        The rows to compare, in the order in which the first of two is kept. All by default.
    random_state : int
        Seed of the subset.

    Returns
    -------
    list of Duplicate
        In the order of `rows`. An image without variance is no copy of anything.
    """
    order = np.arange(len(matrix)) if rows is None else np.array(list(rows), dtype=np.intp)
    subset = _standardised_subset(matrix, order, random_state)
    duplicates: list[Duplicate] = []
    is_kept = np.ones(len(order), dtype=bool)
    for start in range(0, len(order), BLOCK_IMAGES):
        block = subset[start : start + BLOCK_IMAGES]
        similarity = block @ subset[: start + len(block)].T
        for position, row_similarity in enumerate(similarity, start):
            earlier = np.abs(row_similarity[:position])
            near = np.flatnonzero((earlier >= threshold - SUBSET_MARGIN) & is_kept[:position])
            # The likeliest first; among equals the first image.
            for other in near[np.argsort(-earlier[near].round(3), kind="stable")]:
                r = _correlation(matrix[int(order[position])], matrix[int(order[other])])
                if abs(r) >= threshold:
                    reason = "duplicate" if r > 0 else "inverted_contrast"
                    duplicates.append(Duplicate(int(order[position]), int(order[other]), reason, _rounded(r)))
                    is_kept[position] = False
                    break
    return duplicates


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


def _bounding_box(has_data: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box with all true voxels; empty if there is none."""
    in_xy = np.asarray(has_data.any(axis=2))
    profiles = (in_xy.any(axis=1), in_xy.any(axis=0), has_data.any(axis=(0, 1)))
    box = []
    for profile in profiles:
        planes = np.flatnonzero(profile)
        box.append(slice(int(planes[0]), int(planes[-1]) + 1) if planes.size else slice(0, 0))
    return tuple(box)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _standardised_subset(matrix: Rows, order: NDArray[np.intp], random_state: int) -> NDArray[np.float32]:
    """Return some voxels of each image, (n_images, n_subset), centred and of unit length, zero without variance."""
    n_voxels = len(matrix[0]) if len(order) else 0
    rng = np.random.default_rng(random_state)
    chosen = np.sort(rng.choice(n_voxels, size=min(N_SUBSET_VOXELS, n_voxels), replace=False))
    subset = np.empty((len(order), chosen.size), dtype=np.float32)
    for position, row in enumerate(order):
        voxels = matrix[int(row)][chosen].astype(np.float64)
        voxels -= voxels.mean()
        length = np.linalg.norm(voxels)
        subset[position] = voxels / length if length else 0
    return subset


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return Pearson's r of two images over all voxels, 0 if one has no variance."""
    x = first - first.mean(dtype=np.float64)
    y = second - second.mean(dtype=np.float64)
    lengths = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / lengths) if lengths else 0.0
