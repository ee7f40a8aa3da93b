"""The rule reduce_images: weights, outputs, and both ways to compute the axes."""

import numpy as np
import pytest
from neurovault_ica.decomposition.gram import variance_rows, weigh_images
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from reduce_images import main


def test_shares_of_variance_sum_to_one():
    rows = variance_rows(np.array([6.0, 3.0, 1.0, -1e-18]), 10.0, 2)
    assert [row["variance_explained"] for row in rows] == pytest.approx([0.6, 0.3, 0.1, 0])
    assert [row["kept"] for row in rows] == [True, True, False, False]
    assert rows[-1]["cumulative_variance_explained"] == pytest.approx(1)


def test_collections_get_the_same_total_weight():
    weights = weigh_images([3, 1, 1, 3, 3, 2], equally=True)
    np.testing.assert_allclose(weights, [2 / 3, 1, 1, 2 / 3, 2 / 3, 2])
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_array_equal(weigh_images([3, 1, 1], equally=False), 1)


def reduce(folder, X, collections, *, threads=2, **options):
    """Run the rule and return the white rows and the reduction."""
    folder.mkdir()
    np.save(folder / "matrix.npy", X)
    table = folder / "stack_images" / "images.tsv"
    names = column_names(table)
    write_table(table, [dict.fromkeys(names) | {"collection_id": number} for number in collections])
    main(
        matrix=str(folder / "matrix.npy"),
        images=str(table),
        whitened=str(folder / "whitened.npy"),
        reduction=str(folder / "reduction.npz"),
        variance=str(folder / "reduce_images" / "variance.tsv"),
        n_components=4,
        threads=threads,
        **options,
    )
    return np.load(folder / "whitened.npy"), np.load(folder / "reduction.npz")


def test_duplicating_images_of_a_collection_changes_nothing_if_collections_are_weighted(planted, tmp_path):
    X, collections = planted[2], np.repeat(np.arange(10), 3)
    copied = np.vstack([X, *[X[collections == 6]] * 5])
    of_copied = np.concatenate([collections, np.full(15, 6)])
    for equally in (True, False):
        Z, _ = reduce(tmp_path / f"once-{equally}", X, collections, weight_collections_equally=equally)
        again, _ = reduce(tmp_path / f"copied-{equally}", copied, of_copied, weight_collections_equally=equally)
        r = np.abs(np.sum(Z * again, axis=1)) / Z.shape[1]
        assert (r.min() > 0.99999) == equally, "without weights the copied collection changes the axes"


def test_weighted_rows_are_white_and_computed_by_k(planted, tmp_path):
    X, collections = planted[2], np.repeat(np.arange(3), [1, 9, 20])
    Z, reduction = reduce(tmp_path / "run", X, collections, weight_collections_equally=True)
    np.testing.assert_allclose(np.cov(Z, bias=True), np.eye(4), atol=1e-4)
    np.testing.assert_allclose(reduction["K"] @ (X - reduction["mean"][:, None]), Z, atol=1e-4)


def test_results_are_the_same_without_the_gram_matrix(many, tmp_path, monkeypatch):
    X, collections = many[0], np.repeat(np.arange(10), 40)
    Z, reduction = reduce(tmp_path / "gram", X, collections, weight_collections_equally=False)
    monkeypatch.setattr("reduce_images.MAX_GRAM_ROWS", 100)
    again, krylov = reduce(tmp_path / "krylov", X, collections, weight_collections_equally=False)
    np.testing.assert_allclose(again, Z, atol=1e-3)
    assert str(reduction["method"]) == "eigenvectors of the Gram matrix"
    assert str(krylov["method"]).startswith("block Krylov iteration")
    tables = [read_table(tmp_path / run / "reduce_images" / "variance.tsv") for run in ("gram", "krylov")]
    shares = np.array([[row["variance_explained"] for row in table[:4]] for table in tables])
    np.testing.assert_allclose(shares[0], shares[1], rtol=1e-6)


@pytest.mark.parametrize("max_gram_images", [3000, 100])
def test_bytes_do_not_depend_on_the_number_of_threads(many, tmp_path, monkeypatch, max_gram_images):
    monkeypatch.setattr("reduce_images.MAX_GRAM_ROWS", max_gram_images)
    monkeypatch.setattr("neurovault_ica.images.matrix.BLOCK_VOXELS", 150)
    X, collections = many[0], np.repeat(np.arange(10), 40)
    for threads in (1, 3):
        reduce(tmp_path / str(threads), X, collections, weight_collections_equally=True, threads=threads)
    for name in ("whitened.npy", "reduction.npz", "reduce_images/variance.tsv"):
        alone, together = [(tmp_path / str(threads) / name).read_bytes() for threads in (1, 3)]
        assert together == alone, name
