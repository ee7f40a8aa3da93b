"""Picard-O finds what FastICA finds, and converges where FastICA does not."""

import numpy as np
import pytest
from conftest import best_match
from neurovault_ica.decomposition import fastica
from neurovault_ica.decomposition.algorithms import Settings, solve
from neurovault_ica.decomposition.picard import LogCosh, rotate
from picard.densities import Tanh

N_VOXELS = 6000


def white(sources, seed=0):
    """Mix sources with a random matrix and whiten the mixtures, in single precision."""
    mixed = np.random.default_rng(seed).normal(size=(len(sources), len(sources))) @ sources
    mixed -= mixed.mean(axis=1, keepdims=True)
    return (np.linalg.svd(mixed, full_matrices=False)[2] * np.sqrt(sources.shape[1])).astype(np.float32)


@pytest.fixture
def sources():
    """Draw sources with heavy and with light tails, as maps have both."""
    rng = np.random.default_rng(1)
    return np.vstack([rng.laplace(size=(5, N_VOXELS)), rng.uniform(-1, 1, size=(2, N_VOXELS))])


def test_the_density_is_the_librarys():
    Y = np.random.default_rng(0).normal(scale=3, size=(4, 50))
    kept = Y.copy()
    np.testing.assert_allclose(LogCosh.log_lik(Y), Tanh().log_lik(Y), rtol=1e-12)
    for ours, theirs in zip(LogCosh.score_and_der(Y), Tanh().score_and_der(Y), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(Y, kept)


def test_planted_sources_are_found_as_by_fastica(sources):
    Z = white(sources)
    found = rotate(Z, seed=3, max_iter=200, tol=1e-6)
    assert found.converged
    np.testing.assert_allclose(found.R @ found.R.T, np.eye(7), atol=1e-12)
    assert best_match(found.R @ Z, sources).min() > 0.98
    theirs = fastica.rotate(Z, seed=3, max_iter=500, tol=1e-10)
    np.testing.assert_allclose(np.abs(found.R @ theirs.R.T).max(axis=1), 1, atol=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_the_same_sources(sources):
    Z = white(sources)
    first, again, other = (rotate(Z, seed=seed, max_iter=200, tol=1e-6) for seed in (3, 3, 4))
    assert first.R.tobytes() == again.R.tobytes()
    assert first.R.tobytes() != other.R.tobytes()
    np.testing.assert_allclose(np.abs(first.R @ other.R.T).max(axis=1), 1, atol=1e-6)


def test_a_run_that_starts_at_the_solution_stays_there(sources):
    Z = white(sources)
    found = rotate(Z, seed=0, max_iter=200, tol=1e-6)
    again = rotate(Z, seed=1, max_iter=200, tol=1e-5, start=found.R)
    assert (again.n_iter, again.converged) == (0, True)
    np.testing.assert_allclose(again.R, found.R, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Picard did not converge")
def test_too_few_iterations_are_reported(sources):
    found = rotate(white(sources), seed=0, max_iter=2, tol=1e-6)
    assert (found.n_iter, found.converged) == (2, False)


def test_it_converges_on_nearly_gaussian_data_where_fastica_does_not():
    """Sources between weak structure and noise are what a large number of components adds."""
    rng = np.random.default_rng(0)
    Z = white(rng.standard_normal((30, N_VOXELS)) + 0.3 * rng.laplace(size=(30, N_VOXELS)))
    assert not fastica.rotate(Z, seed=0, max_iter=500, tol=1e-4).converged
    assert rotate(Z, seed=0, max_iter=500, tol=1e-4).converged


def test_only_fastica_stops_early_on_a_sample_of_the_voxels(sources):
    Z = white(sources)
    for algorithm, most in (("fastica", 100), ("picard", 500)):
        settings = Settings(algorithm, random_state=0, max_iter=500, tol=1e-4)
        assert settings.max_sample_iter == most
        assert solve(Z, settings, seed=0, on_sample=True).converged
