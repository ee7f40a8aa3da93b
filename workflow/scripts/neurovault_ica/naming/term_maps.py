"""Source of names: term maps that correlate with a component more than expected by chance.

The chance level comes from surrogates of the component, which are random maps of the same smoothness. The term maps are
those of build_term_maps, the user's own, or both. The negative side of a component is compared with the same maps.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import SpatialImage

from neurovault_ica.images.maps import Maps
from neurovault_ica.images.matrix import standardize
from neurovault_ica.images.mni_space import READ_ERRORS, check_position, open_image, read_volumes
from neurovault_ica.images.resampling import Plan, plan_resampling, resample
from neurovault_ica.images.targets import Target, target_of
from neurovault_ica.naming.built_maps import read_built_maps
from neurovault_ica.naming.evidence import Found, Inputs, Pending, SurrogateTest
from neurovault_ica.naming.name_files import is_image_file, names_beside, read_name_file
from neurovault_ica.naming.names import NEAR_BEST_RANK, NEAR_BEST_SHARE, Candidate
from neurovault_ica.naming.references import check_networks
from neurovault_ica.naming.term_files import find_term_files
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.runtime.wording import counted
from neurovault_ica.statistics.lattice import lattice_of
from neurovault_ica.statistics.p_values import LARGEST_P_CORRECTED, false_discovery_rate, p_of_best
from neurovault_ica.types import Array, Real, Row

# Shape of an image and the bytes of its affine.
GridKey = tuple[tuple[int, ...], bytes]
# A map of a term: term, volume, affine.
TermVolume = tuple[str, npt.NDArray[np.float32], Array]


class Compared(NamedTuple):
    """Correlations of the components with the term maps, and the values that their test needs."""

    terms: list[str]
    r: Array  # (n_components, n_terms), Pearson correlation over the mask
    component_points: Real  # (n_components, n_points), at the points of the lattice
    points: Real  # (n_terms, n_points), term maps at the same points


class Correlations(NamedTuple):
    """Correlations of the components with the term maps, and their significance."""

    terms: list[str]
    r: Array  # (n_components, n_terms), Pearson correlation over the mask
    p: Array | None  # one-sided, for positive r; None if not tested
    q: Array | None
    p_corrected: Array | None = None  # p corrected for choosing among all terms
    # The same for negative r, on the component's negative side.
    p_negative: Array | None = None
    q_negative: Array | None = None
    p_corrected_negative: Array | None = None


def find_term_maps(inputs: Inputs) -> Found | Pending:
    """Find the term maps that are most similar to the positive and to the negative side of each component."""
    compared = compare_with_maps(
        inputs.term_maps, inputs.maps, inputs.mask_file, threads=inputs.threads, built=inputs.built_maps
    )
    finish = partial(_rank, inputs, compared)
    if not inputs.n_permutations or not compared.terms:
        return finish(None)
    return Pending(sides_test(compared.component_points, compared.points), finish)


def _rank(inputs: Inputs, compared: Compared, p: Array | None) -> Found:
    """Make the table and the candidates, given the p values of `sides_test` for all components."""
    collections = {image["collection_id"] for image in inputs.images}
    counts = {"images": len(inputs.images), "collections": len(collections)}
    table = rank_maps(correlations_of(compared, p), inputs.components, counts)
    positive: list[Candidate] = []
    negative: list[Candidate] = []
    for start in range(0, len(table), len(compared.terms) or 1):
        rows = table[start : start + len(compared.terms)]
        positive += _candidates(rows, 1, "")
        negative += _candidates(rows[::-1], -1, "_negative")
    return Found(positive, table, negative)


def _candidates(rows: Sequence[Row], sign: int, side: str) -> Iterator[Candidate]:
    """Make candidates from the rows of one component on one side, strongest first, and mark those that may name it."""
    corrected = [row[f"p_corrected{side}"] for row in rows]
    exceeds_chance = bool(rows) and (corrected[0] is None or min(corrected) <= LARGEST_P_CORRECTED)
    largest = None
    for rank, row in enumerate(rows, start=1):
        size = sign * row["r"]
        if size <= 0:
            return
        largest = size if largest is None else largest
        may_name = exceeds_chance and rank <= NEAR_BEST_RANK and size >= NEAR_BEST_SHARE * largest
        yield Candidate(row["component"], row["term"], row["r"], row[f"q{side}"], may_name)


def compare_with_maps(
    path: str | None, maps: Maps, mask: str, *, threads: int = 1, built: str | None = None
) -> Compared:
    """Correlate the components with all term maps over the mask.

    Parameters
    ----------
    path : path or None
        The user's maps: a folder (see `term_files.find_term_files`), or a 4-D file with the names of its volumes
        beside it.
    maps : Maps
        The components.
    mask : path
        3-D image on the same grid.
    threads : int
        Maps are divided among threads. The number of threads does not change the result.
    built : path, optional
        Folder of the maps that build_term_maps made. Terms of the user's maps are left out of them.

    Raises
    ------
    ValueError
        If a map cannot be read, the user's maps are not in MNI space, or none of them has data in the mask.
    """
    lattice = lattice_of(maps.inside, maps.affine)
    target = target_of(cast(SpatialImage, nib.load(mask)))
    x = standardize(maps.values)
    terms: list[str] = []
    correlations, points = [], []
    for term, values in chain(_sample_own(path, target, threads), _sample_built(built, target, terms, threads)):
        terms.append(term)
        correlations.append(x @ standardize(values))
        points.append(values[lattice.points])
    r = np.array(correlations, dtype=np.float64).reshape(len(terms), len(x)).T
    return Compared(terms, r, maps.values[:, lattice.points], np.array(points))


def sides_test(components: Real, maps: Real) -> SurrogateTest:
    """Make a test of correlations of components and maps, one-sided for each sign.

    The surrogates of a component are compared with all maps in one matrix product. The p values are those of
    `p_values.p_of_best`.

    Parameters
    ----------
    components : array of shape (n_components, n_points)
    maps : array of shape (n_maps, n_points)

    Returns
    -------
    SurrogateTest
        Returns an array of shape (2, 2, n_maps). First axis: positive and negative r. Second axis: p, and p corrected
        for choosing among the maps.
    """
    y = standardize(maps).astype(np.float32)

    def test(number: int, surrogates: Real) -> Array:
        null = surrogates @ y.T
        r = y @ standardize(components[number]).astype(np.float32)
        return np.stack([p_of_best(r, null), p_of_best(-r, -null)])

    return test


def correlations_of(compared: Compared, p: Array | None) -> Correlations:
    """Combine correlations with the p values of `sides_test`, stacked over components; None without tests."""
    if p is None:
        return Correlations(compared.terms, compared.r, None, None)
    (positive, corrected), (negative, corrected_negative) = np.moveaxis(p, 0, 2)
    return Correlations(
        compared.terms, compared.r, positive, false_discovery_rate(positive), corrected,
        negative, false_discovery_rate(negative), corrected_negative,
    )  # fmt: skip


def _sample_own(path: str | None, target: Target, threads: int) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Resample the user's maps to the voxels of `target`."""
    try:
        yield from sample_maps(path, target, threads) if path else ()
    except ValueError as error:
        raise ValueError(f"project_terms.term_maps {path}: {error}") from error


def _sample_built(
    folder: str | None, target: Target, known: list[str], threads: int
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Resample the maps that build_term_maps made, except those of terms in `known`, to the voxels of `target`."""
    if folder is None:
        return
    maps, mask_img, terms = read_built_maps(folder)
    inside = np.asarray(mask_img.dataobj) != 0
    plan = plan_resampling(inside.shape, np.asarray(mask_img.affine, dtype=np.float64), target, "linear")
    taken = {term.casefold() for term in known}
    rows = [row for row, term in enumerate(terms) if term.casefold() not in taken]

    def sample(row: int) -> npt.NDArray[np.float32]:
        volume = np.zeros(inside.shape, dtype=np.float32, order="F")
        volume[inside] = maps[row]
        return resample(volume, plan, target)

    for row, values in zip(rows, in_order(sample, rows, threads), strict=True):
        if np.ptp(values):
            yield terms[row], values


def sample_maps(path: str, target: Target, threads: int = 1) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Read the maps of a folder or 4-D file one at a time, and resample each to the voxels of `target`.

    Maps that are constant in the mask are dropped, with a warning.
    """
    plans: dict[GridKey, Plan] = {}
    totals: dict[GridKey, tuple[Array, Array]] = {}

    def planned() -> Iterator[tuple[str, npt.NDArray[np.float32], Plan]]:
        for term, data, affine in _volumes(path):
            grid = data.shape, affine.tobytes()
            if grid not in plans:
                plans[grid] = plan_resampling(data.shape, affine, target, "linear")
                totals[grid] = np.zeros(data.shape), affine
            totals[grid][0][...] += np.abs(data)
            yield term, data, plans[grid]

    dropped, n_terms = [], 0
    for term, values in in_order(lambda one: (one[0], resample(one[1], one[2], target)), planned(), threads):
        if np.ptp(values):
            n_terms += 1
            yield term, values
        else:
            dropped.append(term)
    # Check all maps of a grid together, because a thresholded map may have only a few voxels, anywhere in the brain.
    for total, affine in totals.values():
        if total.any():
            check_networks(total[..., np.newaxis], affine)
    if not n_terms:
        raise ValueError("none of its maps has data in the mask of the components; give maps in MNI space")
    if dropped:
        logging.warning("dropped the term maps without data in the mask: %s", ", ".join(dropped))


def _volumes(path: str) -> Iterator[TermVolume]:
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
    """Open a 4-D file, and check its header. Volumes are read later, because thousands may not fit into memory."""
    # With a closed file, nibabel would decompress a .nii.gz file from its start for every volume.
    img = open_image(path, keep_file_open=True)
    if len(img.shape) != 4 or img.get_data_dtype().kind not in "iuf":
        raise ValueError(
            f"its shape is {img.shape} and its data type is {img.get_data_dtype()}; give a 4-D image of numbers"
        )
    if img.shape[3] != n_names:
        raise ValueError(
            f"it has {counted(img.shape[3], 'volume')}, but {counted(n_names, 'name')}; give one name for each volume"
        )
    check_position(path, img)
    return img


def _read(img: SpatialImage, number: int) -> npt.NDArray[Any]:
    try:
        return np.asarray(img.dataobj[..., number])
    except READ_ERRORS as error:
        raise ValueError(f"volume {number} cannot be read ({error}); replace the damaged file") from error


def _clean(data: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Set values that are not finite to 0; return the volume in Fortran order."""
    return np.asfortranarray(np.nan_to_num(data.astype(np.float32), nan=0, posinf=0, neginf=0))


def rank_maps(comparison: Correlations, components: list[str], counts: Row) -> list[Row]:
    """Tabulate the correlations of each component with the term maps, highest first.

    Parameters
    ----------
    comparison : Correlations
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
            | {
                name: None if values is None else values[number, column]
                for name, values in comparison._asdict().items()
                if name not in ("terms", "r")
            }
            for rank, column in enumerate(order, start=1)
        ]
    return rows
