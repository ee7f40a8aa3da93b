"""Compare the components with maps of terms: do they go together more than maps as smooth would."""

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import SpatialImage

from neurovault_ica.images.maps import read_maps
from neurovault_ica.images.matrix import standardize
from neurovault_ica.images.mni_space import read_volumes
from neurovault_ica.images.names_beside import is_image_file, names_beside, read_names
from neurovault_ica.images.resampling import Plan, Target, plan_resampling, resample, target_of
from neurovault_ica.naming.networks import check_networks
from neurovault_ica.naming.term_files import find_term_files
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.statistics.lattice import Lattice, lattice_of
from neurovault_ica.statistics.p_values import Draw, false_discovery_rate, sequential_p
from neurovault_ica.statistics.surrogates import Surrogates
from neurovault_ica.types import Array, Real

# Every surrogate costs a Fourier transform: the smallest p of a thousand is 0.0002.
MOST_ROUNDS = 5
Grid = tuple[tuple[int, ...], bytes]


class Comparison(NamedTuple):
    """How the components go with the maps of terms."""

    terms: list[str]
    r: Array  # (n_components, n_terms), Pearson correlation over the mask
    p: Array | None  # one-sided, for positive r; None if not tested
    q: Array | None


def compare_with_maps(
    path: str, components: str, mask: str, *, n_permutations: int, random_state: int, threads: int = 1
) -> Comparison:
    """Correlate the components with all maps of terms in the mask, and with surrogates of themselves.

    Parameters
    ----------
    path : path
        A folder of maps (see `term_files.find_term_files`), or a 4-D file with the names of its volumes beside it.
    components, mask : path
        4-D and 3-D image of one grid.
    n_permutations : int
        Surrogates of each component, up to five times as many where few reach the observed value.
    random_state : int
    threads : int
        They share the components; what comes out does not depend on their number.

    Raises
    ------
    ValueError
        If a map cannot be read or is not in MNI space, or none has data in the mask.
    """
    maps = read_maps(components, mask)
    lattice = lattice_of(maps.inside, maps.affine)
    x = standardize(maps.values)
    terms, correlations, points = [], [], []
    try:
        for term, values in sample_maps(path, target_of(cast(SpatialImage, nib.load(mask)))):
            terms.append(term)
            correlations.append(x @ standardize(values))
            points.append(values[lattice.points])
    except ValueError as error:
        raise ValueError(f"project_terms.term_maps {path}: {error}") from error
    r = np.array(correlations, dtype=np.float64).T
    if not n_permutations:
        return Comparison(terms, r, None, None)
    options = {"n_permutations": n_permutations, "random_state": random_state, "threads": threads}
    p = p_of_maps(maps.values[:, lattice.points], np.array(points), lattice, **options)
    return Comparison(terms, r, p, false_discovery_rate(p))


def p_of_maps(
    components: Real, maps: Real, lattice: Lattice, *, n_permutations: int, random_state: int, threads: int = 1
) -> Array:
    """Compare correlations of components and maps with those of surrogates of the components, one-sided.

    Parameters
    ----------
    components : array of shape (n_components, n_points)
    maps : array of shape (n_maps, n_points)
    lattice : Lattice
        The points.
    n_permutations, random_state, threads : int

    Returns
    -------
    array of shape (n_components, n_maps)
    """
    y = standardize(maps)

    def p_of(number: int) -> Array:
        values = components[number]
        surrogates = Surrogates(values, lattice, np.random.default_rng([random_state, number]))
        return sequential_p(y @ standardize(values), _drawer(surrogates, y), n_permutations, MOST_ROUNDS)

    rows = in_order(p_of, range(len(components)), threads)
    return np.stack(list(progress(rows, total=len(components), unit="component")))


def sample_maps(path: str, target: Target) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Read the maps of a folder or 4-D file and resample each to the voxels of `target`; one at a time in memory.

    Maps that are constant in the mask are left out, with a warning.
    """
    plans: dict[Grid, Plan] = {}
    totals: dict[Grid, tuple[Array, Array]] = {}
    lost, n_terms = [], 0
    for term, data, affine in _volumes(path):
        grid = data.shape, affine.tobytes()
        if grid not in plans:
            plans[grid] = plan_resampling(data.shape, affine, target, "linear")
            totals[grid] = np.zeros(data.shape), affine
        totals[grid][0][...] += np.abs(data)
        values = resample(data, plans[grid], target)
        if np.ptp(values):
            n_terms += 1
            yield term, values
        else:
            lost.append(term)
    # All maps of a grid together, because a single thresholded map may have a few voxels anywhere.
    for total, affine in totals.values():
        if total.any():
            check_networks(total, affine)
    if not n_terms:
        raise ValueError("none of its maps has data in the mask of the components")
    if lost:
        logging.warning("left out, as nothing of them lies in the mask: %s", ", ".join(lost))


def _volumes(path: str) -> Iterator[tuple[str, npt.NDArray[np.float32], Array]]:
    """Read one map after the other: term, volume in Fortran order with 0 for what is not finite, affine."""
    if is_image_file(path):
        names = read_names(cast(str, names_beside(path)))
        img = _open_volumes(path, len(names))
        affine = np.asarray(img.affine, dtype=np.float64)
        for number, (_, term) in enumerate(names):
            yield term, _clean(_read(img, number)), affine
        return
    for term, file in find_term_files(path).items():
        try:
            data, affine = read_volumes(file)
            if data.ndim != 3:
                raise ValueError(f"its shape is {data.shape}; give a folder of 3-D maps, or one 4-D file of all")
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        yield term, _clean(data), affine


def _open_volumes(path: str, n_names: int) -> SpatialImage:
    """Open a 4-D file without reading it: thousands of maps need not be in memory together."""
    try:
        # A packed file would otherwise be unpacked from its start for every volume.
        img = cast(SpatialImage, nib.load(path, keep_file_open=True))
    except (ImageFileError, OSError, EOFError) as error:
        raise ValueError(f"cannot be read as an image ({error}); give a NIfTI file") from error
    if len(img.shape) != 4 or img.get_data_dtype().kind not in "iuf":
        raise ValueError(
            f"it has the shape {img.shape} and values of the type {img.get_data_dtype()}; give a 4-D image of numbers"
        )
    if img.shape[3] != n_names:
        raise ValueError(f"it has {img.shape[3]} volumes, and there are {n_names} names for them")
    if not np.isfinite(img.affine).all() or not np.linalg.det(img.affine[:3, :3]):
        raise ValueError("its affine is not finite or singular; correct the header")
    return img


def _read(img: SpatialImage, number: int) -> npt.NDArray[Any]:
    try:
        return np.asarray(img.dataobj[..., number])
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"volume {number} cannot be read ({error}); the file is damaged") from error


def _clean(data: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.asfortranarray(np.nan_to_num(data.astype(np.float32), nan=0, posinf=0, neginf=0))


def _drawer(surrogates: Surrogates, y: Real) -> Draw:
    """Make the function that correlates surrogates of a component with the maps of terms that are asked for."""

    def draw(n: int, terms: npt.NDArray[np.intp]) -> Real:
        drawn = np.concatenate([surrogates.draw_pair() for _ in range(-(-n // 2))])[:n]
        return drawn @ y[terms].T

    return draw


def rank_maps(comparison: Comparison, labels: list[str], counts: dict[str, int]) -> list[dict[str, Any]]:
    """Tabulate how each component goes with the maps of terms, best first.

    Parameters
    ----------
    comparison : Comparison
    labels : list of str
        Names of the components.
    counts : dict
        The images and collections that the components rest on.
    """
    rows = []
    for number, (label, component) in enumerate(zip(labels, comparison.r, strict=True)):
        order = np.argsort(-component, kind="stable")
        rows += [
            {"component": label, "term": comparison.terms[column], "rank": rank, "r": component[column]}
            | counts
            | {"p": None if comparison.p is None else comparison.p[number, column]}
            | {"q": None if comparison.q is None else comparison.q[number, column]}
            for rank, column in enumerate(order, start=1)
        ]
    return rows
