"""Whitening against its definition and against numpy's SVD."""

import numpy as np
import pytest
from reduce_images import gram_matrix, principal_axes, variance_rows, whiten


def test_gram_matrix_is_the_covariance_of_the_images(planted):
    X = planted[2]
    mean, gram = gram_matrix(X)
    np.testing.assert_allclose(mean, X.mean(axis=1, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(gram, np.cov(X.astype(float), bias=True), rtol=1e-6, atol=1e-9)


def test_axes_are_those_of_the_svd(planted):
    X = planted[2].astype(float)
    mean, gram = gram_matrix(planted[2])
    eigenvalues, U = principal_axes(gram, 4)
    left, singular, _ = np.linalg.svd(X - mean[:, None], full_matrices=False)
    np.testing.assert_allclose(eigenvalues[:4], singular[:4] ** 2 / X.shape[1], rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(U * left[:, :4], axis=0)), 1, rtol=1e-9)
    assert (U[0] > 0).all()


def test_whitened_rows_are_white(planted):
    X = planted[2]
    mean, gram = gram_matrix(X)
    eigenvalues, U = principal_axes(gram, 4)
    Z = np.empty((4, X.shape[1]), dtype=np.float32)
    whiten(X, mean, (U / np.sqrt(eigenvalues[:4])).T, Z)
    np.testing.assert_allclose(Z.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(Z, bias=True), np.eye(4), atol=1e-4)


def test_more_components_than_rank_is_refused():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(12, 5)) @ rng.normal(size=(5, 4000))).astype(np.float32)
    X[6:] = X[:6] * 2
    X = X.astype(np.float64)
    _, gram = gram_matrix(X)
    principal_axes(gram, 5)
    with pytest.raises(
        ValueError, match=r"12 images have 5 independent directions and run_ica\.n_components is 6; lower"
    ):
        principal_axes(gram, 6)


def test_variance_adds_up_to_one():
    rows = variance_rows(np.array([6.0, 3.0, 1.0, -1e-18]), 2)
    assert [row["variance_explained"] for row in rows] == pytest.approx([0.6, 0.3, 0.1, 0])
    assert [row["kept"] for row in rows] == [True, True, False, False]
    assert rows[-1]["cumulative_variance_explained"] == pytest.approx(1)
