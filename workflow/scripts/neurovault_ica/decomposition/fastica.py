"""FastICA on white data: symmetric, with the contrast log cosh (Hyvärinen 1999, doi:10.1109/72.761722).

Start, iteration and stopping rule are those of scikit-learn's ``FastICA(whiten=False)``, whose samples are our voxels.
Here an iteration goes through the voxels in blocks that fit into the processor's cache, a quarter of the time, and sums
in double precision, so that symmetric decorrelation does not fail on nearly Gaussian data.
"""

from typing import NamedTuple

import numpy as np

from neurovault_ica.types import Real

BLOCK_VOXELS = 2048


class Rotation(NamedTuple):
    """One FastICA run on white data: the orthogonal `R` (n_components, n_components), and how it ended."""

    R: Real
    n_iter: int
    converged: bool


def rotate(Z: Real, *, seed: int, max_iter: int, tol: float, start: Real | None = None) -> Rotation:
    """Find the rotation whose rows are as independent as they can be.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows.
    seed : int
        For the random start, drawn as scikit-learn draws it.
    max_iter : int
    tol : float
        Converged when no row turns further: ``1 - |cos|`` of the angle between a row and the same row before.
    start : array of shape (n_components, n_components), optional
        Where to start instead.
    """
    if start is None:
        start = np.random.RandomState(seed).normal(size=(len(Z), len(Z))).astype(Z.dtype)
    R = orthogonalize(start.astype(np.float64))
    for n_iter in range(1, max_iter + 1):
        before, R = R, orthogonalize(_update(R, Z))
        if np.max(1 - np.abs(np.sum(R * before, axis=1))) < tol:
            return Rotation(R, n_iter, converged=True)
    return Rotation(R, max_iter, converged=False)


def orthogonalize(W: Real) -> Real:
    """Find the orthogonal matrix nearest to `W` (symmetric decorrelation)."""
    U, _, Vt = np.linalg.svd(W)
    return U @ Vt


def _update(R: Real, Z: Real) -> Real:
    """Take FastICA's fixed-point step: ``E[g(RZ) Z'] - diag(E[g'(RZ)]) R`` with g = tanh."""
    n_components, n_voxels = Z.shape
    moment, slope = np.zeros_like(R), np.zeros(n_components)
    weights = R.astype(Z.dtype)
    for start in range(0, n_voxels, BLOCK_VOXELS):
        block = Z[:, start : start + BLOCK_VOXELS]
        bent = weights @ block
        np.tanh(bent, out=bent)
        moment += bent @ block.T
        slope += block.shape[1] - np.vecdot(bent, bent)
    return moment / n_voxels - slope[:, None] / n_voxels * R
