"""Blocks of a memory map are all of it, each from a map of its own."""

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
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for matrix in (X, mapped):
        parts = dict(enumerate(blocks(matrix)))
        np.testing.assert_array_equal(np.concatenate([block for _, block in parts.values()], axis=axis), X)
        for where, block in parts.values():
            np.testing.assert_array_equal(block, X[where] if axis == 0 else X[:, where])


def test_what_was_read_is_let_go(tmp_path, monkeypatch):
    """The pages of a block leave memory with it; with one map of all they would stay."""
    monkeypatch.setattr("matrix.BLOCK_IMAGES", 2)
    np.save(tmp_path / "X.npy", np.ones((40, 500_000), dtype=np.float32))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    before = resident_mb()
    largest = max(resident_mb() for _, block in image_blocks(mapped) if block.sum())
    assert largest - before < 30, "two blocks of 4 MB, not 80 MB"
    mapped.sum()
    assert resident_mb() - before > 60, "the measure sees what is mapped"


def resident_mb():
    return psutil.Process().memory_info().rss / 1e6
