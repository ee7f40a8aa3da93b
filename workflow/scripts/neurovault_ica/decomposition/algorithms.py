"""The decomposition algorithms that ``run_ica.algorithm`` can name, and the one function that runs them."""

from typing import NamedTuple

import numpy as np

from neurovault_ica.decomposition.fastica import FASTICA
from neurovault_ica.decomposition.interface import Algorithm, Solution, orthogonalize
from neurovault_ica.decomposition.picard import PICARD
from neurovault_ica.types import Real

# Values of run_ica.algorithm. The schema of the configuration lists the same names.
ALGORITHMS: dict[str, Algorithm] = {"fastica": FASTICA, "picard": PICARD}

# Rows of an orthogonal algorithm deviate from orthonormal rows by at most this. It allows for single precision.
MAX_INNER_PRODUCT = 1e-3


class Settings(NamedTuple):
    """The keys of section ``run_ica`` of the configuration that control the algorithm."""

    algorithm: str
    random_state: int
    max_iter: int
    tol: float

    @property
    def max_sample_iter(self) -> int:
        """Largest number of iterations on a sample of the voxels."""
        return min(self.max_iter, ALGORITHMS[self.algorithm].max_sample_iter or self.max_iter)

    @property
    def is_orthogonal(self) -> bool:
        """Whether the algorithm returns orthonormal rows."""
        return ALGORITHMS[self.algorithm].is_orthogonal


def solve(Z: Real, settings: Settings, *, seed: int, on_sample: bool = False, start: Real | None = None) -> Solution:
    """Run the configured algorithm once on white data.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows.
    settings : Settings
    seed : int
        Seed of the random start.
    on_sample : bool
        Whether `Z` is a sample of the voxels, for which fewer iterations are allowed.
    start : array of shape (n_components, n_components), optional
        Rows to start from. They need not be orthogonal.

    Returns
    -------
    Solution
        Rows of `R` have length 1, so their inner products are the correlations of the component maps.

    Raises
    ------
    RuntimeError
        If the algorithm did not return as many linearly independent rows as `Z` has, or they are not orthonormal
        although its description says so.
    """
    algorithm = ALGORITHMS[settings.algorithm]
    if start is not None and algorithm.is_orthogonal:
        start = orthogonalize(start)
    max_iter = settings.max_sample_iter if on_sample else settings.max_iter
    found = algorithm.find_rows(Z, seed=seed, max_iter=max_iter, tol=settings.tol, start=start)
    _require_rows(found.R, len(Z), algorithm)
    if algorithm.is_orthogonal:
        return found
    return found._replace(R=found.R / np.linalg.norm(found.R, axis=1, keepdims=True))


def _require_rows(R: Real, n_components: int, algorithm: Algorithm) -> None:
    """Stop if an algorithm did not return what `Solution` and its description promise."""
    expected = (n_components, n_components)
    if R.shape != expected:
        problem = f"returned rows of shape {R.shape} instead of {expected}"
    elif not np.isfinite(R).all():
        problem = "returned values that are not finite"
    elif algorithm.is_orthogonal and np.abs(R @ R.T - np.eye(n_components)).max() > MAX_INNER_PRODUCT:
        problem = "is described as orthogonal, but its rows are not orthonormal"
    elif not algorithm.is_orthogonal and np.linalg.matrix_rank(R) < n_components:
        problem = "returned rows that depend on each other linearly"
    else:
        return
    raise RuntimeError(
        f"the algorithm {algorithm.label} {problem}; choose another run_ica.algorithm, or fewer components with"
        " run_ica.n_components"
    )
