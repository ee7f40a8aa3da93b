"""Tell by permutation whether the images that load on a component are those that carry a term or a label.

Images of one study are alike, so the unit that is exchanged is the collection: it keeps its loadings and gets the term
weights of the images of another collection, as a block, so that in the null data too images of one study are alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
# Seven collections have 5,040 arrangements, of which many are nearly alike.
MIN_COLLECTIONS = 8
# Figures, page and methods text call a term significant below this.
SIGNIFICANT_Q = 0.05


class Significance(NamedTuple):
    """Evidence for each component and feature, both arrays of shape (n_components, n_features)."""

    p: Array
    q: Array


def exchange_collections(members: Sequence[npt.NDArray[np.intp]], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Draw one arrangement in which every collection gets the rows of another one.

    Parameters
    ----------
    members : sequence of integer arrays
        The rows of each collection.
    rng : numpy.random.Generator

    Returns
    -------
    array of shape (n_images,)
        Rows to take, collection by collection. A larger collection gives a random part of its rows; a smaller one
        gives rows more than once, which makes the test a little conservative where sizes differ.
    """
    givers = rng.permutation(len(members))
    return np.concatenate(
        [
            rng.choice(members[giver], size=len(taker), replace=len(taker) > len(members[giver]))
            for giver, taker in zip(givers, members, strict=True)
        ]
    )


def associate(
    loadings: Array, features: Array, collections: Sequence[int], *, n_permutations: int, random_state: int
) -> Significance | None:
    """Test whether features go with loadings: one-sided, for positive correlations over images.

    Images are weighted so that every collection counts alike: a study of forty images is one study, and with equal
    weights for images, exchanging collections of very different size would make the test far too conservative.

    The null distribution is that of all features of a component together: with thousands of features, a thousand
    permutations for each alone could never reach a q below 0.05.

    Parameters
    ----------
    loadings : array of shape (n_images, n_components)
    features : array of shape (n_images, n_features)
        Term weights, or 0 and 1 for labels.
    collections : sequence of int
        The collection of each image.

    Returns
    -------
    Significance or None
        p, and q of Benjamini and Hochberg (1995) over all components and features. None where nothing can be tested:
        no permutations wanted, no features, or fewer than eight collections.
    """
    if not n_permutations or not features.size or len(set(collections)) < MIN_COLLECTIONS:
        return None
    _, member = np.unique(collections, return_inverse=True)
    members = [np.flatnonzero(member == number) for number in range(member.max() + 1)]
    by_collection = np.concatenate(members)
    weights = (1 / np.bincount(member))[member[by_collection], None]
    x = (weights * _standardize(loadings[by_collection], weights)).T
    observed = x @ _standardize(features[by_collection], weights)
    order = np.argsort(observed, axis=1)
    ranked = np.take_along_axis(observed, order, axis=1)
    exceeding = np.zeros(observed.shape, dtype=np.int64)
    rng = np.random.default_rng(random_state)
    for _ in range(n_permutations):
        null = np.sort(x @ _standardize(features[exchange_collections(members, rng)], weights), axis=1)
        for component, values in enumerate(null):
            exceeding[component] += values.size - np.searchsorted(values, ranked[component], side="left")
    p = np.empty_like(observed)
    np.put_along_axis(p, order, (1 + exceeding) / (1 + n_permutations * observed.shape[1]), axis=1)
    return Significance(p, false_discovery_rate(p))


def false_discovery_rate(p: Array) -> Array:
    """Turn p values into q values (Benjamini and Hochberg 1995), over all of them at once."""
    flat = p.ravel()
    order = np.argsort(flat)
    scaled = flat[order] * flat.size / np.arange(1, flat.size + 1)
    q = np.empty_like(flat)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q.reshape(p.shape)


def _standardize(X: Array, weights: Array) -> Array:
    """Centre and scale columns so that weighted inner products are correlations; 0 where there is no variance."""
    X = X - (weights * X).sum(axis=0) / weights.sum()
    length = np.sqrt((weights * np.square(X)).sum(axis=0))
    return np.divide(X, length, out=np.zeros_like(X), where=length > 0)
