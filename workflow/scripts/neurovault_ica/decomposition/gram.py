"""Compute principal components from the Gram matrix of the images: their covariance over the voxels of the mask."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neurovault_ica.images.matrix import Block, Rows, voxel_blocks
from neurovault_ica.runtime.ids import number_groups
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.runtime.wording import counted

# Resampled collections are decomposed in the leading max(MIN_AXES, AXES_PER_COMPONENT * n_components) axes. More axes
# would take more time and change little. For 20 components of 1,950 simulated images, 300 axes gave nearly the same
# subspaces as all axes: the cosines of the principal angles were at least 0.997.
MIN_AXES = 300
AXES_PER_COMPONENT = 10
# An image is shifted by an approximation of its mean. If the squared error of this mean exceeds this multiple of the
# image's variance, precision suffers, so a second pass is made. In 1,000 maps the ratio was below 2.
MAX_SHIFT_RATIO = 4


def gram_matrix(X: Rows, threads: int = 1) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute the means of images and their covariance over voxels, ``(X - mean) @ (X - mean).T / n_voxels``.

    Products are in single precision, like the images, which takes half the time. Sums over blocks of voxels are in
    double precision. The error of an entry is about 1e-7 times the product of the two images' standard deviations.

    Each image is first shifted by its mean over the first block of voxels. If these means are close to the means over
    all voxels, one pass is enough. Otherwise, a second pass shifts by the means over all voxels.

    Parameters
    ----------
    X : Rows of shape (n_images, n_voxels)
    threads : int
        Number of threads that share the voxels. The result does not depend on it.

    Returns
    -------
    mean : array of shape (n_images,)
        Each image's mean over the mask.
    gram : array of shape (n_images, n_images)
    """
    shift = next(voxel_blocks(X)).read().mean(axis=1, dtype=np.float64)
    mean, gram = _mean_and_covariance(X, shift, threads)
    if (np.square(mean - shift) > MAX_SHIFT_RATIO * np.diag(gram)).any():
        mean, gram = _mean_and_covariance(X, mean, threads)
    return mean, gram


def _mean_and_covariance(
    X: Rows, shift: npt.NDArray[np.float64], threads: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute means and covariance in one pass. Subtracting `shift` (n_images,) first keeps more digits."""
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
    """Return the largest number of leading axes that are kept."""
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
        All eigenvalues, largest first. These are the variances of the principal components.
    U : array of shape (n_images, n_axes)
        Eigenvectors of the independent directions, at most `n_axes_kept`. The first entry of each is positive, as in
        scikit-learn's FastICA, so that the same seed gives the same start as there.

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
    """Remove directions that consist of rounding errors from a Gram matrix, and count the others.

    Linear dependence of images is judged by their correlations, because rounding errors are relative to each image. In
    the Gram matrix itself, the rounding error of an image with large values may exceed the variance of another image.
    """
    deviations = np.sqrt(np.diag(gram))
    # A constant image gets correlations of 0.
    inverse = np.divide(1, deviations, out=np.zeros(len(gram)), where=deviations > 0)
    correlations = inverse[:, None] * gram * inverse
    # In 300 real maps, some of them dependent, eigenvalues of pure rounding error were up to 4e-7.
    rounding = np.sqrt(len(gram)) * np.finfo(np.float32).eps
    # Usually all images are independent. A Cholesky decomposition shows this much faster than eigenvalues.
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
    """Select the leading eigenvectors, at most `n_axes_kept` and no direction of pure rounding error.

    Parameters
    ----------
    eigenvalues : array of shape (n_known,)
        Largest first.
    eigenvectors : array of shape (n_images, n_axes)
        Eigenvectors in columns, in the same order; at least as many as eigenvalues.
    n_components : int

    Returns
    -------
    array of shape (n_images, n_kept)
        The first entry of each column is positive.

    Raises
    ------
    ValueError
        If the images have fewer independent directions than `n_components`.
    """
    n_images = len(eigenvectors)
    # Eigenvalues are squared singular values of images in single precision, so their relative error is eps squared.
    rank = int((eigenvalues > eigenvalues[0] * n_images * np.finfo(np.float32).eps ** 2).sum())
    if n_components > rank:
        raise ValueError(
            f"the images have {counted(rank, 'independent direction')}, but run_ica.n_components is {n_components};"
            f" lower n_components to at most {rank}, or select more images"
        )
    U = eigenvectors[:, : min(rank, n_axes_kept(n_components))]
    return U * np.where(U[0] < 0, -1.0, 1.0)


def weigh_images(collections: Sequence[str], *, equally: bool) -> npt.NDArray[np.float64]:
    """Return the weight of each image: 1, or proportional to one over the size of its collection.

    Parameters
    ----------
    collections : sequence of str
        The collection of each image.
    equally : bool
        Whether all collections get the same total weight.

    Returns
    -------
    array of shape (n_images,)
        Weights with mean 1.
    """
    member = np.array(number_groups(collections)[1])
    sizes = np.bincount(member)
    return len(member) / (len(sizes) * sizes[member]) if equally else np.ones(len(member))


def variance_rows(eigenvalues: npt.NDArray[np.float64], of_images: float, n_components: int) -> list[dict[str, Any]]:
    """Return the rows of variance.tsv.

    Parameters
    ----------
    eigenvalues : array of shape (n_known,)
        Variances of the principal components, largest first.
    of_images : float
        Total variance of the images.
    n_components : int
        Number of principal components that are kept.
    """
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
