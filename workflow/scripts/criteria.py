"""Hold images to the criteria of ``stack_images.quality``: limits of what was measured, and no copies.

Apart from `quality`, which measures: this needs no resampling, whose libraries take longer to import than this to work.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

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
                    duplicates.append(Duplicate(int(order[position]), int(order[other]), reason, round(r, 6)))
                    is_kept[position] = False
                    break
    return duplicates


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
