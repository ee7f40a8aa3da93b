"""Whitening against its definition."""

import numpy as np
import pytest
from gram import gram_matrix, principal_axes
from whitening import whiten


@pytest.mark.parametrize("voxels", [slice(None), slice(3, 20), np.arange(0, 20_000, 7)])
def test_images_are_centred_and_weighted(voxels, planted, monkeypatch):
    monkeypatch.setattr("matrix.BLOCK_IMAGES", 7)
    X = planted[2]
    mean = X.mean(axis=1, dtype=float)
    K = np.random.default_rng(0).normal(size=(3, 30))
    Z = whiten(X, mean, K, voxels, threads=2)
    assert Z.dtype == np.float32
    np.testing.assert_allclose(Z, (K @ (X - mean[:, None]))[:, voxels], rtol=1e-5, atol=1e-4)


def test_whitened_rows_are_white(planted):
    X = planted[2]
    mean, gram = gram_matrix(X)
    eigenvalues, U = principal_axes(gram, 4)
    Z = whiten(X, mean, (U[:, :4] / np.sqrt(eigenvalues[:4])).T)
    np.testing.assert_allclose(Z.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(Z, bias=True), np.eye(4), atol=1e-4)
