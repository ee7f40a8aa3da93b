"""The score of a demo run: networks, terms and images that match the planted ones pass, and others fail."""

import logging

import check_demo
import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.demo import score
from neurovault_ica.runtime.tables import read_table
from partial_tables import write_partial


@pytest.fixture
def networks():
    """Three sparse maps of unit variance, shape (3, 4096)."""
    maps = np.random.default_rng(0).laplace(size=(3, 4096)) ** 3
    return maps / maps.std(axis=1, keepdims=True)


def image(image_id, fate, copy_of=None, dirt="none"):
    return {"image_id": image_id, "expected_fate": fate, "copy_of": copy_of, "dirt": dirt}


def test_match_finds_networks_up_to_order_sign_and_scale(networks):
    components = np.array([[-2.0], [5.0], [1.0]]) * networks[[2, 0, 1]] + 3
    partner, abs_r = score.match_planted(networks, components)
    assert partner.tolist() == [1, 2, 0]
    assert abs_r == pytest.approx(1)


def test_r_is_exact_for_float32_in_the_order_of_a_4d_image(networks):
    maps = np.tile(networks, 50).astype(np.float32)
    _, abs_r = score.match_planted(maps, np.asfortranarray(maps))
    assert abs_r == pytest.approx(1, abs=1e-6)


def test_no_component_is_matched_with_two_networks(networks):
    """Two networks resemble the same component, but only one of them gets it."""
    components = np.stack([networks[0] + 0.9 * networks[1], networks[2] + 0.1 * networks[1]])
    partner, abs_r = score.match_planted(networks, components)
    assert sorted(partner.tolist()) == [-1, 0, 1]
    assert partner[0] == 0
    assert partner[2] == 1
    assert abs_r[1] == 0


def test_constant_component_matches_nothing(networks):
    _, abs_r = score.match_planted(networks[:1], np.ones((1, networks.shape[1])))
    assert abs_r == pytest.approx(0)


def test_network_passes_by_map_and_by_terms():
    rows = [{"network": name, "terms": "hand, finger, motor"} for name in "abcd"]
    terms = {
        "ICA_00": ["finger", "brain", "hand"],
        "ICA_01": ["finger", "brain", "task"],
        "ICA_02": ["finger", "hand", "motor"],
    }
    found, abs_r = ["ICA_00", "ICA_01", "ICA_02", None], np.array([0.95, 0.95, 0.85, 0])
    scores = score.score_networks(rows, found, abs_r, terms, None)
    assert [row["passed"] for row in scores] == [True, False, False, False]
    assert [row["found"] for row in scores] == found
    for significant, passed in ({"hand", "motor", "brain"}, True), ({"hand", "brain"}, False):
        first = score.score_networks(rows, found, abs_r, terms, {"ICA_00": significant})[0]
        assert (first["significant"], first["passed"]) == (len(significant) - 1, passed)


@pytest.mark.parametrize(("n_components", "labels"), [(12, ["ICA_05", None]), (101, ["ICA_005", None])])
def test_components_are_called_as_in_all_other_tables(n_components, labels):
    assert score.labels_of(np.array([5, -1]), n_components) == labels


def test_generic_terms_must_not_be_significant():
    rows = [
        {"component": label, "term": term, "q": q}
        for label, term, q in [("ICA_00", "motor", 0.01), ("ICA_00", "task", 0.05), ("ICA_01", "brain", 0.049)]
    ]
    significant = score.significant_terms(rows)
    assert significant == {"ICA_00": {"motor"}, "ICA_01": {"brain"}}
    scores = {row["id"]: row for row in score.score_generic_terms(significant)}
    assert not scores["brain"]["passed"]
    assert scores["brain"]["found"] == "ICA_01"
    assert scores["task"]["passed"]
    assert "motor" not in scores
    assert score.significant_terms([{"component": "ICA_00", "term": "motor", "q": None}]) is None


def test_top_terms_are_the_three_of_lowest_rank():
    rows = [
        {"component": "ICA_03", "term": term, "rank": rank} for term, rank in zip("badce", (2, 1, 4, 3, 5), strict=True)
    ]
    assert score.strongest_terms(rows) == {"ICA_03": ["a", "b", "c"]}


def test_fates_are_used_rejected_or_not_selected():
    truth = [image(1, "used"), image(2, "empty"), image(3, "not_selected")]
    fates = score.fates(truth, [{"image_id": 1}], [{"image_id": 2, "reason": "empty"}])
    assert fates == {1: "used", 2: "empty", 3: "not_selected"}


@pytest.mark.parametrize(
    ("fate", "passed"), [("few_values", True), ("one_signed", True), ("used", False), ("not_selected", False)]
)
def test_any_of_the_expected_fates_passes(fate, passed):
    (row,) = score.score_images([image(1, "few_values or one_signed", dirt="mask")], {1: fate})
    assert row["passed"] is passed
    assert row["found"] == fate
    assert row["detail"] == "mask"


@pytest.mark.parametrize(
    ("original", "copy", "passed"),
    [
        ("used", "duplicate", [True, True]),
        ("duplicate", "used", [True, True]),
        ("used", "used", [True, False]),
        ("duplicate", "duplicate", [False, True]),
        ("empty", "used", [False, True]),
    ],
)
def test_either_an_image_or_its_copy_must_be_used(original, copy, passed):
    truth = [image(1, "used"), image(2, "duplicate", copy_of=1)]
    assert [row["passed"] for row in score.score_images(truth, {1: original, 2: copy})] == passed


@pytest.fixture
def run(tmp_path, networks):
    """Truth and results of a tiny run with two networks. ICA_00 is the second network inverted, ICA_01 the first."""
    shape = (16, 16, 17)
    inside = np.zeros(shape, dtype=bool)
    inside[:, :, 1:] = True

    def volumes(maps):
        data = np.zeros((*shape, len(maps)), dtype=np.float32)
        data[inside] = np.asarray(maps).T
        return nib.Nifti1Image(data, np.eye(4))

    nib.save(volumes(networks[:2]), tmp_path / "networks.nii.gz")
    nib.save(volumes([-networks[1], networks[0]]), tmp_path / "components.nii.gz")
    paths = {
        "networks": tmp_path / "truth" / "networks.tsv",
        "truth_images": tmp_path / "truth" / "images.tsv",
        "terms": tmp_path / "project_terms" / "desc-ICA_terms.tsv",
        "names": tmp_path / "project_terms" / "desc-ICA_names.tsv",
        "map_terms": tmp_path / "project_terms" / "desc-ICA_termmaps.tsv",
        "images": tmp_path / "stack_images" / "images.tsv",
        "rejected": tmp_path / "stack_images" / "rejected.tsv",
    }
    write_partial(
        paths["networks"], [{"network": "first", "terms": "a, b, c"}, {"network": "second", "terms": "d, e, f"}]
    )
    write_partial(paths["truth_images"], [image(1, "used"), image(2, "empty", dirt="all zero")])
    ranked = [("ICA_00", "d"), ("ICA_00", "e"), ("ICA_01", "a"), ("ICA_01", "c")]
    write_partial(
        paths["terms"],
        [
            {"component": label, "term": term, "rank": 1 + n % 2, "weight": 1.0}
            for n, (label, term) in enumerate(ranked)
        ],
    )
    write_partial(
        paths["names"], [{"component": "ICA_00", "name": "e; d"}, {"component": "ICA_01", "name": "c (left)"}]
    )
    write_partial(
        paths["map_terms"],
        [
            {"component": label, "term": term, "rank": rank}
            for label, terms in (("ICA_00", "fa"), ("ICA_01", "bf"))
            for rank, term in enumerate(terms, start=1)
        ],
    )
    write_partial(paths["images"], [{"image_id": 1}])
    write_partial(paths["rejected"], [{"image_id": 2, "reason": "empty", "stage": "mask_images"}])
    return {name: str(path) for name, path in paths.items()} | {
        "networks_img": str(tmp_path / "networks.nii.gz"),
        "components": str(tmp_path / "components.nii.gz"),
        "recovery": str(tmp_path / "check_demo" / "recovery.tsv"),
    }


def test_main_writes_a_row_for_each_network_and_image(run, caplog):
    caplog.set_level(logging.INFO)
    check_demo.main(**run)
    rows = read_table(run["recovery"])
    assert [(row["id"], row["found"], row["passed"]) for row in rows] == [
        ("first", "ICA_01", True),
        ("second", "ICA_00", True),
        ("first", "c (left)", True),
        ("second", "e; d", True),
        ("first", "b", True),
        ("second", "f", True),
        ("1", "used", True),
        ("2", "empty", True),
    ]
    assert rows[0]["abs_r"] == pytest.approx(1, abs=1e-4)
    assert "2 of 2 networks recovered, mean |r| 1.000" in caplog.text
    assert "2 of 2 images as expected" in caplog.text
    assert "2 of 2 names are terms of the network; 2 of 2 closest term maps are terms of the network" in caplog.text
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_main_logs_what_failed(run, caplog):
    write_partial(run["rejected"], [{"image_id": 2, "reason": "coverage"}])
    check_demo.main(**run)
    assert "1 of 2 images as expected" in caplog.text
    assert "; 2: expected empty, found coverage" in caplog.text
    assert caplog.records[0].levelname == "WARNING"


def test_names_of_other_networks_fail(run, caplog):
    """Components without a name fail, too. Without term maps, no closest map is scored."""
    write_partial(run["names"], [{"component": "ICA_00", "name": "a; d"}, {"component": "ICA_01", "name": None}])
    write_partial(run["map_terms"], [])
    check_demo.main(**run)
    rows = [row for row in read_table(run["recovery"]) if row["kind"] in ("name", "term map")]
    assert [(row["kind"], row["found"], row["detail"], row["passed"]) for row in rows] == [
        ("name", None, "ICA_01", False),
        ("name", "a; d", "ICA_00", False),
    ]
    assert "0 of 2 names are terms of the network" in caplog.text
    assert "second: expected d, e, f, found a; d" in caplog.text


def test_components_may_have_another_grid(run):
    img = nib.load(run["components"])
    coarse = np.asarray(img.dataobj)[::2, ::2, ::2]
    nib.save(nib.Nifti1Image(coarse, img.affine @ np.diag([2, 2, 2, 1])), run["components"])
    check_demo.main(**run)
    networks = [row for row in read_table(run["recovery"]) if row["kind"] == "network"]
    assert [row["found"] for row in networks] == ["ICA_01", "ICA_00"]
    assert all(row["abs_r"] > 0.99 for row in networks)
