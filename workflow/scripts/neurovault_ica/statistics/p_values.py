"""Sequential permutation p values and the false discovery rate."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from neurovault_ica.types import Array, Real

# Largest p of the best term map or label for which it may name a component. This p is corrected for choosing the best
# of all. q alone is too lenient, because it is computed over all components. Many significant terms of real components
# lower the q of noise components. In a test with 20 real and 40 noise components, 7 of the 40 had a term near the best
# r with q < 0.05.
LARGEST_P_CORRECTED = 0.05
Draw = Callable[[int, npt.NDArray[np.intp]], Real]
# Terms, labels and networks are called significant if q is below this.
SIGNIFICANT_Q = 0.05
# Small p values need many permutations, large ones do not. Stop testing a value once MIN_EXCEEDING permutations have
# reached it; otherwise, use up to MOST_ROUNDS times the requested number. If 1,000 are requested, the smallest possible
# p is 0.00001. Then twelve pairs with this p among 60,000 are enough for q < 0.05.
MIN_EXCEEDING = 10
MOST_ROUNDS = 100
# Number of permutations computed at a time, to limit memory.
BLOCK_DRAWS = 500
# Differences below this count as equal, because equal permutations may differ by rounding.
ROUNDING = 1e-9
# The tail is fitted to this share of the null values. In calibrations with true p from 0.01 to 0.0002, the p with 5 %
# were right or slightly too large on average. With 10 %, they were larger.
TAIL_SHARE = 0.05
# Smallest number of surrogates of a component. The tail then has 25 of them.
MIN_SURROGATES = 500
# Limits of the tail's shape parameter. With a negative shape the tail would end, and values beyond it would have p = 0.
TAIL_SHAPES = (1e-6, 0.5)


def is_significant(q: float | None) -> bool:
    """Tell whether something was tested (`q` is not None) and is significant."""
    return q is not None and q < SIGNIFICANT_Q


def written_q(q: float | None) -> str:
    """Write a p or q value with three decimals, or as ``< 0.001`` or ``> 0.99``; a dash if it is None."""
    if q is None:
        return "\u2013"
    if q < 0.001:
        return "< 0.001"
    return "> 0.99" if q > 0.99 else f"{q:.3f}"


def sequential_p(observed: Real, draw: Draw, n_draws: int, most_rounds: int) -> Array:
    """Compare each value with its own null distribution, using more draws for small p values.

    Sequential Monte Carlo test (Besag and Clifford 1991, doi:10.1093/biomet/78.2.301) in rounds of `n_draws`. The next
    round tests only the values that fewer than ten draws have reached.

    Parameters
    ----------
    observed : array of shape (n_values,)
    draw : callable
        Draws from the null distributions of some values. Its arguments are the number of draws and the positions of
        these values. It returns an array of shape (n_draws, n_positions).
    n_draws : int
        Number of draws in a round.
    most_rounds : int
        Largest number of rounds.

    Returns
    -------
    array of shape (n_values,)
        One-sided p values, small for large values.
    """
    exceeding, n_drawn = np.zeros(observed.shape, dtype=np.int64), np.zeros(observed.shape, dtype=np.int64)
    is_open = np.arange(len(observed))
    for _ in range(most_rounds):
        for start in range(0, n_draws, BLOCK_DRAWS):
            null = draw(min(BLOCK_DRAWS, n_draws - start), is_open)
            exceeding[is_open] += (null >= observed[is_open] - ROUNDING).sum(axis=0)
        n_drawn[is_open] += n_draws
        is_open = is_open[exceeding[is_open] < MIN_EXCEEDING]
        if not is_open.size:
            break
    return (1 + exceeding) / (1 + n_drawn)


def tail_p(observed: Real, null: Real) -> Array:
    """Compare each value with draws from its null distribution; extrapolate small p values from the upper tail.

    If at least ten draws reach a value, its p is their share. Otherwise a generalized Pareto distribution is fitted to
    the largest draws by the method of moments (Knijnenburg et al. 2009, doi:10.1093/bioinformatics/btp211). Its tail is
    exponential or longer, so that p is too large rather than too small.

    Parameters
    ----------
    observed : array of shape (n_values,)
    null : array of shape (n_draws, n_values), or (n_draws, 1) if all values have the same null distribution
        At least 200 draws, so that ten values or more are in the tail.

    Returns
    -------
    array of shape (n_values,)
        One-sided p values, small for large values.
    """
    n_draws = len(null)
    n_tail = max(2, int(TAIL_SHARE * n_draws))
    exceeding = (null >= observed - ROUNDING).sum(axis=0)
    largest = np.partition(null, n_draws - n_tail - 1, axis=0)[n_draws - n_tail - 1 :].astype(np.float64)
    # The partition puts the largest value outside the tail first.
    start, tail = largest[0], largest[1:] - largest[0]
    mean, variance = tail.mean(axis=0), tail.var(axis=0, ddof=1)
    ratio = np.divide(np.square(mean), variance, out=np.ones_like(mean), where=variance > 0)
    shape = np.clip((1 - ratio) / 2, *TAIL_SHAPES)
    scale = np.maximum(mean * (1 - shape), np.finfo(float).tiny)
    beyond = np.maximum(observed - start, 0)
    extrapolated = n_tail / n_draws * np.exp(-np.log1p(shape * beyond / scale) / shape)
    counted = (1 + exceeding) / (1 + n_draws)
    return np.where(exceeding < MIN_EXCEEDING, np.minimum(extrapolated, counted), counted)


def p_of_best(r: Real, null: Real) -> Array:
    """Compute p values of the correlations of a map with references, and p corrected for choosing among references.

    z is r standardized by the reference's own null distribution. For each draw, the largest z of all references is
    taken. The corrected p of a reference is the share of draws whose largest z reaches the reference's z (single-step
    maxT; Westfall and Young 1993, "Resampling-based multiple testing").

    Parameters
    ----------
    r : array of shape (n_references,)
    null : array of shape (n_draws, n_references)
        Correlations of draws from the null distribution, at least 200.

    Returns
    -------
    array of shape (2, n_references)
        p and corrected p, one-sided, small for large r. Small values are extrapolated (`tail_p`).
    """
    p = tail_p(r, null)
    mean, sd = null.mean(axis=0), null.std(axis=0)
    sd = np.where(sd > 0, sd, 1)
    largest = ((null - mean) / sd).max(axis=1, keepdims=True)
    corrected = tail_p((r - mean) / sd, largest)
    return np.stack([p, np.maximum(p, corrected)])


def false_discovery_rate(p: Array) -> Array:
    """Compute q values (Benjamini and Hochberg 1995) over all p values of the array."""
    flat = p.ravel()
    order = np.argsort(flat)
    scaled = flat[order] * flat.size / np.arange(1, flat.size + 1)
    q = np.empty_like(flat)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q.reshape(p.shape)
