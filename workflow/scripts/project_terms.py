"""Name the components: project the images' term weights and metadata labels through their loadings."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd
from labels import label_matrix
from matrix import image_blocks
from nibabel.spatialimages import SpatialImage
from outputs import read_table, replacing, write_table
from random_maps import blob_weights, map_weights
from significance import Significance, associate, fill_missing
from stage_log import log_to
from term_maps import Comparison, compare_with_maps
from threadpoolctl import threadpool_limits

Array = npt.NDArray[np.float64]


def read_loadings(path: str) -> tuple[list[int], list[str], Array]:
    """Read a mixing or unmixing table.

    Returns
    -------
    image_ids : list of int
    labels : list of str
        Component names.
    loadings : array of shape (n_images, n_components)
    """
    rows = read_table(path)
    labels = [column for column in rows[0] if column != "image_id"]
    loadings = np.array([[row[label] for label in labels] for row in rows])
    return [row["image_id"] for row in rows], labels, loadings


def term_matrix(tables: Iterable[str], image_ids: list[int]) -> tuple[list[int], list[str], Array]:
    """Build the images x terms matrix of the images that have term weights.

    An image without weights has no row. A term that an image's answer lacks is NaN: it is missing, not zero.

    Returns
    -------
    rows : list of int
        Positions in `image_ids` of the images that have weights.
    terms : list of str
        Sorted.
    T : array of shape (n_images_with_terms, n_terms)
    """
    position = {image_id: number for number, image_id in enumerate(image_ids)}
    blocks = [_read_weights(table, position) for table in tables]
    rows = sorted(number for numbers, _, _ in blocks for number in numbers)
    terms = sorted({term for _, names, _ in blocks for term in names})
    column_of = {term: column for column, term in enumerate(terms)}
    T = np.full((len(rows), len(terms)), np.nan)
    for numbers, names, block in blocks:
        T[np.ix_(np.searchsorted(rows, numbers), np.array([column_of[term] for term in names], dtype=int))] = block
    return rows, terms, T


def _read_weights(table: str, position: Mapping[int, int]) -> tuple[list[int], list[str], Array]:
    """Read one batch of weights: positions of its images, its terms, and the matrix of both."""
    weights = pd.read_csv(table, sep="\t", keep_default_na=False, dtype={"term": "category"})
    weights = weights[weights["image_id"].isin(set(position))]
    image_ids, row = np.unique(weights["image_id"].to_numpy(int), return_inverse=True)
    term = weights["term"].cat.remove_unused_categories().cat
    names = term.categories
    block = np.full((len(image_ids), len(names)), np.nan)
    block[row, term.codes.to_numpy(int)] = weights["weight"].to_numpy(float)
    return [position[image_id] for image_id in image_ids.tolist()], [str(name) for name in names], block


def project(T: Array, loadings: Array, *, center: bool) -> Array:
    """Weigh terms by the loadings of the images that carry them.

    Parameters
    ----------
    T : array of shape (n_images, n_terms)
        NaN where an image's weight for a term is not known: such images add nothing.
    loadings : array of shape (n_images, n_components)
        The mixing matrix: loadings are the patterns to interpret (Haufe et al. 2014,
        doi:10.1016/j.neuroimage.2013.10.067). nilearn's example takes the unmixing weights.
    center : bool
        Subtract each term's mean over its images first.

    Returns
    -------
    array of shape (n_components, n_terms)
    """
    if center and len(T):
        filled = fill_missing(T)
        return loadings.T @ (filled - filled.mean(axis=0))
    return loadings.T @ np.nan_to_num(T)


def rank_terms(
    scores: Array, terms: list[str], labels: list[str], counts: list[dict[str, int]], significance: Significance | None
) -> list[dict[str, Any]]:
    """Tabulate the terms of each component, strongest first.

    Parameters
    ----------
    scores : array of shape (n_components, n_terms)
    terms, labels : list of str
        Names of terms and of components.
    counts : list of dict
        For each term, the images and collections that it rests on.
    """
    rows = []
    for number, (label, component) in enumerate(zip(labels, scores, strict=True)):
        # Reversed, not negated: equal weights (synonyms) then fall as in nilearn's example.
        order = np.argsort(component)[::-1]
        rows += [
            {"component": label, "term": terms[column], "rank": rank, "weight": component[column]}
            | counts[column]
            | evidence(significance, number, column)
            for rank, column in enumerate(order, start=1)
        ]
    return rows


def count_carriers(carries: npt.NDArray[np.bool_], collections: Sequence[int]) -> list[dict[str, int]]:
    """Count, for each feature, the images that have it and the collections that they come from.

    Parameters
    ----------
    carries : boolean array of shape (n_images, n_features)
    collections : sequence of int
        The collection of each image.
    """
    member = np.unique(collections, return_inverse=True)[1]
    n_collections = np.zeros(carries.shape[1], dtype=int)
    for number in range(member.max(initial=-1) + 1):
        n_collections += carries[member == number].any(axis=0)
    n_images = carries.sum(axis=0)
    return [
        {"images": images, "collections": studies}
        for images, studies in zip(n_images.tolist(), n_collections.tolist(), strict=True)
    ]


def evidence(significance: Significance | None, component: int, feature: int) -> dict[str, float | None]:
    """Give correlations, p and q of one component and feature, or nothing known."""
    if significance is None:
        return dict.fromkeys(Significance._fields)
    return {name: float(values[component, feature]) for name, values in significance._asdict().items()}


def enrich(
    images: list[dict[str, Any]],
    studies: Mapping[int, Mapping[str, Any]],
    loadings: Array,
    components: list[str],
    *,
    n_permutations: int,
    random_state: int,
) -> list[dict[str, Any]]:
    """Compare the mean loading of the images that share a metadata label or word with that of all other images.

    Parameters
    ----------
    images : list of mapping
        Rows of fetch_metadata/images.tsv, in the order of the loadings.
    studies : mapping of int to mapping
        Rows of fetch_metadata/collections.tsv by id.
    loadings : array of shape (n_images, n_components)
    components : list of str
        Their names.
    """
    labels, carries = label_matrix(images, studies)
    collections = [image["collection_id"] for image in images]
    significance = associate(loadings, carries, collections, n_permutations=n_permutations, random_state=random_state)
    counts = count_carriers(carries == 1, collections)
    means, others = (_means_over((carries == value).astype(np.float64), loadings) for value in (1, 0))
    rows = [
        {
            "component": component,
            "field": field,
            "label": label,
            "mean_loading": means[number, column],
            "difference": means[number, column] - others[number, column],
        }
        | counts[column]
        | evidence(significance, number, column)
        for column, (field, label) in enumerate(labels)
        for number, component in enumerate(components)
    ]
    return sorted(rows, key=lambda row: (row["component"], -row["difference"], row["field"], row["label"]))


def _means_over(chosen: Array, loadings: Array) -> Array:
    """Average loadings over the images chosen for each feature: (n_components, n_features)."""
    return loadings.T @ (chosen / chosen.sum(axis=0))


def rank_maps(comparison: Comparison, labels: list[str], counts: dict[str, int]) -> list[dict[str, Any]]:
    """Tabulate how each component goes with the maps of terms, best first.

    Parameters
    ----------
    comparison : Comparison
    labels : list of str
        Names of the components.
    counts : dict
        The images and collections that the components rest on.
    """
    rows = []
    for number, (label, component) in enumerate(zip(labels, comparison.r, strict=True)):
        order = np.argsort(-component, kind="stable")
        rows += [
            {"component": label, "term": comparison.terms[column], "rank": rank, "r": component[column]}
            | counts
            | {"p": None if comparison.p is None else comparison.p[number, column]}
            | {"q": None if comparison.q is None else comparison.q[number, column]}
            for rank, column in enumerate(order, start=1)
        ]
    return rows


def describe_vocabulary(T: Array, terms: list[str]) -> list[dict[str, Any]]:
    """Tabulate the mean weight of each term over the images that have it, largest first."""
    means, n_images = fill_missing(T).sum(axis=0) / max(len(T), 1), (~np.isnan(T)).sum(axis=0)
    order = np.argsort(-means, kind="stable")
    return [{"term": terms[c], "mean_weight": means[c], "images": int(n_images[c])} for c in order]


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
            image_ids=np.array([image_ids[row] for row in rows], dtype=np.int64),
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
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
