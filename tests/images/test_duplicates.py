"""Copies are found regardless of unit and sign, and the first of them is kept."""

import numpy as np
import pytest
from neurovault_ica.images.duplicates import Duplicate, find_duplicates


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((12, 20_000)).astype(np.float32)


def test_copies_are_found_regardless_of_unit_and_sign(images):
    images[3] = 40 * images[1] + 7
    images[5] = -0.001 * images[0]
    images[8] = images[2] + 0.1 * images[9]
    images[10] = images[4] + 0.2 * images[9]
    expected_r = np.corrcoef(images[8], images[2])[0, 1]
    found = find_duplicates(images, 0.99)
    assert [(copy.row, copy.of_row, copy.reason) for copy in found] == [
        (3, 1, "duplicate"),
        (5, 0, "inverted_contrast"),
        (8, 2, "duplicate"),
    ]
    assert found[2].correlation == pytest.approx(expected_r, rel=1e-4)


def test_a_copy_is_found_although_the_subset_of_voxels_correlates_less():
    """Each odd image has r just above 0.99 with the one before it. On 2,000 voxels, about half have less."""
    rng = np.random.default_rng(1)
    pairs = rng.standard_normal((15, 2, 20_000))
    one, noise = pairs[:, 0], pairs[:, 1]
    # Remove from the noise what correlates with the image, so that r is exact over all voxels.
    one -= one.mean(axis=1, keepdims=True)
    noise -= noise.mean(axis=1, keepdims=True)
    noise -= (noise * one).sum(axis=1, keepdims=True) / np.square(one).sum(axis=1, keepdims=True) * one
    noise *= np.linalg.norm(one, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    r = 0.99005
    pairs[:, 1] = r * one + np.sqrt(1 - r**2) * noise
    found = find_duplicates(pairs.reshape(30, -1).astype(np.float32), 0.99)
    assert [copy.row for copy in found] == list(range(1, 30, 2))


def test_all_copies_of_an_image_point_to_the_first(images):
    images[[4, 7, 11]] = images[2]
    assert [(copy.row, copy.of_row) for copy in find_duplicates(images, 0.99)] == [(4, 2), (7, 2), (11, 2)]


def test_images_are_compared_only_with_kept_images():
    # A resembles B and B resembles C, but A does not resemble C. So B is a copy and C is kept.
    a, noise = np.random.default_rng(0).standard_normal((2, 50_000))
    chain = np.stack([a, a + 0.13 * noise, a + 0.26 * noise]).astype(np.float32)
    assert abs(np.corrcoef(chain)[0, 2]) < 0.97
    assert [copy.row for copy in find_duplicates(chain, 0.99)] == [1]


def test_the_first_of_two_is_kept(images):
    images[9] = images[1]
    assert find_duplicates(images, 0.99) == [Duplicate(9, 1, "duplicate", 1.0)]
    assert find_duplicates(images[:0], 0.99) == []


def test_images_without_variance_are_never_copies(images):
    images[3] = images[6] = 2
    assert find_duplicates(images, 0.99) == []


def test_copies_are_found_across_blocks(monkeypatch, images):
    images[11], images[6] = images[1], images[5]
    expected = find_duplicates(images, 0.99)
    monkeypatch.setattr("neurovault_ica.images.duplicates.COMPARED_AT_ONCE", 3)
    assert find_duplicates(images, 0.99) == find_duplicates(images, 0.99, threads=3) == expected
    assert [copy.row for copy in expected] == [6, 11]
