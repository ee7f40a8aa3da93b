"""Surrogate maps: random maps that keep the smoothness and the values of a given map, but not its anatomy.

Voxels of smooth maps are not independent, so two unrelated maps may correlate. We estimate the chance level with
surrogates of one of the maps. They keep its autocorrelation along each axis, its values and its left-right symmetry.
The idea follows Burt et al. 2020 (doi:10.1016/j.neuroimage.2020.117038), who match variograms. Our surrogates are drawn
from the fitted autocorrelation in one step.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.polynomial import hermite_e
from scipy import fft, special

from neurovault_ica.images.matrix import standardize
from neurovault_ica.statistics.autocorrelation import Autocorrelation, fit_autocorrelation, stretch
from neurovault_ica.statistics.lattice import Lattice, mirror_points, wrapped_distance
from neurovault_ica.types import Array, Real

# Surrogates are drawn in a periodic box. It is longer than the brain by the distance at which correlations fall below
# this.
NEGLIGIBLE_CORRELATION = 0.01
# Degree of the Hermite series that describes how the map's values change correlations. Even for maps with very long
# tails, degree 30 instead changes correlations by at most 0.02.
HERMITE_DEGREE = 15


def null_correlations(
    values: Real, references: Real, lattice: Lattice, *, n_maps: int, rng: np.random.Generator
) -> Real:
    """Correlate references with surrogates of a map.

    Call it with BLAS limited to one thread to get the same bytes on every machine.

    Parameters
    ----------
    values : array of shape (n_points,)
        The map at the points of the lattice.
    references : array of shape (n_references, n_points)
        Maps to compare it with.
    lattice : Lattice
    n_maps : int
        Number of surrogates.
    rng : numpy.random.Generator

    Returns
    -------
    array of shape (n_maps, n_references)
        Pearson's r.
    """
    x = standardize(references).astype(np.float32)
    return Surrogates(values, lattice, rng, many=True).draw(n_maps) @ x.T


class Surrogates:
    """Generator of surrogates of one map.

    It draws a Gaussian random field by circulant embedding (Dietrich and Newsam 1997, doi:10.1137/S1064827592240555).
    It adds the mirror image of the field in the proportion that gives the map's left-right correlation. Then it
    replaces the values of the field by those of the map, rank by rank. The replacement changes correlations. So the
    field is drawn with correlations that become those of the map through the replacement. The method is that of Cario
    and Nelson 1997, "Modeling and generating random vectors with arbitrary marginal distributions".

    Parameters
    ----------
    values : array of shape (n_points,)
        The map at the points of the lattice.
    lattice : Lattice
    rng : numpy.random.Generator
    many : bool, default=False
        Draw the field in a box of twice the brain's length along each axis. The brain fits into it at eight places that
        do not overlap. Each place gives a pair of surrogates, so one Fourier transform gives sixteen. Each surrogate is
        as exact as one drawn alone. Adjacent places are correlated near their common border, which hardly affects the
        correlations of whole maps.

    Raises
    ------
    ValueError
        If the map is constant.
    """

    def __init__(self, values: Real, lattice: Lattice, rng: np.random.Generator, *, many: bool = False) -> None:
        self.rng = rng
        self.inside = lattice.inside
        self.ranked = np.sort(standardize(np.asarray(values, dtype=np.float64))).astype(np.float32)
        if not self.ranked.any():
            raise ValueError("a map is constant over the mask, so it has no surrogates; leave it out")
        lattice = stretch(values, lattice)
        autocorrelation = fit_autocorrelation(values, lattice)
        before = _undo_ranking(self.ranked)
        size_mm = np.linalg.norm(lattice.affine[:3, :3], axis=0)
        brain = self.inside.shape
        self.shape = _doubled(brain) if many else _periodic_shape(autocorrelation, brain, size_mm)
        distance = wrapped_distance(self.shape, lattice.affine)
        spectrum = fft.fftn(before(autocorrelation.at(distance))).real
        # Negative power means that no such field exists in a periodic box. Zero power gives the nearest possible field.
        self.amplitude = np.sqrt(np.maximum(spectrum, 0)).astype(np.float32)
        points, mirrored, apart_mm = mirror_points(lattice)
        corners = itertools.product(*((0, n) if many else (0,) for n in brain))
        self.places = [(self._flat(points + corner), self._flat(mirrored + corner)) for corner in corners]
        mirror_r = float(before(np.array(autocorrelation.mirror_r)))
        angle = np.arcsin(mirror_r) / 2
        # Near the midline, a point and its mirror image are correlated in any smooth field, so their sum varies more.
        sd = np.sqrt(1 + mirror_r * before(autocorrelation.at(apart_mm)))
        self.weights = (np.cos(angle) / sd).astype(np.float32), (np.sin(angle) / sd).astype(np.float32)

    def _flat(self, points: npt.NDArray[np.int_]) -> npt.NDArray[np.intp]:
        """Return the flat indices of positions in the periodic box."""
        return np.ravel_multi_index(tuple(points.T), self.shape, mode="wrap")

    def draw(self, n_maps: int) -> npt.NDArray[np.float32]:
        """Draw surrogates as an array of shape (n_maps, n_points). Each has mean 0 and length 1."""
        pairs: list[npt.NDArray[np.float32]] = []
        while 2 * len(pairs) < n_maps:
            pairs += self.draw_pairs()
        return np.concatenate(pairs)[:n_maps]

    def draw_pair(self) -> npt.NDArray[np.float32]:
        """Draw two surrogates as an array of shape (2, n_points). Each has mean 0 and length 1."""
        return next(self.draw_pairs())

    def draw_pairs(self) -> Iterator[npt.NDArray[np.float32]]:
        """Draw a field, and make a pair of surrogates from each of its places."""
        noise = self.rng.standard_normal((2, *self.shape), dtype=np.float32)
        # The real and the imaginary part are two independent fields.
        field = fft.fftn(self.amplitude * (noise[0] + 1j * noise[1])).ravel()
        for here, there in self.places:
            mixed = self.weights[0] * field[here] + self.weights[1] * field[there]
            pair = np.empty((2, len(mixed)), dtype=np.float32)
            for surrogate, drawn in zip(pair, (mixed.real, mixed.imag), strict=True):
                surrogate[np.argsort(drawn)] = self.ranked
            yield pair


def _doubled(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a box at least twice as long as the brain along each axis, for a fast Fourier transform."""
    return tuple(fft.next_fast_len(2 * n, real=True) for n in shape)


def _periodic_shape(autocorrelation: Autocorrelation, shape: tuple[int, ...], size_mm: Array) -> tuple[int, ...]:
    """Return the shape of a periodic box in which opposite sides of the brain do not correlate across the border.

    The box is at most about twice as long as `shape` along each axis.
    """
    distances = np.arange(1.0, 300.0)
    reach_mm = int((autocorrelation.at(distances) > NEGLIGIBLE_CORRELATION).sum())
    margins = np.minimum(np.ceil(reach_mm / size_mm).astype(int), shape)
    return tuple(fft.next_fast_len(int(n + margin), real=True) for n, margin in zip(shape, margins, strict=True))


def _undo_ranking(ranked: Real) -> Any:
    """Return the function that maps a correlation of the map's values to the correlation of the Gaussian values before.

    If the replacement has the Hermite coefficients c_k, a Gaussian correlation rho becomes the sum of c_k^2 rho^k.
    """
    n = len(ranked)
    z = special.ndtri((np.arange(n) + 0.5) / n)
    degrees = np.arange(1, HERMITE_DEGREE + 1)
    products = hermite_e.hermevander(z, HERMITE_DEGREE)[:, 1:].T @ ranked.astype(np.float64)
    power = np.square(products) / special.factorial(degrees)
    before = np.linspace(0, 1, 201)
    after = before[:, None] ** degrees @ power / power.sum()
    return lambda correlation: np.interp(correlation, after, before)
