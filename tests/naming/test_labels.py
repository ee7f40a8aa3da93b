"""Labels and words are read from records in any script and of any length, hostile ones included."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from made_maps import EGG, EGG_AFFINE, smooth_noise
from neurovault_ica.images.signs import Halves, find_scales, scales_of
from neurovault_ica.naming.chance import run_tests
from neurovault_ica.naming.evidence import Inputs, significance_columns
from neurovault_ica.naming.label_fields import Field, compare_within_fields, fields_of, group_terms
from neurovault_ica.naming.label_test import label_test, products_with_images
from neurovault_ica.naming.labels import (
    ENGLISH_STOP_WORDS,
    LABEL_FIELDS,
    MIN_LETTERS,
    TEXT_FIELDS,
    label_matrix,
    words_of,
)
from neurovault_ica.statistics.lattice import lattice_of
from neurovault_ica.statistics.p_values import false_discovery_rate
from neurovault_ica.statistics.permuted_collections import associate
from neurovault_ica.statistics.random_maps import map_weights
from sklearn.feature_extraction import text as sklearn_text
from threadpoolctl import threadpool_info, threadpool_limits


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<b>N-back</b> task: 2-back &gt; 0-back", {"n-back", "2-back", "0-back"}),
        ("faces < houses, Houses > WORDS", {"faces", "houses", "words"}),
        ("<script>alert('x')</script> see https://example.org/pain?x=1", {"alert"}),
        ("MIT license, GPL-3, cc-by-nc-sa-4.0, BSD-3-clause; repo www.github.com/a.zip, DOI, version-2", set()),
        ("meta readme, mitochondria", {"mitochondria"}),
        ("zstat12 con_0001 v1 0.05 p<.001", set()),
        ("working_memory/load;\trest", {"working", "memory", "load", "rest"}),
        ("the contrast of all subjects, whole-brain, FWE corrected", set()),
        ("ÉMOTION e\u0301motion Straße", {"émotion", "strasse"}),
        ("痛みの研究 ｐａｉｎ", {"痛みの研究", "pain"}),
        ("a" * 5000 + " " + "<" * 5000 + " pain", {"pain"}),
        ("\x00\ud800 pain\u202e", {"pain"}),
    ],
)
def test_words(text, words):
    assert words_of(text) == words


def test_stop_words_are_those_of_scikit_learn():
    assert {word for word in sklearn_text.ENGLISH_STOP_WORDS if len(word) >= MIN_LETTERS} == ENGLISH_STOP_WORDS


def image(collection_id, **known):
    return dict.fromkeys({*LABEL_FIELDS, *TEXT_FIELDS}) | {"collection_id": collection_id} | known


def test_labels_need_three_collections_and_must_not_be_common_to_all_images():
    images = [
        image(1, name="Pain map", cognitive_paradigm_cogatlas="heat"),
        image(1, name="Pain", cognitive_paradigm_cogatlas="heat"),
        image(2, description="pain & itch", cognitive_paradigm_cogatlas="heat"),
        image(3, contrast_definition="pain > warmth", collection_name="Itch"),
        image(4, name="rest"),
    ]
    studies = {n: {"description": "At night" if n < 3 else "at rest, at night"} for n in (1, 2, 3, 4)}
    labels, carries = label_matrix(images, studies)
    assert labels == [("words", "pain")]
    np.testing.assert_array_equal(carries[:, 0], [1, 1, 1, 1, 0])
    images[2]["cognitive_paradigm_cogatlas"] = None
    images[3]["cognitive_paradigm_cogatlas"] = "heat"
    images += [image(5, cognitive_paradigm_cogatlas="heat"), image(6, cognitive_paradigm_cogatlas="cold")]
    studies |= {5: {"description": None}, 6: {"description": None}}
    studies[1]["description"] = "at rest"
    labels, carries = label_matrix(images, studies)
    assert labels == [("cognitive_paradigm_cogatlas", "heat"), *(("words", word) for word in ("night", "pain", "rest"))]
    np.testing.assert_array_equal(carries[:, 3], [1, 1, 0, 1, 1, np.nan, np.nan])
    np.testing.assert_array_equal(carries[:, 0], [1, 1, np.nan, 1, np.nan, 1, 0])


def test_no_labels():
    labels, carries = label_matrix([image(1), image(2)], {1: {"description": None}, 2: {"description": None}})
    assert labels == []
    assert carries.shape == (2, 0)


def test_labels_of_images_that_are_alike_name_no_random_map():
    """Images with a label share a map. They load on most random maps, too, but only the shared map gets the name."""
    rng = np.random.default_rng(3)
    has_label = np.repeat(rng.random((30, 5)) < 0.4, 2, axis=0).astype(np.float32)
    collections = [str(row // 2) for row in range(60)]
    shared = np.array([smooth_noise(rng, 15) for _ in range(5)])
    images = has_label @ shared + np.array([0.3 * smooth_noise(rng, 8) for _ in range(60)])
    maps = np.array([shared[0], *(smooth_noise(rng, 15) for _ in range(12))])
    lattice = lattice_of(EGG, EGG_AFFINE)
    points = maps[:, lattice.points]
    permuted = associate(images @ maps.T, has_label, collections, n_permutations=40, random_state=0)
    assert (permuted.q.min(axis=1) < 0.05)[1:].mean() > 0.3
    fields = [Field(np.arange(60), np.arange(5))]
    products = [lambda maps: images[:, lattice.points] @ maps.T]
    test = label_test(permuted.r_images, has_label, collections, fields, products)
    p = run_tests(points, lattice, [test], n_permutations=0, random_state=0)[0][:, 0]
    assert p[0].argmin() == 0
    assert p[0, 0] <= 0.05
    assert (p.min(axis=1) <= 0.05)[1:].sum() <= 2


def test_labels_are_tested_among_the_images_that_have_their_field():
    """Twelve of forty studies have the field, and their loadings vary more. 5 % of null p must still be below 0.05."""
    rng = np.random.default_rng(4)
    shares = []
    for repetition in range(20):
        loadings = rng.laplace(size=(40, 5)) * np.repeat([4, 1], [12, 28])[:, None]
        has_label = np.full((40, 30), np.nan, np.float32)
        has_label[:12] = rng.permuted(np.tile([1, 1, 1, 1] + [0] * 8, (30, 1)), axis=1).T
        labels = [("contrast_definition", f"label {number}") for number in range(30)]
        fields = fields_of(labels, has_label)
        found = compare_within_fields(
            fields, loadings, has_label, range(40), n_permutations=99, random_state=repetition
        )
        shares.append((found.p <= 0.05).mean())
    assert abs(np.mean(shares) - 0.05) < 3 * np.std(shares) / np.sqrt(20)


def test_terms_are_tested_among_the_images_that_have_them():
    """p is that of these images alone, for the permutation of collections and for random maps."""
    rng = np.random.default_rng(8)
    loadings, T, root = rng.normal(size=(60, 2)), rng.normal(size=(60, 7)), rng.normal(size=(60, 30))
    collections = np.repeat(np.arange(20), 3)
    T[:18, [1, 4]] = np.nan
    T[50, 6] = np.nan
    fields = group_terms(T)
    assert [field.columns.tolist() for field in fields] == [[0, 2, 3, 5], [1, 4], [6]]
    options = {"n_permutations": 20, "random_state": 0}

    def draw_for(rows):
        return lambda n_maps, rng: root[rows] @ rng.normal(size=(30, n_maps))

    found = compare_within_fields(fields, loadings, T, collections, **options, draw_for=draw_for)
    for rows, columns in fields:
        alone = associate(
            loadings[rows], T[np.ix_(rows, columns)], collections[rows], **options, draw_weights=draw_for(rows)
        )
        for name in ("r_collections", "r_images", "p"):
            np.testing.assert_array_equal(getattr(found, name)[:, columns], getattr(alone, name))
    np.testing.assert_allclose(found.q, false_discovery_rate(found.p))
    assert np.corrcoef(loadings[18:, 0], T[18:, 1])[0, 1] == pytest.approx(found.r_images[0, 1])


def test_missing_weights_make_p_of_unrelated_maps_neither_small_nor_large():
    """With the mean in place of missing weights, only 1 % of p would be below 0.05."""
    rng = np.random.default_rng(9)
    shares = []
    for _ in range(12):
        blobs = np.repeat(rng.laplace(size=(24, 12)), 3, axis=0) + 0.3 * rng.normal(size=(72, 12))
        loadings = np.maximum(blobs @ rng.normal(size=(12, 4)), 0)
        T = np.maximum(blobs @ rng.normal(size=(12, 40)), 0)
        T[np.ix_(rng.random(72) < 1 / 3, np.arange(40))] = np.nan
        found = compare_within_fields(
            group_terms(T), loadings, T, np.repeat(np.arange(24), 3), n_permutations=39, random_state=0,
            draw_for=partial(map_weights, blobs.astype(np.float32)),
        )  # fmt: skip
        shares.append((found.p <= 0.05).mean())
    assert np.mean(shares) == pytest.approx(0.05, abs=3 * np.std(shares) / np.sqrt(12))
    assert np.mean(shares) > 0.025


def test_terms_of_rare_sets_are_tested_together():
    T = np.zeros((9, 20))
    T[np.arange(8), np.arange(8)] = np.nan
    fields = group_terms(T)
    assert [field.columns.tolist() for field in fields] == [list(range(8, 20)), [0], [1], [2], [3], [4, 5, 6, 7]]
    assert [len(field.rows) for field in fields] == [9, 8, 8, 8, 8, 9]
    assert group_terms(np.empty((0, 0))) == []


def test_a_field_of_few_studies_is_not_tested_and_others_are():
    rng = np.random.default_rng(5)
    has_label = np.tile(np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], np.float32)[:, None], 2)
    has_label[7:, 0] = np.nan
    labels, loadings = [("contrast_definition", "pain"), ("words", "pain")], rng.normal(size=(10, 3))
    fields = fields_of(labels, has_label)
    assert [(field.rows.tolist(), field.columns.tolist()) for field in fields] == [
        (list(range(7)), [0]),
        (list(range(10)), [1]),
    ]
    found = compare_within_fields(fields, loadings, has_label, range(10), n_permutations=50, random_state=0)
    alone = associate(loadings, has_label[:, 1:], range(10), n_permutations=50, random_state=0)
    for values, expected in zip(found, alone, strict=True):
        assert np.isnan(values[:, 0]).all()
        np.testing.assert_array_equal(values[:, 1:], expected)
    assert significance_columns(found, 0, 0) == dict.fromkeys(("r_collections", "r_images", "p", "q"))
    surrogates = rng.normal(size=(500, 4)).astype(np.float32)
    images = rng.normal(size=(10, 4)).astype(np.float32)
    p = label_test(found.r_images, has_label, range(10), fields, [lambda maps: images @ maps.T])(0, surrogates)
    assert np.isnan(p[0, 0])
    assert 0 < p[0, 1] < 1
    assert compare_within_fields(fields[:1], loadings, has_label, range(10), n_permutations=50, random_state=0) is None


def test_surrogates_are_multiplied_by_the_activation_and_by_the_deactivation_of_images(tmp_path):
    """With split signs, the loadings of surrogates come from the same halves as the loadings of components."""
    rng = np.random.default_rng(6)
    images = np.array([smooth_noise(rng, 12) + shift for shift in (0, 0.5, -1)], np.float32)
    np.save(tmp_path / "matrix.npy", images)
    rows = [{"image_id": number} | find_scales(image, scale="unit_variance") for number, image in enumerate(images)]
    known = dict.fromkeys(Inputs._fields) | {"maps": SimpleNamespace(inside=EGG, affine=EGG_AFFINE), "images": rows}
    inputs = Inputs(**known | {"matrix_file": str(tmp_path / "matrix.npy")})
    points = lattice_of(EGG, EGG_AFFINE).points
    maps = rng.standard_normal((4, points.sum())).astype(np.float32)
    (together,) = (multiply(maps) for multiply in products_with_images(inputs))
    factor = together[0, 0] / (images[0, points] @ maps[0])
    np.testing.assert_allclose(together, factor * images[:, points] @ maps.T, rtol=1e-3, atol=1e-3)
    halves = Halves(images, scales_of(rows)).split(images, slice(0, 3))
    found = [multiply(maps) for multiply in products_with_images(inputs._replace(is_split=True))]
    for side, products in enumerate(found):
        np.testing.assert_allclose(products, factor * halves[side::2, points] @ maps.T, rtol=1e-3, atol=1e-3)


def test_every_blas_library_has_one_thread_while_components_are_tested():
    """With more threads, the last digits of p would depend on the number of cores."""
    lattice = lattice_of(EGG, EGG_AFFINE)
    component = smooth_noise(np.random.default_rng(0), 15)[lattice.points]
    seen = []

    def count_threads(_number, _surrogates):
        seen.append({library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})
        return np.zeros(1)

    with threadpool_limits(2):
        run_tests(component[None], lattice, [count_threads], n_permutations=0, random_state=0)
    assert seen == [{1}]
