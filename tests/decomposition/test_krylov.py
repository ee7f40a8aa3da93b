"""Axes from block Krylov iteration equal those of the Gram matrix."""

import numpy as np
import pytest
from neurovault_ica.decomposition import krylov
from neurovault_ica.decomposition.gram import gram_matrix, principal_axes
from neurovault_ica.decomposition.krylov import leading_axes
from threadpoolctl import threadpool_limits


def test_axes_without_the_gram_matrix_are_the_same(many, caplog):
    X, roots = many
    mean, gram = gram_matrix(X)
    eigenvalues, U = principal_axes(roots[:, None] * gram * roots, 12)
    with threadpool_limits(1):
        found, V, method = leading_axes(X, mean, roots, 12)
    assert not caplog.messages
    assert V.shape == (400, 300)
    np.testing.assert_allclose(found[:12], eigenvalues[:12], rtol=1e-6)
    np.testing.assert_allclose(np.sum(U[:, :12] * V[:, :12], axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(V.T @ V, np.eye(300), atol=1e-9)
    assert found.sum() > 0.99 * eigenvalues[:300].sum(), "the other axes hold nearly as much variance as possible"
    assert method.startswith("block Krylov iteration, 6 passes")


def test_images_far_from_zero_have_the_same_axes(many):
    X, roots = many
    far = X + 10 * X.std(axis=1, keepdims=True)
    with threadpool_limits(1):
        eigenvalues, U, _ = leading_axes(X, X.mean(axis=1, dtype=np.float64), roots, 12)
        found, V, _ = leading_axes(far, far.mean(axis=1, dtype=np.float64), roots, 12)
    np.testing.assert_allclose(found[:12], eigenvalues[:12], rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(U[:, :12] * V[:, :12], axis=0)), 1, atol=1e-6)


def test_axes_that_have_not_converged_give_a_warning(many, monkeypatch, caplog):
    X, roots = many
    monkeypatch.setattr(krylov, "MAX_PASSES", 5)
    with threadpool_limits(1):
        leading_axes(X, X.mean(axis=1), roots, 12)
    assert "did not converge in 5 passes" in caplog.text


def test_too_many_components_are_refused_without_the_gram_matrix_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 5)) @ rng.normal(size=(5, 2000))
    message = r"the images have 5 independent directions, but run_ica\.n_components is 6"
    with threadpool_limits(1), pytest.raises(ValueError, match=message):
        leading_axes(X, X.mean(axis=1), np.ones(50), 6)
