"""Express the images in their leading principal axes, so that resampled collections are decomposed quickly."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.consensus import voxel_sample
from neurovault_ica.images.matrix import Rows, whiten
from neurovault_ica.types import Real


class ImagesInAxes(NamedTuple):
    """The centred and weighted images as ``B @ P``, limited to the leading principal axes of all images."""

    P: npt.NDArray[np.float32]  # (n_axes, n_sampled_voxels), from `white_axes`
    B: Real  # (n_images, n_axes)
    collections: Sequence[str]  # (n_images,), the collection of each row


def white_axes(
    X: Rows, reduced: Mapping[str, Real], voxels: npt.NDArray[np.intp] | slice, *, threads: int = 1
) -> npt.NDArray[np.float32]:
    """Compute the maps of the leading principal axes at some voxels.

    Parameters
    ----------
    X : Rows of shape (n_images, n_voxels)
    reduced : mapping
        The arrays of reduction.npz, written by reduce_images. One axis is computed for each column of `U`.
    voxels : array of int, or slice
        Which voxels of the mask.
    threads : int

    Returns
    -------
    array of shape (n_axes, n_sampled_voxels)
        Maps that are uncorrelated and have mean 0 and variance 1 over all voxels.
    """
    U = reduced["U"]
    K = (U / np.sqrt(reduced["eigenvalues"][: U.shape[1]])).T * np.sqrt(reduced["weights"])
    return whiten(X, reduced["mean"], K, voxels, threads=threads)


def express_in_axes(
    X: Rows, reduced: Mapping[str, Real], collections: Sequence[str], *, random_state: int, threads: int = 1
) -> ImagesInAxes:
    """Express the images in their leading axes, at a random sample of the voxels (see `voxel_sample`).

    Parameters
    ----------
    X : Rows of shape (n_images, n_voxels)
    reduced : mapping
        The arrays of reduction.npz, written by reduce_images.
    collections : sequence of str
        The collection of each image.
    random_state : int
        Seed of the sample of voxels.
    threads : int
    """
    P = white_axes(X, reduced, voxel_sample(X.shape[1], random_state), threads=threads)
    return ImagesInAxes(P, reduced["U"] * np.sqrt(reduced["eigenvalues"][: len(P)]), collections)
