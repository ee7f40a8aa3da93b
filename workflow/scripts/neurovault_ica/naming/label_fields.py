"""Test the labels of each metadata field among the images that have the field."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.statistics.p_values import false_discovery_rate
from neurovault_ica.statistics.permuted_collections import Significance, associate
from neurovault_ica.types import Array


class Field(NamedTuple):
    """The labels of one metadata field."""

    rows: npt.NDArray[np.intp]  # the images that have a label in this field
    columns: npt.NDArray[np.intp]  # its labels, as columns of `has_label`


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


def compare_within_fields(
    fields: Sequence[Field],
    loadings: Array,
    has_label: npt.NDArray[np.float32],
    collections: Sequence[str],
    *,
    n_permutations: int,
    random_state: int,
) -> Significance | None:
    """Test the labels of each field among the images that have the field.

    If collections without the field were permuted, too, their loadings would determine the null distribution. p would
    be too small if these loadings vary less.

    Parameters
    ----------
    fields : sequence of Field
    loadings : array of shape (n_images, n_components)
    has_label : array of shape (n_images, n_labels)
    collections : sequence of str
        The collection of each image.
    n_permutations, random_state : int

    Returns
    -------
    Significance or None
        NaN where a field has too few collections. q is corrected over all other pairs. None if nothing is tested.
    """
    shape = loadings.shape[1], has_label.shape[1]
    values = {name: np.full(shape, np.nan) for name in Significance._fields}
    for rows, columns in fields:
        found = associate(
            loadings[rows],
            has_label[np.ix_(rows, columns)],
            [collections[row] for row in rows],
            n_permutations=n_permutations,
            random_state=random_state,
        )
        if found is not None:
            for name, of_field in found._asdict().items():
                values[name][:, columns] = of_field
    tested = ~np.isnan(values["p"])
    if not tested.any():
        return None
    values["q"][tested] = false_discovery_rate(values["p"][tested])
    return Significance(**values)
