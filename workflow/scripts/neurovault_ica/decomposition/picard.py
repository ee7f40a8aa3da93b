"""Picard-O of python-picard on white data (Ablin, Cardoso and Gramfort 2018, doi:10.1109/ICASSP.2018.8461662).

It maximises the same likelihood over orthogonal matrices as FastICA with the log cosh contrast, by a quasi-Newton
method. One step takes longer, but it converges where FastICA oscillates, for example with 70 components.
"""

import warnings

import numpy as np

from neurovault_ica.decomposition.interface import Algorithm, Solution, orthogonalize, random_start
from neurovault_ica.types import Real

# `Solution.converged` reports this. Threads share all warning filters, so the filter is set once, here.
warnings.filterwarnings("ignore", message="Picard did not converge")


class LogCosh:
    """The density `Tanh` of python-picard. Arrays are changed in place, which takes half the time."""

    @staticmethod
    def log_lik(Y: Real) -> Real:
        """Compute ``log cosh(Y) + log 2``."""
        size = np.abs(Y)
        decay = np.exp(-2 * size)
        return np.add(size, np.log1p(decay, out=decay), out=size)

    @staticmethod
    def score_and_der(Y: Real) -> tuple[Real, Real]:
        """Compute the derivative of `log_lik`, and its derivative."""
        score = np.tanh(Y)
        slope = np.square(score)
        return score, np.subtract(1, slope, out=slope)


def rotate(Z: Real, *, seed: int, max_iter: int, tol: float, start: Real | None = None) -> Solution:
    """Find the orthogonal matrix `R` for which the maps ``R @ Z`` are as independent as possible.

    Parameters and result are those of `FindRows`. The random start is the same as in `fastica`. The run stops when all
    elements of the relative gradient of the likelihood are below `tol`.
    """
    # Imported here because FastICA does not need it. It imports scikit-learn, which takes a second.
    from picard import picard

    if start is None:
        start = random_start(Z, seed)
    # python-picard counts iterations from 0. With one more iteration, n_iter is max_iter if the run did not converge.
    _, R, _, n_iter = picard(
        Z, fun=LogCosh, ortho=True, whiten=False, centering=False, check_fun=False, w_init=orthogonalize(start),
        max_iter=max_iter + 1, tol=tol, return_n_iter=True,
    )  # fmt: skip
    # Rounding errors of the steps add up, so make R orthogonal again.
    return Solution(orthogonalize(R), n_iter, converged=n_iter < max_iter)


PICARD = Algorithm(
    label="Picard-O",
    method="Picard-O {ablin2018picard} of python-picard with the log cosh contrast",
    iteration="iteration",
    is_orthogonal=True,
    find_rows=rotate,
)
