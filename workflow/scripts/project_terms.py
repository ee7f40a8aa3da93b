"""Name the components: project the images' term weights and metadata labels through their loadings."""

import logging
from collections.abc import Iterator
from typing import cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from neurovault_ica.decomposition.loadings import read_loadings
from neurovault_ica.images.matrix import image_blocks
from neurovault_ica.naming.labels import enrich
from neurovault_ica.naming.term_maps import compare_with_maps, rank_maps
from neurovault_ica.naming.terms import count_carriers, describe_vocabulary, project, rank_terms, term_matrix
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.ids import as_numbers
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.statistics.exchanged_collections import associate
from neurovault_ica.statistics.random_maps import blob_weights, map_weights
from nibabel.spatialimages import SpatialImage
from threadpoolctl import threadpool_limits


def _rows_of(matrix: str, rows: list[int]) -> Iterator[npt.NDArray[np.float32]]:
    """Read some images out of the matrix, one after the other."""
    wanted = set(rows)
    for block in image_blocks(np.load(matrix, mmap_mode="r")):
        yield from (image for row, image in enumerate(block.read(), start=block.where.start) if row in wanted)


def main(
    *,
    term_weights: list[str],
    images: str,
    selection: str,
    collections: str,
    voxels: str,
    mask: str,
    components: str,
    mixing: str,
    unmixing: str,
    terms: str,
    matrix: str,
    vocabulary: str,
    enrichment: str,
    map_terms: str,
    projection: str,
    center_terms: bool,
    term_maps: str | None,
    n_permutations: int,
    random_state: int,
    threads: int,
) -> None:
    """Project terms and labels, compare maps of terms, and write them, strongest first."""
    image_ids, labels, loadings = read_loadings(mixing if projection == "mixing" else unmixing)
    rows, known_terms, weights = term_matrix(term_weights, image_ids)
    with replacing(matrix) as temporary:
        np.savez_compressed(
            temporary,
            weights=weights,
            image_ids=np.array(as_numbers(image_ids[row] for row in rows)),
            terms=np.array(known_terms, dtype=str),
        )
    if not rows:
        logging.warning("no image has term weights: the components stay without terms")
    # As in nilearn's example: that a term does not go with a map names nothing.
    T = np.maximum(weights, 0)
    used = read_table(images)
    selected = {row["image_id"]: row for row in read_table(selection)}
    studies = {row["collection_id"]: row for row in read_table(collections)}
    _, _, mixing_loadings = read_loadings(mixing)
    options = {"n_permutations": n_permutations, "random_state": random_state}
    # One BLAS thread: the order of summation, and so the last digit, must not depend on the number of cores.
    with threadpool_limits(1):
        scores = project(T, loadings[rows], center=center_terms)
        with_terms = [used[row]["collection_id"] for row in rows]
        draw_weights = None
        if rows and n_permutations:
            brain = cast(SpatialImage, nib.load(mask))
            blobs = blob_weights(_rows_of(voxels, rows), np.asarray(brain.dataobj) > 0, brain.affine)
            draw_weights = map_weights(blobs)
        # Tested are the loadings, whatever the terms are projected through: they are the patterns.
        significance = associate(mixing_loadings[rows], T, with_terms, draw_weights=draw_weights, **options)
        enriched = enrich([selected[image_id] for image_id in image_ids], studies, mixing_loadings, labels, **options)
        compared = compare_with_maps(term_maps, components, mask, threads=threads, **options) if term_maps else None
    write_table(terms, rank_terms(scores, known_terms, labels, count_carriers(~np.isnan(T), with_terms), significance))
    words = describe_vocabulary(T, known_terms)
    write_table(vocabulary, words)
    write_table(enrichment, enriched)
    resting_on = {"images": len(used), "collections": len({image["collection_id"] for image in used})}
    write_table(map_terms, rank_maps(compared, labels, resting_on) if compared else [])
    logging.info(
        "%d terms of %d of %d images projected through the %s matrix",
        len(known_terms),
        len(rows),
        len(image_ids),
        projection,
    )
    logging.info("highest mean weights: %s", ", ".join(row["term"] for row in words[:10]) or "none")


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
