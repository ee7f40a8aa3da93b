"""Test labels, or terms, among the images for which they are known."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.statistics.p_values import false_discovery_rate
from neurovault_ica.statistics.permuted_collections import Significance, associate
from neurovault_ica.types import Array, Real

# Terms are tested separately for at most this many sets of images, because each set needs its own null distribution of
# random maps. Answers of two versions of Neurosynth give two or three sets.
MOST_SETS = 5


class Field(NamedTuple):
    """The labels of one metadata field, or terms that are known for the same images."""

    rows: npt.NDArray[np.intp]  # the images that have a label in this field, or weights for these terms
    columns: npt.NDArray[np.intp]  # the labels or terms, as columns of `features`


def fields_of(labels: Sequence[tuple[str, str]], has_label: npt.NDArray[np.float32]) -> list[Field]:
    """List the fields of the labels, with the images that have a label in the field.

    Parameters
    ----------
    labels : sequence of (field, label)
    has_label : array of shape (n_images, n_labels)
        1 or 0; NaN if the image has no label in that field.
    """
    columns: dict[str, list[int]] = defaultdict(list)
    for column, (field, _) in enumerate(labels):
        columns[field].append(column)
    return [Field(np.flatnonzero(~np.isnan(has_label[:, of[0]])), np.array(of)) for of in columns.values()]


def group_terms(T: Array) -> list[Field]:
    """Group the terms that are known for the same images.

    Terms of the most frequent `MOST_SETS` sets of images are grouped by set. All others form one group with all images,
    in which missing weights count as the mean. Their p are mostly too large; see docs/methods.md.

    Parameters
    ----------
    T : array of shape (n_images, n_terms)
        NaN where the weight of a term is not known.
    """
    columns: dict[bytes, list[int]] = defaultdict(list)
    for column, known in enumerate(~np.isnan(T.T)):
        columns[known.tobytes()].append(column)
    frequent = sorted(columns.values(), key=len, reverse=True)
    groups = [Field(np.flatnonzero(~np.isnan(T[:, of[0]])), np.array(of)) for of in frequent[:MOST_SETS]]
    others = sorted(column for of in frequent[MOST_SETS:] for column in of)
    return [*groups, Field(np.arange(len(T)), np.array(others))] if others else groups


def compare_within_fields(
    fields: Sequence[Field],
    loadings: Array,
    features: Real,
    collections: Sequence[str],
    *,
    n_permutations: int,
    random_state: int,
    draw_for: Callable[[npt.NDArray[np.intp]], Callable[[int, np.random.Generator], Real]] | None = None,
) -> Significance | None:
    """Test the labels of each field among the images that have the field, or terms among the images that have them.

    If collections without the field were permuted, too, their loadings would determine the null distribution. p would
    be too small if these loadings vary less. If a term's missing weights were replaced by its mean, its correlations
    would be smaller than those of random maps, whose weights are all known. p would be too large.

    Parameters
    ----------
    fields : sequence of Field
    loadings : array of shape (n_images, n_components)
    features : array of shape (n_images, n_features)
        Labels or term weights; NaN where not known.
    collections : sequence of str
        The collection of each image.
    n_permutations, random_state : int
    draw_for : callable, optional
        Given some images, returns `draw_weights` of `associate` for them. None for labels.

    Returns
    -------
    Significance or None
        NaN where a field has too few collections. q is corrected over all other pairs. None if nothing is tested.
    """
    shape = loadings.shape[1], features.shape[1]
    values = {name: np.full(shape, np.nan) for name in Significance._fields}
    for rows, columns in fields:
        found = associate(
            loadings[rows],
            features[np.ix_(rows, columns)],
            [collections[row] for row in rows],
            n_permutations=n_permutations,
            random_state=random_state,
            draw_weights=None if draw_for is None else draw_for(rows),
        )
        if found is not None:
            for name, of_field in found._asdict().items():
                values[name][:, columns] = of_field
    tested = ~np.isnan(values["p"])
    if not tested.any():
        return None
    values["q"][tested] = false_discovery_rate(values["p"][tested])
    return Significance(**values)
