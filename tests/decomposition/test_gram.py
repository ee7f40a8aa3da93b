"""Principal components equal those from numpy's covariance and SVD."""

import numpy as np
import pytest
from neurovault_ica.decomposition.gram import gram_matrix, principal_axes


def test_gram_matrix_is_the_covariance_of_the_images(planted):
    X = planted[2]
    mean, gram = gram_matrix(X)
    deviations = X.std(axis=1, dtype=float)
    np.testing.assert_allclose(mean, X.mean(axis=1, dtype=float), atol=1e-6 * deviations.min())
    np.testing.assert_allclose(gram / np.outer(deviations, deviations), np.corrcoef(X.astype(float)), atol=1e-6)


def test_precision_does_not_depend_on_the_means_of_images_or_of_their_first_voxels(planted, monkeypatch):
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_VOXELS", 700)
    X = planted[2].astype(float) / planted[2].std(axis=1, keepdims=True)
    X += np.random.default_rng(0).normal(scale=0.5, size=X.shape)
    X[::2] += 100
    X[1::3, :700] += 100
    X[5] = X[2] + X[9]
    X = X.astype(np.float32)
    mean, gram = gram_matrix(X)
    deviations = X.std(axis=1, dtype=float)
    np.testing.assert_allclose(mean, X.mean(axis=1, dtype=float), atol=1e-6 * deviations.max())
    np.testing.assert_allclose(gram / np.outer(deviations, deviations), np.corrcoef(X.astype(float)), atol=1e-6)
    assert principal_axes(gram, 4)[1].shape == (30, 29), "one image is the sum of two others"


def test_axes_equal_those_of_the_svd(planted):
    X = planted[2].astype(float)
    mean, gram = gram_matrix(planted[2])
    eigenvalues, U = principal_axes(gram, 4)
    left, singular, _ = np.linalg.svd(X - mean[:, None], full_matrices=False)
    np.testing.assert_allclose(eigenvalues[:4], singular[:4] ** 2 / X.shape[1], rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(U[:, :4] * left[:, :4], axis=0)), 1, rtol=1e-9)
    assert (U[0] > 0).all()


def test_images_in_large_units_do_not_hide_images_in_small_units():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9, 30000)).astype(np.float32)
    X[:3] *= 1e5
    X[3] = X[1] - X[2]
    exact = X.astype(float)
    exact[3] = exact[1] - exact[2]
    left, singular, _ = np.linalg.svd(exact - exact.mean(axis=1, keepdims=True), full_matrices=False)
    eigenvalues, U = principal_axes(gram_matrix(X)[1], 8)
    assert U.shape == (9, 8), "one image is the difference of two others"
    np.testing.assert_allclose(eigenvalues[:8], singular[:8] ** 2 / X.shape[1], rtol=1e-5)
    cosines = np.linalg.svd(U[:, 3:].T @ left[:, 3:8], compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_axes_below_the_rounding_of_the_largest_images_are_not_kept():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 8000)) + rng.normal(size=8000)
    X[:5] *= 1e9
    eigenvalues, U = principal_axes(gram_matrix(X.astype(np.float32))[1], 5)
    assert U.shape == (30, 5)
    assert (eigenvalues[:5] > 0).all()


@pytest.mark.parametrize("value", [7, 0.1, 1e-30, 1e30])
def test_an_image_without_variance_adds_no_direction(value):
    X = np.random.default_rng(0).normal(size=(5, 20_000)).astype(np.float32)
    X[2] = value
    U = principal_axes(gram_matrix(X)[1], 4)[1]
    assert U.shape == (5, 4)
    np.testing.assert_allclose(U[2], 0, atol=1e-12)


def test_more_components_than_rank_is_refused():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(12, 5)) @ rng.normal(size=(5, 20_000))).astype(np.float32)
    X[6:] = X[:6] * 2
    gram = gram_matrix(X)[1]
    principal_axes(gram, 5)
    with pytest.raises(
        ValueError, match=r"the images have 5 independent directions, but run_ica\.n_components is 6; lower"
    ):
        principal_axes(gram, 6)
