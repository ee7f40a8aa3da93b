"""The p values mean what they say: uniform where nothing is there, small where something is."""

import numpy as np
import pytest
from significance import associate, exchange_collections, false_discovery_rate


def unrelated(sizes, rng, n_components=6, n_features=150):
    """Make loadings and features that share nothing, each alike within a collection."""
    collections = np.repeat(np.arange(len(sizes)), sizes)

    def alike(columns):
        return rng.normal(size=(len(sizes), columns))[collections] + rng.normal(size=(len(collections), columns))

    return alike(n_components), np.maximum(alike(n_features), 0), collections


@pytest.mark.parametrize("sizes", [[1] * 40, [3] * 24], ids=["single images", "three images each"])
def test_five_percent_are_below_five_percent(sizes):
    rng = np.random.default_rng(0)
    shares = []
    for repetition in range(40):
        loadings, features, collections = unrelated(sizes, rng)
        result = associate(loadings, features, collections, n_permutations=60, random_state=repetition)
        shares.append((result.p < 0.05).mean())
    error = np.std(shares) / np.sqrt(len(shares))
    assert abs(np.mean(shares) - 0.05) < 3 * error + 0.001


def test_collections_of_very_different_size_are_not_more_often_significant():
    rng = np.random.default_rng(0)
    shares, false_alarms = [], 0
    for repetition in range(40):
        loadings, features, collections = unrelated([40, 20, 10, 5, 5] + [1] * 20, rng)
        result = associate(loadings, features, collections, n_permutations=60, random_state=repetition)
        shares.append((result.p < 0.05).mean())
        false_alarms += (result.q < 0.05).any()
    assert 0.03 < np.mean(shares) < 0.053
    assert false_alarms <= 5


def test_a_term_of_the_collections_that_load_is_significant_and_a_generic_one_is_not():
    rng = np.random.default_rng(1)
    loadings, features, collections = unrelated([3] * 24, rng, n_components=4)
    loadings[:9, 0] += 5
    features[:9, 7] += 3
    features[:, 8] += 10
    result = associate(loadings, features, collections, n_permutations=300, random_state=0)
    assert np.argwhere(result.q < 0.05).tolist() == [[0, 7]]


def test_many_images_of_one_study_are_one_study():
    """Thirty images of one study that share a term and load are no evidence, though thirty images would be."""
    rng = np.random.default_rng(2)
    loadings, features, collections = unrelated([30] + [1] * 15, rng, n_components=1)
    loadings[:30, 0] += 5
    features[:30, 0] += 5
    result = associate(loadings, features, collections, n_permutations=300, random_state=0)
    assert result.p[0, 0] > 0.005
    as_if_alone = associate(loadings, features, range(45), n_permutations=300, random_state=0)
    assert as_if_alone.p[0, 0] < 0.001


def test_random_maps_have_their_own_null_distribution():
    """Weights that covary with the loadings by themselves pass the exchange of collections, but not this."""
    rng = np.random.default_rng(3)
    loadings = rng.normal(size=(60, 2))
    covariance = np.eye(60) + 2 * np.outer(loadings[:, 0], loadings[:, 0])
    features = np.maximum(np.linalg.cholesky(covariance) @ rng.normal(size=(60, 2000)), 0)
    options = {"n_permutations": 100, "random_state": 0}
    exchanged = associate(loadings, features, range(60), **options)
    both = associate(loadings, features, range(60), **options, map_covariances=[covariance])
    assert (exchanged.p[0] < 0.05).mean() > 0.2
    assert abs((both.p[0] < 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 2000)
    assert (both.q >= 0.05).all()
    assert both.p.min() >= 1 / 10_001


def test_the_largest_p_counts():
    rng = np.random.default_rng(4)
    loadings, features, collections = unrelated([2] * 20, rng)
    narrow, wide = np.eye(40), np.eye(40) + 5 * np.outer(loadings[:, 0], loadings[:, 0])
    # The order of images is that of the arguments, not that of the collections.
    order = rng.permutation(40)
    options = {"n_permutations": 40, "random_state": 0}
    results = [
        associate(loadings[order], features[order], collections[order], **options, map_covariances=covariances).p
        for covariances in (
            [],
            [narrow[np.ix_(order, order)]],
            [narrow[np.ix_(order, order)], wide[np.ix_(order, order)]],
        )
    ]
    assert (results[0] <= results[1]).all()
    assert (results[1] <= results[2]).all()
    assert results[2][0].min() > results[1][0].min() + 0.02


def test_what_cannot_be_tested_is_not():
    loadings, features, collections = unrelated([3] * 7, np.random.default_rng(0))
    options = {"n_permutations": 10, "random_state": 0}
    assert associate(loadings, features, collections, **options) is None
    assert associate(loadings, np.zeros((21, 0)), range(21), **options) is None
    assert associate(loadings, features, range(21), n_permutations=0, random_state=0) is None


def test_blocks_stay_together():
    members = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]
    home = {0: 0, 1: 0, 2: 0, 3: 1, 4: 2, 5: 2}
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = exchange_collections(members, rng)
        givers = [{home[row] for row in block} for block in (rows[:3], rows[3:4], rows[4:])]
        assert all(len(giver) == 1 for giver in givers)
        assert len(set.union(*givers)) == 3


def test_false_discovery_rate():
    p = np.array([[0.01, 0.04], [0.03, 0.005]])
    np.testing.assert_allclose(false_discovery_rate(p), [[0.02, 0.04], [0.04, 0.02]])
