"""Read the term weights of images, as Neurosynth or the user's table gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from neurovault_ica.runtime.tables import without_guard
from neurovault_ica.statistics.permuted_collections import fill_missing
from neurovault_ica.types import Array, Row

if TYPE_CHECKING:
    import pandas as pd

# Number of rows read at a time. This limits the memory, because the ids are text and take 60 bytes a row.
CHUNK_ROWS = 500_000


class TermWeights(NamedTuple):
    """Term weights of the images that have any."""

    rows: list[int]  # positions of these images among all images
    terms: list[str]  # sorted
    weights: Array  # (n_images_with_terms, n_terms); NaN where the weight of a term is not known

    def positive(self) -> Array:
        """Return the weights with negative ones set to 0, as in nilearn's example.

        A negative weight means that the image differs from the term's map, which does not help to name it.
        """
        return np.maximum(self.weights, 0)


def read_term_weights(tables: Iterable[str], image_ids: Sequence[object]) -> TermWeights:
    """Read the weights of all batches into one matrix.

    An image without weights has no row. A term that is missing for an image is NaN, not zero.

    Parameters
    ----------
    tables : iterable of path
        Tables with the columns image_id, term and weight.
    image_ids : sequence
        Images of the decomposition; other images in the tables are skipped.
    """
    tables = list(filter(_has_rows, tables))
    if not tables:
        return TermWeights([], [], np.empty((0, 0)))
    # Imported here, so that a run without terms need not wait for it.
    import pandas as pd

    ids = pd.Index([str(image_id) for image_id in image_ids])
    blocks = [_read_batch(table, ids) for table in tables]
    rows = sorted(number for numbers, _, _ in blocks for number in numbers)
    terms = sorted({term for _, names, _ in blocks for term in names})
    column_of = {term: column for column, term in enumerate(terms)}
    weights = np.full((len(rows), len(terms)), np.nan)
    for numbers, names, block in blocks:
        columns = np.array([column_of[term] for term in names], dtype=int)
        weights[np.ix_(np.searchsorted(rows, numbers), columns)] = block
    return TermWeights(rows, terms, weights)


def _has_rows(table: str) -> bool:
    with Path(table).open(encoding="utf-8") as lines:
        return next(lines, "") != "" and next(lines, "") != ""


def _read_batch(table: str, ids: pd.Index) -> tuple[list[int], list[str], Array]:
    """Read one batch. Return the positions of its images in `ids`, its terms, and the weights, images x terms."""
    import pandas as pd

    column_of: dict[str, int] = {}
    found = []
    dtype: Any = {"image_id": str, "term": "category"}
    for chunk in pd.read_csv(table, sep="\t", keep_default_na=False, dtype=dtype, chunksize=CHUNK_ROWS):
        position = ids.get_indexer(chunk["image_id"])
        used = chunk[position >= 0]
        term = used["term"].cat.remove_unused_categories().cat
        names = [without_guard(str(name)) for name in term.categories]
        columns = np.array([column_of.setdefault(name, len(column_of)) for name in names], dtype=int)
        found.append((position[position >= 0], columns[term.codes.to_numpy(int)], used["weight"].to_numpy(float)))
    positions, column, weight = (np.concatenate(parts) for parts in zip(*found, strict=True))
    rows, row = np.unique(positions, return_inverse=True)
    block = np.full((len(rows), len(column_of)), np.nan)
    block[row, column] = weight
    return rows.tolist(), list(column_of), block


def vocabulary_rows(weights: TermWeights) -> list[Row]:
    """Tabulate the mean weight of each term over the images that have it, largest first.

    Negative weights count as 0.
    """
    T = weights.positive()
    means, n_images = fill_missing(T).sum(axis=0) / max(len(T), 1), (~np.isnan(T)).sum(axis=0)
    order = np.argsort(-means, kind="stable")
    return [{"term": weights.terms[c], "mean_weight": means[c], "images": int(n_images[c])} for c in order]
