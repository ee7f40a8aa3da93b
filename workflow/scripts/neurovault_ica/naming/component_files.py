"""Read components from a package that `make package` wrote, or from any 4-D file of networks.

Snakemake imports this module while it reads the Snakefile. So only functions that read images import other libraries.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from neurovault_ica.archive.own_maps import refuse_unusable_path
from neurovault_ica.naming.name_files import is_image_file, names_beside, read_name_file
from neurovault_ica.runtime.wording import counted, list_counts

if TYPE_CHECKING:
    from neurovault_ica.images.maps import Maps
    from neurovault_ica.types import Array, Row

# Files of a package. Their names follow BIDS derivatives: `tpl-` comes first, then the name of the space.
MAPS, MASK, NAMES = "tpl-*/tpl-*_desc-ICA_probseg.nii.gz", "tpl-*/tpl-*_desc-ICA_mask.nii.gz", "tpl-*/tpl-*_dseg.tsv"
DESCRIPTION, LOADINGS, IMAGES = "dataset_description.json", "loadings/desc-ICA_mixing.tsv", "loadings/images.tsv"
# Key of the maps' JSON sidecar with the settings of mask_images and stack_images.
TREATMENT = "Treatment"


class Components(NamedTuple):
    """Components to project maps on.

    Attributes
    ----------
    labels : list of str
        One for each component, unique.
    names : list of str or None
        Names of the components; None where unknown.
    maps : Maps
    treatment : mapping or None
        How the images of the decomposition were masked and scaled; None if unknown.
    loadings : array of shape (n_images, n_components) or None
        Loadings of these images on the components; None if unknown.
    images : list of dict
        For each of these images, its image_id, name, collection_id, collection_name and url.
    left_out : list of dict
        Volumes of the file that cannot be used, as rows of rejected.tsv.
    """

    labels: list[str]
    names: list[str | None]
    maps: Maps
    treatment: dict[str, Any] | None
    loadings: Array | None
    images: list[Row]
    left_out: Sequence[Row] = ()

    @property
    def titles(self) -> list[str]:
        """Return label and name of each component."""
        return [f"{label} {name or ''}".rstrip() for label, name in zip(self.labels, self.names, strict=True)]


def component_files(source: str | None) -> list[str]:
    """List the files of a package, or a 4-D file and its names, so that a change of them runs project_images again."""
    if source is None:
        return []
    if Path(source).is_dir():
        patterns = (DESCRIPTION, MAPS, MAPS.replace(".nii.gz", ".json"), MASK, NAMES, LOADINGS, IMAGES)
        return [str(file) for pattern in patterns for file in sorted(Path(source).glob(pattern))]
    names = names_beside(source)
    return [file for file in (source, names) if file and Path(file).is_file()]


def check_components(source: str | None) -> None:
    """Check that there are components. No image is opened.

    Raises
    ------
    ValueError
        If the source is neither a package nor a NIfTI file.
    """
    if source is None:
        return
    refuse_unusable_path(source, "project_images.components")
    if Path(source).is_file() and is_image_file(source):
        return
    if Path(source).is_dir():
        missing = [pattern for pattern in (DESCRIPTION, MAPS, MASK, NAMES) if not list(Path(source).glob(pattern))]
        if missing:
            raise ValueError(
                f"project_images.components: the folder {source} is not a package of components, because it has no"
                f" {', '.join(missing)}; give a folder that `make package` wrote, or the path of a 4-D NIfTI file"
            )
        return
    found = "is not a NIfTI file" if Path(source).exists() else f"does not exist (current folder: {Path.cwd()})"
    raise ValueError(
        f"project_images.components: {source} {found}; give a 4-D NIfTI file (.nii, .nii.gz), a folder that `make"
        " package` wrote, or null for the components of the run in results/"
    )


def read_components(source: str, mask: str) -> Components:
    """Read the components of a package on its own mask, or those of a 4-D file at the voxels of `mask`.

    Raises
    ------
    ValueError
        If they cannot be read, or are not in MNI space.
    """
    from neurovault_ica.images.mni_space import READ_ERRORS

    check_components(source)
    try:
        return _read_package(Path(source)) if Path(source).is_dir() else _read_file(source, mask)
    except KeyError as error:
        raise ValueError(
            f"project_images.components {source}: the tables of the package do not fit together ({error.args[0]}); give"
            " an unchanged folder that `make package` wrote"
        ) from error
    except READ_ERRORS as error:
        raise ValueError(f"project_images.components {source}: {error}") from error


def read_run_components(components: str, mask: str, names: str, images: str) -> Components:
    """Read the components of a run, with their names and images.

    Parameters
    ----------
    components, mask, names, images : path
        The 4-D image of run_ica, the mask of stack_images, desc-ICA_names.tsv, and images.tsv of stack_images.
    """
    from neurovault_ica.images.maps import read_maps
    from neurovault_ica.images.signs import rows_of
    from neurovault_ica.naming.names import read_names
    from neurovault_ica.runtime.tables import component_labels, read_table

    maps = read_maps(components, mask)
    labels, known = component_labels(len(maps.values)), read_names(names)
    return Components(labels, [known[label].name for label in labels], maps, None, None, rows_of(read_table(images)))


def _read_package(folder: Path) -> Components:
    import numpy as np

    from neurovault_ica.images.maps import read_maps
    from neurovault_ica.runtime.tables import read_table

    files, mask, table = (sorted(folder.glob(pattern))[0] for pattern in (MAPS, MASK, NAMES))
    sidecar = Path(str(files).removesuffix(".nii.gz") + ".json")
    try:
        settings = json.loads(sidecar.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{sidecar.name} is not valid JSON ({error}); give an unchanged package") from error
    if TREATMENT not in settings:
        raise ValueError(f"{sidecar.name} has no {TREATMENT}; give an unchanged package")
    maps = read_maps(str(files), str(mask))
    rows = read_table(table, described_as="package/dseg.tsv")
    if len(rows) != len(maps.values):
        raise ValueError(
            f"it has {counted(len(maps.values), 'volume')}, but {table.name} has {counted(len(rows), 'name')}; give an"
            " unchanged package"
        )
    labels = [row["component"] for row in rows]
    loadings, images = None, []
    if (folder / LOADINGS).is_file():
        mixing = read_table(folder / LOADINGS, described_as="run_ica/desc-ICA_mixing.tsv")
        loadings = np.array([[row[label] for label in labels] for row in mixing])
        known = {row["image_id"]: row for row in read_table(folder / IMAGES, described_as="package/images.tsv")}
        images = [known[row["image_id"]] | {"sign": row.get("sign")} for row in mixing]
    return Components(labels, [row["name"] for row in rows], maps, settings[TREATMENT], loadings, images)


def _read_file(source: str, mask: str) -> Components:
    """Read a 4-D file. Volumes on which nothing can be projected, such as empty ones, are left out, with a warning."""
    import logging

    import nibabel as nib
    import numpy as np

    from neurovault_ica.images.maps import place_maps
    from neurovault_ica.images.mni_space import read_volumes
    from neurovault_ica.images.targets import target_of
    from neurovault_ica.naming.projection import find_unusable
    from neurovault_ica.naming.references import check_networks, is_label_image, sample_volumes
    from neurovault_ica.statistics.lattice import lattice_of

    data, affine = read_volumes(source)
    if is_label_image(data):
        raise ValueError("it is one volume of whole numbers, like a label image; give one volume for each network")
    if data.ndim == 4:
        # Scaled to the same peak, a single volume with large values outside the brain does not decide for all.
        data = np.nan_to_num(data.astype(np.float32), nan=0, posinf=0, neginf=0)
        peaks = np.abs(data).max(axis=(0, 1, 2))
        data /= np.where(peaks > 0, peaks, 1)
        data = check_networks(data, affine) * peaks
    else:
        data = check_networks(data, affine)
    file = names_beside(source)
    found = [name for _, name in read_name_file(file)] if file else []
    if found and len(found) != data.shape[3]:
        raise ValueError(
            f"it has {counted(data.shape[3], 'volume')}, but {file} has {counted(len(found), 'name')}; give one name"
            " for each volume"
        )
    values = sample_volumes(data, affine, target_of(nib.load(mask)))
    digits = max(2, len(str(len(values) - 1)))
    labels = [f"volume_{number:0{digits}d}" for number in range(len(values))]
    maps = place_maps(values, mask)
    unusable = find_unusable(values, labels, lattice_of(maps.inside, maps.affine))
    left_out = [
        {"map": None, "component": label, "file": Path(source).name, "threshold": None}
        | dict(zip(("reason", "value"), unusable[label], strict=True))
        for label in labels
        if label in unusable
    ]
    for row in left_out:
        logging.warning("%s: left out %s: %s (%s)", source, row["component"], row["reason"], row["value"])
    kept = [number for number, label in enumerate(labels) if label not in unusable]
    if not kept:
        reasons = list_counts(Counter(reason for reason, _ in unusable.values()))
        raise ValueError(
            f"none of its volumes can be used in the mask ({reasons}); choose another file, or another mask_images.mask"
        )
    names = [found[number] if found else None for number in kept]
    maps = place_maps(values[kept], mask)
    return Components([labels[number] for number in kept], names, maps, None, None, [], left_out)
