"""Components get the terms and labels of the images that load on them."""

import numpy as np
import pytest
from neurovault_ica.naming.evidence import Found, Inputs, count_carriers
from neurovault_ica.naming.labels import enrich, label_with_sign, tabulate_labels
from neurovault_ica.naming.term_weights import TermWeights, read_term_weights, vocabulary_rows
from neurovault_ica.naming.terms import find_terms, project_weights, rank_terms
from neurovault_ica.runtime.tables import write_table
from neurovault_ica.statistics.permuted_collections import Significance


def write_terms(path, weights):
    rows = [{"image_id": i, "term": t, "weight": w} for i, terms in weights.items() for t, w in terms.items()]
    write_table(path, rows)
    return str(path)


def test_images_without_weights_have_no_row_and_terms_that_an_image_lacks_are_missing(tmp_path):
    tables = [
        write_terms(tmp_path / "fetch_terms" / "terms-0.tsv", {7: {"b": 0.5, "a": -0.2}, 99: {"c": 1}}),
        write_terms(tmp_path / "fetch_terms" / "terms-1.tsv", {5: {"a": 0.25, "null": 0.1}}),
        write_terms(tmp_path / "fetch_terms" / "terms-2.tsv", {}),
    ]
    rows, terms, T = found = read_term_weights(tables, [5, 6, 7])
    assert rows == [0, 2]
    assert terms == ["a", "b", "null"]
    np.testing.assert_array_equal(T, [[0.25, np.nan, 0.1], [-0.2, 0.5, np.nan]])
    assert count_carriers(~np.isnan(T), [1, 1]) == [
        {"images": 2, "collections": 1}, {"images": 1, "collections": 1}, {"images": 1, "collections": 1},
    ]  # fmt: skip
    vocabulary = [tuple(row.values()) for row in vocabulary_rows(found)]
    assert vocabulary == [("b", 0.5, 1), ("a", 0.125, 2), ("null", 0.1, 1)], "negative weights count as 0"


def test_ids_may_be_text(tmp_path):
    table = write_terms(tmp_path / "fetch_terms" / "terms-0.tsv", {"007": {"a": 0.5}, "7": {"b": 1}, "sub-9": {"a": 1}})
    rows, terms, T = read_term_weights([table], ["sub-9", "007"])
    assert (rows, terms) == ([0, 1], ["a"])
    np.testing.assert_array_equal(T, [[1], [0.5]])


def test_no_weights_at_all(tmp_path):
    rows, terms, T = read_term_weights([write_terms(tmp_path / "fetch_terms" / "terms-0.tsv", {})], [5])
    assert (rows, terms, T.shape) == ([], [], (0, 0))
    assert project_weights(T, np.zeros((0, 2)), center=True).shape == (2, 0)
    assert vocabulary_rows(TermWeights(rows, terms, T)) == []


def test_projection_is_the_example_s_formula():
    rng = np.random.default_rng(0)
    T, unmixing = rng.random((9, 5)), rng.normal(size=(9, 3))
    np.testing.assert_allclose(project_weights(T, unmixing, center=False), np.dot(T.T, unmixing).T)


def test_a_term_that_every_image_has_names_nothing_when_centred():
    loadings = np.array([[3.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    T = np.array([[0.9, 0.4, 0.0], [0.9, 0.5, 0.0], [0.9, 0.0, 0.3]])
    plain = project_weights(T, loadings, center=False)
    centred = project_weights(T, loadings, center=True)
    assert plain.argmax(axis=1).tolist() == [0, 0]
    assert centred.argmax(axis=1).tolist() == [1, 2]
    np.testing.assert_allclose(centred[:, 0], 0, atol=1e-12)


def find_split(weights, *, n_permutations=0):
    """Find the terms of three images, each with the loadings of activation and deactivation."""
    loadings = np.array([[1.0], [2.0], [9.0], [9.0], [3.0], [4.0]])
    inputs = Inputs(
        components=["ICA_00"], maps=None, mask_file="", matrix_file="", metadata=[], collections={},
        images=[{"collection_id": number} for number in range(3)], loadings=loadings, term_loadings=loadings,
        term_weights=weights, center_terms=False, term_maps=None, built_maps=None,
        n_permutations=n_permutations, random_state=0, threads=1, is_split=True,
    )  # fmt: skip
    return find_terms(inputs)


def test_with_split_signs_the_deactivation_has_the_terms_of_the_negative_image():
    T = np.array([[0.5, -0.2], [-0.4, np.nan]])
    found = find_split(TermWeights([0, 2], ["pain", "motor"], T))
    rows = {row["term"]: (row["weight"], row["images"]) for row in found.rows}
    assert rows["pain"] == (pytest.approx(1 * 0.5 + 4 * 0.4), 2)
    assert rows["motor"] == (pytest.approx(2 * 0.2), 1)


def test_split_images_need_no_terms(tmp_path):
    none = read_term_weights([write_terms(tmp_path / "fetch_terms" / "terms-0.tsv", {})], [5, 6, 7])
    assert find_split(none, n_permutations=9) == Found([], [])


def test_an_image_that_lacks_a_term_adds_nothing_to_it():
    T = np.array([[0.2, 0.9], [0.4, np.nan], [0.0, 0.1]])
    loadings = np.array([[1.0], [2.0], [-1.0]])
    np.testing.assert_allclose(project_weights(T, loadings, center=True), [[0.6, 0.8]])
    np.testing.assert_allclose(project_weights(T, loadings, center=False), [[1.0, 0.8]])


def test_rank_one_is_the_strongest():
    counts = [{"images": n, "collections": 2} for n in (10, 11, 12)]
    values = np.array([[0.1, 0.9, 0.5]])
    rows = rank_terms(values, ["a", "b", "c"], ["ICA_00"], counts, Significance(values, -values, values / 2, values))
    assert [(row["rank"], row["term"], row["images"]) for row in rows] == [(1, "b", 11), (2, "c", 12), (3, "a", 10)]
    assert [rows[0][key] for key in ("weight", "r_collections", "r_images", "p", "q")] == [0.9, 0.9, -0.9, 0.45, 0.9]
    assert rank_terms(values, ["a", "b", "c"], ["ICA_00"], counts, None)[0]["q"] is None


def test_the_label_of_images_with_high_loadings_comes_first():
    images = [
        {"collection_id": c, "cognitive_paradigm_cogatlas": label, "cognitive_contrast_cogatlas": None,
         "contrast_definition": "all", "name": None, "description": None, "collection_name": None}
        for c, label in [(1, "n-back"), (2, "n-back"), (3, "n-back"), (3, "rest"), (4, None)]
    ]  # fmt: skip
    images[4]["name"] = "dogs"
    studies = {c: {"description": "Cats" if c < 4 else None} for c in (1, 2, 3, 4)}
    loadings = np.array([[2.0], [4.0], [3.0], [0.0], [1.0]])
    rows = tabulate_labels(enrich(images, studies, loadings, ["ICA_00"], n_permutations=9, random_state=0))
    found = [(row["field"], row["label"], row["images"], row["collections"]) for row in rows]
    assert found == [("cognitive_paradigm_cogatlas", "n-back", 3, 3), ("words", "cats", 4, 3)]
    assert rows[0]["mean_loading"] == pytest.approx(3)
    assert rows[0]["difference"] == pytest.approx(3), "the last image has no paradigm, so it is not compared"
    assert rows[1]["difference"] == pytest.approx(9 / 4 - 1), "the last image has words, so it is compared"
    assert rows[0]["q"] is None, "four collections are too few for a test"

    halves = np.stack([loadings, loadings[::-1]], axis=1).reshape(-1, 1)
    rows = tabulate_labels(enrich(images, studies, halves, ["ICA_00"], n_permutations=9, random_state=0, split=True))
    found = {(row["sign"], row["label"]): row["mean_loading"] for row in rows}
    assert found["activation", "n-back"] == pytest.approx(3)
    assert found["deactivation", "n-back"] == pytest.approx(4 / 3)
    assert {row["images"] for row in rows if row["label"] == "n-back"} == {3}
    labels = {label_with_sign(row) for row in rows}
    assert labels == {"n-back", "deactivation in n-back", "cats", "deactivation in cats"}
