"""Test whether collections with high loadings on a component also have high weights for a term, or a label.

Images of one study are similar, so the unit of the permutation test is the collection, with its mean loading and its
mean term weight.

Loadings and term weights are computed from the same voxels. Even the weights of a random smooth map correlate with the
loadings if the map overlaps the component. Each term is therefore also compared with random maps, over images.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.runtime.ids import number_groups
from neurovault_ica.statistics.p_values import MOST_ROUNDS, false_discovery_rate, sequential_p
from neurovault_ica.types import Array, Real

# Smallest number of collections for a test. Seven have only 5,040 permutations, many of them with nearly the same r.
MIN_COLLECTIONS = 8
# Smallest number of collections with a label. With fewer, the effect of the label cannot be told from that of the
# studies.
MIN_LABEL_COLLECTIONS = 3
# Random maps, and features, are processed in blocks of this size, to limit memory.
BLOCK_MAPS = 2000
BLOCK_FEATURES = 500
# Variation below this share of the largest value is treated as rounding error.
NEGLIGIBLE_VARIATION = 1e-6


class Significance(NamedTuple):
    """Evidence for each pair of component and feature. All arrays have the shape (n_components, n_features)."""

    r_collections: Real  # Pearson correlation over collections
    r_images: Real  # Pearson correlation over images, with the same total weight for each collection
    p: Array  # one-sided
    q: Array  # p corrected over all pairs for the false discovery rate


class Groups(NamedTuple):
    """The images, sorted by collection."""

    by_collection: npt.NDArray[np.intp]  # (n_images,), indices that sort the images by collection
    first: npt.NDArray[np.intp]  # (n_collections,), position of each collection's first image in the sorted images
    sizes: npt.NDArray[np.intp]  # (n_collections,), number of images of each collection


def group(collections: Sequence[str]) -> Groups:
    """Sort images by collection."""
    member = np.array(number_groups(collections)[1], dtype=int)
    sizes = np.bincount(member)
    return Groups(np.argsort(member, kind="stable"), np.cumsum(sizes) - sizes, sizes)


def collection_scores(values: Real, groups: Groups) -> Real:
    """Average images over collections, and scale the means to the same variance for collections of all sizes.

    Relative to single images, the mean of n images of a collection has the variance ``rho + (1 - rho) / n``. The
    intraclass correlation rho is estimated by one-way analysis of variance (Donner 1986, doi:10.2307/1403259). Means
    are divided by the square root of this variance. Without this step, the means of small collections would vary more,
    both for loadings and for term weights, and collections would not be exchangeable.

    Parameters
    ----------
    values : array of shape (n_images, n_columns)
    groups : Groups

    Returns
    -------
    array of shape (n_collections, n_columns)
        Columns have mean 0 and length 1, so that their inner products are correlations. Constant columns become 0.
    """
    sizes = groups.sizes[:, None].astype(values.dtype)
    largest = np.abs(values).max(axis=0)
    values = values[groups.by_collection] - values.mean(axis=0)
    means = np.add.reduceat(values, groups.first, axis=0) / sizes
    variance = _intraclass_correlation(values, means, sizes)
    variance = variance + (1 - variance) / sizes
    scores = (means - (means / variance).sum(axis=0) / (1 / variance).sum(axis=0)) / np.sqrt(variance)
    return _to_length_one(scores - scores.mean(axis=0), largest)


def image_scores(values: Real, groups: Groups) -> Real:
    """Standardize values over images, with the same total weight for each collection.

    Parameters
    ----------
    values : array of shape (n_images, n_columns)
    groups : Groups

    Returns
    -------
    array of shape (n_images, n_columns)
        Rows are sorted by ``groups.by_collection``. Inner products of columns are Pearson correlations with weights
        for images: one over the size of the collection. Constant columns become 0.
    """
    largest = np.abs(values).max(axis=0)
    weights = np.repeat(1 / (groups.sizes * len(groups.sizes)), groups.sizes)[:, None].astype(values.dtype)
    values = values[groups.by_collection]
    return _to_length_one((values - (weights * values).sum(axis=0)) * np.sqrt(weights), largest)


def _to_length_one(scores: Real, largest: Real) -> Real:
    length = np.sqrt(np.square(scores).sum(axis=0))
    return np.divide(scores, length, out=np.zeros_like(scores), where=length > NEGLIGIBLE_VARIATION * largest)


def _intraclass_correlation(values: Real, means: Real, sizes: Real) -> Real:
    """Estimate the intraclass correlation of each column: the share of variance between collections, 0 to 1."""
    n_images, n_collections = len(values), len(means)
    if n_images == n_collections:
        return np.ones_like(means[0])
    squares = (sizes * np.square(means)).sum(axis=0)
    within = (np.square(values).sum(axis=0) - squares) / (n_images - n_collections)
    typical_size = (n_images - np.square(sizes).sum() / n_images) / (n_collections - 1)
    between = np.maximum(0, (squares / (n_collections - 1) - within) / typical_size)
    total = between + within
    return np.divide(between, total, out=np.ones_like(total), where=total > 0)


def associate(
    loadings: Array,
    features: Real,
    collections: Sequence[str],
    *,
    n_permutations: int,
    random_state: int,
    draw_weights: Callable[[int, np.random.Generator], Real] | None = None,
) -> Significance | None:
    """Test for positive correlations of features with loadings (one-sided).

    The null distribution comes from permuted collections. A feature that is computed from voxels is also compared with
    random maps. Its p is then the larger of the two p values, which is valid whichever null hypothesis is true
    (intersection-union test; Berger 1982, doi:10.1080/00401706.1982.10487790).

    Parameters
    ----------
    loadings : array of shape (n_images, n_components)
    features : array of shape (n_images, n_features)
        Term weights, or 1 for images with a label and 0 for images without. NaN means missing; it is replaced by the
        mean of the feature, which adds nothing to the covariance.
    collections : sequence of str
        The collection of each image.
    n_permutations : int
        Number of permutations of the collections; for small p, up to 100 times as many. The number of random maps is
        always 100 times this number.
    random_state : int
    draw_weights : callable, optional
        Given a number of random maps and a generator, returns their features, an array of shape (n_images, n_maps).
        None for features that are not computed from voxels.

    Returns
    -------
    Significance or None
        q follows Benjamini and Hochberg (1995), over all components and features. None if nothing can be tested: no
        permutations were requested, there are no features, or there are fewer than eight collections.
    """
    groups = group(collections)
    if not n_permutations or not features.size or len(groups.sizes) < MIN_COLLECTIONS:
        return None
    rng = np.random.default_rng(random_state)
    u = collection_scores(loadings, groups)
    v = np.concatenate([collection_scores(block, groups) for block in _blocks(features)], axis=1)
    p = _p_permuted(u, v, n_permutations, rng)
    x = image_scores(loadings, groups)
    r_images = np.concatenate([x.T @ image_scores(block, groups) for block in _blocks(features)], axis=1)
    if draw_weights is not None:
        p = np.maximum(p, _p_random_maps(x, r_images, groups, draw_weights, n_permutations * MOST_ROUNDS, rng))
    return Significance(u.T @ v, r_images, p, false_discovery_rate(p))


def _blocks(features: Real) -> Iterator[Array]:
    """Yield features in blocks, in double precision and without NaN. There may be 10,000 features of 10,000 images."""
    for start in range(0, features.shape[1], BLOCK_FEATURES):
        yield fill_missing(features[:, start : start + BLOCK_FEATURES].astype(np.float64))


def fill_missing(values: Array) -> Array:
    """Replace NaN by the mean of its column."""
    known = ~np.isnan(values)
    means = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, values, means)


def _p_permuted(u: Real, v: Real, n_permutations: int, rng: np.random.Generator) -> Array:
    """Compare the correlation of each pair with its correlations after permuting the collections."""
    p = np.empty((u.shape[1], v.shape[1]))
    for component, scores in enumerate(u.T):

        def draw(n: int, features: npt.NDArray[np.intp], scores: Real = scores) -> Real:
            return rng.permuted(np.tile(scores, (n, 1)), axis=1) @ v[:, features]

        p[component] = sequential_p(scores @ v, draw, n_permutations, MOST_ROUNDS)
    return p


def _p_random_maps(
    x: Real,
    observed: Real,
    groups: Groups,
    draw_weights: Callable[[int, np.random.Generator], Real],
    n_maps: int,
    rng: np.random.Generator,
) -> Array:
    """Compare the correlations of each component with those of random maps."""
    exceeding = np.zeros(observed.shape, dtype=np.int64)
    for start in range(0, n_maps, BLOCK_MAPS):
        drawn = draw_weights(min(BLOCK_MAPS, n_maps - start), rng)
        null = x.T.astype(drawn.dtype) @ image_scores(drawn, groups)
        for component, values in enumerate(np.sort(null, axis=1)):
            exceeding[component] += values.size - np.searchsorted(values, observed[component])
    return (1 + exceeding) / (1 + n_maps)
