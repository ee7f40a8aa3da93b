"""Define what every decomposition algorithm takes and returns.

Each algorithm is one module, ``decomposition/<name>.py``, which defines one `Algorithm`. algorithms.py lists them all.
"""

from typing import NamedTuple, Protocol

import numpy as np

from neurovault_ica.types import Real


class Solution(NamedTuple):
    """Result of one run on white data `Z`: the component maps are ``R @ Z``."""

    R: Real  # (n_components, n_components), invertible; orthogonal if the algorithm declares it
    n_iter: int
    converged: bool


class FindRows(Protocol):
    """The function that runs an algorithm."""

    def __call__(self, Z: Real, *, seed: int, max_iter: int, tol: float, start: Real | None = None) -> Solution:
        """Find independent components in white data.

        Parameters
        ----------
        Z : array of shape (n_components, n_voxels)
            White rows, in single precision.
        seed : int
            Seed of the random start. The same seed must give the same bytes.
        max_iter : int
            Largest number of iterations. If they are not enough, return ``converged=False``; this is no error.
        tol : float
            Convergence tolerance, as the algorithm defines it.
        start : array of shape (n_components, n_components), optional
            Rows to start from, instead of a random start.
        """


class Algorithm(NamedTuple):
    """An algorithm, and how logs, the report and the methods text describe it."""

    label: str  # name in text, such as FastICA
    method: str  # for the methods text, after "The algorithm was"; {key} is a citation from software.bib
    iteration: str  # name of one iteration, in the singular
    is_orthogonal: bool  # whether the rows of R are orthonormal, so that the component maps are uncorrelated
    find_rows: FindRows
    max_sample_iter: int | None = None  # largest number of iterations on a sample of the voxels; None: max_iter
    alternative: str | None = None  # an algorithm that converges where this one does not


def random_start(Z: Real, seed: int) -> Real:
    """Draw a random start (n_components, n_components) in the same way as scikit-learn's FastICA."""
    return np.random.RandomState(seed).normal(size=(len(Z), len(Z))).astype(Z.dtype)


def orthogonalize(W: Real) -> Real:
    """Return the orthogonal matrix nearest to `W` (symmetric decorrelation).

    If `W` has fewer rows than columns, its rows are made orthonormal.
    """
    U, _, Vt = np.linalg.svd(W, full_matrices=False)
    return U @ Vt
