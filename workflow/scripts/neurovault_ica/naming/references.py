"""Read reference networks at the voxels of a mask, from the user's file or from an atlas of nilearn."""

import ftplib
import logging
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.images.mni_space import read_volumes, share_in_brain
from neurovault_ica.images.resampling import plan_resampling, read_voxels, resample
from neurovault_ica.images.targets import Target
from neurovault_ica.naming.coordinate_networks import seitzman_networks
from neurovault_ica.naming.name_files import is_image_file, name_by_value, names_beside, read_name_file
from neurovault_ica.naming.nilearn_atlases import NILEARN_ATLASES
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Array

# Smallest share of the summed absolute values that must be in the MNI152 brain. Maps in another space overlap with it
# less.
MIN_NETWORKS_IN_BRAIN = 0.5
# The errors of requests are OSErrors. If a server sends a web page instead of an atlas, unpacking it raises the others.
FETCH_ERRORS = (OSError, EOFError, ftplib.Error, zipfile.BadZipFile, tarfile.TarError)
# (value in the label image, name); the value is None for volumes, which are named in their order.
NetworkNames = list[tuple[int | None, str]]


class Reference(NamedTuple):
    """Networks at the voxels of a mask."""

    names: list[str]
    maps: npt.NDArray[np.float32]  # (n_networks, n_voxels), 0 outside a network


def read_reference(reference: str, target: Target, *, data_dir: str) -> Reference:
    """Read networks and resample them to the voxels of `target`.

    Parameters
    ----------
    reference : str
        The path of a NIfTI file, or a key of NILEARN_ATLASES. A 4-D file has one network in each volume. A 3-D file has
        in each voxel the number of its network. Names come from a file beside it (see `name_files.names_beside`).
    target : Target
    data_dir : path
        Where nilearn keeps its atlases.

    Raises
    ------
    ValueError
        If the file contains no networks in MNI space.
    RuntimeError
        If nilearn cannot fetch the atlas.
    """
    try:
        if reference == "seitzman_2018":
            return _drop_empty(Reference(*seitzman_networks(target)))
        if is_image_file(reference):
            data, affine = read_volumes(reference)
            file = names_beside(reference)
            names = read_name_file(file) if file else []
        else:
            data, affine, names = fetch_atlas(reference, data_dir)
        data = check_networks(data, affine)
        sample = _sample_labels if data.ndim == 3 else _sample_maps
        return sample(data, affine, names, target)
    except ValueError as error:
        raise ValueError(f"match_networks.reference {reference}: {error}") from error


def fetch_atlas(name: str, data_dir: str) -> tuple[npt.NDArray[Any], Array, NetworkNames]:
    """Fetch an atlas with nilearn, which keeps it in `data_dir`.

    Returns
    -------
    data : array of shape (nx, ny, nz) or (nx, ny, nz, n_networks)
    affine : array of shape (4, 4)
    names : list of (int or None, str)
    """
    # Imported here because it takes a second, and most runs fetch no atlas.
    import nilearn.datasets

    source = NILEARN_ATLASES[name]
    fetch = getattr(nilearn.datasets, source.fetcher)
    try:
        atlas = fetch(data_dir=data_dir, verbose=0, **source.arguments)
    except FETCH_ERRORS as error:
        raise RuntimeError(
            f"match_networks.reference {name}: nilearn could not fetch this atlas ({type(error).__name__}: {error})."
            f" Try again; or run nilearn.datasets.{source.fetcher} on a machine with network access and copy the result"
            f" to {Path(data_dir).absolute()}; or give the path of an image file"
        ) from error
    data, affine = read_volumes(str(atlas[source.key]), is_published=True)
    if "lut" in atlas:
        rows = zip(atlas.lut["index"], atlas.lut["name"], strict=True)
        return data, affine, [(int(value), str(region)) for value, region in rows]
    labels = atlas.get("labels", source.names)
    # DiFuMo's labels are a table.
    labels = labels["difumo_names"] if hasattr(labels, "columns") else labels
    return data, affine, [(None, str(label)) for label in labels]


def check_networks(data: npt.NDArray[Any], affine: Array) -> npt.NDArray[Any]:
    """Check that networks are not empty and lie in MNI space.

    Returns
    -------
    array of shape (nx, ny, nz) or (nx, ny, nz, n_networks)
        Non-finite values are replaced by 0. A 3-D map that is not a label image gets a fourth dimension.

    Raises
    ------
    ValueError
        If the networks are empty or not in MNI space.
    """
    if data.dtype.kind == "f":
        data = np.nan_to_num(data.astype(np.float32, copy=False), nan=0, posinf=0, neginf=0)
    volumes = data if data.ndim == 4 else data[..., np.newaxis]
    # A constant volume has no position, so it is left out.
    has_place = volumes.max(axis=(0, 1, 2)) > volumes.min(axis=(0, 1, 2))
    total = np.abs(volumes[..., has_place], dtype=np.float32).sum(axis=3)
    if not total.any():
        raise ValueError("it is empty (all voxels are 0, or each volume is constant); give an image with networks")
    share = share_in_brain(total, affine)
    if share < MIN_NETWORKS_IN_BRAIN:
        size = "x".join(f"{mm:g}" for mm in np.linalg.norm(affine[:3, :3], axis=0).round(2))
        first = ", ".join(f"{mm:g}" for mm in affine[:3, 3].round(1))
        raise ValueError(
            f"only {share:.0%} of its summed absolute values lie in the MNI152 brain, expected at least"
            f" {MIN_NETWORKS_IN_BRAIN:.0%}. It has {'x'.join(map(str, data.shape[:3]))} voxels of {size} mm, the first"
            f" at ({first}) mm. Register it to MNI152, or correct its header"
        )
    if data.ndim == 4 or is_label_image(data):
        return data
    _warn_of_single_map(data)
    return data[..., np.newaxis]


def _warn_of_single_map(data: npt.NDArray[Any]) -> None:
    """Warn that a volume counts as one network. Raise ValueError if it seems to be a label image with fractions."""
    filled = data[data != 0]
    is_whole = filled == np.rint(filled)
    if is_whole.mean() > 0.5 and np.unique(filled[is_whole]).size > 1:
        raise ValueError(
            f"{describe_fractions(data)}, but most are, as in a label image after interpolation; resample the labels"
            " with nearest neighbours, or give one volume for each network"
        )
    logging.warning(
        "the file has one volume, which is not a label image (%s), so it is one network", describe_fractions(data)
    )


def describe_fractions(data: npt.NDArray[Any]) -> str:
    """Describe the values that labels cannot have: fractions and negative numbers."""
    found = np.unique(data[(data != np.rint(data)) | (data < 0)])
    shown = ", ".join(f"{value:.6g}" for value in found[:3])
    return f"it has {found.size} values that are not whole numbers from 0, such as {shown}"


def is_label_image(data: npt.NDArray[Any]) -> bool:
    """Return whether a volume is 3-D and has only whole numbers from 0."""
    return data.ndim == 3 and bool(data.min() >= 0) and np.array_equal(data, np.rint(data))


def _sample_maps(data: npt.NDArray[Any], affine: Array, names: NetworkNames, target: Target) -> Reference:
    """Resample each volume to the voxels of `target`."""
    n_networks = data.shape[3]
    if names and len(names) != n_networks:
        raise ValueError(
            f"it has {counted(n_networks, 'volume')}, but {counted(len(names), 'name')}; give one name for each volume"
        )
    maps = sample_volumes(data, affine, target)
    found = [name for _, name in names] or [f"network {number}" for number in range(1, n_networks + 1)]
    return _drop_empty(Reference(found, maps))


def sample_volumes(data: npt.NDArray[Any], affine: Array, target: Target) -> npt.NDArray[np.float32]:
    """Resample each volume of `data` (nx, ny, nz, n_volumes) to the voxels of `target`: (n_volumes, n_voxels)."""
    plan = plan_resampling(data.shape[:3], affine, target, "linear")
    maps = np.empty((data.shape[3], target.n_voxels), dtype=np.float32)
    for number, row in enumerate(maps):
        row[:] = resample(np.asfortranarray(data[..., number], dtype=np.float32), plan, target)
    return maps


def _sample_labels(data: npt.NDArray[Any], affine: Array, names: NetworkNames, target: Target) -> Reference:
    """Make a map for each label: 1 inside its region, 0 elsewhere."""
    plan = plan_resampling(data.shape, affine, target, "nearest")
    voxels = read_voxels(np.asfortranarray(data.astype(np.int32)), plan, target)
    labels = [int(label) for label in np.unique(data) if label]
    name_of = name_by_value(names)
    found = [name_of.get(label, f"network {label}") for label in labels]
    return _drop_empty(Reference(found, np.array([voxels == label for label in labels], dtype=np.float32)))


def _drop_empty(reference: Reference) -> Reference:
    """Drop networks without a voxel in the mask, with a warning."""
    kept: npt.NDArray[np.bool_] = np.any(reference.maps, axis=1)
    if not kept.any():
        raise ValueError(
            "none of its networks has a voxel in the mask of the components; choose another reference, or another"
            " mask_images.mask"
        )
    dropped = [name for name, keep in zip(reference.names, kept, strict=True) if not keep]
    if dropped:
        logging.warning("dropped the networks without a voxel in the mask: %s", ", ".join(dropped))
    names = [name for name, keep in zip(reference.names, kept, strict=True) if keep]
    return Reference(names, reference.maps[kept])
