"""Activation and deactivation of an image are two rows of the decomposition, made when the matrix is read."""

import numpy as np
import pytest
from neurovault_ica.images.matrix import image_blocks, image_moments, open_matrix, read_rows, voxel_blocks, whiten
from neurovault_ica.images.signs import Halves, both_signs, count_empty, find_scales, join_moments, rows_of, scales_of

N_IMAGES, N_VOXELS = 70, 9000


@pytest.fixture
def images():
    images = np.random.default_rng(0).normal(0.3, 1, (N_IMAGES, N_VOXELS)).astype(np.float32)
    images[3] = np.abs(images[3])
    return images


@pytest.fixture
def used(images):
    return [
        {"image_id": row, "collection_id": row // 2} | find_scales(x, scale="unit_variance")
        for row, x in enumerate(images)
    ]


@pytest.fixture
def expected(images):
    """Both halves of each image, one after the other, each with unit variance."""
    rows = [np.maximum(sign * image.astype(float), 0) for image in images for sign in (1, -1)]
    return np.array([row / row.std() if row.any() else row for row in rows])


@pytest.fixture(params=["array", "file"])
def halves(request, images, used, tmp_path):
    if request.param == "array":
        return Halves(images, scales_of(used))
    np.save(tmp_path / "matrix.npy", images)
    return open_matrix(str(tmp_path / "matrix.npy"), used)


def test_rows_are_both_halves_with_unit_variance(halves, expected):
    assert halves.shape == (2 * N_IMAGES, N_VOXELS)
    blocks = list(image_blocks(halves))
    assert [block.where.stop for block in blocks] == [64, 128, 140]
    np.testing.assert_allclose(np.concatenate([block.read() for block in blocks]), expected, rtol=1e-5)
    columns = np.hstack([block.read() for block in voxel_blocks(halves)])
    np.testing.assert_allclose(columns, expected, rtol=1e-5)


@pytest.mark.parametrize("rows", [slice(0, 1), slice(5, 6), slice(3, 9), slice(139, 140)])
def test_any_rows_can_be_read(halves, expected, rows):
    np.testing.assert_allclose(read_rows(halves, rows), expected[rows], rtol=1e-5)


def test_moments_and_whitening_use_the_halves(halves, expected):
    mean, variance = image_moments(halves)
    np.testing.assert_allclose(mean, expected.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(variance, expected.var(axis=1), rtol=1e-5)
    K = np.random.default_rng(1).standard_normal((3, 2 * N_IMAGES))
    np.testing.assert_allclose(whiten(halves, mean, K), K @ (expected - mean[:, None]), atol=1e-3)


def test_moments_of_the_halves_give_the_variance_of_the_images(halves, images, used):
    joined = join_moments(*image_moments(halves), scales_of(used))
    np.testing.assert_allclose(joined, images.var(axis=1, dtype=float), rtol=1e-5)


def test_a_matrix_of_whole_images_stays_a_memory_map(images, tmp_path):
    np.save(tmp_path / "matrix.npy", images)
    used = [{"image_id": 1, "collection_id": 1}]
    assert isinstance(open_matrix(str(tmp_path / "matrix.npy"), used), np.memmap)
    assert rows_of(used) == used


def test_empty_halves_are_zero_and_counted(halves, used):
    assert count_empty(used) == {"activation": 0, "deactivation": 1}
    assert not read_rows(halves, slice(7, 8)).any()
    rows = rows_of(used)
    assert [(row["image_id"], row["sign"]) for row in rows[6:8]] == [(3, "activation"), (3, "deactivation")]


def test_a_few_voxels_are_no_half():
    voxels = np.ones(10_000, np.float32)
    voxels[:100] = np.linspace(0, 2, 100)
    voxels[0] = -10
    assert find_scales(voxels, scale="unit_variance")["deactivation_scale"] == 0
    voxels[0] = -20
    assert find_scales(voxels, scale="none") == {"activation_scale": 1, "deactivation_scale": 1}


def test_negatives_follow_their_rows():
    np.testing.assert_array_equal(both_signs(np.array([[1, 2], [3, 4]])), [[1, 2], [-1, -2], [3, 4], [-3, -4]])
