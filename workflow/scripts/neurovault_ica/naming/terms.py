"""Source of names: the Neurosynth terms of the images with high loadings on a component."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import SpatialImage

from neurovault_ica.images.matrix import image_blocks
from neurovault_ica.images.signs import SIGNS, both_signs
from neurovault_ica.naming.evidence import Found, Inputs, count_carriers, significance_columns
from neurovault_ica.naming.label_fields import compare_within_fields, group_terms
from neurovault_ica.naming.names import NAMING_RANK, Candidate
from neurovault_ica.statistics.permuted_collections import Significance, fill_missing
from neurovault_ica.statistics.random_maps import blob_weights, map_weights
from neurovault_ica.types import Array, Real, Row


def find_terms(inputs: Inputs) -> Found:
    """Project the images' term weights onto the components, and test the association of terms and loadings.

    `project_terms.projection` changes only the weights that rank the terms. The test always uses the mixing matrix,
    because its loadings are the patterns to interpret. A term is tested among the images that have a weight for it.

    With split signs, deactivation is the inverted image, so its weights are those of the image with the opposite sign.
    """
    rows, terms, weights_of_images = inputs.term_weights
    T = inputs.term_weights.positive()
    collections = [inputs.images[row]["collection_id"] for row in rows]
    counts = count_carriers(~np.isnan(T), collections)
    loading_rows = rows
    if inputs.is_split:
        T = np.maximum(both_signs(weights_of_images), 0)
        collections = [collection for collection in collections for _ in SIGNS]
        loading_rows = [2 * row + place for row in rows for place in range(len(SIGNS))]
    draw_for = None
    if rows and inputs.n_permutations:
        mask_img = cast(SpatialImage, nib.load(inputs.mask_file))
        inside = np.asarray(mask_img.dataobj) > 0
        blobs = blob_weights(_read_images(inputs.matrix_file, rows), inside, mask_img.affine)
        draw_for = partial(map_weights, both_signs(blobs) if inputs.is_split else blobs)
    significance = compare_within_fields(
        group_terms(T),
        inputs.loadings[loading_rows],
        T,
        collections,
        n_permutations=inputs.n_permutations,
        random_state=inputs.random_state,
        draw_for=draw_for,
    )
    weights = project_weights(T, inputs.term_loadings[loading_rows], center=inputs.center_terms)
    table = rank_terms(weights, terms, inputs.components, counts, significance)
    return Found(
        [
            Candidate(row["component"], row["term"], row["weight"], row["q"], row["rank"] <= NAMING_RANK)
            for row in table
            if row["weight"] > 0
        ],
        table,
    )


def _read_images(matrix: str, rows: Sequence[int]) -> Iterator[npt.NDArray[np.float32]]:
    """Yield these rows of the matrix, in ascending order."""
    wanted = set(rows)
    for block in image_blocks(np.load(matrix, mmap_mode="r")):
        yield from (image for row, image in enumerate(block.read(), start=block.where.start) if row in wanted)


def project_weights(T: Array, loadings: Array, *, center: bool) -> Array:
    """Sum term weights over images, weighted by the images' loadings.

    Parameters
    ----------
    T : array of shape (n_images, n_terms)
        NaN where the weight of a term is not known. Such an image does not count for the term.
    loadings : array of shape (n_images, n_components)
        The mixing matrix, because loadings are the patterns to interpret (Haufe et al. 2014,
        doi:10.1016/j.neuroimage.2013.10.067); or the unmixing weights, as in nilearn's example.
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
    weights: Array, terms: list[str], components: list[str], counts: list[Row], significance: Significance | None
) -> list[Row]:
    """Tabulate the terms of each component, strongest first.

    Parameters
    ----------
    weights : array of shape (n_components, n_terms)
    terms, components : list of str
    counts : list of dict
        For each term, the number of images and collections that have a weight for it.
    significance : Significance or None
    """
    rows = []
    for number, (component, strengths) in enumerate(zip(components, weights, strict=True)):
        # Reversing the order, not negating the weights, sorts equal weights (synonyms) as nilearn's example does.
        order = np.argsort(strengths)[::-1]
        rows += [
            {"component": component, "term": terms[column], "rank": rank, "weight": strengths[column]}
            | counts[column]
            | significance_columns(significance, number, column)
            for rank, column in enumerate(order, start=1)
        ]
    return rows


def term_profiles(rows: Iterable[Row], components: Sequence[str]) -> Real | None:
    """Arrange the rows of desc-ICA_terms.tsv as components x terms.

    Returns
    -------
    array of shape (n_components, n_terms) or None
        None if there are no terms, or if a component has the same weight for all, so that correlations are undefined.
    """
    by_term: dict[str, dict[str, float]] = {}
    for row in rows:
        by_term.setdefault(row["term"] or "", {})[row["component"]] = row["weight"]
    if not by_term:
        return None
    profiles = np.array([[weights.get(label, 0.0) for weights in by_term.values()] for label in components])
    return profiles if (profiles.std(axis=1) > 0).all() else None
