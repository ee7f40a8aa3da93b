"""Read reference networks, from a file of the user's or from an atlas that nilearn fetches, at the voxels of a mask."""

import ftplib
import logging
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from neurovault_ica.images.matrix import standardize
from neurovault_ica.images.mni_space import read_volumes, share_in_brain
from neurovault_ica.images.names_beside import is_image_file, names_beside, read_names
from neurovault_ica.images.resampling import Target, plan_resampling, read_voxels, resample
from neurovault_ica.naming.atlases import NILEARN_ATLASES
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.statistics.lattice import lattice_of
from neurovault_ica.statistics.p_values import false_discovery_rate
from neurovault_ica.statistics.surrogates import null_correlations
from neurovault_ica.types import Array, Real, Row

# A reference in another space overlaps with the MNI152 brain too, but not by this much.
MIN_SHARE_IN_BRAIN = 0.5
# Those of requests are OSErrors. A server that answers with a page of its own gives an archive that is none.
FETCH_ERRORS = (OSError, EOFError, ftplib.Error, zipfile.BadZipFile, tarfile.TarError)
# Regions as (value in the image, or None where the order of volumes counts; name).
Names = list[tuple[int | None, str]]
# With less of the mask, what is compared is not the component.
MIN_COMMON = 0.05


class Reference(NamedTuple):
    """Networks at the voxels of a mask."""

    names: list[str]
    maps: npt.NDArray[np.float32]  # (n_networks, n_voxels), 0 where a network is not


def read_reference(reference: str, target: Target, *, data_dir: str) -> Reference:
    """Read networks and resample them to the voxels of `target`.

    Parameters
    ----------
    reference : str
        The path of a NIfTI file: 4-D with a network in each volume, or 3-D with whole numbers that say which network a
        voxel is of. Names are read from a file beside it (`atlases.names_beside`). Or a key of NILEARN_ATLASES.
    target : Target
    data_dir : path
        Where nilearn keeps its atlases.

    Raises
    ------
    ValueError
        If the file holds no networks in MNI space.
    RuntimeError
        If the atlas cannot be had.
    """
    problem = f"match_networks.reference {reference}: "
    try:
        if is_image_file(reference):
            data, affine = read_volumes(reference)
            file = names_beside(reference)
            names = read_names(file) if file else []
        else:
            data, affine, names = fetch_atlas(reference, data_dir)
        data = check_networks(data, affine)
        return (
            _sample_labels(data, affine, names, target) if data.ndim == 3 else _sample_maps(data, affine, names, target)
        )
    except ValueError as error:
        raise ValueError(f"{problem}{error}") from error


def fetch_atlas(name: str, data_dir: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], Names]:
    """Get an atlas with nilearn, which keeps it in `data_dir`.

    Returns
    -------
    data : array of shape (nx, ny, nz) or (nx, ny, nz, n_networks)
    affine : array of shape (4, 4)
    names : list of (int or None, str)
    """
    # Takes a second to import, which most runs can spare.
    import nilearn.datasets

    source = NILEARN_ATLASES[name]
    fetch = getattr(nilearn.datasets, source.fetcher)
    try:
        atlas = fetch(data_dir=data_dir, verbose=0, **source.arguments)
    except FETCH_ERRORS as error:
        raise RuntimeError(
            f"match_networks.reference {name}: nilearn could not get this atlas ({type(error).__name__}: {error}). Try"
            f" again, or fetch it where there is a network with nilearn.datasets.{source.fetcher} and bring it to"
            f" {Path(data_dir).absolute()}, or name an image file"
        ) from error
    data, affine = read_volumes(str(atlas[source.key]))
    if "lut" in atlas:
        names: Names = [
            (int(index), str(region)) for index, region in zip(atlas.lut["index"], atlas.lut["name"], strict=True)
        ]
    else:
        labels = atlas.get("labels", source.names)
        # DiFuMo's labels are a table.
        labels = labels["difumo_names"] if hasattr(labels, "columns") else labels
        names = [(None, str(label)) for label in labels]
    return data, affine, names


def check_networks(data: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Return the volumes with 0 for what is not finite; 3-D ones that are no labels with a fourth dimension.

    Raises
    ------
    ValueError
        If they are empty or not in MNI space.
    """
    if data.dtype.kind == "f":
        data = np.nan_to_num(data.astype(np.float32, copy=False), nan=0, posinf=0, neginf=0)
    total = np.abs(data, dtype=np.float32).sum(axis=3) if data.ndim == 4 else np.abs(data, dtype=np.float32)
    if not total.any():
        raise ValueError("it is empty, all voxels are 0")
    share = share_in_brain(total, affine)
    if share < MIN_SHARE_IN_BRAIN:
        size = "x".join(f"{mm:g}" for mm in np.linalg.norm(affine[:3, :3], axis=0).round(2))
        first = ", ".join(f"{mm:g}" for mm in affine[:3, 3].round(1))
        raise ValueError(
            f"only {share:.0%} of it lies in the MNI152 brain, by summed absolute values ({MIN_SHARE_IN_BRAIN:.0%} are"
            f" asked for); it has {'x'.join(map(str, data.shape[:3]))} voxels of {size} mm, the first at ({first}) mm:"
            " register it to MNI152, or correct its header"
        )
    are_labels = data.ndim == 3 and data.min() >= 0 and np.array_equal(data, np.rint(data))
    return data if data.ndim == 4 or are_labels else data[..., np.newaxis]


def _sample_maps(data: npt.NDArray[Any], affine: npt.NDArray[np.float64], names: Names, target: Target) -> Reference:
    n_networks = data.shape[3]
    if names and len(names) != n_networks:
        raise ValueError(f"it has {n_networks} volumes, and there are {len(names)} names for them")
    plan = plan_resampling(data.shape[:3], affine, target, "linear")
    maps = np.empty((n_networks, target.n_voxels), dtype=np.float32)
    for number in range(n_networks):
        maps[number] = resample(np.asfortranarray(data[..., number], dtype=np.float32), plan, target)
    found = [name for _, name in names] or [f"network {number}" for number in range(1, n_networks + 1)]
    return _drop_empty(Reference(found, maps))


def _sample_labels(data: npt.NDArray[Any], affine: npt.NDArray[np.float64], names: Names, target: Target) -> Reference:
    """Make a map of each label, 1 where it is."""
    plan = plan_resampling(data.shape, affine, target, "nearest")
    voxels = read_voxels(np.asfortranarray(data.astype(np.int32)), plan, target)
    labels = [int(label) for label in np.unique(data) if label]
    name_of = {index if index is not None else order: name for order, (index, name) in enumerate(names, start=1)}
    found = [name_of.get(label, f"network {label}") for label in labels]
    return _drop_empty(Reference(found, np.array([voxels == label for label in labels], dtype=np.float32)))


def _drop_empty(reference: Reference) -> Reference:
    """Leave out networks that have nothing in the mask."""
    kept: npt.NDArray[np.bool_] = np.any(reference.maps, axis=1)
    if not kept.any():
        raise ValueError("none of its networks has a voxel in the mask of the components")
    lost = [name for name, keep in zip(reference.names, kept, strict=True) if not keep]
    if lost:
        logging.warning("left out, as nothing of them lies in the mask: %s", ", ".join(lost))
    names = [name for name, keep in zip(reference.names, kept, strict=True) if keep]
    return Reference(names, reference.maps[kept])


class Matches(NamedTuple):
    """Which network goes with each component; arrays of shape (n_components,)."""

    best: npt.NDArray[np.intp]  # the network with the largest |r|
    matched: npt.NDArray[np.intp]  # one to one, with the largest sum of |r|; -1: no network was left


def correlate(components: Real, networks: Real) -> Array:
    """Return Pearson's r of components and networks, given over voxels; one network at a time in double precision."""
    x = standardize(components.astype(np.float64))
    return np.stack([x @ standardize(network.astype(np.float64)) for network in networks], axis=1)


def match(r: Array) -> Matches:
    """Match components with networks.

    Parameters
    ----------
    r : array of shape (n_components, n_networks)
    """
    matched = np.full(len(r), -1)
    rows, columns = linear_sum_assignment(np.abs(r), maximize=True)
    matched[rows] = columns
    return Matches(np.abs(r).argmax(axis=1), matched)


def p_of_largest(
    components: Real,
    networks: Real,
    mask: npt.NDArray[np.bool_],
    affine: Array,
    *,
    n_surrogates: int,
    random_state: int,
    threads: int = 1,
) -> Array:
    """Compare each |r| with the largest that surrogates of the component have with any network.

    So p is corrected for the number of networks, of which the best was chosen.

    Parameters
    ----------
    components : array of shape (n_components, n_voxels)
    networks : array of shape (n_networks, n_voxels)
    mask : boolean array of 3 dimensions
        With n_voxels voxels.
    affine : array of shape (4, 4)
    n_surrogates : int
    random_state : int
    threads : int
        They share the components; what comes out does not depend on their number.

    Returns
    -------
    array of shape (n_components, n_networks)
    """
    lattice = lattice_of(mask, affine)
    x, y = components[:, lattice.points], networks[:, lattice.points]
    observed = np.abs(standardize(x) @ standardize(y).T)

    def p_of(number: int) -> Array:
        rng = np.random.default_rng([random_state, number])
        null = np.abs(null_correlations(x[number], y, lattice, n_maps=n_surrogates, rng=rng)).max(axis=1)
        exceeding = (null[:, None] >= observed[number]).sum(axis=0)
        return (1 + exceeding) / (1 + n_surrogates)

    return np.stack(list(progress(in_order(p_of, range(len(x)), threads), total=len(x), unit="component")))


def tabulate(r: Array, p: Array | None, matches: Matches, labels: Sequence[str], names: Sequence[str]) -> list[Row]:
    """Make the rows of the table of matches; q over the components is that of Benjamini and Hochberg 1995."""
    rows: list[Row] = [{"component": label} for label in labels]
    for kind, chosen in (("best", matches.best), ("matched", matches.matched)):
        components = np.flatnonzero(chosen >= 0)
        pairs = components, chosen[components]
        evidence: Sequence[tuple[Any, Any]] = [(None, None)] * len(components)
        if p is not None:
            evidence = list(zip(p[pairs], false_discovery_rate(p[pairs]), strict=True))
        for row in rows:
            row |= dict.fromkeys(f"{kind}_{column}" for column in ("network", "r", "p", "q"))
        for component, network, (p_value, q_value) in zip(*pairs, evidence, strict=True):
            rows[component] |= {
                f"{kind}_network": names[network],
                f"{kind}_r": r[component, network],
                f"{kind}_p": p_value,
                f"{kind}_q": q_value,
            }
    return rows
