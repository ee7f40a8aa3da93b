"""Tell activation from noise in a component's values: a Gaussian and a Gamma distribution for each tail.

As in MELODIC (Beckmann and Smith 2004, doi:10.1109/TMI.2003.822821; Woolrich et al. 2005, doi:10.1109/TMI.2004.836545),
here with maximum likelihood in the M step for the Gamma distributions too, where MELODIC matches moments.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from neurovault_ica.types import Array, Real

# Values are counted in so many bins: a fit takes milliseconds instead of seconds.
BINS = 2000
MAX_ITERATIONS = 3000
# Change of the mean log-likelihood of a value below which the fit has converged.
TOLERANCE = 1e-8
# Share of all values with which each tail begins.
START_TAIL = 0.05
# A tail of fewer values is none.
MIN_TAIL_VALUES = 10
# A largest value that noise alone reaches more often than this is no reason to fit a tail: 0.05 for both sides.
NOISE_PEAK_P = 0.025
# Difference of log mean and mean log of a tail's values, which gives its shape: at least this, a spike of shape 50,000.
NARROWEST = 1e-5


class Tail(NamedTuple):
    """A Gamma distribution of absolute values and its weight in the mixture, 0 where there is no such tail."""

    weight: float
    shape: float
    scale: float

    def density(self, size: Real) -> Real:
        """Return the weighted density at absolute values `size`; 0 where they are not positive."""
        if not self.weight:
            return np.zeros_like(size)
        positive = np.where(size > 0, size, 1.0)
        log = (self.shape - 1) * np.log(positive / self.scale) - positive / self.scale - special.gammaln(self.shape)
        return np.where(size > 0, self.weight / self.scale * np.exp(log), 0.0)


class Mixture(NamedTuple):
    """A fitted mixture."""

    mean: float  # of the noise
    sd: float  # of the noise
    positive: Tail
    negative: Tail
    mean_log_likelihood: float
    iterations: int
    converged: bool

    def densities(self, x: Real) -> tuple[Real, Real, Real]:
        """Return the weighted densities of noise, positive and negative tail at `x`."""
        noise = np.exp(-np.square((x - self.mean) / self.sd) / 2) / (self.sd * np.sqrt(2 * np.pi))
        weight = 1 - self.positive.weight - self.negative.weight
        return weight * noise, self.positive.density(x), self.negative.density(-x)


NO_TAIL = Tail(0.0, 1.0, 1.0)


def fit_mixture(values: Real, resels: float) -> Mixture:
    """Fit noise, and a tail on each side on which values are larger than noise of this smoothness gets.

    Smooth noise has tails by chance, which a fit that takes voxels for independent would call activation. So a tail is
    fitted only if the largest value is above what a Gaussian field of so many resels reaches, with the noise fitted so
    far: expected Euler characteristic below 0.025 (Worsley et al. 2004).

    Parameters
    ----------
    values : array of shape (n_voxels,)
        One component over the mask.
    resels : float
        As from `smoothness.count_resels`.

    Raises
    ------
    ValueError
        If all values are the same.
    """
    if np.ptp(values) == 0:
        raise ValueError("all values of a component are the same: no mixture can be fitted to them")
    counts, edges = np.histogram(values, BINS)
    filled = counts > 0
    x, counts = ((edges[1:] + edges[:-1]) / 2)[filled], counts[filled].astype(np.float64)
    below = np.cumsum(counts) / counts.sum()
    starts = ((below > 1 - START_TAIL) & (x > 0)).astype(float), ((below < START_TAIL) & (x < 0)).astype(float)
    has_tail = [False, False]
    while True:
        fit = _expectation_maximization(x, counts, starts[0] * has_tail[0], starts[1] * has_tail[1])
        extremes = (values.max() - fit.mean) / fit.sd, (fit.mean - values.min()) / fit.sd
        tested = [side for side in (0, 1) if not has_tail[side]]
        farthest = max(tested, key=lambda side: extremes[side], default=None)
        if farthest is None or expected_euler_characteristic(extremes[farthest], resels) >= NOISE_PEAK_P:
            return fit
        has_tail[farthest] = True


def expected_euler_characteristic(z: float, resels: float) -> float:
    """Return how many clusters above `z` are expected in a Gaussian field, for large `z`.

    Worsley et al. 2004 (doi:10.1016/j.neuroimage.2004.07.026), with the surface, diameter and
    Euler characteristic of a ball of the volume `resels`: of very smooth fields, peaks at the surface are many.
    """
    radius, roughness = (3 * resels / (4 * np.pi)) ** (1 / 3), 4 * np.log(2)
    falloff = np.exp(-(z**2) / 2)
    return float(
        special.ndtr(-z)
        + 4 * radius * roughness**0.5 / (2 * np.pi) * falloff
        + 2 * np.pi * radius**2 * roughness / (2 * np.pi) ** 1.5 * z * falloff
        + resels * roughness**1.5 / (2 * np.pi) ** 2 * (z**2 - 1) * falloff
    )


def activation_thresholds(fit: Mixture, probability: float, *, lowest: float, highest: float) -> tuple[float, float]:
    """Find the absolute values from which on positive and negative values are activation with more than `probability`.

    The probability that a value `x` is activation is the share of the two tails in the density at `x`.

    Parameters
    ----------
    fit : Mixture
    probability : float
        Above 0, below 1.
    lowest, highest : float
        The component's range.

    Returns
    -------
    positive, negative : float
        Infinite where no value of this sign is activation.
    """
    outwards = np.linspace(0, 1, 20_001)
    return tuple(  # type: ignore[return-value]
        _first_active(fit, extreme * outwards, probability) if sign * extreme > 0 else float("inf")
        for sign, extreme in ((1, highest), (-1, lowest))
    )


def _first_active(fit: Mixture, x: Array, probability: float) -> float:
    """Return the smallest absolute value beyond which no value is noise."""
    noise, positive, negative = fit.densities(x)
    active = (1 - probability) * (positive + negative) > probability * noise
    noisy = np.flatnonzero(~active)
    first = noisy[-1] + 1 if len(noisy) else 0
    return float(abs(x[first])) if first < len(x) else float("inf")


def _expectation_maximization(x: Array, counts: Array, is_positive: Array, is_negative: Array) -> Mixture:
    """Fit a mixture by EM (Dempster, Laird and Rubin 1977).

    Parameters
    ----------
    x, counts : array of shape (n_bins,)
        Middle of each bin, and how many values are in it.
    is_positive, is_negative : array of shape (n_bins,)
        The probabilities to start from that values of a bin belong to a tail; a tail of zeros stays empty.
    """
    n = counts.sum()
    log_size = np.log(np.where(x != 0, np.abs(x), 1.0))
    fit = Mixture(0, 1, NO_TAIL, NO_TAIL, -np.inf, 0, converged=False)
    for iteration in range(1, MAX_ITERATIONS + 1):
        noise_counts = counts * (1 - is_positive - is_negative)
        mean = noise_counts @ x / noise_counts.sum()
        sd = np.sqrt(noise_counts @ np.square(x - mean) / noise_counts.sum())
        positive_tail = _fit_tail(counts * is_positive, np.abs(x), log_size, n)
        negative_tail = _fit_tail(counts * is_negative, np.abs(x), log_size, n)
        previous = fit.mean_log_likelihood
        fit = Mixture(float(mean), float(sd), positive_tail, negative_tail, previous, iteration, converged=False)
        noise, positive, negative = fit.densities(x)
        total = np.maximum(noise + positive + negative, np.finfo(float).tiny)
        fit = fit._replace(mean_log_likelihood=float(counts @ np.log(total) / n))
        if abs(fit.mean_log_likelihood - previous) < TOLERANCE:
            return fit._replace(converged=True)
        is_positive, is_negative = positive / total, negative / total
    return fit


def _fit_tail(weights: Array, size: Array, log_size: Array, n: float) -> Tail:
    """Fit a Gamma distribution to weighted absolute values by maximum likelihood (Minka 2002, three Newton steps).

    Its shape is at least 1: activation does not become the likelier the nearer values are to 0.
    """
    total = weights.sum()
    if total < MIN_TAIL_VALUES:
        return NO_TAIL
    mean = weights @ size / total
    s = max(np.log(mean) - weights @ log_size / total, NARROWEST)
    shape = (3 - s + np.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)
    for _ in range(3):
        shape -= (np.log(shape) - special.digamma(shape) - s) / (1 / shape - special.polygamma(1, shape))
    shape = max(float(shape), 1.0)
    return Tail(float(total / n), shape, float(mean / shape))
