"""Fit the spatial autocorrelation of a map: the correlation of its voxels over distance, and of its left and right."""

from typing import NamedTuple

import numpy as np
from scipy import fft
from scipy.optimize import least_squares

from neurovault_ica.images.matrix import standardize
from neurovault_ica.statistics.lattice import Lattice, mirror_points, wrapped_distance
from neurovault_ica.statistics.smoothness import neighbour_correlations
from neurovault_ica.types import Array, Real

# Fit the autocorrelation up to this distance, in bins of this width.
LONGEST_LAG_MM = 60.0
BIN_MM = 2.0
# Clip correlations of neighbouring points to this range before the smoothness is computed from them. At 0 or 1, the
# smoothness would be zero or infinite.
PLAUSIBLE_R = (0.05, 0.999)
# Measure the symmetry only if at least this share of the points is more than two FWHM from its mirror image.
MIN_MIRRORED = 0.1


class Autocorrelation(NamedTuple):
    """Correlation ``a exp(-d^2 / 2 b^2) + (1 - a) exp(-d / c)`` over the distance d in mm, and of left with right.

    This is AFNI's model (Cox et al. 2017, doi:10.1089/brain.2016.0475): a Gaussian with longer tails.
    """

    a: float
    b_mm: float
    c_mm: float
    mirror_r: float  # correlation of the map with its left-right mirror image; 0 if it is negative

    def at(self, distance_mm: Real) -> Real:
        """Return the correlation of two points at this distance."""
        near = np.exp(-np.square(distance_mm) / (2 * self.b_mm**2))
        return self.a * near + (1 - self.a) * np.exp(-distance_mm / self.c_mm)

    @property
    def fwhm_mm(self) -> float:
        """FWHM of the Gaussian kernel that smooths white noise to an autocorrelation of the same half-width."""
        distance_mm = np.linspace(0, 300, 3001)
        return float(np.sqrt(2) * np.interp(-0.5, -self.at(distance_mm), distance_mm))


def stretch(values: Real, lattice: Lattice) -> Lattice:
    """Stretch space along its axes so that a map is equally smooth along each. The volume stays the same.

    The smoothness along an axis is the FWHM that follows from the correlation of neighbouring points. Each axis of the
    lattice stands for the nearest axis of space.

    Parameters
    ----------
    values : array of shape (n_points,)
    lattice : Lattice

    Returns
    -------
    Lattice
        The same points with other positions in mm. Unchanged if the lattice is too oblique or has only one layer.
    """
    axes_mm = lattice.affine[:3, :3]
    nearest = np.abs(axes_mm).argmax(axis=0)
    if len(set(nearest)) < 3 or min(lattice.inside.shape) < 2:
        return lattice
    r = np.clip(neighbour_correlations(values, lattice.inside), *PLAUSIBLE_R)
    log_fwhm = np.empty(3)
    log_fwhm[nearest] = np.log([np.linalg.norm(axis) for axis in axes_mm.T] / np.sqrt(-np.log(r)))
    factors = np.exp(log_fwhm.mean() - log_fwhm)
    return lattice._replace(affine=np.diag([*factors, 1.0]) @ lattice.affine)


def fit_autocorrelation(values: Real, lattice: Lattice) -> Autocorrelation:
    """Fit the autocorrelation of a map over distance, and measure its left-right symmetry.

    Parameters
    ----------
    values : array of shape (n_points,)
    lattice : Lattice

    Returns
    -------
    Autocorrelation
    """
    x: Array = standardize(np.asarray(values, dtype=np.float64)).astype(np.float64)
    distance_mm, n_pairs, observed = _correlation_by_distance(x, lattice)
    fitted = distance_mm <= LONGEST_LAG_MM

    def residuals(parameters: Array) -> Array:
        a, b_mm, c_mm = parameters
        expected = Autocorrelation(a, b_mm, c_mm, mirror_r=0).at(distance_mm)
        # Subtracting the map's own mean has lowered all observed correlations, so lower the expected ones too.
        mean = np.average(expected, weights=n_pairs)
        return ((expected - mean) / (1 - mean) - observed)[fitted]

    start, low, high = (0.5, 8.0, 10.0), (0.0, 1.0, 1.0), (1.0, 60.0, 60.0)
    a, b_mm, c_mm = least_squares(residuals, start, bounds=(low, high), x_scale=(0.1, 3, 3)).x
    fit = Autocorrelation(float(a), float(b_mm), float(c_mm), mirror_r=0)
    return fit._replace(mirror_r=_mirror_correlation(x, lattice, apart_mm=2 * fit.fwhm_mm))


def _correlation_by_distance(x: Array, lattice: Lattice) -> tuple[Array, Array, Array]:
    """Return, for bins of distance, the mean distance in mm, the number of pairs of points, and their correlation."""
    shape = [fft.next_fast_len(2 * n - 1, real=True) for n in lattice.inside.shape]
    volume = np.zeros(lattice.inside.shape)
    volume[lattice.inside] = x
    products = fft.irfftn(np.abs(fft.rfftn(volume, shape)) ** 2, shape).ravel()
    pairs = np.rint(fft.irfftn(np.abs(fft.rfftn(lattice.inside.astype(float), shape)) ** 2, shape)).ravel()
    distance = wrapped_distance(shape, lattice.affine).ravel()
    bins = np.rint(distance / BIN_MM).astype(int)
    n_pairs: Array = np.bincount(bins, pairs).astype(np.float64)
    filled = n_pairs > 0
    n_pairs = n_pairs[filled]
    mean_distance = np.bincount(bins, pairs * distance)[filled] / n_pairs
    return mean_distance, n_pairs, np.bincount(bins, products)[filled] / n_pairs * len(x)


def _mirror_correlation(x: Array, lattice: Lattice, *, apart_mm: float) -> float:
    """Correlate a map with its left-right mirror image, where both have data. Negative correlations become 0.

    Points near the midline resemble their mirror images because they are close to them. The result is therefore 0 if
    too few points are more than `apart_mm` from their mirror images, as in half a brain.
    """
    _, mirrored, distance_mm = mirror_points(lattice)
    within = np.all((mirrored >= 0) & (mirrored < lattice.inside.shape), axis=1)
    within[within] = lattice.inside[tuple(mirrored[within].T)]
    if np.count_nonzero(distance_mm[within] > apart_mm) < MIN_MIRRORED * len(x):
        return 0.0
    volume = np.zeros(lattice.inside.shape)
    volume[lattice.inside] = x
    there = volume[tuple(mirrored[within].T)]
    return max(0.0, float(standardize(x[within]) @ standardize(there)))
