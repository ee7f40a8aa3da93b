"""Picard-O of python-picard on white data (Ablin, Cardoso and Gramfort 2018, doi:10.1109/ICASSP.2018.8461662).

It maximises the same likelihood as FastICA with the log cosh contrast, among orthogonal matrices, with a quasi-Newton
method. One step takes longer, but it converges where FastICA oscillates, for example with 70 components.
"""

import warnings

import numpy as np

from neurovault_ica.decomposition.interface import Algorithm, Solution, orthogonalize, random_start
from neurovault_ica.types import Real

# The result says it too. Threads share the filters of warnings, so this one is set once.
warnings.filterwarnings("ignore", message="Picard did not converge")


class LogCosh:
    """The density `tanh` of python-picard, in half of its time: arrays are changed in place."""

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
    """Find the orthogonal matrix whose rows give maps as independent as possible.

    Parameters and result are those of `FindRows`, and the random start is that of `fastica`. The run stops when no
    element of the relative gradient of the likelihood exceeds `tol`. `R` is orthogonal.
    """
    # Imported here because FastICA needs neither it nor scikit-learn, whose import takes a second.
    from picard import picard

    if start is None:
        start = random_start(Z, seed)
    # The gradient is judged before each step, so one more iteration judges the last step.
    _, R, _, n_iter = picard(
        Z, fun=LogCosh, ortho=True, whiten=False, centering=False, check_fun=False, w_init=orthogonalize(start),
        max_iter=max_iter + 1, tol=tol, return_n_iter=True,
    )  # fmt: skip
    # Rounding adds up over the steps.
    return Solution(orthogonalize(R), n_iter, converged=n_iter < max_iter)


PICARD = Algorithm(
    label="Picard-O",
    method="Picard-O {ablin2018picard} of python-picard, log cosh contrast",
    iteration="iteration",
    is_orthogonal=True,
    find_rows=rotate,
)
