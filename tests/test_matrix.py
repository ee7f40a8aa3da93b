"""Blocks of a matrix are all of it, and no more than they are is in memory."""

import numpy as np
import psutil
import pytest
from matrix import image_blocks, voxel_blocks


@pytest.mark.parametrize(("blocks", "axis"), [(image_blocks, 0), (voxel_blocks, 1)])
def test_blocks_put_together_are_the_matrix(blocks, axis, tmp_path, monkeypatch):
    monkeypatch.setattr("matrix.BLOCK_IMAGES", 4)
    monkeypatch.setattr("matrix.BLOCK_VOXELS", 7)
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


@pytest.mark.parametrize("blocks", [image_blocks, voxel_blocks])
def test_only_a_block_is_in_memory(blocks, tmp_path, monkeypatch):
    monkeypatch.setattr("matrix.BLOCK_IMAGES", 2)
    monkeypatch.setattr("matrix.BLOCK_VOXELS", 25_000)
    np.save(tmp_path / "X.npy", np.ones((40, 500_000), dtype=np.float32))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    before = resident_mb()
    largest = max(resident_mb() for block in blocks(mapped) if block.read().sum())
    assert largest - before < 30, "some blocks of 4 MB, not 80 MB"
    mapped.sum()
    assert resident_mb() - before > 60, "the measure sees what is mapped"


def resident_mb():
    return psutil.Process().memory_info().rss / 1e6
