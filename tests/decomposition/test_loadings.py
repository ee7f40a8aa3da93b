"""Shares sum to one, effective numbers are right, and the strongest images and collections come first."""

import numpy as np
import pytest
from neurovault_ica.decomposition.loadings import (
    effective_number,
    rank_collections,
    rank_images,
    share_of_collections,
    share_of_images,
)
from neurovault_ica.decomposition.summary import describe_data

A = np.array([[3.0, 1], [1, -1], [-1, 1], [-2, -1], [0, 1]])
IMAGES = [
    {"image_id": 10 + row, "name": f"map {row}", "collection_id": number, "collection_name": f"c{number}", "url": None}
    for row, number in enumerate([7, 7, 5, 5, 9])
]
COLLECTIONS = [image["collection_id"] for image in IMAGES]


def test_shares_of_squared_loadings_sum_to_one():
    share = share_of_images(A, np.ones(5))
    np.testing.assert_allclose(share[:, 0], np.array([9, 1, 1, 4, 0]) / 15)
    shares = share_of_collections(share, COLLECTIONS)
    assert list(shares.collections) == [5, 7, 9]
    np.testing.assert_allclose(shares.share, [[5 / 15, 2 / 5], [10 / 15, 2 / 5], [0, 1 / 5]])


def test_shares_depend_on_the_weights_of_images():
    share = share_of_images(A, np.array([1.0, 1, 1, 1, 4]))
    np.testing.assert_allclose(share[:, 1], np.array([1, 1, 1, 1, 4]) / 8)


def test_effective_number():
    assert effective_number(np.full((4, 2), 0.25)) == pytest.approx([4, 4])
    assert effective_number(np.array([1.0, 0, 0])) == pytest.approx(1)
    assert effective_number(np.array([0.5, 0.25, 0.25])) == pytest.approx(16 / 6)


def test_images_are_listed_by_sign_and_strength(monkeypatch):
    monkeypatch.setattr("neurovault_ica.decomposition.loadings.LISTED", 2)
    share = share_of_images(A, np.ones(5))
    rows = list(rank_images(["ICA_00", "ICA_01"], A, share, IMAGES))
    listed = [(row["component"], row["sign"], row["rank"], row["image_id"]) for row in rows]
    assert listed == [
        ("ICA_00", "positive", 1, 10),
        ("ICA_00", "positive", 2, 11),
        ("ICA_00", "negative", 1, 13),
        ("ICA_00", "negative", 2, 12),
        ("ICA_01", "positive", 1, 10),
        ("ICA_01", "positive", 2, 12),
        ("ICA_01", "negative", 1, 11),
        ("ICA_01", "negative", 2, 13),
    ]
    assert rows[0]["share"] == pytest.approx(9 / 15)
    assert rows[2]["loading"] == -2


def test_with_split_signs_images_are_listed_by_the_half_that_loads():
    halves = [image | {"sign": sign} for image in IMAGES for sign in ("activation", "deactivation")]
    values = np.array([[0.1], [0.9], [0.8], [-0.7], [0.0], [0.2], [-0.5], [0.0], [0.3], [0.4]])
    share = share_of_images(values, np.ones(10))
    rows = list(rank_images(["ICA_00"], values, share, halves))
    assert [(row["sign"], row["rank"], row["image_id"], row["loading"]) for row in rows] == [
        ("activation", 1, 11, 0.8), ("activation", 2, 14, 0.3), ("activation", 3, 10, 0.1),
        ("deactivation", 1, 10, 0.9), ("deactivation", 2, 14, 0.4), ("deactivation", 3, 12, 0.2),
    ]  # fmt: skip
    shares = share_of_collections(share, [row["collection_id"] for row in halves])
    first, *_ = rank_collections(["ICA_00"], values, shares, halves, {})
    assert (first["collection_id"], first["images"]) == (7, 2)
    assert (first["mean_loading"], first["mean_deactivation_loading"]) == pytest.approx((0.45, 0.1))


def test_an_image_with_zero_loading_is_not_listed():
    rows = list(rank_images(["ICA_00"], A, share_of_images(A, np.ones(5)), IMAGES))
    assert {row["image_id"] for row in rows} == {10, 11, 12, 13}


def test_collections_are_listed_with_their_metadata():
    shares = share_of_collections(share_of_images(A, np.ones(5)), COLLECTIONS)
    studies = {7: {"name": "Seven", "url": "https://neurovault.org/collections/7/", "DOI": None}}
    first, second, third, *_ = rank_collections(["ICA_00", "ICA_01"], A, shares, IMAGES, studies)
    assert (first["collection_id"], first["images"], first["mean_loading"]) == (7, 2, 2.0)
    assert (first["name"], first["url"]) == ("Seven", "https://neurovault.org/collections/7/")
    assert (second["collection_id"], second["mean_loading"], second["name"]) == (5, -1.5, None)
    assert third["share"] == 0


def test_the_variance_explained_is_a_share_of_the_weighted_variance_of_the_images():
    """Images without scaling have variances of their own. Of two collections, one has three quarters of it."""
    reduced = {
        "weights": np.array([0.5, 0.5, 2.0]), "image_variance": np.array([8.0, 4.0, 1.0]), "U": np.eye(3),
        "eigenvalues": np.array([4.0, 3.0, 1.0]), "method": np.array("Gram"),
    }  # fmt: skip
    images = [{"collection_id": "a"}, {"collection_id": "a"}, {"collection_id": "b"}]
    found = describe_data(images, ["a", "a", "b"], reduced, shape=(2, 100))
    assert found["variance_explained"] == pytest.approx(7 / 8)
    assert found["n_effective_collections"] == pytest.approx(1 / (0.75**2 + 0.25**2))
