"""Source of names: maps of terms that correlate with a component more than chance.

Chance is estimated from surrogates of the component, which are random maps of the same smoothness.
"""

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
from neurovault_ica.images.resampling import Plan, Target, plan_resampling, resample, target_of
from neurovault_ica.naming.evidence import Found, Inputs
from neurovault_ica.naming.name_files import is_image_file, names_beside, read_name_file
from neurovault_ica.naming.names import Candidate
from neurovault_ica.naming.references import check_networks
from neurovault_ica.naming.term_files import find_term_files
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.statistics.lattice import Lattice, lattice_of
from neurovault_ica.statistics.p_values import Draw, false_discovery_rate, sequential_p
from neurovault_ica.statistics.surrogates import Surrogates
from neurovault_ica.types import Array, Real, Row

# A pair with a small p gets at most this many times n_permutations surrogates, because each needs a Fourier transform.
# With 1,000 permutations the smallest p is then 0.0002.
MOST_ROUNDS = 5
# Shape of an image and the bytes of its affine.
Grid = tuple[tuple[int, ...], bytes]


class Comparison(NamedTuple):
    """Correlations of the components with the maps of terms."""

    terms: list[str]
    r: Array  # (n_components, n_terms), Pearson correlation over the mask
    p: Array | None  # one-sided, for positive r; None if not tested
    q: Array | None


def find_term_maps(inputs: Inputs) -> Found:
    """Find the term maps that correlate most with each component. Without configured term maps, find nothing."""
    if inputs.term_maps is None:
        return Found([])
    comparison = compare_with_maps(
        inputs.term_maps,
        inputs.maps_file,
        inputs.mask_file,
        n_permutations=inputs.n_permutations,
        random_state=inputs.random_state,
        threads=inputs.threads,
    )
    collections = {image["collection_id"] for image in inputs.images}
    counts = {"images": len(inputs.images), "collections": len(collections)}
    table = rank_maps(comparison, inputs.components, counts)
    return Found([Candidate(row["component"], row["term"], row["r"], row["q"]) for row in table if row["r"] > 0], table)


def compare_with_maps(
    path: str, components: str, mask: str, *, n_permutations: int, random_state: int, threads: int = 1
) -> Comparison:
    """Correlate the components with all maps of terms over the mask, and test the correlations with surrogates.

    Parameters
    ----------
    path : path
        A folder of maps (see `term_files.find_term_files`), or a 4-D file with the names of its volumes beside it.
    components, mask : path
        4-D and 3-D image on the same grid.
    n_permutations : int
        Number of surrogates of each component; up to five times as many if few reach the observed value. 0: no test.
    random_state : int
    threads : int
        Components are divided among threads. The number of threads does not change the result.

    Raises
    ------
    ValueError
        If a map cannot be read, the maps are not in MNI space, or no map has data in the mask.
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
    """Test correlations of components and maps against surrogates of the components, one-sided.

    Parameters
    ----------
    components : array of shape (n_components, n_points)
    maps : array of shape (n_maps, n_points)
    lattice : Lattice
        Where the points are.
    n_permutations, random_state, threads : int

    Returns
    -------
    array of shape (n_components, n_maps)
    """
    y = standardize(maps)

    def p_of(number: int) -> Array:
        values = components[number]
        surrogates = Surrogates(values, lattice, np.random.default_rng([random_state, number]))
        return sequential_p(y @ standardize(values), _draw_from(surrogates, y), n_permutations, MOST_ROUNDS)

    rows = in_order(p_of, range(len(components)), threads)
    return np.stack(list(progress(rows, total=len(components), unit="component")))


def sample_maps(path: str, target: Target) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Read the maps of a folder or 4-D file one at a time, and resample each to the voxels of `target`.

    Maps that are constant in the mask are dropped, with a warning.
    """
    plans: dict[Grid, Plan] = {}
    totals: dict[Grid, tuple[Array, Array]] = {}
    dropped, n_terms = [], 0
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
            dropped.append(term)
    # Maps on one grid are checked together, because a single thresholded map may have only a few voxels, anywhere.
    for total, affine in totals.values():
        if total.any():
            check_networks(total, affine)
    if not n_terms:
        raise ValueError("none of its maps has data in the mask of the components; give maps in MNI space")
    if dropped:
        logging.warning("maps of terms without data in the mask are dropped: %s", ", ".join(dropped))


def _volumes(path: str) -> Iterator[tuple[str, npt.NDArray[np.float32], Array]]:
    """Read one map at a time: term, volume, affine."""
    if is_image_file(path):
        names = read_name_file(cast(str, names_beside(path)))
        img = _open_volumes(path, len(names))
        affine = np.asarray(img.affine, dtype=np.float64)
        for number, (_, term) in enumerate(names):
            yield term, _clean(_read(img, number)), affine
        return
    for term, file in find_term_files(path).items():
        try:
            data, affine = read_volumes(file)
            if data.ndim != 3:
                raise ValueError(f"its shape is {data.shape}; give a folder of 3-D maps, or one 4-D file with all maps")
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        yield term, _clean(data), affine


def _open_volumes(path: str, n_names: int) -> SpatialImage:
    """Open a 4-D file without reading its volumes, because thousands of maps may not fit into memory."""
    try:
        # Otherwise nibabel decompresses a .nii.gz file from its start for every volume.
        img = cast(SpatialImage, nib.load(path, keep_file_open=True))
    except (ImageFileError, OSError, EOFError) as error:
        raise ValueError(f"cannot be read as an image ({error}); give a NIfTI file") from error
    if len(img.shape) != 4 or img.get_data_dtype().kind not in "iuf":
        raise ValueError(
            f"its shape is {img.shape} and its data type is {img.get_data_dtype()}; give a 4-D image of numbers"
        )
    if img.shape[3] != n_names:
        raise ValueError(f"it has {img.shape[3]} volumes, but {n_names} names; give one name for each volume")
    if not np.isfinite(img.affine).all() or not np.linalg.det(img.affine[:3, :3]):
        raise ValueError("its affine is singular or not finite; correct the header")
    return img


def _read(img: SpatialImage, number: int) -> npt.NDArray[Any]:
    try:
        return np.asarray(img.dataobj[..., number])
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"volume {number} cannot be read ({error}); replace the damaged file") from error


def _clean(data: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Set values that are not finite to 0; return the volume in Fortran order."""
    return np.asfortranarray(np.nan_to_num(data.astype(np.float32), nan=0, posinf=0, neginf=0))


def _draw_from(surrogates: Surrogates, y: Real) -> Draw:
    """Make a function that draws surrogates of a component and correlates them with some of the maps of terms."""

    def draw(n: int, terms: npt.NDArray[np.intp]) -> Real:
        drawn = np.concatenate([surrogates.draw_pair() for _ in range(-(-n // 2))])[:n]
        return drawn @ y[terms].T

    return draw


def rank_maps(comparison: Comparison, components: list[str], counts: Row) -> list[Row]:
    """Tabulate the correlations of each component with the maps of terms, highest first.

    Parameters
    ----------
    comparison : Comparison
    components : list of str
    counts : dict
        Number of ``images`` and ``collections`` of the decomposition.
    """
    rows = []
    for number, (component, r) in enumerate(zip(components, comparison.r, strict=True)):
        order = np.argsort(-r, kind="stable")
        rows += [
            {"component": component, "term": comparison.terms[column], "rank": rank, "r": r[column]}
            | counts
            | {"p": None if comparison.p is None else comparison.p[number, column]}
            | {"q": None if comparison.q is None else comparison.q[number, column]}
            for rank, column in enumerate(order, start=1)
        ]
    return rows
