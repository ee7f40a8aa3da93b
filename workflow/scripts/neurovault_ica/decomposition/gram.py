"""Principal components of the images from their Gram matrix: their covariance over the voxels of the mask."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neurovault_ica.images.matrix import Block, voxel_blocks
from neurovault_ica.runtime.ids import number_groups
from neurovault_ica.runtime.threads import in_order

# Draws of the collections are decomposed within so many leading axes, or so many for each component if that is more.
MIN_AXES = 300
AXES_PER_COMPONENT = 10
# Squared distance of an image's mean from what it was shifted by, in its variances: more costs digits. In 1,000 maps it
# was less than 2.
MAX_SHIFTED = 4


def gram_matrix(
    X: npt.NDArray[np.float32], threads: int = 1
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute the means of images and their covariance over voxels, ``(X - mean) @ (X - mean).T / n_voxels``.

    In single precision, as the images are, which takes half the time; sums over the blocks of voxels are in double. So
    an entry is off by the rounding of a correlation, some 1e-7 times the standard deviations of its two images.

    One pass over the images does, if their means over the first block of voxels are near those over all: images are
    shifted by the former, and the rest is taken out in the end. Otherwise there is a second pass.

    Parameters
    ----------
    X : array of shape (n_images, n_voxels)
        May be a memory map.
    threads : int
        They share the voxels; the result does not depend on their number.

    Returns
    -------
    mean : array of shape (n_images,)
        Each image's mean over the mask.
    gram : array of shape (n_images, n_images)
    """
    shift = next(voxel_blocks(X)).read().mean(axis=1, dtype=np.float64)
    mean, gram = _mean_and_covariance(X, shift, threads)
    if (np.square(mean - shift) > MAX_SHIFTED * np.diag(gram)).any():
        mean, gram = _mean_and_covariance(X, mean, threads)
    return mean, gram


def _mean_and_covariance(
    X: npt.NDArray[np.float32], shift: npt.NDArray[np.float64], threads: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute both in one pass over images that are shifted to near zero."""
    single_shift = shift.astype(np.float32)

    def products(block: Block) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        shifted = block.read()
        shifted -= single_shift[:, None]
        return shifted @ shifted.T, shifted.sum(axis=1)

    gram, total = np.zeros((len(X), len(X))), np.zeros(len(X))
    for part, part_total in in_order(products, voxel_blocks(X), threads):
        gram += part
        total += part_total
    rest = total / X.shape[1]
    return single_shift + rest, gram / X.shape[1] - np.outer(rest, rest)


def n_axes_kept(n_components: int) -> int:
    """Say how many leading axes are kept at most."""
    return max(MIN_AXES, AXES_PER_COMPONENT * n_components)


def principal_axes(
    gram: npt.NDArray[np.float64], n_components: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Find the leading eigenvectors of the Gram matrix.

    Parameters
    ----------
    gram : array of shape (n_images, n_images)
        From `gram_matrix`, weighted or not.
    n_components : int

    Returns
    -------
    eigenvalues : array of shape (n_images,)
        All of them, largest first; variances of the principal components.
    U : array of shape (n_images, n_axes)
        Eigenvectors, as many as are independent but not more than `n_axes_kept`. The first entry of each is positive as
        in scikit-learn's FastICA, so that a seed gives the same start there and here.

    Raises
    ------
    ValueError
        If the images have fewer independent directions than `n_components`.
    """
    gram, n_independent = _without_rounding(gram)
    eigenvalues, eigenvectors = np.linalg.eigh(gram)
    eigenvalues = eigenvalues[::-1]
    return eigenvalues, leading(eigenvalues[:n_independent], eigenvectors[:, ::-1], n_components)


def _without_rounding(gram: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], int]:
    """Take out of a Gram matrix the directions that are nothing but rounding, and count the others.

    Rounding is relative to each image, so which images depend on others shows in their correlations. In the Gram matrix
    itself the rounding of an image in large units would pass for the variance of images in small ones.
    """
    deviations = np.sqrt(np.diag(gram))
    # An image without variance correlates with nothing.
    inverse = np.divide(1, deviations, out=np.zeros(len(gram)), where=deviations > 0)
    correlations = inverse[:, None] * gram * inverse
    # Directions that hold nothing else have up to 4e-7 in 300 real maps, which are not all independent.
    rounding = np.sqrt(len(gram)) * np.finfo(np.float32).eps
    # Most often none depends on others; whether all eigenvalues are larger, Cholesky tells in no time.
    try:
        np.linalg.cholesky(correlations - rounding * np.eye(len(gram)))
    except np.linalg.LinAlgError:
        pass
    else:
        return gram, len(gram)
    shares, directions = np.linalg.eigh(correlations)
    independent = shares > rounding
    factors = deviations[:, None] * directions[:, independent] * np.sqrt(shares[independent])
    return factors @ factors.T, int(independent.sum())


def leading(
    eigenvalues: npt.NDArray[np.float64], eigenvectors: npt.NDArray[np.float64], n_components: int
) -> npt.NDArray[np.float64]:
    """Take the eigenvectors that are kept, of those whose eigenvalues are known."""
    n_images = len(eigenvectors)
    # An eigenvalue is a squared singular value, and the images are of single precision.
    rank = int((eigenvalues > eigenvalues[0] * n_images * np.finfo(np.float32).eps ** 2).sum())
    if n_components > rank:
        raise ValueError(
            f"the {n_images} images have {rank} independent directions and run_ica.n_components is {n_components};"
            f" lower n_components to at most {rank}, or select more images"
        )
    U = eigenvectors[:, : min(rank, n_axes_kept(n_components))]
    return U * np.where(U[0] < 0, -1.0, 1.0)


def weigh_images(collections: Sequence[int], *, equally: bool) -> npt.NDArray[np.float64]:
    """Give each image its weight: 1, or one over the size of its collection, so that collections count alike.

    Parameters
    ----------
    collections : sequence of int
        The collection of each image.
    equally : bool
        Whether collections shall count alike.

    Returns
    -------
    array of shape (n_images,)
        With mean 1.
    """
    member = np.array(number_groups(collections)[1])
    sizes = np.bincount(member)
    return len(member) / (len(sizes) * sizes[member]) if equally else np.ones(len(member))


def variance_rows(eigenvalues: npt.NDArray[np.float64], of_images: float, n_components: int) -> list[dict[str, Any]]:
    """Tabulate how much of the variance `of_images` each principal component carries and whether it is kept."""
    share = np.maximum(eigenvalues, 0) / of_images
    return [
        {
            "principal_component": number,
            "eigenvalue": value,
            "variance_explained": part,
            "cumulative_variance_explained": total,
            "kept": number < n_components,
        }
        for number, (value, part, total) in enumerate(zip(eigenvalues, share, np.cumsum(share), strict=True))
    ]
