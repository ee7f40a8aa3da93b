"""Terms and labels come out at the component whose images carry them."""

import numpy as np
import pytest
from outputs import write_table
from project_terms import enrich, map_covariances, project, rank_terms, term_matrix
from scipy.ndimage import gaussian_filter
from significance import MAP_FWHM_MM, associate


def write_terms(path, weights):
    rows = [{"image_id": i, "term": t, "weight": w} for i, terms in weights.items() for t, w in terms.items()]
    write_table(path, rows)
    return str(path)


def test_images_without_weights_have_no_row(tmp_path):
    tables = [
        write_terms(tmp_path / "fetch_terms" / "terms-0.tsv", {7: {"b": 0.5, "a": -0.2}, 99: {"c": 1}}),
        write_terms(tmp_path / "fetch_terms" / "terms-1.tsv", {5: {"a": 0.25, "null": 0.1}}),
        write_terms(tmp_path / "fetch_terms" / "terms-2.tsv", {}),
    ]
    rows, terms, T = term_matrix(tables, [5, 6, 7])
    assert rows == [0, 2]
    assert terms == ["a", "b", "null"]
    np.testing.assert_array_equal(T, [[0.25, 0, 0.1], [-0.2, 0.5, 0]])


def test_no_weights_at_all(tmp_path):
    rows, terms, T = term_matrix([write_terms(tmp_path / "fetch_terms" / "terms-0.tsv", {})], [5])
    assert (rows, terms, T.shape) == ([], [], (0, 0))
    assert project(T, np.zeros((0, 2)), center=True).shape == (2, 0)


def test_projection_is_the_example_s_formula():
    rng = np.random.default_rng(0)
    T, unmixing = rng.random((9, 5)), rng.normal(size=(9, 3))
    np.testing.assert_allclose(project(T, unmixing, center=False), np.dot(T.T, unmixing).T)


def test_a_term_that_every_image_has_names_nothing_when_centred():
    loadings = np.array([[3.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    T = np.array([[0.9, 0.4, 0.0], [0.9, 0.5, 0.0], [0.9, 0.0, 0.3]])
    plain = project(T, loadings, center=False)
    centred = project(T, loadings, center=True)
    assert plain.argmax(axis=1).tolist() == [0, 0]
    assert centred.argmax(axis=1).tolist() == [1, 2]
    np.testing.assert_allclose(centred[:, 0], 0, atol=1e-12)


def test_rank_one_is_the_strongest():
    rows = rank_terms(np.array([[0.1, 0.9, 0.5]]), ["a", "b", "c"], ["ICA_00"], 12, None)
    assert [(row["rank"], row["term"], row["images"]) for row in rows] == [(1, "b", 12), (2, "c", 12), (3, "a", 12)]


def test_label_of_the_images_that_load():
    images = [
        {"collection_id": c, "cognitive_paradigm_cogatlas": label, "cognitive_contrast_cogatlas": None,
         "contrast_definition": "all", "name": None, "description": None, "collection_name": None}
        for c, label in [(1, "n-back"), (2, "n-back"), (3, "n-back"), (3, "rest"), (4, None)]
    ]  # fmt: skip
    studies = {c: {"description": "Cats" if c < 4 else None} for c in (1, 2, 3, 4)}
    loadings = np.array([[2.0], [4.0], [3.0], [0.0], [1.0]])
    rows = enrich(images, studies, loadings, ["ICA_00"], n_permutations=9, random_state=0)
    found = [(row["field"], row["label"], row["images"], row["collections"]) for row in rows]
    assert found == [("cognitive_paradigm_cogatlas", "n-back", 3, 3), ("words", "cats", 4, 3)]
    assert rows[0]["mean_loading"] == pytest.approx(3)
    assert rows[0]["difference"] == pytest.approx(2.5)
    assert rows[0]["q"] is None, "four collections are too few to tell"


def ball(size_mm):
    """Make the mask of a ball of 60 mm around the origin."""
    half = int(72 // size_mm)
    axis = np.arange(-half, half + 1) * size_mm
    affine = np.diag([size_mm, size_mm, size_mm, 1.0])
    affine[:3, 3] = axis[0]
    return sum(np.meshgrid(axis**2, axis**2, axis**2, indexing="ij")) < 60**2, affine


def smooth_maps(mask, size_mm, fwhm, n_maps, rng, *, symmetric=False):
    """Make random maps of mean 0 and length 1 over the mask, (n_maps, n_voxels)."""
    maps = []
    for _ in range(n_maps):
        noise = rng.normal(size=mask.shape).astype(np.float32)
        volume = gaussian_filter(noise, fwhm / np.sqrt(8 * np.log(2)) / size_mm, mode="wrap")
        maps.append((volume + volume[::-1] if symmetric else volume)[mask])
    maps = np.array(maps)
    maps -= maps.mean(axis=1, keepdims=True)
    return maps / np.linalg.norm(maps, axis=1, keepdims=True)


@pytest.mark.parametrize("size_mm", [4.0, 2.0])
def test_covariances_are_those_of_weights_in_maps_that_are_really_made(size_mm):
    rng = np.random.default_rng(0)
    mask, affine = ball(size_mm)
    images = smooth_maps(mask, size_mm, 12, 8, rng)
    images[1] += images[0]
    expected = map_covariances(images * 3 + 5, mask, affine)
    n_maps = 500 if size_mm == 4 else 50
    kinds = [(fwhm, symmetric) for symmetric in (False, True) for fwhm in MAP_FWHM_MM]
    for covariance, (fwhm, symmetric) in zip(expected, kinds, strict=True):
        made = smooth_maps(mask, size_mm, fwhm, n_maps, rng, symmetric=symmetric)
        images -= images.mean(axis=1, keepdims=True)
        weights = images / np.linalg.norm(images, axis=1, keepdims=True) @ made.T
        # Up to a factor, and to the sampling error of a covariance.
        scale = np.diag(covariance)
        found = weights @ weights.T * scale.sum() / np.square(weights).sum()
        error = np.sqrt((np.outer(scale, scale) + covariance**2) / n_maps)
        assert np.abs((found - covariance) / error).max() < 4.5, (fwhm, symmetric)


@pytest.fixture(scope="module")
def studies():
    """72 smooth images of 24 collections in which four networks are mixed, and what a test of terms needs of them."""
    rng = np.random.default_rng(1)
    mask, affine = ball(4.0)
    networks = smooth_maps(mask, 4.0, 14, 4, rng)
    collections = np.repeat(np.arange(24), 3)
    loadings = rng.normal(size=(24, 4))[collections] + 0.5 * rng.normal(size=(72, 4))
    own = smooth_maps(mask, 4.0, 10, 24, rng)[collections] + 0.5 * smooth_maps(mask, 4.0, 10, 72, rng)
    images = loadings @ networks + own
    images -= images.mean(axis=1, keepdims=True)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    return mask, affine, networks, collections, loadings, images


@pytest.mark.parametrize("fwhm", [6, 12, 20])
def test_random_maps_are_no_more_often_significant_than_by_chance(studies, fwhm):
    mask, affine, _, collections, loadings, images = studies
    made = smooth_maps(mask, 4.0, fwhm, 400, np.random.default_rng(fwhm))
    weights = np.maximum(images @ made.T, 0)
    options = {"n_permutations": 60, "random_state": 0}
    exchanged = associate(loadings, weights, collections, **options)
    both = associate(loadings, weights, collections, **options, map_covariances=map_covariances(images, mask, affine))
    assert (exchanged.p < 0.05).mean() > 0.1, "what the random maps are for"
    assert (both.p < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert (both.q >= 0.05).all()


def test_a_network_s_own_map_is_significant_and_a_map_of_all_is_not(studies):
    mask, affine, networks, collections, loadings, images = studies
    rng = np.random.default_rng(2)
    blurred = networks + 0.3 * smooth_maps(mask, 4.0, 12, 4, rng)
    weights = np.maximum(images @ np.vstack([blurred, smooth_maps(mask, 4.0, 12, 60, rng)]).T, 0)
    generic = 0.4 + 0.01 * rng.random((72, 1))
    covariances = map_covariances(images, mask, affine)
    features = np.hstack([weights, generic])
    result, again = (
        associate(loadings, features, collections, n_permutations=100, random_state=0, map_covariances=covariances)
        for _ in range(2)
    )
    assert {(k, k) for k in range(4)} <= set(map(tuple, np.argwhere(result.q < 0.05).tolist()))
    assert (result.q < 0.05).sum() <= 5
    assert (result.q[:, -1] > 0.05).all()
    np.testing.assert_array_equal(result.p, again.p)
