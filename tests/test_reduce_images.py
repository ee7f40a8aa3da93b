"""Whitening against its definition and against numpy's SVD."""

import numpy as np
import pytest
from outputs import column_names, read_table, write_table
from reduce_images import (
    gram_matrix,
    image_means,
    image_variances,
    leading_axes,
    main,
    principal_axes,
    variance_rows,
    weigh_images,
    whiten,
)
from threadpoolctl import threadpool_limits


def test_gram_matrix_is_the_covariance_of_the_images(planted):
    X = planted[2]
    mean = image_means(X)
    covariance = np.cov(X.astype(float), bias=True)
    np.testing.assert_allclose(mean, X.mean(axis=1, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(image_variances(X, mean), np.diag(covariance), rtol=1e-6)
    deviations = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(gram_matrix(X, mean) / np.outer(deviations, deviations), np.corrcoef(X), atol=1e-6)


def test_axes_are_those_of_the_svd(planted):
    X = planted[2].astype(float)
    mean = image_means(planted[2])
    eigenvalues, U = principal_axes(gram_matrix(planted[2], mean), 4)
    left, singular, _ = np.linalg.svd(X - mean[:, None], full_matrices=False)
    np.testing.assert_allclose(eigenvalues[:4], singular[:4] ** 2 / X.shape[1], rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(U[:, :4] * left[:, :4], axis=0)), 1, rtol=1e-9)
    assert (U[0] > 0).all()


def test_rounding_of_images_in_large_units_does_not_hide_those_in_small_ones():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9, 30000)).astype(np.float32)
    X[:3] *= 1e5
    X[3] = X[1] - X[2]
    exact = X.astype(float)
    exact[3] = exact[1] - exact[2]
    left, singular, _ = np.linalg.svd(exact - exact.mean(axis=1, keepdims=True), full_matrices=False)
    mean = image_means(X)
    eigenvalues, U = principal_axes(gram_matrix(X, mean), 8)
    assert U.shape == (9, 8), "one image is the difference of two"
    np.testing.assert_allclose(eigenvalues[:8], singular[:8] ** 2 / X.shape[1], rtol=1e-5)
    cosines = np.linalg.svd(U[:, 3:].T @ left[:, 3:8], compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_axes_below_the_rounding_of_the_largest_images_are_not_kept():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 8000)) + rng.normal(size=8000)
    X[:5] *= 1e9
    mean = image_means(X.astype(np.float32))
    eigenvalues, U = principal_axes(gram_matrix(X.astype(np.float32), mean), 5)
    assert U.shape == (30, 5)
    assert (eigenvalues[:5] > 0).all()


def test_an_image_without_variance_is_no_direction():
    X = np.random.default_rng(0).normal(size=(5, 4000)).astype(np.float32)
    X[2] = 7
    mean = image_means(X)
    U = principal_axes(gram_matrix(X, mean), 4)[1]
    assert U.shape == (5, 4)
    np.testing.assert_allclose(U[2], 0, atol=1e-12)


def test_whitened_rows_are_white(planted):
    X = planted[2]
    mean = image_means(X)
    eigenvalues, U = principal_axes(gram_matrix(X, mean), 4)
    Z = whiten(X, mean, (U[:, :4] / np.sqrt(eigenvalues[:4])).T)
    np.testing.assert_allclose(Z.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(Z, bias=True), np.eye(4), atol=1e-4)


def test_more_components_than_rank_is_refused():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(12, 5)) @ rng.normal(size=(5, 4000))).astype(np.float32)
    X[6:] = X[:6] * 2
    gram = gram_matrix(X, image_means(X))
    principal_axes(gram, 5)
    with pytest.raises(
        ValueError, match=r"12 images have 5 independent directions and run_ica\.n_components is 6; lower"
    ):
        principal_axes(gram, 6)


def test_variance_adds_up_to_one():
    rows = variance_rows(np.array([6.0, 3.0, 1.0, -1e-18]), 10.0, 2)
    assert [row["variance_explained"] for row in rows] == pytest.approx([0.6, 0.3, 0.1, 0])
    assert [row["kept"] for row in rows] == [True, True, False, False]
    assert rows[-1]["cumulative_variance_explained"] == pytest.approx(1)


def test_weights_make_collections_count_alike():
    weights = weigh_images([3, 1, 1, 3, 3, 2], equally=True)
    np.testing.assert_allclose(weights, [2 / 3, 1, 1, 2 / 3, 2 / 3, 2])
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_array_equal(weigh_images([3, 1, 1], equally=False), 1)


def reduce(folder, X, collections, *, threads=2, **options):
    """Run the stage and return its white rows and the reduction."""
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


def test_copies_of_a_collection_change_nothing_when_collections_are_weighted(planted, tmp_path):
    X, collections = planted[2], np.repeat(np.arange(10), 3)
    copied = np.vstack([X, *[X[collections == 6]] * 5])
    of_copied = np.concatenate([collections, np.full(15, 6)])
    for equally in (True, False):
        Z, _ = reduce(tmp_path / f"once-{equally}", X, collections, weight_collections_equally=equally)
        again, _ = reduce(tmp_path / f"copied-{equally}", copied, of_copied, weight_collections_equally=equally)
        r = np.abs(np.sum(Z * again, axis=1)) / Z.shape[1]
        assert (r.min() > 0.99999) == equally, "without weights the copied collection turns the axes"


def test_weighted_rows_are_white_and_made_by_k(planted, tmp_path):
    X, collections = planted[2], np.repeat(np.arange(3), [1, 9, 20])
    Z, reduction = reduce(tmp_path / "run", X, collections, weight_collections_equally=True)
    np.testing.assert_allclose(np.cov(Z, bias=True), np.eye(4), atol=1e-4)
    np.testing.assert_allclose(reduction["K"] @ (X - reduction["mean"][:, None]), Z, atol=1e-4)


@pytest.fixture(scope="module")
def many():
    """400 images of 60 sources with slowly falling variances, in other units, in noise; weights of the images."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(400, 60)) * 0.95 ** np.arange(60)
    X = loadings @ rng.laplace(size=(60, 2000)) + rng.normal(size=(400, 2000)) + rng.normal(size=(400, 1))
    units = 10 ** rng.uniform(-2, 2, size=(400, 1))
    return (units * X).astype(np.float32), np.sqrt(rng.uniform(0.5, 2, size=400))


def test_axes_without_the_gram_matrix_are_the_same(many):
    X, roots = many
    mean = image_means(X)
    eigenvalues, U = principal_axes(roots[:, None] * gram_matrix(X, mean) * roots, 12)
    with threadpool_limits(1):
        found, V, method = leading_axes(X, mean, roots, 12)
    assert V.shape == (400, 300)
    np.testing.assert_allclose(found[:12], eigenvalues[:12], rtol=1e-6)
    np.testing.assert_allclose(np.sum(U[:, :12] * V[:, :12], axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(V.T @ V, np.eye(300), atol=1e-9)
    assert found.sum() > 0.99 * eigenvalues[:300].sum(), "the other axes hold nearly all that they can"
    assert method.startswith("block Krylov iteration, 10 passes")


def test_the_stage_is_the_same_without_the_gram_matrix(many, tmp_path, monkeypatch):
    X, collections = many[0], np.repeat(np.arange(10), 40)
    Z, reduction = reduce(tmp_path / "gram", X, collections, weight_collections_equally=False)
    monkeypatch.setattr("reduce_images.MAX_GRAM_IMAGES", 100)
    again, krylov = reduce(tmp_path / "krylov", X, collections, weight_collections_equally=False)
    np.testing.assert_allclose(again, Z, atol=1e-3)
    assert str(reduction["method"]) == "eigenvectors of the Gram matrix"
    assert str(krylov["method"]).startswith("block Krylov iteration")
    tables = [read_table(tmp_path / run / "reduce_images" / "variance.tsv") for run in ("gram", "krylov")]
    shares = np.array([[row["variance_explained"] for row in table[:4]] for table in tables])
    np.testing.assert_allclose(shares[0], shares[1], rtol=1e-6)


@pytest.mark.parametrize("max_gram_images", [3000, 100])
def test_bytes_do_not_depend_on_the_number_of_threads(many, tmp_path, monkeypatch, max_gram_images):
    monkeypatch.setattr("reduce_images.MAX_GRAM_IMAGES", max_gram_images)
    monkeypatch.setattr("matrix.BLOCK_VOXELS", 150)
    X, collections = many[0], np.repeat(np.arange(10), 40)
    for threads in (1, 2, 5):
        reduce(tmp_path / str(threads), X, collections, weight_collections_equally=True, threads=threads)
    for name in ("whitened.npy", "reduction.npz", "reduce_images/variance.tsv"):
        alone, *others = [(tmp_path / str(threads) / name).read_bytes() for threads in (1, 2, 5)]
        assert others == [alone, alone], name


def test_too_many_components_are_refused_without_the_gram_matrix_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 5)) @ rng.normal(size=(5, 2000))
    message = r"50 images have 5 independent directions and run_ica\.n_components is 6"
    with threadpool_limits(1), pytest.raises(ValueError, match=message):
        leading_axes(X, X.mean(axis=1), np.ones(50), 6)
