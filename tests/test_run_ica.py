"""Planted sources are found again; order, sign and stability are what they are said to be."""

import numpy as np
import pytest
from consensus import (
    agreement,
    align,
    bootstrap_collections,
    cluster_estimates,
    cluster_quality,
    decompose_draw,
    draw_bootstraps,
    draw_halves,
    find_consensus,
    split_collections,
)
from reduce_images import gram_matrix, principal_axes, weigh_images
from run_ica import effective_number, settle, white_axes
from sklearn.decomposition import FastICA

OPTIONS = {"random_state": 0, "max_iter": 500, "tol": 1e-4}


@pytest.fixture
def white(planted):
    mean, gram = gram_matrix(planted[2])
    eigenvalues, U = principal_axes(gram, 4)
    K = (U[:, :4] / np.sqrt(eigenvalues[:4])).T
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


def reduced(X, collections, *, equally=False):
    """Give what reduce_images writes, without files."""
    mean, gram = gram_matrix(X)
    weights = weigh_images(collections, equally=equally)
    roots = np.sqrt(weights)
    eigenvalues, U = principal_axes(roots[:, None] * gram * roots, 2)
    return {"mean": mean, "weights": weights, "eigenvalues": eigenvalues, "U": U}


def axes_of(X, collections, tmp_path, **options):
    """Return P, B as the draws take them, all voxels."""
    found = reduced(X, collections, **options)
    np.save(tmp_path / "matrix.npy", X)
    P = white_axes(str(tmp_path / "matrix.npy"), found, np.arange(X.shape[1]))
    return P, found["U"] * np.sqrt(found["eigenvalues"][: len(P)])


def judge(X, sources, collections, tmp_path, **options):
    P, B = axes_of(X, collections, tmp_path)
    reference = sources @ P.T / P.shape[1]
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    return (
        bootstrap_collections(P, B, reference, collections, n_bootstraps=12, **(OPTIONS | options)),
        split_collections(P, B, reference, collections, n_splits=4, **(OPTIONS | options)),
    )


def test_axes_are_white_and_make_the_images(planted, tmp_path):
    X = planted[2]
    collections = np.repeat(np.arange(12), [1, 1, 1, 1, 1, 1, 1, 1, 2, 5, 5, 10])
    P, B = axes_of(X, collections, tmp_path, equally=True)
    np.testing.assert_allclose(np.cov(P, bias=True), np.eye(len(P)), atol=1e-3)
    centred = X - X.mean(axis=1, keepdims=True)
    weighted = np.sqrt(weigh_images(collections, equally=True))[:, None] * centred
    np.testing.assert_allclose(B @ P, weighted, atol=1e-3 * np.abs(weighted).max())


def test_axes_do_not_depend_on_the_blocks(planted, tmp_path, monkeypatch):
    P, _ = axes_of(planted[2], range(30), tmp_path)
    monkeypatch.setattr("run_ica.BLOCK_IMAGES", 7)
    again, _ = axes_of(planted[2], range(30), tmp_path)
    np.testing.assert_allclose(again[:4], P[:4], atol=1e-4)


def test_a_draw_is_the_decomposition_of_the_drawn_images(planted, tmp_path):
    """Counting an image twice is the same as having it twice."""
    X = planted[2]
    counts = np.random.default_rng(0).integers(3, size=len(X)).astype(float)
    P, B = axes_of(X, range(30), tmp_path)
    estimate = decompose_draw(P, B, counts, n_components=4, seed=0, max_iter=500, tol=1e-4)
    drawn = np.repeat(X, counts.astype(int), axis=0)
    theirs = FastICA(n_components=4, random_state=0, max_iter=500, whiten="unit-variance").fit_transform(drawn.T).T
    assert estimate.converged
    assert best_match(estimate.E @ P, theirs).min() > 0.9999


def test_sources_of_all_collections_are_stable_and_noise_is_not(planted, tmp_path):
    sources, _, X = planted
    rng = np.random.default_rng(0)
    X = X + rng.normal(size=X.shape).astype(np.float32)
    collections = np.repeat(np.arange(10), 3)
    P, _ = axes_of(X, collections, tmp_path)
    rotation, *_ = find_consensus(P[:7], n_restarts=3, **(OPTIONS | {"max_iter": 100}))
    S = rotation.R @ P[:7]
    is_source = np.abs(np.corrcoef(S, sources)[:7, 7:]).max(axis=1) > 0.9
    assert is_source.sum() == 4
    bootstrap, halves = judge(X, S, collections, tmp_path, max_iter=100)
    assert bootstrap.n_used == 12
    assert halves.n_used == 4
    assert bootstrap.iq[is_source].min() > 0.7
    assert bootstrap.iq[~is_source].max() < 0.4
    for measure in (bootstrap.correlation, halves.correlation):
        assert measure[is_source].min() > 0.7
        assert measure[~is_source].max() < 0.5


def test_a_source_of_one_collection_is_less_stable(planted, tmp_path):
    sources, A, X = planted
    collections = np.repeat(np.arange(10), 3)
    A = A.copy()
    A[collections != 4, 0] = 0
    X = (A @ sources + 0.01 * np.random.default_rng(0).normal(size=X.shape)).astype(np.float32)
    bootstrap, halves = judge(X, sources, collections, tmp_path, max_iter=100)
    assert bootstrap.iq[0] < bootstrap.iq[1:].min() - 0.1
    assert halves.correlation[0] < 0.2, "one of two halves cannot have it"
    assert halves.correlation[1:].min() > 0.9


def test_too_few_images_for_so_many_components_are_not_judged(planted, tmp_path):
    X = planted[2][:6]
    assert judge(X, X, range(6), tmp_path) == (None, None), "hardly a draw has all six images"


def test_agreement_is_with_the_components_themselves():
    """Runs that agree with each other, but not with the component, must show it."""
    runs = [np.eye(3), -np.eye(3)[[1, 0, 2]]]
    reference = np.array([[1, 0, 0], [0, 0.6, 0.8], [0, -0.8, 0.6]])
    iq, correlation = agreement(reference, align(reference, runs))
    np.testing.assert_allclose(correlation, [1, 0.8, 0.8])
    np.testing.assert_allclose(iq, 1)


def test_draws_take_whole_collections():
    collections = [5, 5, 5, 7, 8, 8, 9]
    draws = np.array(draw_bootstraps(collections, 200, 0))
    for start, stop in ((0, 3), (4, 6)):
        assert (draws[:, start:stop] == draws[:, start : start + 1]).all()
    n_drawn = draws[:, [0, 3, 4, 6]]
    assert (n_drawn.sum(axis=1) == 4).all()
    np.testing.assert_allclose(n_drawn.mean(axis=0), 1, atol=0.2)
    halves = np.array(draw_halves(collections, 200, 0)).reshape(200, 2, 7)
    assert (halves.sum(axis=1) == 1).all()
    assert (halves[:, 0][:, [0, 3, 4, 6]].sum(axis=1) == 2).all()
    np.testing.assert_allclose(halves[:, 0].mean(axis=0), 0.5, atol=0.1)


def test_effective_number_of_collections():
    assert effective_number([1, 1, 2, 3], np.ones(4)) == pytest.approx(16 / 6)
    assert effective_number([1, 1, 2, 3], weigh_images([1, 1, 2, 3], equally=True)) == pytest.approx(3)
    assert effective_number([1, 2], np.array([1e6, 1.0])) == pytest.approx(1, abs=1e-5), "one owns the variance"


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
