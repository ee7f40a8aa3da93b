"""Planted sources are found again; order, sign and stability are what they are said to be."""

import numpy as np
import pytest
from consensus import agreement, bootstrap_collections, cluster_estimates, cluster_quality, find_consensus
from reduce_images import gram_matrix, principal_axes
from run_ica import settle
from sklearn.decomposition import FastICA

OPTIONS = {"random_state": 0, "max_iter": 500, "tol": 1e-4}


@pytest.fixture
def white(planted):
    mean, gram = gram_matrix(planted[2])
    eigenvalues, U = principal_axes(gram, 4)
    K = (U / np.sqrt(eigenvalues[:4])).T
    return (K @ (planted[2] - mean[:, None])).astype(np.float32)


def best_match(found, sources):
    return np.abs(np.corrcoef(found, sources)[: len(found), len(found) :]).max(axis=0)


@pytest.mark.parametrize("n_restarts", [1, 5])
def test_planted_sources_are_found_again(planted, white, n_restarts):
    rotation, restarts, iq, correlation = find_consensus(white, n_restarts=n_restarts, **OPTIONS)
    assert best_match(rotation.R @ white, planted[0]).min() > 0.99
    assert rotation.converged
    assert len(restarts) == n_restarts
    np.testing.assert_allclose(rotation.R @ rotation.R.T, np.eye(4), atol=1e-6)
    assert (iq is None and correlation is None) if n_restarts == 1 else min(iq.min(), correlation.min()) > 0.95


def test_one_restart_is_scikit_learns_fastica(planted, white):
    rotation, *_ = find_consensus(white, n_restarts=1, **OPTIONS)
    theirs = FastICA(n_components=4, random_state=0, max_iter=500, whiten="unit-variance").fit_transform(planted[2].T).T
    assert best_match(rotation.R @ white, theirs).min() > 0.9999


def test_same_seed_same_bytes(white):
    first, _, first_iq, _ = find_consensus(white, n_restarts=3, **OPTIONS)
    again, _, again_iq, _ = find_consensus(white, n_restarts=3, **OPTIONS)
    assert first.R.tobytes() == again.R.tobytes()
    assert first_iq.tobytes() == again_iq.tobytes()


def test_noise_is_less_stable_than_sources(white):
    noise = np.linalg.qr(np.random.default_rng(0).normal(size=(20_000, 15)))[0].T * np.sqrt(20_000)
    _, _, iq, _ = find_consensus(noise.astype(np.float32), n_restarts=8, **(OPTIONS | {"max_iter": 50}))
    _, _, iq_of_sources, _ = find_consensus(white, n_restarts=8, **OPTIONS)
    assert iq.mean() < iq_of_sources.min() - 0.2


def centred(X):
    return X - X.mean(axis=1, keepdims=True)


def bootstrap(X, S, collections, **options):
    _, gram = gram_matrix(X)
    return bootstrap_collections(centred(X), gram, S, collections, n_bootstraps=12, **(OPTIONS | options))


def test_sources_of_all_collections_are_stable_and_noise_is_not(planted):
    sources, _, X = planted
    rng = np.random.default_rng(0)
    X = X + rng.normal(size=X.shape).astype(np.float32)
    mean, gram = gram_matrix(X)
    eigenvalues, U = principal_axes(gram, 7)
    Z = ((U / np.sqrt(eigenvalues[:7])).T @ (X - mean[:, None])).astype(np.float32)
    rotation, *_ = find_consensus(Z, n_restarts=3, **(OPTIONS | {"max_iter": 100}))
    S = rotation.R @ Z
    is_source = np.abs(np.corrcoef(S, sources)[:7, 7:]).max(axis=1) > 0.9
    assert is_source.sum() == 4
    stability = bootstrap(X, S, np.repeat(np.arange(10), 3), max_iter=100)
    assert stability.n_used == 12
    assert stability.iq[is_source].min() > 0.7
    assert stability.iq[~is_source].max() < 0.4
    assert stability.correlation[is_source].min() > stability.correlation[~is_source].max()


def test_a_source_of_one_collection_is_less_stable(planted):
    sources, A, X = planted
    collections = np.repeat(np.arange(10), 3)
    A = A.copy()
    A[collections != 4, 0] = 0
    X = (A @ sources + 0.01 * np.random.default_rng(0).normal(size=X.shape)).astype(np.float32)
    stability = bootstrap(X, sources, collections)
    assert stability.iq[0] < stability.iq[1:].min() - 0.1


def test_too_few_images_for_so_many_components_are_no_bootstrap(planted):
    X = planted[2][:6]
    assert bootstrap(X, centred(X), range(6)) is None, "hardly a draw has all six images"


def test_agreement_is_with_the_components_themselves():
    """Runs that agree with each other, but not with the component, must show it."""
    runs = [np.eye(3), np.eye(3)[[1, 0, 2]]]
    reference = np.array([[1, 0, 0], [0, 0.6, 0.8], [0, -0.8, 0.6]])
    estimates = np.vstack(runs)
    iq, correlation = agreement([np.abs(reference @ run.T) for run in runs], np.abs(estimates @ estimates.T))
    np.testing.assert_allclose(correlation, [1, 0.8, 0.8])
    np.testing.assert_allclose(iq, 1)


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


def test_order_by_variance_and_sign_by_peak():
    S = np.array([[1.0, -3.0, 0.5], [2.0, -1.0, 0.0], [0.5, 0.5, -0.4]])
    A = np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 0.1]])
    order, signs = settle(S, A)
    assert list(order) == [1, 2, 0]
    assert list(signs) == [-1, 1, 1]
    settled_S, settled_A = (signs[:, None] * S)[order], (A * signs)[:, order]
    again_order, again_signs = settle(settled_S, settled_A)
    assert list(again_order) == [0, 1, 2]
    assert list(again_signs) == [1, 1, 1]
