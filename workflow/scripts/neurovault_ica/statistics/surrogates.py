"""Draw random maps that are as smooth as a given map and have its values, but know nothing of the brain.

Two smooth maps that have nothing to do with each other may correlate: their voxels are not independent. What chance
gives is told by surrogates of one of the two that keep its autocorrelation (along each axis), its values and how alike
its two halves are (after Burt et al. 2020, doi:10.1016/j.neuroimage.2020.117038, who match variograms; ours are drawn
from the fitted autocorrelation in one step).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.polynomial import hermite_e
from scipy import fft, ndimage, special
from scipy.optimize import least_squares

from neurovault_ica.images.matrix import standardize
from neurovault_ica.statistics.smoothness import neighbour_correlations
from neurovault_ica.types import Array, Real

# Maps are compared at points that are about so far apart: they are smoother than that, and every surrogate costs a
# Fourier transform.
SPACING_MM = 6.0
# The autocorrelation is fitted up to this distance, in bins of this width.
LONGEST_LAG_MM = 60.0
BIN_MM = 2.0
# Surrogates live in a periodic box that is larger than the brain by the distance at which they no longer correlate.
NEGLIGIBLE_CORRELATION = 0.01
HERMITE_DEGREE = 15
# Correlations of neighbouring points outside this range say nothing about smoothness.
PLAUSIBLE_R = (0.05, 0.999)
# Share of the points that must have a mirror image, two FWHM away or more, for symmetry to be measured.
MIN_MIRRORED = 0.1


class Lattice(NamedTuple):
    """Points at which maps are compared, a regular subset of the voxels of a mask."""

    points: npt.NDArray[np.bool_]  # (n_voxels,), which voxels of the mask are points
    inside: npt.NDArray[np.bool_]  # (nx, ny, nz), the points in the smallest box that holds them
    affine: Array  # (4, 4), position in the box to mm


class Smoothness(NamedTuple):
    """Autocorrelation ``a exp(-d^2 / 2 b^2) + (1 - a) exp(-d / c)`` over the distance d in mm, and of the two halves.

    The form is AFNI's (Cox et al. 2017, doi:10.1089/brain.2016.0475): that of a Gaussian kernel, with longer tails.
    """

    a: float
    b_mm: float
    c_mm: float
    mirror_r: float  # correlation of the map with itself, left and right exchanged; 0 if it is negative

    def at(self, distance_mm: Real) -> Real:
        """Return the correlation of two places at this distance."""
        near = np.exp(-np.square(distance_mm) / (2 * self.b_mm**2))
        return self.a * near + (1 - self.a) * np.exp(-distance_mm / self.c_mm)

    @property
    def fwhm_mm(self) -> float:
        """Return the width of the Gaussian kernel whose smoothed noise has the same half-width of autocorrelation."""
        distance_mm = np.linspace(0, 300, 3001)
        return float(np.sqrt(2) * np.interp(-0.5, -self.at(distance_mm), distance_mm))


def lattice_of(mask: npt.NDArray[np.bool_], affine: Array) -> Lattice:
    """Choose every n-th voxel of the grid along each axis so that points are about 6 mm apart."""
    steps = np.maximum(1, np.rint(SPACING_MM / np.linalg.norm(affine[:3, :3], axis=0))).astype(int)
    every = tuple(slice(None, None, step) for step in steps)
    chosen = np.zeros(mask.shape, dtype=bool)
    chosen[every] = mask[every]
    coarse = mask[every]
    if not coarse.any():
        raise ValueError("the mask is too small for a spatial null: no point of a grid of 6 mm lies in it")
    box = ndimage.find_objects(coarse.astype(np.uint8))[0]
    first = [side.start for side in box]
    to_grid = affine @ np.diag([*steps, 1.0])
    to_grid[:3, 3] += to_grid[:3, :3] @ first
    return Lattice(chosen[mask], coarse[box], to_grid)


def null_correlations(
    values: Real, references: Real, lattice: Lattice, *, n_maps: int, rng: np.random.Generator
) -> Real:
    """Correlate references with surrogates of a map.

    Limit BLAS to one thread around it for the same bits everywhere.

    Parameters
    ----------
    values : array of shape (n_points,)
        The map at the points of the lattice.
    references : array of shape (n_references, n_points)
        What it is compared with.
    lattice : Lattice
    n_maps : int
        Surrogates to draw.
    rng : numpy.random.Generator

    Returns
    -------
    array of shape (n_maps, n_references)
        Pearson's r.
    """
    x = standardize(references).astype(np.float32)
    surrogates = Surrogates(values, lattice, rng)
    pairs = [surrogates.draw_pair() @ x.T for _ in range(-(-n_maps // 2))]
    return np.concatenate(pairs)[:n_maps]


class Surrogates:
    """A source of surrogates of one map.

    A Gaussian random field is drawn by circulant embedding (Dietrich and Newsam 1997, doi:10.1137/S1064827592240555),
    added to its mirror image in the proportion that gives the map's correlation of left and right, and its values are
    replaced, rank by rank, by those of the map. As that changes correlations, the field is drawn with those that become
    the map's (Cario and Nelson 1997, "Modeling and generating random vectors with arbitrary marginal distributions").
    """

    def __init__(self, values: Real, lattice: Lattice, rng: np.random.Generator) -> None:
        self.rng = rng
        self.inside = lattice.inside
        self.ranked = np.sort(standardize(np.asarray(values, dtype=np.float64))).astype(np.float32)
        if not self.ranked.any():
            raise ValueError("a map that is constant in the mask has no smoothness to keep; leave it out")
        lattice = stretch(values, lattice)
        smoothness = fit_smoothness(values, lattice)
        before = _undo_ranking(self.ranked)
        size_mm = np.linalg.norm(lattice.affine[:3, :3], axis=0)
        self.shape = _periodic_shape(smoothness, self.inside.shape, size_mm)
        distance = _wrapped_distance(self.shape, lattice.affine)
        spectrum = fft.fftn(before(smoothness.at(distance))).real
        # Where a periodic box has no such field (negative power), the nearest that there is.
        self.amplitude = np.sqrt(np.maximum(spectrum, 0)).astype(np.float32)
        points, mirrored, apart_mm = _mirror(lattice)
        self.here = np.ravel_multi_index(tuple(points.T), self.shape)
        self.there = np.ravel_multi_index(tuple(mirrored.T), self.shape, mode="wrap")
        mirror_r = float(before(np.array(smoothness.mirror_r)))
        angle = np.arcsin(mirror_r) / 2
        # Near the midline a place and its mirror image are alike already: there the sum would have more variance.
        sd = np.sqrt(1 + mirror_r * before(smoothness.at(apart_mm)))
        self.weights = (np.cos(angle) / sd).astype(np.float32), (np.sin(angle) / sd).astype(np.float32)

    def draw_pair(self) -> npt.NDArray[np.float32]:
        """Draw two surrogates, an array of shape (2, n_points); each has mean 0 and length 1."""
        noise = self.rng.standard_normal((2, *self.shape), dtype=np.float32)
        # The real and the imaginary part are two independent fields.
        field = fft.fftn(self.amplitude * (noise[0] + 1j * noise[1])).ravel()
        mixed = self.weights[0] * field[self.here] + self.weights[1] * field[self.there]
        pair = np.empty((2, len(mixed)), dtype=np.float32)
        for surrogate, drawn in zip(pair, (mixed.real, mixed.imag), strict=True):
            surrogate[np.argsort(drawn)] = self.ranked
        return pair


def stretch(values: Real, lattice: Lattice) -> Lattice:
    """Stretch space along its axes so that a map is as smooth along each, and its volume stays.

    Smoothness along an axis is the FWHM that follows from how alike neighbouring points are. Axes of the lattice count
    as the nearest axes of space.

    Parameters
    ----------
    values : array of shape (n_points,)
    lattice : Lattice

    Returns
    -------
    Lattice
        The same points, elsewhere in mm; where they were if the lattice is too oblique or too thin.
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


def fit_smoothness(values: Real, lattice: Lattice) -> Smoothness:
    """Fit the autocorrelation of a map over distance, and measure that of its two halves.

    Parameters
    ----------
    values : array of shape (n_points,)
    lattice : Lattice

    Returns
    -------
    Smoothness
    """
    x: Array = standardize(np.asarray(values, dtype=np.float64)).astype(np.float64)
    distance_mm, n_pairs, observed = _autocorrelation(x, lattice)
    fitted = distance_mm <= LONGEST_LAG_MM

    def residuals(parameters: Array) -> Array:
        a, b_mm, c_mm = parameters
        expected = Smoothness(a, b_mm, c_mm, mirror_r=0).at(distance_mm)
        # Correlations about the map's own mean are lower than those of the field that it is a piece of.
        mean = np.average(expected, weights=n_pairs)
        return ((expected - mean) / (1 - mean) - observed)[fitted]

    start, low, high = (0.5, 8.0, 10.0), (0.0, 1.0, 1.0), (1.0, 60.0, 60.0)
    a, b_mm, c_mm = least_squares(residuals, start, bounds=(low, high), x_scale=(0.1, 3, 3)).x
    smoothness = Smoothness(float(a), float(b_mm), float(c_mm), mirror_r=0)
    return smoothness._replace(mirror_r=_mirror_correlation(x, lattice, apart_mm=2 * smoothness.fwhm_mm))


def _autocorrelation(x: Array, lattice: Lattice) -> tuple[Array, Array, Array]:
    """Return, for bins of distance, the mean distance in mm, the number of pairs of points, and their correlation."""
    shape = [fft.next_fast_len(2 * n - 1, real=True) for n in lattice.inside.shape]
    volume = np.zeros(lattice.inside.shape)
    volume[lattice.inside] = x
    products = fft.irfftn(np.abs(fft.rfftn(volume, shape)) ** 2, shape).ravel()
    pairs = np.rint(fft.irfftn(np.abs(fft.rfftn(lattice.inside.astype(float), shape)) ** 2, shape)).ravel()
    distance = _wrapped_distance(shape, lattice.affine).ravel()
    bins = np.rint(distance / BIN_MM).astype(int)
    n_pairs: Array = np.bincount(bins, pairs).astype(np.float64)
    filled = n_pairs > 0
    n_pairs = n_pairs[filled]
    mean_distance = np.bincount(bins, pairs * distance)[filled] / n_pairs
    return mean_distance, n_pairs, np.bincount(bins, products)[filled] / n_pairs * len(x)


def _wrapped_distance(shape: tuple[int, ...] | list[int], affine: Array) -> Array:
    """Return the distance in mm of each position of a periodic box to its first."""
    steps = np.meshgrid(*(fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
    mm = [sum(row[axis] * steps[axis] for axis in range(3)) for row in affine[:3, :3]]
    return np.sqrt(sum(np.square(along) for along in mm))


def _periodic_shape(smoothness: Smoothness, shape: tuple[int, ...], size_mm: Array) -> tuple[int, ...]:
    """Return a box in which the brain does not correlate with itself across the borders; at most twice as long."""
    distances = np.arange(1.0, 300.0)
    reach_mm = int((smoothness.at(distances) > NEGLIGIBLE_CORRELATION).sum())
    margins = np.minimum(np.ceil(reach_mm / size_mm).astype(int), shape)
    return tuple(fft.next_fast_len(int(n + margin), real=True) for n, margin in zip(shape, margins, strict=True))


def _mirror(lattice: Lattice) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_], Array]:
    """Return the positions of the points, those of their mirror images (left and right), and their distance in mm."""
    points = np.argwhere(lattice.inside)
    exchange = np.linalg.inv(lattice.affine) @ np.diag([-1.0, 1.0, 1.0, 1.0]) @ lattice.affine
    mirrored = np.rint(points @ exchange[:3, :3].T + exchange[:3, 3]).astype(int)
    apart_mm = np.linalg.norm((points - mirrored) @ lattice.affine[:3, :3].T, axis=1)
    return points, mirrored, apart_mm


def _mirror_correlation(x: Array, lattice: Lattice, *, apart_mm: float) -> float:
    """Correlate a map with its mirror image, where both are; 0 if negative.

    Places near the midline are alike because they are near, so some that are further apart are asked for: of half a
    brain nothing can be said.
    """
    _, mirrored, distance_mm = _mirror(lattice)
    within = np.all((mirrored >= 0) & (mirrored < lattice.inside.shape), axis=1)
    within[within] = lattice.inside[tuple(mirrored[within].T)]
    if np.count_nonzero(distance_mm[within] > apart_mm) < MIN_MIRRORED * len(x):
        return 0.0
    volume = np.zeros(lattice.inside.shape)
    volume[lattice.inside] = x
    there = volume[tuple(mirrored[within].T)]
    return max(0.0, float(standardize(x[within]) @ standardize(there)))


def _undo_ranking(ranked: Real) -> Any:
    """Return the function that tells from the correlation of two values what it was when they were Gaussian.

    With Hermite coefficients c_k of the transformation, Gaussian correlation rho becomes the sum of c_k^2 rho^k.
    """
    n = len(ranked)
    z = special.ndtri((np.arange(n) + 0.5) / n)
    degrees = np.arange(1, HERMITE_DEGREE + 1)
    products = hermite_e.hermevander(z, HERMITE_DEGREE)[:, 1:].T @ ranked.astype(np.float64)
    power = np.square(products) / special.factorial(degrees)
    before = np.linspace(0, 1, 201)
    after = before[:, None] ** degrees @ power / power.sum()
    return lambda correlation: np.interp(correlation, after, before)
