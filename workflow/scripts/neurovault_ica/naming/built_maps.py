"""Read and write the results of the rule build_term_maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import SpatialImage

from neurovault_ica.archive.database_files import DEMO
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.runtime.wording import counted
from neurovault_ica.statistics.lattice import Lattice, every_nth
from neurovault_ica.types import Array

# Distance between the voxels of term maps, much smaller than the spheres of 10 mm. With 2 mm in place of 4 mm, the
# correlations of 20 real components with 41 topics change by at most 0.016. No best topic changes.
SPACING_MM = 4.0


class BuiltMaps(NamedTuple):
    """Meta-analytic term maps."""

    maps: npt.NDArray[np.float32]  # (n_terms, n_voxels), z of the association test
    mask_img: nib.Nifti1Image  # 3-D; the columns are its voxels that are not zero, in C order
    terms: list[str]


def coarse_grid(mask: npt.NDArray[np.bool_], affine: Array) -> Lattice:
    """Take every n-th voxel of a mask along each axis, so that they are about 4 mm apart.

    The voxels of the coarse grid are voxels of the mask, so maps can be compared there without resampling.

    Raises
    ------
    ValueError
        If the mask contains no voxel of the coarse grid.
    """
    grid = every_nth(mask, affine, SPACING_MM)
    if not grid.inside.any():
        raise ValueError(
            f"the mask is too small for term maps: it contains no voxel of a grid of {SPACING_MM:g} mm; use a larger"
            " mask, or set build_term_maps.database to null"
        )
    return grid


def read_built_maps(folder: str | Path) -> BuiltMaps:
    """Read the maps that build_term_maps wrote to a folder.

    The maps are memory-mapped. There are none if the database could not be fetched.
    """
    root = Path(folder)
    return BuiltMaps(
        np.load(root / "term_maps.npy", mmap_mode="r"),
        cast(nib.Nifti1Image, nib.load(root / "mask.nii.gz")),
        [row["term"] for row in read_table(root / "terms.tsv", described_as="build_term_maps/terms.tsv")],
    )


def write_mask(path: str, grid: Lattice) -> None:
    """Write the mask of the maps."""
    with replacing(path) as temporary:
        cast(SpatialImage, nib.Nifti1Image(grid.inside.astype(np.uint8), grid.affine)).to_filename(temporary)


def write_array(path: str, maps: Sequence[npt.NDArray[np.float32]] | npt.NDArray[np.float32]) -> None:
    """Write the array of the maps, terms x voxels."""
    with replacing(path) as temporary:
        np.save(temporary, np.asarray(maps, dtype=np.float32))


def describe_maps(database: str, *, version: str | None, n_studies: int, n_terms: int) -> str:
    """Write the note beside the maps: what they are, where they come from, and under which license.

    `version` is the version of Neurosynth, or None for another database.
    """
    if database == DEMO:
        origin = (
            "The studies are simulated by the workflow, as are the demo's images. The maps say nothing about brains."
        )
    elif version is not None:
        origin = (
            f"They are derived from Neurosynth's database, version {version} (github.com/neurosynth/neurosynth-data),"
            " which is made\navailable under the Open Database License (ODbL) 1.0:"
            " https://opendatacommons.org/licenses/odbl/1-0/. Whoever\npublishes the maps must name the database and"
            " its license. Cite Yarkoni et al. 2011, doi:10.1038/nmeth.1635."
        )
    else:
        origin = (
            f"They are derived from the database in {database}. Its license applies. If it contains Neurosynth's, that"
            " is the\nOpen Database License (ODbL) 1.0: https://opendatacommons.org/licenses/odbl/1-0/."
        )
    return (
        f"{counted(n_terms, 'meta-analytic term map')}, computed from the coordinates of"
        f" {counted(n_studies, 'study', 'studies')}.\n\n"
        "term_maps.npy  z of the association test, terms x voxels\n"
        "mask.nii.gz    the voxels, in C order\n"
        "terms.tsv      the terms, in the order of the rows\n\n"
        f"{origin}\n"
    )
