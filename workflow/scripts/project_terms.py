"""Collect candidate names from all sources, and decide what each component is called."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from neurovault_ica.decomposition.loadings import read_loadings
from neurovault_ica.images.maps import Maps, peaks_mm, read_maps
from neurovault_ica.naming.agreement import refuse_contradicted
from neurovault_ica.naming.evidence import Found, Inputs
from neurovault_ica.naming.names import apply_own_names, log_names, name_components
from neurovault_ica.naming.own_names import read_own_names
from neurovault_ica.naming.sides import tell_apart
from neurovault_ica.naming.sources import SOURCES, find_all
from neurovault_ica.naming.term_weights import TermWeights, read_term_weights, vocabulary_rows
from neurovault_ica.runtime.files import remove_stale, replacing
from neurovault_ica.runtime.ids import as_numbers
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Row


def save_weights(path: str, weights: TermWeights, image_ids: Sequence[Any]) -> None:
    """Save the images x terms matrix with the ids of its images."""
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            weights=weights.weights,
            image_ids=np.array(as_numbers(image_ids[row] for row in weights.rows)),
            terms=np.array(weights.terms, dtype=str),
        )


def decide_names(labels: Sequence[str], found: Mapping[str, Found], maps: Maps) -> list[Row]:
    """Decide the name of each component from the evidence of all sources."""
    candidates = {name: one.candidates for name, one in found.items()}
    candidates = refuse_contradicted(candidates, found["term maps"].rows)
    negative = [candidate for one in found.values() for candidate in one.negative]
    named = name_components(labels, candidates, [source.name for source in SOURCES if source.may_name], negative)
    return tell_apart(named, maps)


def add_networks(names: Sequence[Row], networks: Sequence[Row]) -> list[Row]:
    """Add the most similar reference network of each component, with its r and q, to the rows of the names."""
    best = {row["component"]: row for row in networks}
    columns = {"network": "best_network", "network_r": "best_r", "network_q": "best_q"}
    return [
        row | {name: best.get(row["component"], {}).get(column) for name, column in columns.items()} for row in names
    ]


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
    matrix: str,
    vocabulary: str,
    names: str,
    projection: str,
    center_terms: bool,
    term_maps: str | None,
    built_maps: str | list[str],
    networks: str | list[str],
    n_permutations: int,
    random_state: int,
    threads: int,
    own_names: str | Sequence[str] = (),
    **tables: str,
) -> None:
    """Collect candidates from all sources, and write the names and the table of each source (`tables`).

    `built_maps` is empty without a database of coordinates, and `networks` without a reference. `own_names` is empty if
    no person has named the components.
    """
    image_ids, labels, loadings, is_split = read_loadings(mixing)
    term_loadings = read_loadings(mixing if projection == "mixing" else unmixing).values
    # A run with more batches has left tables of the others.
    remove_stale(term_weights[0], "terms-*.tsv", keep=term_weights)
    weights = read_term_weights(term_weights, image_ids)
    if not weights.rows:
        logging.warning(
            "no image has term weights, so no component is named by terms; for the reasons see results/fetch_terms"
        )
    save_weights(matrix, weights, image_ids)
    frequent = vocabulary_rows(weights)
    write_table(vocabulary, frequent)
    maps = read_maps(components, mask)
    metadata = {row["image_id"]: row for row in read_table(selection)}
    inputs = Inputs(
        components=labels,
        maps=maps,
        mask_file=mask,
        matrix_file=voxels,
        images=read_table(images),
        metadata=[metadata[image_id] for image_id in image_ids],
        collections={row["collection_id"]: row for row in read_table(collections)},
        loadings=loadings,
        term_loadings=term_loadings,
        term_weights=weights,
        center_terms=center_terms,
        term_maps=term_maps,
        built_maps=str(Path(built_maps).parent) if isinstance(built_maps, str) else None,
        n_permutations=n_permutations,
        random_state=random_state,
        threads=threads,
        is_split=is_split,
    )
    found = find_all(SOURCES, inputs)
    for source in SOURCES:
        if source.table:
            path, of_source = tables[source.table], found[source.name].rows
            absent = set() if is_split else {"sign"}
            write_table(path, of_source, [column for column in column_names(path) if column not in absent])
    named = decide_names(labels, found, maps)
    if isinstance(own_names, str):
        named = apply_own_names(named, read_own_names(own_names, labels, peaks_mm(maps)))
    write_table(names, add_networks(named, read_table(networks) if isinstance(networks, str) else []))
    log_names(named)
    if weights.rows:
        logging.info(
            "projected the weights of %s of %d of %s through the %s matrix",
            counted(len(weights.terms), "term"),
            len(weights.rows),
            counted(len(image_ids), "image"),
            projection,
        )
        logging.info("terms with the highest mean weights: %s", ", ".join(row["term"] for row in frequent[:10]))


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    with one_blas_thread():
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
