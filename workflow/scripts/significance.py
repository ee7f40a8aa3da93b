"""Tell whether the images that load on a component are those that carry a term or a label.

Images of one study are alike, so the unit that is exchanged is the collection: it keeps its loadings and gets the term
weights of the images of another collection, as a block, so that in the null data too images of one study are alike.

Loadings and term weights are computed from the same voxels, so even the weights of a random smooth map go with the
loadings wherever it happens to overlap the component. A term must therefore beat such maps as well.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Real = npt.NDArray[np.floating[Any]]
# Seven collections have 5,040 arrangements, of which many are nearly alike.
MIN_COLLECTIONS = 8
# Figures, page and methods text call a term significant below this.
SIGNIFICANT_Q = 0.05
# So many random maps for each arrangement of the collections: the smallest p of a thousand arrangements is 0.00001, and
# of 60,000 pairs of component and term, twelve at that p have q < 0.05.
MAPS_PER_ARRANGEMENT = 100
# Widths of the random maps. Neurosynth's maps are made of spheres of 6 to 10 mm radius around peaks (Yarkoni et al.
# 2011, doi:10.1038/nmeth.1635), which are as wide as Gaussians of 6.3 to 10.5 mm FWHM (a sphere's standard deviation
# along an axis is its radius / sqrt(5)), and wider where the peaks of many studies scatter. A term must beat both
# widths; the null distribution changes slowly between them.
MAP_FWHM_MM = (6, 20)
BLOCK_MAPS = 2000


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
    loadings: Array,
    features: Array,
    collections: Sequence[int],
    *,
    n_permutations: int,
    random_state: int,
    map_covariances: Sequence[Array] = (),
) -> Significance | None:
    """Test whether features go with loadings: one-sided, for positive correlations over images.

    Images are weighted so that every collection counts alike: a study of forty images is one study, and with equal
    weights for images, exchanging collections of very different size would make the test far too conservative.

    There is a null distribution for the exchange of collections and, where covariances are given, one more for each
    kind of random map. A feature must stand out of all of them: p is the largest of its p values, which is valid
    whichever of the null hypotheses is true (intersection-union test).

    Parameters
    ----------
    loadings : array of shape (n_images, n_components)
    features : array of shape (n_images, n_features)
        Term weights, or 0 and 1 for labels.
    collections : sequence of int
        The collection of each image.
    n_permutations : int
        Arrangements of the collections; a hundred times as many random maps of each kind are drawn.
    map_covariances : sequence of arrays of shape (n_images, n_images)
        For each kind of random map, the covariance of the images' weights over maps. None for features that are not
        computed from voxels.

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
    rng = np.random.default_rng(random_state)
    p = _p_exchanged(x, features, weights, observed, members, n_permutations, rng)
    for covariance in map_covariances:
        covariance = covariance[np.ix_(by_collection, by_collection)]
        p = np.maximum(p, _p_random_maps(x, covariance, weights, observed, n_permutations * MAPS_PER_ARRANGEMENT, rng))
    return Significance(p, false_discovery_rate(p))


def _p_exchanged(
    x: Array,
    features: Array,
    weights: Array,
    observed: Array,
    members: Sequence[npt.NDArray[np.intp]],
    n_permutations: int,
    rng: np.random.Generator,
) -> Array:
    """Compare observed correlations with those of exchanged collections.

    The null distribution is that of all features of a component together: with thousands of features, a thousand
    permutations for each alone could never reach a q below 0.05.
    """
    order = np.argsort(observed, axis=1)
    ranked = np.take_along_axis(observed, order, axis=1)
    exceeding = np.zeros(observed.shape, dtype=np.int64)
    for _ in range(n_permutations):
        null = np.sort(x @ _standardize(features[exchange_collections(members, rng)], weights), axis=1)
        for component, values in enumerate(null):
            exceeding[component] += values.size - np.searchsorted(values, ranked[component], side="left")
    p = np.empty_like(observed)
    np.put_along_axis(p, order, (1 + exceeding) / (1 + n_permutations * observed.shape[1]), axis=1)
    return p


def _p_random_maps(
    x: Real, covariance: Array, weights: Real, observed: Array, n_maps: int, rng: np.random.Generator
) -> Array:
    """Compare observed correlations with those of random maps, each component with its own distribution.

    The weights of all images in one Gaussian map are jointly Gaussian, so they are drawn from their covariance: no map
    has to be made.
    """
    # The symmetric root does not depend on the signs of eigenvectors.
    eigenvalues, V = np.linalg.eigh(covariance)
    root = ((V * np.sqrt(np.clip(eigenvalues, 0, None))) @ V.T).astype(np.float32)
    # Single precision: half the time, and errors far below what random maps differ by.
    x, weights = x.astype(np.float32), weights.astype(np.float32)
    exceeding = np.zeros(observed.shape, dtype=np.int64)
    for start in range(0, n_maps, BLOCK_MAPS):
        size = min(BLOCK_MAPS, n_maps - start)
        drawn = root @ rng.standard_normal((len(root), size), dtype=np.float32)
        null = np.sort(x @ _standardize(np.maximum(drawn, 0), weights), axis=1)
        for component, values in enumerate(null):
            exceeding[component] += values.size - np.searchsorted(values, observed[component], side="left")
    return (1 + exceeding) / (1 + n_maps)


def false_discovery_rate(p: Array) -> Array:
    """Turn p values into q values (Benjamini and Hochberg 1995), over all of them at once."""
    flat = p.ravel()
    order = np.argsort(flat)
    scaled = flat[order] * flat.size / np.arange(1, flat.size + 1)
    q = np.empty_like(flat)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q.reshape(p.shape)


def _standardize(X: Real, weights: Real) -> Real:
    """Centre and scale columns so that weighted inner products are correlations; 0 where there is no variance."""
    X = X - (weights * X).sum(axis=0) / weights.sum()
    length = np.sqrt((weights * np.square(X)).sum(axis=0))
    return np.divide(X, length, out=np.zeros_like(X), where=length > 0)
