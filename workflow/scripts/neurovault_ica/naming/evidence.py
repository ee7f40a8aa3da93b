"""Inputs and results of a source of names, and table columns that several sources share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.images.maps import Maps
from neurovault_ica.naming.names import Candidate
from neurovault_ica.naming.term_weights import TermWeights
from neurovault_ica.statistics.permuted_collections import Significance
from neurovault_ica.types import Array, Real, Row

# A test of one component. Its arguments are the number of the component and the component's surrogates at the points of
# a lattice, (n_surrogates, n_points). It returns p values, in an array of the same shape for every component.
SurrogateTest = Callable[[int, Real], Array]


class Found(NamedTuple):
    """Results of a source of names."""

    candidates: list[Candidate]  # of all components; for each component, the strongest first
    rows: Sequence[Row] = ()  # rows of the source's own table, if it writes one
    negative: Sequence[Candidate] = ()  # candidates for the negative side of the components, strongest first


class Pending(NamedTuple):
    """The test that a source needs with surrogates of the components, and how to make its results from the p values."""

    test: SurrogateTest
    finish: Callable[[Array], Found]  # takes the p values of all components, stacked


class Inputs(NamedTuple):
    """Inputs that every source of names gets."""

    components: list[str]  # ICA_00, ICA_01, ...
    maps: Maps  # of the components
    mask_file: str
    matrix_file: str  # images x voxels, .npy
    images: list[Row]  # rows of stack_images/images.tsv, in the order of the mixing table
    metadata: list[Row]  # rows of fetch_metadata/images.tsv for the same images
    collections: Mapping[Any, Row]  # rows of fetch_metadata/collections.tsv by id
    loadings: Array  # (n_rows, n_components), the mixing matrix: a row for each image, or two if signs are split
    term_loadings: Array  # (n_rows, n_components), mixing or unmixing matrix: project_terms.projection
    term_weights: TermWeights
    center_terms: bool
    term_maps: str | None  # folder or 4-D image; None if not configured
    built_maps: str | None  # folder of the maps of build_term_maps; None without a database
    n_permutations: int
    random_state: int
    threads: int
    is_split: bool = False  # whether activation and deactivation of each image are two rows, one after the other


def count_carriers(has_feature: npt.NDArray[np.bool_], collections: Sequence[object]) -> list[Row]:
    """Count the images that have each feature, and the collections of these images.

    Parameters
    ----------
    has_feature : boolean array of shape (n_images, n_features)
    collections : sequence
        The collection of each image.

    Returns
    -------
    list of dict
        ``images`` and ``collections`` of each feature.
    """
    members: dict[object, list[int]] = {}
    for row, collection in enumerate(collections):
        members.setdefault(collection, []).append(row)
    n_collections = np.zeros(has_feature.shape[1], dtype=int)
    for rows in members.values():
        n_collections += has_feature[rows].any(axis=0)
    n_images = has_feature.sum(axis=0)
    return [
        {"images": images, "collections": studies}
        for images, studies in zip(n_images.tolist(), n_collections.tolist(), strict=True)
    ]


def significance_columns(significance: Significance | None, component: int, feature: int) -> Row:
    """Return the correlations, p and q of one component and one feature; all are None if they were not tested."""
    if significance is None:
        return dict.fromkeys(Significance._fields)
    return {name: known_number(values[component, feature]) for name, values in significance._asdict().items()}


def known_number(value: float) -> float | None:
    """Return a number, or None in place of NaN."""
    return None if np.isnan(value) else float(value)
