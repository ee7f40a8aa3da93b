"""Compute the final components: their maps, loadings and weights, in order and with signs."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.types import Real


class Decomposition(NamedTuple):
    """Components in their final order and sign."""

    S: Real  # (n_components, n_voxels), maps of variance 1
    A: Real  # (n_images, n_components), loadings
    W: Real  # (n_components, n_images), weights of the images in each map
    R: Real  # (n_components, n_components), coordinates of the maps in the white axes; rows have length 1


def find_order_and_signs(S: Real, A: Real) -> tuple[npt.NDArray[np.intp], Real]:
    """Determine the final order and signs of the components. No other function changes them.

    Parameters
    ----------
    S : array of shape (n_components, n_voxels)
        Maps of variance 1.
    A : array of shape (n_images, n_components)
        Loadings, each multiplied by the square root of its image's weight.

    Returns
    -------
    order : array of shape (n_components,)
        Row numbers of `S`, sorted by explained variance, largest first. Maps have variance 1, so the explained variance
        is the sum of squared loadings.
    signs : array of shape (n_components,)
        In the order of `S`: -1 if the largest absolute value of the map is negative, otherwise 1.
    """
    order = np.argsort(-np.square(A).sum(axis=0), kind="stable")
    signs = np.where(-S.min(axis=1) > S.max(axis=1), -1.0, 1.0)
    return order, signs


def decompose(Z: Real, R: Real, reduced: Mapping[str, Real], *, is_orthogonal: bool) -> Decomposition:
    """Compute maps, loadings and weights from the rows that an algorithm found.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows.
    R : array of shape (n_components, n_components)
        The rows that the algorithm found, of length 1.
    reduced : mapping
        The arrays of reduction.npz, written by reduce_images.
    is_orthogonal : bool
        Whether the rows of `R` are orthonormal, so that the inverse of `R` is its transpose.

    Returns
    -------
    Decomposition
        The loadings of an image without variance, such as an empty half, are 0.
    """
    k = len(Z)
    S: Real = R.astype(Z.dtype) @ Z
    scale = S.std(axis=1, keepdims=True, dtype=np.float64)
    S /= scale
    roots = np.sqrt(reduced["weights"])[:, None]
    inverse = R.T if is_orthogonal else np.linalg.inv(R)
    weighted_A = (reduced["U"][:, :k] * np.sqrt(reduced["eigenvalues"][:k])) @ inverse * scale.T
    order, signs = find_order_and_signs(S, weighted_A)
    S, R, W = ((signs[:, None].astype(rows.dtype) * rows)[order] for rows in (S, R, R @ reduced["K"] / scale))
    A = (weighted_A * signs)[:, order] / roots
    # Without variance, these loadings would be rounding errors.
    return Decomposition(S, np.where(reduced["image_variance"][:, None] > 0, A, 0), W, R)


def share_explained(A: Real, reduced: Mapping[str, Real]) -> Real:
    """Compute the share of the variance of all images that each component explains.

    Parameters
    ----------
    A : array of shape (n_images, n_components)
        Loadings.
    reduced : mapping
        The arrays of reduction.npz.

    Returns
    -------
    array of shape (n_components,)
    """
    total = (reduced["weights"] * reduced["image_variance"]).sum()
    return (reduced["weights"][:, None] * np.square(A)).sum(axis=0) / total
