"""Find images that are copies of earlier images, or inverted copies."""

from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neurovault_ica.runtime.threads import in_order

# A pair is compared on all voxels if |r| on a random subset of voxels is at least the threshold minus a margin. The
# standard error of r = 0.99 with 2,000 independent voxels is 0.0005. The margin is much larger, because the values have
# heavy tails.
N_SUBSET_VOXELS = 2000
SUBSET_MARGIN = 0.02
# Number of images that one matrix product compares with all earlier ones. With 10,000 images, the product has 20 MB.
COMPARED_AT_ONCE = 512


class ImageRows(Protocol):
    """Images x voxels, read one image at a time: an array, a memory map, or a `StackedVoxels`."""

    def __len__(self) -> int:
        """Count the images."""

    def __getitem__(self, row: int, /) -> NDArray[np.float32]:
        """Return the voxels of one image, (n_voxels,)."""


class Duplicate(NamedTuple):
    """An image that is a copy of an earlier one."""

    row: int
    of_row: int  # row of the earlier image, which is kept
    reason: str  # duplicate or inverted_contrast
    correlation: float


def find_duplicates(matrix: ImageRows, threshold: float, threads: int = 1) -> list[Duplicate]:
    """Find images whose absolute correlation with an earlier image reaches a threshold. Copies are not compared again.

    Candidate pairs are found on a random subset of voxels, and only they are compared on all voxels. With 10,000
    images, this takes about 1e11 multiplications and one pass over the matrix. Comparing all pairs would take 1e13.

    Parameters
    ----------
    matrix : float32 array (n_images, n_voxels)
        Only ``len(matrix)`` and ``matrix[row]`` are used.
    threshold : float
        Smallest absolute Pearson correlation of two copies, over all voxels.
    threads : int
        The result does not depend on their number, if BLAS has one thread.

    Returns
    -------
    list of Duplicate
        In the order of the images. Images without variance are never copies.
    """
    subset = _standardised_subset(matrix, threads)

    def find_near(start: int) -> list[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Return, for each image of a block, the earlier images that may be copies, and their |r| on the subset."""
        block = subset[start : start + COMPARED_AT_ONCE]
        similarity = block @ subset[: start + len(block)].T
        np.abs(similarity, out=similarity)
        near = [np.flatnonzero(row[: start + k] >= threshold - SUBSET_MARGIN) for k, row in enumerate(similarity)]
        return [(others, row[others]) for others, row in zip(near, similarity, strict=True)]

    duplicates: list[Duplicate] = []
    is_kept = np.ones(len(matrix), dtype=bool)
    blocks = in_order(find_near, range(0, len(matrix), COMPARED_AT_ONCE), threads)
    for row, (near, similarity) in enumerate(chain.from_iterable(blocks)):
        # Try the largest correlation first; among equal ones, the earliest image.
        for other in near[np.argsort(-similarity.round(3), kind="stable")]:
            if not is_kept[other]:
                continue
            r = _correlation(matrix[row], matrix[int(other)])
            if abs(r) >= threshold:
                reason = "duplicate" if r > 0 else "inverted_contrast"
                duplicates.append(Duplicate(row, int(other), reason, round(r, 6)))
                is_kept[row] = False
                break
    return duplicates


def _standardised_subset(matrix: ImageRows, threads: int) -> NDArray[np.float32]:
    """Return a random subset of voxels (n_images, n_subset), each image centred and scaled to length 1.

    Images without variance become 0.
    """
    n_voxels = len(matrix[0]) if len(matrix) else 0
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(n_voxels, size=min(N_SUBSET_VOXELS, n_voxels), replace=False))

    def standardise(row: int) -> NDArray[np.float64]:
        voxels = matrix[row][chosen].astype(np.float64)
        voxels -= voxels.mean()
        length = np.linalg.norm(voxels)
        return voxels / length if length else np.zeros_like(voxels)

    subset = np.empty((len(matrix), chosen.size), dtype=np.float32)
    for row, values in enumerate(in_order(standardise, range(len(matrix)), threads)):
        subset[row] = values
    return subset


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return Pearson's r of two images (n_voxels,); 0 if one of them has no variance."""
    x = first - first.mean(dtype=np.float64)
    y = second - second.mean(dtype=np.float64)
    lengths = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / lengths) if lengths else 0.0
