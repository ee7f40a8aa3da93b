"""Separate activation from noise in a component by a mixture model: a Gaussian, and a Gamma distribution per tail.

The model is MELODIC's (Beckmann and Smith 2004, doi:10.1109/TMI.2003.822821; Woolrich et al. 2005,
doi:10.1109/TMI.2004.836545). MELODIC's M step fits the Gamma distributions by their moments; ours uses maximum
likelihood.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from neurovault_ica.types import Array, Real

# Number of histogram bins. Fitting the bins takes milliseconds; fitting the values would take seconds.
BINS = 2000
# Largest number of EM iterations. The log names components whose fit has not converged by then.
MAX_ITERATIONS = 3000
# The fit has converged when the mean log-likelihood per value changes by less than this.
TOLERANCE = 1e-8
# Share of all values in each tail before the first iteration.
START_TAIL = 0.05
# A tail with fewer values is dropped, because they are too few to fit a Gamma distribution.
MIN_TAIL_VALUES = 10
# Fit a tail only if noise reaches its largest value with a probability below this. For both tails together it is 0.05.
NOISE_PEAK_P = 0.025
# Smallest accepted difference between the log of the mean and the mean of the logs of a tail's values. It limits the
# shape parameter of the Gamma distribution to 50,000, which is a narrow spike.
NARROWEST = 1e-5


class Tail(NamedTuple):
    """A Gamma distribution of absolute values, and its weight in the mixture (0 if there is no such tail)."""

    weight: float
    shape: float
    scale: float

    def density(self, size: Real) -> Real:
        """Return the weighted density at the absolute values `size`; 0 where they are not positive."""
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
    """Fit noise, and a tail on each side where values exceed those of noise of the same smoothness.

    Smooth noise has tails by chance. A fit that treats voxels as independent would call them activation. A tail is
    therefore fitted only if its largest value is too large for a Gaussian field with the same number of resels. The
    expected Euler characteristic of the field at this value must be below 0.025 (Worsley et al. 2004). Mean and
    standard deviation of the field are those of the noise fitted so far.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        One component over the mask.
    resels : float
        Number of resels in the mask, from `smoothness.count_resels`.

    Raises
    ------
    ValueError
        If all values are the same.
    """
    if np.ptp(values) == 0:
        raise ValueError(
            "all values of a component are the same, so no mixture can be fitted; check the images in"
            " results/stack_images"
        )
    counts, edges = np.histogram(values, BINS)
    filled = counts > 0
    x, counts = ((edges[1:] + edges[:-1]) / 2)[filled], counts[filled].astype(np.float64)
    below = np.cumsum(counts) / counts.sum()
    # The fullest bin is noise. In a sparse map, whose other values are few, it would otherwise belong to a tail.
    may_be_tail = counts < counts.max()
    starts = (
        ((below > 1 - START_TAIL) & (x > 0) & may_be_tail).astype(float),
        ((below < START_TAIL) & (x < 0) & may_be_tail).astype(float),
    )
    # The standard deviation of values that are evenly spread over one bin. A sparse map has all its noise in one bin.
    least_sd = float(edges[1] - edges[0]) / np.sqrt(12)
    has_tail = [False, False]
    while True:
        fit = _expectation_maximization(x, counts, starts[0] * has_tail[0], starts[1] * has_tail[1], least_sd)
        extremes = (values.max() - fit.mean) / fit.sd, (fit.mean - values.min()) / fit.sd
        tested = [side for side in (0, 1) if not has_tail[side]]
        farthest = max(tested, key=lambda side: extremes[side], default=None)
        if farthest is None or expected_euler_characteristic(extremes[farthest], resels) >= NOISE_PEAK_P:
            return fit
        has_tail[farthest] = True


def expected_euler_characteristic(z: float, resels: float) -> float:
    """Return the expected Euler characteristic of a Gaussian field above `z`: for large `z`, the number of clusters.

    Worsley et al. 2004 (doi:10.1016/j.neuroimage.2004.07.026). The search region is a ball with the volume `resels`.
    The formula includes its surface, diameter and Euler characteristic, because many peaks of very smooth fields are at
    the surface.
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
    """Find the thresholds beyond which all values are activation with more than `probability`.

    The probability that a value is activation is the share of the two tails in the density of the mixture there.

    Parameters
    ----------
    fit : Mixture
    probability : float
        Above 0, below 1.
    lowest, highest : float
        Smallest and largest value of the component.

    Returns
    -------
    positive, negative : float
        Thresholds as absolute values; infinite if no value of this sign is activation.
    """
    outwards = np.linspace(0, 1, 20_001)
    positive, negative = (
        _first_active(fit, extreme * outwards, probability) if sign * extreme > 0 else float("inf")
        for sign, extreme in ((1, highest), (-1, lowest))
    )
    return positive, negative


def _first_active(fit: Mixture, x: Array, probability: float) -> float:
    """Return the smallest absolute value beyond which all values are activation."""
    noise, positive, negative = fit.densities(x)
    active = (1 - probability) * (positive + negative) > probability * noise
    noisy = np.flatnonzero(~active)
    first = noisy[-1] + 1 if len(noisy) else 0
    return float(abs(x[first])) if first < len(x) else float("inf")


def _expectation_maximization(
    x: Array, counts: Array, is_positive: Array, is_negative: Array, least_sd: float
) -> Mixture:
    """Fit a mixture by EM (Dempster, Laird and Rubin 1977).

    Parameters
    ----------
    x, counts : array of shape (n_bins,)
        Middle of each bin, and number of values in it.
    is_positive, is_negative : array of shape (n_bins,)
        Initial probability that the values of a bin belong to this tail. A tail with zeros only stays empty.
    least_sd : float
        Smallest standard deviation of the noise.
    """
    n = counts.sum()
    log_size = np.log(np.where(x != 0, np.abs(x), 1.0))
    fit = Mixture(0, 1, NO_TAIL, NO_TAIL, -np.inf, 0, converged=False)
    for iteration in range(1, MAX_ITERATIONS + 1):
        noise_counts = counts * (1 - is_positive - is_negative)
        mean = noise_counts @ x / noise_counts.sum()
        sd = max(np.sqrt(noise_counts @ np.square(x - mean) / noise_counts.sum()), least_sd)
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

    The shape is at least 1, so that the density of activation does not rise without limit towards 0.
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
