"""Computations over blocks equal those over the whole matrix, and only one block is in memory."""

import numpy as np
import psutil
import pytest
from neurovault_ica.decomposition.gram import gram_matrix, principal_axes
from neurovault_ica.images.matrix import (
    correlate_images,
    count_images,
    image_blocks,
    image_moments,
    standardize,
    voxel_blocks,
    whiten,
)


@pytest.mark.parametrize(("blocks", "axis"), [(image_blocks, 0), (voxel_blocks, 1)])
def test_the_blocks_together_equal_the_matrix(blocks, axis, tmp_path, monkeypatch):
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_IMAGES", 4)
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_VOXELS", 7)
    X = np.random.default_rng(0).normal(size=(11, 30)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    expected = X.copy()
    for matrix in (X, np.load(tmp_path / "X.npy", mmap_mode="r")):
        parts = [(block.where, block.read()) for block in blocks(matrix)]
        np.testing.assert_array_equal(np.concatenate([values for _, values in parts], axis=axis), expected)
        for where, values in parts:
            np.testing.assert_array_equal(values, expected[where] if axis == 0 else expected[:, where])
            values[:] = 0
    np.testing.assert_array_equal(X, expected, "a block is a copy")


def test_moments_equal_the_mean_and_variance_of_the_images(planted, monkeypatch):
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_IMAGES", 7)
    X = planted[2]
    mean, variance = image_moments(X, threads=2)
    np.testing.assert_allclose(mean, X.mean(axis=1, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(variance, X.var(axis=1, dtype=float), rtol=1e-6)


@pytest.mark.parametrize("voxels", [slice(None), slice(3, 20), np.arange(0, 20_000, 7)])
@pytest.mark.parametrize("offset", [0, 1000])
def test_images_are_centred_and_weighted(voxels, offset, planted, monkeypatch):
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_IMAGES", 7)
    X = planted[2] + np.float32(offset)
    mean = X.mean(axis=1, dtype=float)
    K = np.random.default_rng(0).normal(size=(3, 30))
    Z = whiten(X, mean, K, voxels, threads=2)
    assert Z.dtype == np.float32
    expected = (K @ (X - mean[:, None]))[:, voxels]
    np.testing.assert_allclose(Z, expected, atol=1e-5 * expected.std())


def test_whitened_rows_are_white(planted):
    X = planted[2]
    mean, gram = gram_matrix(X)
    eigenvalues, U = principal_axes(gram, 4)
    Z = whiten(X, mean, (U[:, :4] / np.sqrt(eigenvalues[:4])).T)
    np.testing.assert_allclose(Z.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(Z, bias=True), np.eye(4), atol=1e-4)


@pytest.mark.parametrize("order", ["C", "F"])
def test_correlations_of_standardized_maps_are_exact_whatever_the_order_in_memory(order):
    """numpy sums values one by one unless they are adjacent. In single precision, r was wrong by 2e-5."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=235_375)
    maps = (common + rng.normal(size=(3, 235_375)) + 1.5).astype(np.float32)
    found = standardize(np.asarray(maps, order=order))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.astype(float) @ found.astype(float).T, np.corrcoef(maps), atol=2e-7)
    assert np.abs(found.sum(axis=1, dtype=float)).max() < 1e-4


def test_whole_numbers_are_standardized_and_constant_maps_become_0():
    found = standardize(np.array([[1, 2, 3], [5, 5, 5]]))
    np.testing.assert_allclose(found, [[-(0.5**0.5), 0, 0.5**0.5], [0, 0, 0]])


def test_images_are_counted_where_they_are_not_zero(tmp_path):
    X = np.array([[1, 0, -2], [3, 0, 0]], np.float32)
    np.save(tmp_path / "matrix.npy", X)
    for matrix in (X, np.load(tmp_path / "matrix.npy", mmap_mode="r")):
        assert count_images(matrix).tolist() == [2, 0, 1]


def test_correlations_of_images_and_of_collections():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(5, 20000)) + rng.normal(size=20000) * np.array([[1], [2], [0], [0], [-1]])).astype(np.float32)
    expected = np.corrcoef(X)
    found = correlate_images(X, range(5))
    np.testing.assert_allclose(found[~np.eye(5, dtype=bool)], expected[~np.eye(5, dtype=bool)], atol=1e-5)
    found = correlate_images(X, [7, 7, 3, 3, 9])
    assert found[0, 0] == pytest.approx(expected[0, 1], abs=1e-5)
    assert found[0, 1] == pytest.approx(expected[:2, 2:4].mean(), abs=1e-5)
    assert found[2, 0] == pytest.approx(expected[4, :2].mean(), abs=1e-5)
    assert np.isnan(found[2, 2])
    # Images of a group need not be consecutive.
    mixed = correlate_images(X[[0, 2, 4, 3, 1]], [7, 3, 9, 3, 7])
    np.testing.assert_allclose(mixed, found, atol=1e-5)


def test_correlations_do_not_depend_on_blocks(tmp_path, monkeypatch):
    np.save(tmp_path / "X.npy", np.random.default_rng(0).normal(size=(9, 500)).astype(np.float32))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    groups = ["b", None, "a", "a", None, "b", "c", None, None]
    expected = correlate_images(X[[0, 2, 3, 5, 6]], ["b", "a", "a", "b", "c"])
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_IMAGES", 2)
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_VOXELS", 70)
    monkeypatch.setattr("neurovault_ica.images.matrix.MOST_SUMS", 3 * 150)
    np.testing.assert_allclose(correlate_images(X, groups), expected, atol=1e-5)


@pytest.mark.parametrize("blocks", [image_blocks, voxel_blocks])
def test_only_a_block_is_in_memory(blocks, tmp_path, monkeypatch):
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_IMAGES", 2)
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_VOXELS", 25_000)
    np.save(tmp_path / "X.npy", np.ones((40, 500_000), dtype=np.float32))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    before = resident_mb()
    largest = max(resident_mb() for block in blocks(mapped) if block.read().sum())
    assert largest - before < 30, "a few blocks of 4 MB, not 80 MB"
    mapped.sum()
    assert resident_mb() - before > 60, "mapped pages count as resident"


def resident_mb():
    return psutil.Process().memory_info().rss / 1e6
