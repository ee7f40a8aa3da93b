"""Blocks of a matrix are all of it, and no more than they are is in memory; moments and weighted sums of all images."""

import numpy as np
import psutil
import pytest
from neurovault_ica.decomposition.gram import gram_matrix, principal_axes
from neurovault_ica.images.matrix import image_blocks, image_moments, voxel_blocks, whiten


@pytest.mark.parametrize(("blocks", "axis"), [(image_blocks, 0), (voxel_blocks, 1)])
def test_blocks_put_together_are_the_matrix(blocks, axis, tmp_path, monkeypatch):
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
    np.testing.assert_array_equal(X, expected, "a block is an array of its own")


def test_moments_are_those_of_the_images(planted, monkeypatch):
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


@pytest.mark.parametrize("blocks", [image_blocks, voxel_blocks])
def test_only_a_block_is_in_memory(blocks, tmp_path, monkeypatch):
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_IMAGES", 2)
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_VOXELS", 25_000)
    np.save(tmp_path / "X.npy", np.ones((40, 500_000), dtype=np.float32))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    before = resident_mb()
    largest = max(resident_mb() for block in blocks(mapped) if block.read().sum())
    assert largest - before < 30, "some blocks of 4 MB, not 80 MB"
    mapped.sum()
    assert resident_mb() - before > 60, "the measure sees what is mapped"


def resident_mb():
    return psutil.Process().memory_info().rss / 1e6
