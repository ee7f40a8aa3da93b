"""Project term weights of images onto components."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from neurovault_ica.runtime.ids import number_groups
from neurovault_ica.statistics.exchanged_collections import Significance, fill_missing
from neurovault_ica.types import Array, Real, Row


def term_profiles(rows: Iterable[Row], labels: Sequence[str]) -> Real | None:
    """Arrange the weights of all terms as components x terms; None where there are none."""
    by_term: dict[str, dict[str, float]] = {}
    for row in rows:
        by_term.setdefault(row["term"] or "", {})[row["component"]] = row["weight"]
    if not by_term:
        return None
    profiles = np.array([[weights.get(label, 0.0) for weights in by_term.values()] for label in labels])
    return profiles if (profiles.std(axis=1) > 0).all() else None


def term_matrix(tables: Iterable[str], image_ids: list[str]) -> tuple[list[int], list[str], Array]:
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
    position = {str(image_id): number for number, image_id in enumerate(image_ids)}
    blocks = [_read_weights(table, position) for table in tables]
    rows = sorted(number for numbers, _, _ in blocks for number in numbers)
    terms = sorted({term for _, names, _ in blocks for term in names})
    column_of = {term: column for column, term in enumerate(terms)}
    T = np.full((len(rows), len(terms)), np.nan)
    for numbers, names, block in blocks:
        T[np.ix_(np.searchsorted(rows, numbers), np.array([column_of[term] for term in names], dtype=int))] = block
    return rows, terms, T


def _read_weights(table: str, position: Mapping[str, int]) -> tuple[list[int], list[str], Array]:
    """Read one batch of weights: positions of its images, its terms, and the matrix of both."""
    weights = pd.read_csv(table, sep="\t", keep_default_na=False, dtype={"image_id": str, "term": "category"})
    place = weights["image_id"].map(position)
    weights = weights[place.notna()]
    numbers, row = np.unique(place.dropna().to_numpy(int), return_inverse=True)
    term = weights["term"].cat.remove_unused_categories().cat
    names = term.categories
    block = np.full((len(numbers), len(names)), np.nan)
    block[row, term.codes.to_numpy(int)] = weights["weight"].to_numpy(float)
    return numbers.tolist(), [str(name) for name in names], block


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
    member = np.array(number_groups(collections)[1], dtype=int)
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


def describe_vocabulary(T: Array, terms: list[str]) -> list[dict[str, Any]]:
    """Tabulate the mean weight of each term over the images that have it, largest first."""
    means, n_images = fill_missing(T).sum(axis=0) / max(len(T), 1), (~np.isnan(T)).sum(axis=0)
    order = np.argsort(-means, kind="stable")
    return [{"term": terms[c], "mean_weight": means[c], "images": int(n_images[c])} for c in order]
