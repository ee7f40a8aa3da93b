"""Project maps on components: regress each map on all components at once, and test its loadings.

The loadings of a map are the coefficients of a linear regression over voxels with an intercept. Contrast maps are
projected back on independent components in the same way (PMC4128636). Voxels are not independent, so the standard
errors of least squares would be far too small. The chance level comes from surrogates of the map instead, which keep
its smoothness, values and symmetry.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neurovault_ica.images.maps import Maps
from neurovault_ica.images.matrix import Rows, image_blocks, standardize
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.statistics.lattice import LATTICE_SPACING_MM, Lattice, lattice_of
from neurovault_ica.statistics.p_values import tail_p
from neurovault_ica.statistics.surrogates import Surrogates
from neurovault_ica.types import Array, Real

# Number of surrogates of each map. If few of them reach a loading, its p is extrapolated from their tail.
N_SURROGATES = 1000
# Smallest extrapolated p value, because smaller ones cannot be checked.
MIN_P = 1e-5
# Components count as linearly dependent if the smallest eigenvalue of their correlation matrix is below this. For 20
# components of real maps it is 1; for 70 overlapping networks of an atlas it is above 0.01.
MIN_EIGENVALUE = 1e-5
# Why a map or a component is left out that is constant at the points of the test, as a sentence of the page.
TOO_FEW_VOXELS = (
    "The data lie in so few voxels that loadings cannot be tested. The points of the test are"
    f" {LATTICE_SPACING_MM:g} mm apart, and all of them have the same value."
)
# Reason -> sentence of the page, for components of a 4-D file that are left out.
COMPONENT_REASONS = {
    "constant": "All voxels in the mask have the same value.",
    "too_few_voxels": TOO_FEW_VOXELS,
    "dependent": "The component is a linear combination of earlier ones, such as a copy. So a map would have no unique"
    " loadings.",
}


class Projected(NamedTuple):
    """A map on the components."""

    loadings: Array  # (n_components,)
    r: Array  # (n_components,), Pearson's r with each component alone
    explained: float  # share of the variance of the map over voxels
    se: Array  # (n_components,), standard deviation of the loadings of the map's surrogates
    p: Array  # (n_components,), two-sided


class OfRun(NamedTuple):
    """Loadings of the images of a run on the same components, and correlations of these images with the maps."""

    loadings: Array  # (n_images, n_components)
    r: Array  # (n_images, n_maps), Pearson's r of each image with each map


class Projector:
    """Regression on components.

    Components are scaled to unit variance over the voxels. So a loading is the change of the map when the component
    changes by one standard deviation, and the other components stay constant.

    Parameters
    ----------
    S : array of shape (n_components, n_voxels)
    labels : sequence of str, optional
        How errors name the components. By default, errors give their numbers, counted from 0.
    place : str
        How errors describe the voxels.

    Raises
    ------
    ValueError
        If a component is constant, or the components are linearly dependent.
    """

    def __init__(self, S: Real, labels: Sequence[str] | None = None, place: str = "over the mask") -> None:
        self.unit = standardize(S.astype(np.float64))
        names = [str(number) for number in range(len(S))] if labels is None else labels
        constant = np.flatnonzero(~self.unit.any(axis=1))
        if constant.size:
            raise ValueError(f"the component {names[constant[0]]} is constant {place}; leave it out")
        eigenvalues, axes = np.linalg.eigh(self.unit @ self.unit.T)
        involved = _dependent(eigenvalues, axes)
        if involved:
            raise ValueError(
                f"the components {', '.join(names[number] for number in involved[:10])} are linearly dependent {place},"
                " so a map has no unique loadings on them; leave one of them out"
            )
        inverse = (axes / eigenvalues) @ axes.T
        # The rows have mean 0, so the regression has an intercept.
        self.weights = (inverse @ self.unit / np.sqrt(S.shape[1])).astype(np.float32)

    def loadings(self, X: Real) -> Array:
        """Regress maps (n_maps, n_voxels) on all components; return an array of shape (n_maps, n_components)."""
        return (X @ self.weights.T).astype(np.float64)

    def correlate(self, values: Real) -> Array:
        """Correlate a map (n_voxels,) with each component alone."""
        return self.unit @ standardize(values.astype(np.float64))

    def explained(self, values: Real) -> float:
        """Return the share of the variance of a map (n_voxels,) that all components together explain."""
        centred = values - values.mean(dtype=np.float64)
        loadings = self.weights.astype(np.float64) @ centred
        return float(loadings @ (self.unit @ centred) * np.sqrt(values.size) / (centred @ centred))


def _dependent(eigenvalues: Array, axes: Array) -> list[int]:
    """Return which components are linearly dependent, from the eigenvectors of their correlation matrix."""
    if eigenvalues[0] >= MIN_EIGENVALUE:
        return []
    weights = np.abs(axes[:, 0])
    return np.flatnonzero(weights > 0.1 * weights.max()).tolist()


def find_unusable(S: Real, labels: Sequence[str], lattice: Lattice) -> dict[str, tuple[str, str | None]]:
    """Find the components on which nothing can be projected. Of dependent components, the last one is unusable.

    Parameters
    ----------
    S : array of shape (n_components, n_voxels)
    labels : sequence of str
    lattice : Lattice

    Returns
    -------
    dict
        By label: a reason, which is a key of `COMPONENT_REASONS`, and what was found.
    """
    found: dict[str, tuple[str, str | None]] = {}
    for label, values in zip(labels, S, strict=True):
        if not np.ptp(values):
            found[label] = "constant", f"all values are {values[0]:g}"
        elif not np.ptp(values[lattice.points]):
            found[label] = "too_few_voxels", f"{np.count_nonzero(values != np.median(values))} voxels"
    kept = [number for number, label in enumerate(labels) if label not in found]
    for values in (S, S[:, lattice.points]):
        unit = standardize(values.astype(np.float64))
        while kept and (involved := _dependent(*np.linalg.eigh(unit[kept] @ unit[kept].T))):
            *others, last = (kept[place] for place in involved)
            found[labels[last]] = "dependent", "depends on " + ", ".join(labels[other] for other in others[:10])
            kept.remove(last)
    return found


def project(
    values: Real, projector: Projector, on_lattice: Projector, lattice: Lattice, rng: np.random.Generator
) -> Projected:
    """Project one map, and test its loadings against those of its surrogates.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        Not constant at the points of the lattice.
    projector, on_lattice : Projector
        For the components over the mask, and at the points of the lattice. The test compares loadings on the lattice.
    lattice : Lattice
    rng : numpy.random.Generator
    """
    points = values[lattice.points].astype(np.float64)
    drawn = Surrogates(points, lattice, rng, many=True).draw(N_SURROGATES)
    # Surrogates have mean 0 and length 1.
    null = on_lattice.loadings(drawn) * np.linalg.norm(points - points.mean())
    observed = on_lattice.loadings(points[None])[0]
    return Projected(
        projector.loadings(values[None])[0],
        projector.correlate(values),
        projector.explained(values),
        null.std(axis=0),
        np.maximum(tail_p(np.abs(observed), np.abs(null)), MIN_P),
    )


def project_all(
    X: Real,
    titles: Sequence[str],
    components: Maps,
    projector: Projector,
    labels: Sequence[str],
    *,
    random_state: int,
    threads: int,
) -> list[Projected]:
    """Project maps. The title of a map seeds its surrogates, so its p do not depend on the other maps.

    Parameters
    ----------
    X : array of shape (n_maps, n_voxels)
        Not constant at the points of the lattice.
    titles : sequence of str
        Names of the maps.
    components : Maps
    projector : Projector
        For the components over the mask.
    labels : sequence of str
        How errors name the components.
    random_state : int
    threads : int
        The result does not depend on their number.
    """
    lattice = lattice_of(components.inside, components.affine)
    place = f"at the points of the test, which are {LATTICE_SPACING_MM:g} mm apart"
    on_lattice = Projector(components.values[:, lattice.points], labels, place)
    rngs = [np.random.default_rng([random_state, zlib.crc32(title.encode())]) for title in titles]
    results = in_order(lambda n: project(X[n], projector, on_lattice, lattice, rngs[n]), range(len(X)), threads)
    return list(progress(results, total=len(X), unit="map"))


def project_run(X: Rows, projector: Projector, maps: Real) -> OfRun:
    """Project the images of a run in the same way, and correlate them with the maps.

    Parameters
    ----------
    X : Rows of shape (n_images, n_voxels)
        The matrix of stack_images, as the decomposition sees it.
    projector : Projector
    maps : array of shape (n_maps, n_voxels)
    """
    unit = standardize(maps)
    loadings, r = [], []
    for block in image_blocks(X):
        images = block.read()
        loadings.append(projector.loadings(images))
        r.append(standardize(images) @ unit.T)
    return OfRun(np.concatenate(loadings), np.clip(np.concatenate(r).astype(np.float64), -1, 1))


def percentiles(loadings: Array, of_run: Array) -> Array:
    """Return the percentage of the images of a run with a smaller loading, for each component.

    Parameters
    ----------
    loadings : array of shape (n_components,)
    of_run : array of shape (n_images, n_components)
    """
    return 100 * (of_run < loadings).mean(axis=0)
