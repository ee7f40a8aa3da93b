"""Terms and labels come out at the component whose images carry them."""

import numpy as np
import pytest
from outputs import write_table
from project_terms import enrich, project, rank_terms, term_matrix


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
         "contrast_definition": "all"}
        for c, label in [(1, "n-back"), (2, "n-back"), (3, "rest"), (3, None)]
    ]  # fmt: skip
    rows = enrich(images, np.array([[2.0], [4.0], [0.0], [1.0]]), ["ICA_00"], n_permutations=9, random_state=0)
    assert len(rows) == 1, "labels of one image, or of all, say nothing"
    assert (rows[0]["label"], rows[0]["images"], rows[0]["collections"]) == ("n-back", 2, 2)
    assert rows[0]["mean_loading"] == pytest.approx(3)
    assert rows[0]["difference"] == pytest.approx(2.5)
    assert rows[0]["q"] is None, "three collections are too few to tell"
