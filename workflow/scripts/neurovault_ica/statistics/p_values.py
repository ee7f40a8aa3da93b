"""Sequential permutation p values and the false discovery rate."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from neurovault_ica.types import Array, Real

Draw = Callable[[int, npt.NDArray[np.intp]], Real]
# Figures, page and methods text call a term significant below this.
SIGNIFICANT_Q = 0.05
# Rare values need many draws, common ones do not: a pair of component and feature is settled when so many draws have
# reached it, and is otherwise tested with up to so many times the arrangements asked for. The smallest p of a thousand
# arrangements is then 0.00001, and of 60,000 pairs, twelve at that p have q < 0.05.
ENOUGH = 10
MOST_ROUNDS = 100
BLOCK_DRAWS = 500
# Equal arrangements may differ by rounding.
ROUNDING = 1e-9


def is_significant(q: float | None) -> bool:
    """Tell whether something was tested and has a false discovery rate below the one that figures and texts go by."""
    return q is not None and q < SIGNIFICANT_Q


def sequential_p(observed: Real, draw: Draw, n_draws: int, most_rounds: int) -> Array:
    """Compare each value with its own null distribution, rare ones with more draws than common ones.

    Sequential Monte Carlo (Besag and Clifford 1991, doi:10.1093/biomet/78.2.301), in rounds of `n_draws`: a value that
    ten draws have reached is settled, the others go into the next round.

    Parameters
    ----------
    observed : array of shape (n_values,)
    draw : callable
        Given a number and the positions of some values, draws as often from their null distributions: an array of shape
        (number, n_positions).
    n_draws, most_rounds : int

    Returns
    -------
    array of shape (n_values,)
        One-sided, for large values.
    """
    exceeding, n_drawn = np.zeros(observed.shape, dtype=np.int64), np.zeros(observed.shape, dtype=np.int64)
    is_open = np.arange(len(observed))
    for _ in range(most_rounds):
        for start in range(0, n_draws, BLOCK_DRAWS):
            null = draw(min(BLOCK_DRAWS, n_draws - start), is_open)
            exceeding[is_open] += (null >= observed[is_open] - ROUNDING).sum(axis=0)
        n_drawn[is_open] += n_draws
        is_open = is_open[exceeding[is_open] < ENOUGH]
        if not is_open.size:
            break
    return (1 + exceeding) / (1 + n_drawn)


def false_discovery_rate(p: Array) -> Array:
    """Turn p values into q values (Benjamini and Hochberg 1995), over all of them at once."""
    flat = p.ravel()
    order = np.argsort(flat)
    scaled = flat[order] * flat.size / np.arange(1, flat.size + 1)
    q = np.empty_like(flat)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q.reshape(p.shape)
