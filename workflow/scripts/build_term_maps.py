"""Compute meta-analytic maps of terms from a database of coordinates."""

import logging
from typing import cast

import nibabel as nib
import numpy as np
from neurovault_ica.archive.database_files import find_database
from neurovault_ica.naming.association import activated_voxels, association_maps
from neurovault_ica.naming.built_maps import coarse_grid, write_array, write_mask
from neurovault_ica.naming.coordinates import read_database
from neurovault_ica.naming.vocabulary import choose_terms, titles_of
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import write_table
from nibabel.spatialimages import SpatialImage


def main(
    *, mask: str, term_maps: str, grid_mask: str, terms: str, database: str, vocabulary: str, min_studies: int
) -> None:
    """Write one map for each term, their mask, and the terms."""
    mask_img = cast(SpatialImage, nib.load(mask))
    grid = coarse_grid(np.asarray(mask_img.dataobj) > 0, np.asarray(mask_img.affine, dtype=np.float64))
    try:
        known = read_database(find_database(database, vocabulary))
    except ValueError as error:
        raise ValueError(f"build_term_maps.database: {error}") from error
    names, n_studies = titles_of(known.terms), np.asarray(known.has_term.sum(axis=0)).ravel()
    chosen = choose_terms(names, n_studies, len(known.studies), min_studies)
    active = activated_voxels(known.peaks_mm, known.study_of, len(known.studies), grid.inside, grid.affine)
    write_array(term_maps, association_maps(known.has_term[:, chosen], active))
    write_mask(grid_mask, grid)
    write_table(terms, [{"term": names[column], "n_studies": int(n_studies[column])} for column in chosen])
    logging.info("maps of %d terms from %d studies, at %d voxels", len(chosen), len(known.studies), active.shape[1])


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
