"""Weights in random maps have the distribution of weights in maps that are simulated voxel by voxel."""

import numpy as np
import pytest
from neurovault_ica.statistics.permuted_collections import associate
from neurovault_ica.statistics.random_maps import FWHM_MM, blob_weights, map_weights
from scipy.ndimage import gaussian_filter

SIZES_MM = np.array([5.0, 5.0, 6.0])


def ball(sizes_mm=SIZES_MM):
    """Return the mask of a ball with a radius of 60 mm around the origin."""
    half = (72 // sizes_mm).astype(int)
    axes = [np.arange(-n, n + 1) * size for n, size in zip(half, sizes_mm, strict=True)]
    affine = np.diag([*sizes_mm, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    return sum(np.meshgrid(*(axis**2 for axis in axes), indexing="ij")) < 60**2, affine


def smooth_maps(mask, fwhm, n_maps, rng, *, symmetric=False):
    """Simulate random maps (n_maps, n_voxels) of mean 0 and length 1 over the mask."""
    maps = []
    for _ in range(n_maps):
        noise = rng.normal(size=mask.shape).astype(np.float32)
        volume = gaussian_filter(noise, fwhm / np.sqrt(8 * np.log(2)) / SIZES_MM, mode="wrap", truncate=3)
        maps.append((volume + volume[::-1] if symmetric else volume)[mask])
    maps = np.array(maps)
    maps -= maps.mean(axis=1, keepdims=True)
    return maps / np.linalg.norm(maps, axis=1, keepdims=True)


def test_weights_vary_as_in_maps_that_are_simulated_voxel_by_voxel():
    rng = np.random.default_rng(0)
    mask, affine = ball()
    images = smooth_maps(mask, 12, 8, rng)
    images[1] += images[0]
    blobs = blob_weights(images * 3 + 5, mask, affine)
    covariance = blobs @ blobs.T
    n_maps = 250
    images -= images.mean(axis=1, keepdims=True)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    weights = images @ smooth_maps(mask, FWHM_MM, n_maps, rng).T
    # They agree up to a factor, and up to the sampling error of a covariance.
    scale = np.diag(covariance)
    found = weights @ weights.T * scale.sum() / np.square(weights).sum()
    error = np.sqrt((np.outer(scale, scale) + covariance**2) / n_maps)
    assert np.abs((found - covariance) / error).max() < 4
    assert np.abs(covariance / np.sqrt(np.outer(scale, scale)))[0, 1] > 0.5


def test_drawn_weights_have_the_expected_covariance_and_are_not_negative():
    blobs = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    drawn = map_weights(blobs)(20_000, np.random.default_rng(1))
    assert drawn.min() == 0
    # A Gaussian with negative values set to 0 has half the mean square.
    np.testing.assert_allclose(np.square(drawn).mean(axis=1), np.square(blobs).sum(axis=1) / 2, rtol=0.05)


def test_finer_grids_give_the_same_correlations():
    rng = np.random.default_rng(0)
    mask, affine = ball()
    images = smooth_maps(mask, 15, 3, rng)
    volumes = np.zeros((3, *mask.shape), dtype=np.float32)
    volumes[:, mask] = images
    twice = np.kron(mask, np.ones((2, 2, 2), dtype=bool))
    finer = [np.kron(volume, np.ones((2, 2, 2), dtype=np.float32))[twice] for volume in volumes]
    first, again = blob_weights(images, mask, affine), blob_weights(finer, twice, affine @ np.diag([0.5, 0.5, 0.5, 1]))
    correlations = [np.corrcoef(blobs @ blobs.T) for blobs in (first, again)]
    np.testing.assert_allclose(*correlations, atol=0.01)


@pytest.fixture(scope="module")
def studies():
    """72 smooth images of 24 collections that mix four networks, with their loadings and random maps."""
    rng = np.random.default_rng(1)
    mask, affine = ball()
    networks = smooth_maps(mask, 14, 4, rng)
    collections = np.repeat(np.arange(24), 3)
    loadings = rng.normal(size=(24, 4))[collections] + 0.5 * rng.normal(size=(72, 4))
    own = smooth_maps(mask, 10, 24, rng)[collections] + 0.5 * smooth_maps(mask, 10, 72, rng)
    images = loadings @ networks + own
    images -= images.mean(axis=1, keepdims=True)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    return mask, networks, collections, loadings, images, map_weights(blob_weights(images, mask, affine))


@pytest.mark.parametrize(("fwhm", "symmetric"), [(6, False), (12, True), (30, False)])
def test_random_maps_are_not_significant_more_often_than_by_chance(studies, fwhm, symmetric):
    mask, _, collections, loadings, images, draw = studies
    made = smooth_maps(mask, fwhm, 200, np.random.default_rng(fwhm), symmetric=symmetric)
    weights = np.maximum(images @ made.T, 0)
    result = associate(loadings, weights, collections, n_permutations=40, random_state=0, draw_weights=draw)
    assert (result.p < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert (result.q >= 0.05).all()


def test_permuting_collections_alone_would_call_random_maps_significant(studies):
    mask, _, collections, loadings, images, _ = studies
    weights = np.maximum(images @ smooth_maps(mask, 20, 150, np.random.default_rng(0)).T, 0)
    assert (associate(loadings, weights, collections, n_permutations=40, random_state=0).p < 0.05).mean() > 0.1


def test_the_map_of_a_network_is_significant_and_a_generic_map_is_not(studies):
    mask, networks, collections, loadings, images, draw = studies
    rng = np.random.default_rng(2)
    blurred = networks + 0.3 * smooth_maps(mask, 12, 4, rng)
    weights = np.maximum(images @ np.vstack([blurred, smooth_maps(mask, 12, 40, rng)]).T, 0)
    generic = 0.4 + 0.01 * rng.random((72, 1))
    features = np.hstack([weights, generic])
    result, again = (
        associate(loadings, features, collections, n_permutations=40, random_state=0, draw_weights=draw)
        for _ in range(2)
    )
    assert {(k, k) for k in range(4)} <= set(map(tuple, np.argwhere(result.q < 0.05).tolist()))
    assert (result.q < 0.05).sum() <= 5
    assert (result.q[:, -1] > 0.05).all()
    np.testing.assert_array_equal(result.p, again.p)
