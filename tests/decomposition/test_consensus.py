"""Planted sources are recovered from any start, and the stability over restarts is measured correctly."""

import numpy as np
import pytest
from conftest import best_match, orthogonal_rows
from neurovault_ica.decomposition.algorithms import Settings
from neurovault_ica.decomposition.consensus import (
    align,
    cluster_estimates,
    cluster_quality,
    find_consensus,
    index_quality,
    judge_by_restarts,
    mean_correlation,
)
from sklearn.decomposition import FastICA
from threadpoolctl import threadpool_limits

SETTINGS = Settings("fastica", random_state=0, max_iter=500, tol=1e-4)


@pytest.mark.parametrize("n_restarts", [1, 5])
def test_planted_sources_are_recovered(planted, white, n_restarts):
    solution, restarts = find_consensus(white, n_restarts, SETTINGS)
    assert best_match(solution.R @ white, planted[0]).min() > 0.99
    assert solution.converged
    assert len(restarts) == n_restarts
    np.testing.assert_allclose(solution.R @ solution.R.T, np.eye(4), atol=1e-6)
    judged = judge_by_restarts(solution.R, restarts)
    assert judged is None if n_restarts == 1 else min(judged[0].min(), judged[1].min()) > 0.95


def test_one_restart_is_scikit_learns_fastica(planted, white):
    solution, _ = find_consensus(white, 1, SETTINGS)
    theirs = FastICA(n_components=4, random_state=0, max_iter=500, whiten="unit-variance").fit_transform(planted[2].T).T
    assert best_match(solution.R @ white, theirs).min() > 0.9999


def test_same_seed_same_bytes_in_any_number_of_threads(white):
    with threadpool_limits(1):
        first, again = find_consensus(white, 3, SETTINGS), find_consensus(white, 3, SETTINGS, threads=3)
    assert first.solution.R.tobytes() == again.solution.R.tobytes()


def test_noise_is_less_stable_than_sources(white):
    settings = SETTINGS._replace(max_iter=50)
    noise = orthogonal_rows(np.random.default_rng(0).normal(size=(15, 20_000))).astype(np.float32)
    iq = [judge_by_restarts(solution.R, restarts)[0] for solution, restarts in (
        find_consensus(noise, 8, settings), find_consensus(white, 8, settings)
    )]  # fmt: skip
    assert iq[0].mean() < iq[1].min() - 0.2


def test_restarts_are_compared_with_the_final_components():
    """Runs may agree with each other but not with the component."""
    runs = [np.eye(3), -np.eye(3)[[1, 0, 2]]]
    reference = np.array([[1, 0, 0], [0, 0.6, 0.8], [0, -0.8, 0.6]])
    aligned = align(reference, runs)
    np.testing.assert_allclose(mean_correlation(reference, aligned), [1, 0.8, 0.8])
    np.testing.assert_allclose(mean_correlation(aligned[:1], aligned[1:]), 1)
    np.testing.assert_allclose(index_quality(aligned), 1)


def test_clusters_and_their_quality():
    group = np.array([0, 0, 0, 1, 1, 2])
    similarity = np.where(group[:, None] == group, 0.9, 0.1)
    np.fill_diagonal(similarity, 1)
    labels = cluster_estimates(similarity, 3)
    assert len(set(zip(group, labels, strict=True))) == 3
    iq, centrotypes = cluster_quality(similarity, labels)
    of_first = labels[0]
    assert iq[of_first] == pytest.approx((3 + 6 * 0.9) / 9 - 0.1)
    assert group[centrotypes[of_first]] == 0
