"""FastICA in blocks of voxels takes the same steps as scikit-learn's."""

import warnings

import numpy as np
import pytest
from neurovault_ica.decomposition.fastica import CACHED_VOXELS, rotate
from sklearn.decomposition import FastICA

N_VOXELS = 3 * CACHED_VOXELS + 500


def white_sources(n_components, dtype):
    """Mix independent sources and whiten the mixtures."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(n_components, n_components)) @ rng.laplace(size=(n_components, N_VOXELS))
    mixed -= mixed.mean(axis=1, keepdims=True)
    return (np.linalg.svd(mixed, full_matrices=False)[2] * np.sqrt(N_VOXELS)).astype(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize("max_iter", [3, 200])
def test_every_step_equals_scikit_learns(dtype, tolerance, max_iter):
    Z = white_sources(5, dtype)
    theirs = FastICA(whiten=False, random_state=7, max_iter=max_iter, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(Z.T)
    ours = rotate(Z, seed=7, max_iter=max_iter, tol=1e-4)
    np.testing.assert_allclose(ours.R, theirs.components_, atol=tolerance)
    assert ours.n_iter == theirs.n_iter_
    assert ours.converged == (max_iter == 200)


def test_a_run_that_starts_at_the_solution_stays_there():
    Z = white_sources(5, np.float32)
    found = rotate(Z, seed=0, max_iter=200, tol=1e-6)
    again = rotate(Z, seed=1, max_iter=200, tol=1e-4, start=found.R)
    assert again.n_iter == 1
    np.testing.assert_allclose(np.abs(again.R @ found.R.T), np.eye(5), atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_rotations_of_gaussian_data_are_orthogonal(seed):
    """With sums in single precision, inner products would reach 1e24 here."""
    noise = np.random.default_rng(seed).standard_normal((8, 12_000)).astype(np.float32)
    R = rotate(noise, seed=seed, max_iter=30, tol=1e-4).R
    np.testing.assert_allclose(R @ R.T, np.eye(8), atol=1e-9)
