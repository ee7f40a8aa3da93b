"""Compute meta-analytic term maps from a database of coordinates."""

import logging
from collections.abc import Sequence
from typing import cast

import nibabel as nib
import numpy as np
from neurovault_ica.archive.database_files import (
    DEMO,
    DEMO_FILES,
    DatabaseFiles,
    files_of,
    find_database,
    neurosynth_version,
)
from neurovault_ica.naming.association import activated_voxels, association_maps
from neurovault_ica.naming.built_maps import coarse_grid, describe_maps, write_array, write_mask
from neurovault_ica.naming.coordinates import read_database
from neurovault_ica.naming.vocabulary import choose_terms, titles_of
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.runtime.wording import counted
from neurovault_ica.statistics.lattice import Lattice
from neurovault_ica.types import Real, Row
from nibabel.spatialimages import SpatialImage


def compute_maps(files: DatabaseFiles, grid: Lattice, min_studies: int) -> tuple[Real, list[Row], int]:
    """Compute the maps (terms x voxels) and the rows of terms.tsv, and count the studies."""
    database = read_database(files)
    names, n_having = titles_of(database.terms), np.asarray(database.has_term.sum(axis=0)).ravel()
    n_studies = len(database.studies)
    chosen = choose_terms(names, n_having, n_studies, min_studies)
    active = activated_voxels(database.peaks_mm, database.study_of, n_studies, grid.inside, grid.affine)
    rows = [{"term": names[column], "n_studies": int(n_having[column])} for column in chosen]
    return association_maps(database.has_term[:, chosen], active), rows, n_studies


def main(
    *,
    mask: str,
    term_maps: str,
    grid_mask: str,
    terms: str,
    note: str,
    database: str,
    vocabulary: str,
    min_studies: int,
    downloaded: str | Sequence[str] = (),
) -> None:
    """Write one map for each term, the mask of the maps, the terms, and a note on their origin.

    `downloaded` is the table of fetch_database if the database is downloaded, otherwise empty. If a file could not be
    downloaded, there are no maps.
    """
    mask_img = cast(SpatialImage, nib.load(mask))
    grid = coarse_grid(np.asarray(mask_img.dataobj) > 0, np.asarray(mask_img.affine, dtype=np.float64))
    maps: Real = np.empty((0, np.count_nonzero(grid.inside)), dtype=np.float32)
    rows: list[Row] = []
    n_studies = 0
    try:
        if isinstance(downloaded, str):
            files = files_of(read_table(downloaded))
        else:
            files = DEMO_FILES if database == DEMO else find_database(database, vocabulary)
        if files:
            maps, rows, n_studies = compute_maps(files, grid, min_studies)
    except ValueError as error:
        raise ValueError(f"build_term_maps.database: {error}") from error
    write_array(term_maps, maps)
    write_mask(grid_mask, grid)
    write_table(terms, rows)
    with replacing(note) as temporary:
        version = None if database == DEMO else neurosynth_version(database, vocabulary)
        text = describe_maps(database, version=version, n_studies=n_studies, n_terms=len(rows))
        temporary.write_text(text, encoding="utf-8")
    if files is None:
        logging.warning("no term maps, because the database could not be fetched: see %s", downloaded)
    else:
        logging.info(
            "%s from %s, with %s each",
            counted(len(rows), "term map"),
            counted(n_studies, "study", "studies"),
            counted(maps.shape[1], "voxel"),
        )


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
