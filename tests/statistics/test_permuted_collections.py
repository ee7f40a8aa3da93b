"""P values are uniform under the null hypothesis, and small where an association was planted."""

from itertools import combinations

import numpy as np
import pytest
from neurovault_ica.statistics import permuted_collections
from neurovault_ica.statistics.p_values import false_discovery_rate
from neurovault_ica.statistics.permuted_collections import associate, collection_scores, group, image_scores
from scipy import stats

SIZES = {
    "single images": [1] * 30,
    "three each": [3] * 24,
    "one large": [40, 20, 10, 5, 5] + [1] * 20,
    "hundred to one": [100, 50, 20, 10, 5] + [1] * 15,
    "eight": [10, 10, 5, 3, 2, 1, 1, 1],
}


def unrelated(sizes, rng, *, n_components=6, n_features=150, alike=1.0):
    """Simulate unrelated loadings and features; `alike` is the ratio of variance between and within collections."""
    collections = np.repeat(np.arange(len(sizes)), sizes)

    def made(columns):
        between = rng.laplace(size=(len(sizes), columns))[collections]
        return np.sqrt(alike) * between + rng.laplace(size=(len(collections), columns))

    return made(n_components), np.maximum(made(n_features), 0), collections


@pytest.fixture
def without_rounds(monkeypatch):
    """Use a single round of permutations, which is fast and precise enough for p = 0.05."""
    monkeypatch.setattr(permuted_collections, "MOST_ROUNDS", 1)


@pytest.mark.usefixtures("without_rounds")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("alike", [0, 0.3, 3])
def test_five_percent_of_null_p_values_are_below_5_percent(sizes, alike):
    rng = np.random.default_rng(0)
    shares = []
    for repetition in range(30):
        loadings, features, collections = unrelated(SIZES[sizes], rng, alike=alike)
        result = associate(loadings, features, collections, n_permutations=199, random_state=repetition)
        shares.append((result.p <= 0.05).mean())
    error = np.std(shares) / np.sqrt(len(shares))
    assert abs(np.mean(shares) - 0.05) < 3 * error
    assert error < 0.003


@pytest.mark.usefixtures("without_rounds")
def test_p_values_are_valid_with_groups_of_images_within_a_study():
    """Ten images of a study, five of one task and five of another, are not ten independent images."""
    rng = np.random.default_rng(0)
    shares = []
    for repetition in range(30):
        loadings, features, _ = unrelated([5] * 40, rng, alike=3)
        result = associate(loadings, features, np.repeat(range(20), 10), n_permutations=199, random_state=repetition)
        shares.append((result.p <= 0.05).mean())
    assert abs(np.mean(shares) - 0.05) < 3 * np.std(shares) / np.sqrt(len(shares))


def test_small_p_values_are_valid():
    """If few collections load and few have the term, null distributions have long tails, which matter for the FDR."""
    rng = np.random.default_rng(0)
    found, false_alarms = [], 0
    for repetition in range(20):
        loadings = rng.normal(size=(24, 6)) * np.where(rng.random((24, 6)) < 0.1, 10, 1)
        features = np.maximum(rng.normal(size=(24, 150)) - 1, 0)
        result = associate(loadings, features, range(24), n_permutations=50, random_state=repetition)
        found.append((result.p <= 0.002).mean())
        false_alarms += (result.q < 0.05).any()
    assert 0.0005 < np.mean(found) < 0.0035
    assert false_alarms <= 3


def test_p_is_the_share_of_all_permutations():
    """Three of ten collections have a label, so there are only 120 different permutations."""
    rng = np.random.default_rng(5)
    loadings, label = rng.normal(size=(10, 3)), np.repeat([1.0, 0.0], [3, 7])[:, None]
    u, v = (collection_scores(values, group(range(10))) for values in (loadings, label))
    sums = np.array([loadings[list(chosen)].sum(axis=0) for chosen in combinations(range(10), 3)])
    exact = (sums >= sums[0] - 1e-9).mean(axis=0)
    result = associate(loadings, label, range(10), n_permutations=2000, random_state=0)
    np.testing.assert_allclose(result.p[:, 0], exact, atol=3 * np.sqrt(0.25 / 2000))
    np.testing.assert_allclose(result.r_collections, u.T @ v)
    np.testing.assert_allclose(result.r_collections[:, 0], np.corrcoef(loadings.T, label.T)[:3, 3])


def test_means_of_small_and_large_collections_have_the_same_variance():
    sizes = np.array([1, 2, 5, 10, 50] * 8)
    rng = np.random.default_rng(0)
    _, values, collections = unrelated(sizes, rng, n_features=1000, alike=0.2)
    scores = collection_scores(values, group(collections))
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(scores, axis=0), 1)
    variances = [np.square(scores[sizes == size]).mean() * len(sizes) for size in (1, 2, 5, 10, 50)]
    np.testing.assert_allclose(variances, 1, atol=0.15)


def test_collections_have_the_same_weight_in_the_correlation_over_images():
    rng = np.random.default_rng(0)
    x, y, collections = unrelated([6, 2, 2, 1], rng, n_components=2, n_features=3)
    groups = group(collections)
    weights = np.repeat([1 / 6, 1 / 2, 1 / 2, 1], [6, 2, 2, 1])
    covariance = np.cov(np.hstack([x, y]).T, aweights=weights)
    sd = np.sqrt(np.diag(covariance))
    expected = (covariance / np.outer(sd, sd))[:2, 2:]
    np.testing.assert_allclose(image_scores(x, groups).T @ image_scores(y, groups), expected)


def test_a_constant_correlates_with_nothing():
    values = np.full((9, 1), 0.1) * [[1.0, 3.0]]
    groups = group([1, 1, 1, 2, 2, 2, 2, 3, 4])
    np.testing.assert_array_equal(collection_scores(values, groups), 0)
    np.testing.assert_array_equal(image_scores(values, groups), 0)


def test_a_term_of_collections_with_high_loadings_is_significant_but_a_generic_term_is_not():
    rng = np.random.default_rng(1)
    loadings, features, collections = unrelated([3] * 24, rng, n_components=4)
    loadings[:15, 0] += 6
    features[:15, 7] += 6
    features[:, 8] += 10
    result = associate(loadings, features, collections, n_permutations=300, random_state=0)
    assert np.argwhere(result.q < 0.05).tolist() == [[0, 7]]


def test_many_images_of_one_study_count_as_one_study():
    """A term that all thirty images of one study share is no evidence. In thirty independent studies it would be."""
    rng = np.random.default_rng(2)
    loadings, features, collections = unrelated([30] + [1] * 15, rng, n_components=1)
    loadings[:30, 0] += 8
    features[:30, 0] += 8
    result = associate(loadings, features, collections, n_permutations=300, random_state=0)
    assert result.p[0, 0] > 0.02
    as_if_alone = associate(loadings, features, range(45), n_permutations=300, random_state=0)
    assert as_if_alone.p[0, 0] < 0.001


def test_random_maps_have_their_own_null_distribution():
    """Weights that always covary with the loadings pass the permutation of collections, but not this test."""
    rng = np.random.default_rng(3)
    loadings = rng.normal(size=(60, 2))
    root = np.linalg.cholesky(np.eye(60) + 2 * np.outer(loadings[:, 0], loadings[:, 0]))

    def draw(n_maps, rng):
        return np.maximum(root @ rng.normal(size=(60, n_maps)), 0)

    features = draw(600, rng)
    options = {"n_permutations": 30, "random_state": 0}
    permuted = associate(loadings, features, range(60), **options)
    both = associate(loadings, features, range(60), **options, draw_weights=draw)
    assert (permuted.p <= both.p).all()
    assert (permuted.p[0] < 0.05).mean() > 0.2
    assert abs((both.p[0] < 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 600)
    assert (both.q >= 0.05).all()
    assert both.p.min() >= 1 / 3_001


def test_the_order_of_images_does_not_matter():
    rng = np.random.default_rng(4)
    loadings, features, collections = unrelated([5, 3, 1] * 5, rng, n_features=20)
    order = rng.permutation(len(collections))
    root = np.linalg.cholesky(np.eye(len(order)) + np.outer(loadings[:, 0], loadings[:, 0]))
    options = {"n_permutations": 20, "random_state": 0}
    first = associate(
        loadings, features, collections, **options, draw_weights=lambda n, rng: root @ rng.normal(size=(len(order), n))
    )
    again = associate(
        loadings[order], features[order], collections[order], **options,
        draw_weights=lambda n, rng: (root @ rng.normal(size=(len(order), n)))[order],
    )  # fmt: skip
    # The order within collections differs, too. So sums differ by rounding, and p by a few permutations.
    np.testing.assert_allclose(again.p, first.p, rtol=0.02)
    np.testing.assert_allclose(again.r_images, first.r_images, atol=1e-12)


def test_missing_values_are_neutral():
    rng = np.random.default_rng(6)
    loadings, features, collections = unrelated([1] * 20, rng, n_features=1)
    known = features.copy()
    features[:5] = np.nan
    known[:5] = known[5:].mean()
    options = {"n_permutations": 20, "random_state": 0}
    with_gaps, filled = (associate(loadings, values, collections, **options) for values in (features, known))
    np.testing.assert_array_equal(with_gaps.p, filled.p)


def test_nothing_is_tested_with_too_few_collections_or_without_features_or_permutations():
    loadings, features, collections = unrelated([3] * 7, np.random.default_rng(0))
    options = {"n_permutations": 10, "random_state": 0}
    assert associate(loadings, features, collections, **options) is None
    assert associate(loadings, np.zeros((21, 0)), range(21), **options) is None
    assert associate(loadings, features, range(21), n_permutations=0, random_state=0) is None


def test_false_discovery_rate():
    p = np.array([[0.01, 0.04], [0.03, 0.005]])
    np.testing.assert_allclose(false_discovery_rate(p), [[0.02, 0.04], [0.04, 0.02]])
    many = np.random.default_rng(0).random((20, 30)) ** 3
    np.testing.assert_allclose(false_discovery_rate(many).ravel(), stats.false_discovery_control(many.ravel()))


def test_the_variance_of_collection_means_follows_from_the_intraclass_correlation():
    """With collections of very different size, the correlation is that of one-way analysis of variance (Donner)."""
    rng = np.random.default_rng(7)
    sizes = [30, 10, 4, 2, 1, 1, 1, 1]
    values, _, collections = unrelated(sizes, rng, n_components=1, alike=1)
    parts = [values[collections == number, 0] for number in range(len(sizes))]
    n, k, mean = len(values), len(sizes), values.mean()
    between = sum(len(part) * (part.mean() - mean) ** 2 for part in parts) / (k - 1)
    within = sum(np.square(part - part.mean()).sum() for part in parts) / (n - k)
    of_studies = (between - within) / ((n - sum(size**2 for size in sizes) / n) / (k - 1))
    rho = of_studies / (of_studies + within)
    assert 0.2 < rho < 0.8
    variance = rho + (1 - rho) / np.array(sizes)
    means = np.array([part.mean() for part in parts])
    expected = (means - np.average(means, weights=1 / variance)) / np.sqrt(variance)
    expected -= expected.mean()
    found = collection_scores(values, group(collections))[:, 0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected))


def test_a_hundred_random_maps_are_drawn_for_each_permutation():
    rng = np.random.default_rng(8)
    drawn = []

    def draw(n_maps, rng):
        drawn.append(n_maps)
        return rng.normal(size=(20, n_maps))

    loadings = rng.normal(size=(20, 1))
    result = associate(loadings, loadings, range(20), n_permutations=30, random_state=0, draw_weights=draw)
    assert sum(drawn) == 3000
    # No random map, and almost no permutation, correlates with the loadings as much as they do with themselves.
    assert result.p[0, 0] == pytest.approx(1 / 3001)
