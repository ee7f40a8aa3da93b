"""The simulated archive: planted networks, images, faults, records and terms."""

import gzip
import json
import shutil
import zlib
from collections import Counter
from pathlib import Path

import build_demo_archive
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from neurovault_ica.archive.database_files import find_database
from neurovault_ica.demo import dirt, networks, records, studies, volumes
from neurovault_ica.demo.score import match_planted
from neurovault_ica.demo.volumes import SimulatedVolume
from neurovault_ica.naming.coordinates import read_database
from neurovault_ica.runtime.tables import read_table

RECORDED = Path(__file__).parents[3] / "shared" / "neurovault" / "recorded"


@pytest.fixture(scope="module")
def home(demo_archive):
    """Folder with the demo archive and its truth."""
    return demo_archive / "results/build_demo_archive"


@pytest.fixture(scope="module")
def truth(home):
    return {row["image_id"]: row for row in read_table(home / "truth" / "images.tsv")}


@pytest.fixture(scope="module")
def brain():
    from nilearn.datasets import load_mni152_brain_mask

    mask = load_mni152_brain_mask(resolution=2)
    return SimulatedVolume(np.asarray(mask.dataobj, dtype=np.float32), mask.affine)


@pytest.fixture(scope="module")
def sd(brain):
    return volumes.render_all(brain.data > 0, brain.affine).std(axis=1)


def of_kind(truth, kind):
    """Return the row of the only image with this fault."""
    (row,) = [row for row in truth.values() if row["dirt"] == kind]
    return row


def file_of(home, row, name="image_{}.nii.gz"):
    return home / "archive" / "neurovault" / f"collection_{row['collection_id']}" / name.format(row["image_id"])


def record_of(home, row):
    return json.loads(file_of(home, row, "image_{}_metadata.json").read_text())


def voxels(home, row):
    return np.asarray(nib.load(file_of(home, row)).dataobj)


# --- the archive as a whole


def test_nilearn_reads_the_archive_offline(home, truth, tmp_path):
    from nilearn.datasets import fetch_neurovault

    # Use a copy, because nilearn writes its own paths into the records even offline.
    shutil.copytree(home / "archive", tmp_path / "archive")
    bunch = fetch_neurovault(
        mode="offline",
        data_dir=tmp_path / "archive",
        max_images=None,
        collection_terms={},
        image_terms={},
        verbose=0,
    )
    assert {str(meta["id"]) for meta in bunch.images_meta} == set(truth) - {of_kind(truth, "file missing")["image_id"]}


def test_the_archive_has_many_images_grids_and_map_types(home, truth):
    fates = Counter(row["expected_fate"] for row in truth.values())
    assert fates["used"] >= 60
    assert fates.total() - fates["used"] >= 25
    assert len({row["collection_id"] for row in truth.values()}) >= 20
    grids = set()
    map_types = Counter()
    for row in truth.values():
        if row["expected_fate"] == "used":
            image = nib.load(file_of(home, row))
            grids.add((image.shape[:3], image.affine.round(2).tobytes()))
            map_types[record_of(home, row)["map_type"]] += 1
    assert len(grids) >= 9
    assert min(map_types[kind] for kind in ("Z map", "T map", "univariate-beta map")) >= 10
    assert sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) < 60e6


def test_every_kind_of_fault_occurs(truth):
    assert {row["dirt"] for row in truth.values()} == set(dirt.DIRT) - {"NaN background"}
    assert {row["background"] for row in truth.values()} == {"zero", "NaN"}


def test_no_collection_exceeds_the_default_limit(truth):
    assert max(Counter(row["collection_id"] for row in truth.values()).values()) <= 10


def test_the_same_seed_gives_the_same_bytes(home, truth, brain, sd):
    for plan in build_demo_archive.plan_archive(0)[::11]:
        scene = volumes.make_scene((plan.origin or plan).study.grid, brain, sd)
        made = build_demo_archive.make_image(plan, scene, 0)
        row = truth[str(plan.id)]
        assert (made.content or b"") == (file_of(home, row).read_bytes() if made.content else b"")
        assert made.record == record_of(home, row)
        if made.terms:
            assert made.terms == file_of(home, row, "neurosynth_words_for_image_{}.json").read_text()


def test_another_seed_plants_the_same_networks_in_other_images(brain, sd):
    first, other = (build_demo_archive.plan_archive(seed) for seed in (0, 1))
    assert [plan.id for plan in first] == [plan.id for plan in other]
    assert all(a.weights != b.weights for a, b in zip(first, other, strict=True))
    scene = volumes.make_scene("FSL 4 mm", brain, sd)
    a, b = (build_demo_archive.simulate(first[0], scene, seed)[scene.mask] for seed in (0, 1))
    # The weights are the same and the noise differs, so the images correlate only by their networks.
    assert 0.4 < np.corrcoef(a, b)[0, 1] < 0.95


# --- the planted networks


def test_planted_networks_have_unit_variance_in_the_brain_and_are_zero_outside(home, brain):
    data = np.asarray(nib.load(home / "truth" / "networks.nii.gz").dataobj)
    assert data.shape == (*brain.data.shape, 12)
    assert data[brain.data > 0].std(axis=0, dtype=np.float64) == pytest.approx(1, abs=1e-3)
    assert not data[brain.data == 0].any()


def test_networks_are_nearly_uncorrelated_and_peak_positive_at_a_focus(home, brain):
    image = nib.load(home / "truth" / "networks.nii.gz")
    data = np.asarray(image.dataobj)
    r = np.corrcoef(data[brain.data > 0].T) - np.eye(12)
    assert np.abs(r).max() < 0.2
    for number, network in enumerate(networks.NETWORKS):
        volume = data[..., number]
        assert volume.max() > -volume.min()
        peak_mm = nib.affines.apply_affine(image.affine, np.unravel_index(volume.argmax(), volume.shape))
        distances = [np.linalg.norm(peak_mm - focus[:3]) for focus in network.foci if focus[3] >= 0.9]
        assert min(distances) < 5, network.name


def test_the_table_of_networks_is_in_the_order_of_the_volumes(home):
    rows = read_table(home / "truth" / "networks.tsv")
    assert [row["network"] for row in rows] == list(networks.NETWORK_NAMES)
    assert all(len(row["terms"].split(", ")) >= 3 and "doi:" in row["source"] for row in rows)


def test_no_term_is_planted_with_two_networks():
    planted = Counter(term for network in networks.NETWORKS for term in network.terms)
    related = {term for network in networks.NETWORKS for term in network.related}
    others = related | set(networks.GENERIC_TERMS) | set(networks.NOISE_TERMS)
    assert max(planted.values()) == 1
    assert not set(planted) & others


@pytest.mark.parametrize("grid", volumes.GRIDS)
def test_networks_have_the_same_position_on_every_grid(grid, brain, sd):
    scene = volumes.make_scene(grid, brain, sd)
    voxel_mm = np.linalg.norm(scene.affine[:3, :3], axis=0)
    volume_mm3 = abs(np.linalg.det(scene.affine[:3, :3]))
    # The template's brain has 1.88 litres. The SPM grids lack its lowest centimetres.
    assert scene.mask.sum() * volume_mm3 == pytest.approx((brain.data > 0).sum() * 8, rel=0.05)
    place = np.argwhere(scene.mask)[scene.networks[networks.NETWORK_NAMES.index("hand_motor")].argmax()]
    assert nib.affines.apply_affine(scene.affine, place) == pytest.approx([-38, -24, 56], abs=voxel_mm.max())


# --- the images


@pytest.mark.parametrize("grid", ["FSL 4 mm", "3.5 mm oblique"])
def test_an_image_is_its_weights_times_the_networks_plus_noise(grid, brain, sd):
    scene = volumes.make_scene(grid, brain, sd)
    plan = next(plan for plan in build_demo_archive.plan_archive(0) if len(plan.weights) == 3)
    values = build_demo_archive.simulate(plan, scene, 0)
    assert not values[~scene.mask].any()
    design = np.column_stack([scene.networks.T, np.ones(scene.mask.sum())])
    found, *_ = np.linalg.lstsq(design, values[scene.mask], rcond=None)
    planted = [build_demo_archive.SIGNAL * plan.weights.get(name, 0) for name in networks.NETWORK_NAMES]
    assert found[:-1] == pytest.approx(planted, abs=0.25)
    assert 0.85 < (values[scene.mask] - design @ found).std() < 1.3


@pytest.mark.parametrize("fwhm_mm", [6.0, 10.0])
def test_noise_has_the_given_smoothness(fwhm_mm, brain, sd):
    scene = volumes.make_scene("FSL 2 mm", brain, sd)
    noise = volumes.smooth_noise(scene, fwhm_mm, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=1e-3)
    # In noise smoothed with standard deviation s, voxels at distance d correlate by exp(-d^2 / 4 s^2).
    r = np.mean(noise[:-1] * noise[1:])
    assert 2.3548 * np.sqrt(2.0**2 / (-4 * np.log(r))) == pytest.approx(fwhm_mm, rel=0.05)


def test_an_ica_with_twelve_components_recovers_the_networks_of_another_seed(brain, sd):
    """The demo itself has seed 0."""
    from sklearn.decomposition import FastICA

    scene = volumes.make_scene("FSL 4 mm", brain, sd)
    plans = [plan for plan in build_demo_archive.plan_archive(1) if dirt.DIRT[plan.dirt].fate == "used"]
    X = np.stack([build_demo_archive.simulate(plan, scene, 1)[scene.mask] for plan in plans])
    X /= X.std(axis=1, keepdims=True)
    ica = FastICA(12, whiten="unit-variance", random_state=0, max_iter=200)
    S = ica.fit_transform(X.T).T
    _, abs_r = match_planted(scene.networks, S)
    assert ica.n_iter_ < 200
    assert abs_r.min() >= 0.9
    assert abs_r.mean() >= 0.95
    # A single image is much noisier than a component.
    single = np.abs(records.correlate_with_maps(X[0], scene.networks)).max()
    assert single < abs_r.min() - 0.05


@pytest.mark.parametrize("random_state", range(5))
def test_every_network_is_in_enough_studies(random_state):
    studies = {name: set() for name in networks.NETWORK_NAMES}
    for plan in build_demo_archive.plan_archive(random_state):
        assert 1 <= len(plan.weights) <= 3
        for name in plan.weights:
            studies[name].add(plan.study.id)
    assert min(len(found) for found in studies.values()) >= 5


def test_integer_files_keep_values_and_a_background_of_zero():
    data = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    data[0] = 0
    raw = volumes.nifti_bytes(SimulatedVolume(data, np.diag([2.0, 2, 2, 1])), dtype="int16", big_endian=True)
    image = nib.Nifti1Image.from_bytes(raw)
    assert image.get_data_dtype() == np.dtype(">i2")
    stored = np.asarray(image.dataobj)
    assert not stored[0].any()
    np.testing.assert_allclose(stored, data, atol=np.abs(data).max() / 60_000)


# --- the faults


def test_damaged_files_have_their_fault(home, truth):
    assert not file_of(home, of_kind(truth, "file missing")).exists()
    assert file_of(home, of_kind(truth, "HTML page saved as image")).read_bytes().startswith(b"<!DOCTYPE html>")
    with pytest.raises((EOFError, zlib.error)):
        gzip.decompress(file_of(home, of_kind(truth, "truncated gzip")).read_bytes())


def test_exact_duplicate_has_the_same_bytes_in_another_collection(home, truth):
    copy = of_kind(truth, "exact duplicate")
    original = truth[copy["copy_of"]]
    assert copy["collection_id"] != original["collection_id"]
    assert file_of(home, copy).read_bytes() == file_of(home, original).read_bytes()


@pytest.mark.parametrize(("kind", "factor"), [("sign-flipped copy", -1), ("duplicate in another unit", 250)])
def test_other_copies_are_multiples_of_the_original(kind, factor, home, truth):
    copy = of_kind(truth, kind)
    np.testing.assert_allclose(voxels(home, copy), factor * voxels(home, truth[copy["copy_of"]]), rtol=1e-5)


def test_backgrounds_are_nan_or_infinite_as_planned(home, truth):
    infinite = voxels(home, of_kind(truth, "infinite background"))
    assert np.isposinf(infinite).any()
    assert np.isneginf(infinite).any()
    with_nan = [row for row in truth.values() if row["background"] == "NaN" and row["dirt"] == "none"]
    assert all(np.isnan(voxels(home, row)).mean() > 0.3 for row in with_nan)


def test_four_dimensional_files_have_the_planned_number_of_volumes(home, truth):
    assert voxels(home, of_kind(truth, "4-D with one volume")).shape[3:] == (1,)
    assert voxels(home, of_kind(truth, "4-D with several volumes")).shape[3:] == (3,)


def test_faulty_images_have_the_values_of_their_fault(home, truth):
    def values(kind):
        return np.nan_to_num(voxels(home, of_kind(truth, kind)))

    assert np.isnan(voxels(home, of_kind(truth, "all NaN"))).all()
    assert not values("all zero").any()
    assert len(np.unique(values("constant"))) == 2
    assert len(np.unique(values("binary mask called Z map"))) == 2
    assert len(np.unique(values("three values"))) == 3
    assert values("one sign").min() == 0
    assert np.abs(values("beta called Z map")).max() > 1000
    assert np.abs(values("effect size called T map")).max() == pytest.approx(1)
    assert not nib.load(file_of(home, of_kind(truth, "affine of zeros"))).affine[:3, :3].any()
    threshold = dirt.DIRT["thresholded"].voxels
    scattered = np.random.default_rng(0).normal(size=(10, 10, 10))
    left = threshold(SimulatedVolume(scattered, np.eye(4)), np.ones((10, 10, 10), dtype=bool)).data
    assert np.count_nonzero(left) == 50
    assert set(left[left != 0]) == set(sorted(scattered.ravel(), key=abs)[-50:])


def test_cut_fields_of_view_keep_voxels_in_place(brain, sd):
    scene = volumes.make_scene("FSL 4 mm", brain, sd)
    world_z = (scene.affine[2, 2] * np.indices(scene.shape)[2] + scene.affine[2, 3]).astype(np.float32)
    for kind in ("field of view cut below", "slab"):
        cut = dirt.DIRT[kind].voxels(SimulatedVolume(world_z, scene.affine), scene.mask)
        assert cut.data[0, 0, 0] == pytest.approx(cut.affine[2, 3])


# --- the records


def test_records_have_the_keys_of_the_real_archive(home, truth):
    if not RECORDED.is_dir():
        pytest.skip("needs the recorded answers in ../shared/neurovault")
    real = json.loads((RECORDED / "neurostore_nv_02_collections_1039_images_format_json.json").read_text())["results"][
        0
    ]
    built_in = set(real) - {"CIAS", "type"}
    for row in truth.values():
        if row["dirt"] != "atlas":
            assert built_in <= set(record_of(home, row))
    atlas = record_of(home, of_kind(truth, "atlas"))
    assert atlas["image_type"] == "atlas"
    assert "map_type" not in atlas
    real = json.loads((RECORDED / "neurostore_nv_00_collections_json.json").read_text())["results"][0]
    for path in home.rglob("collection_metadata.json"):
        assert set(json.loads(path.read_text())) == set(real) | {"relative_path"}


def test_file_sizes_are_those_of_whole_files(home, truth):
    for row in truth.values():
        size = record_of(home, row)["file_size"]
        if row["dirt"] == "file missing":
            assert size == 0
        elif row["dirt"] in ("truncated gzip", "HTML page saved as image"):
            assert size > file_of(home, row).stat().st_size
        else:
            assert size == file_of(home, row).stat().st_size


def test_flags_are_computed_from_the_voxels(home, truth):
    thresholded = record_of(home, of_kind(truth, "thresholded"))
    assert thresholded["is_thresholded"] is True
    assert record_of(home, of_kind(truth, "no mask"))["perc_voxels_outside"] > 50
    ordinary = [record_of(home, row) for row in truth.values() if row["dirt"] == "none"]
    assert all(not record["is_thresholded"] and record["brain_coverage"] > 99 for record in ordinary)


def test_names_with_markup_and_unicode_are_stored_unchanged(home, truth):
    assert "<script>" in record_of(home, of_kind(truth, "name with markup"))["name"]
    assert "右手" in record_of(home, of_kind(truth, "Unicode name"))["name"]


def test_links_point_to_a_reserved_domain(home, truth):
    assert all(".invalid/" in record_of(home, row)["url"] for row in truth.values())


def test_a_negative_weight_is_named_by_the_opposite_contrast():
    rng = np.random.default_rng(0)
    study = studies.STUDIES[0]
    up, down = (
        build_demo_archive.describe_image(build_demo_archive.ImagePlan(1, study, {"language": weight}), rng)["name"]
        for weight in (1.0, -1.0)
    )
    assert up.split(" > ") == down.split(" > ")[::-1]


# --- the terms


def weights_of(home, row):
    return json.loads(file_of(home, row, "neurosynth_words_for_image_{}.json").read_text())["data"]["values"]


def test_term_weights_follow_the_network_and_generic_terms_do_not(home, truth):
    used = [row for row in truth.values() if row["expected_fate"] == "used" and row["terms"] == "known"]
    weights = [weights_of(home, row) for row in used]
    assert all(len(values) >= 150 for values in weights)
    assert all(round(value, 3) == value for values in weights for value in values.values())

    def planted(row, name):
        parts = dict(part.split(":") for part in row["planted"].split(", "))
        return float(parts.get(name, 0))

    for network in networks.NETWORKS:
        loadings = [planted(row, network.name) for row in used]
        for term in network.terms:
            assert np.corrcoef(loadings, [values[term] for values in weights])[0, 1] > 0.9
        for term in ("task", "activation", "smokers"):
            assert abs(np.corrcoef(loadings, [values[term] for values in weights])[0, 1]) < 0.5
    means = {term: np.mean([values[term] for values in weights]) for term in weights[0]}
    assert set(sorted(means, key=means.get)[-10:]) <= set(networks.GENERIC_TERMS)
    assert min(min(values.values()) for values in weights) < -0.1


def test_term_files_are_missing_or_malformed_as_planned(home, truth):
    kinds = Counter()
    for row in truth.values():
        path = file_of(home, row, "neurosynth_words_for_image_{}.json")
        kinds[row["terms"]] += 1
        if row["terms"] == "absent":
            assert not path.exists()
        elif row["terms"] == "truncated":
            with pytest.raises(json.JSONDecodeError):
                json.loads(path.read_text())
        elif row["terms"] == "error answer":
            assert "values" not in json.loads(path.read_text())["data"]
        else:
            assert weights_of(home, row)
    assert kinds["absent"] >= 5
    assert kinds["truncated"] == kinds["error answer"] == 1


def test_an_image_without_contrast_has_no_terms():
    mask = np.ones((4, 4, 4), dtype=bool)
    maps = np.random.default_rng(0).normal(size=(12, 64))
    rng = np.random.default_rng(0)
    assert records.term_weights(np.full((4, 4, 4), 3.0), mask, maps, rng) is None
    assert records.term_weights(np.zeros((4, 4, 4, 3)), mask, maps, rng) is None


def test_the_database_has_peaks_and_terms_of_each_network(home):
    """Studies with a network's first term report peaks near its foci several times as often as others."""
    database = read_database(find_database(home / "database", "terms"))
    assert len(database.studies) == 600
    spaces = pd.read_csv(home / "database/data-demo_version-1_metadata.tsv.gz", sep="\t")["space"].value_counts()
    assert {"MNI", "TAL", "UNKNOWN"} == set(spaces.index)
    assert spaces["TAL"] > 60
    for network in networks.NETWORKS:
        main = np.array(max(network.foci, key=lambda focus: focus[3])[:3])
        near = np.unique(database.study_of[np.linalg.norm(database.peaks_mm - main, axis=1) < 12])
        has = database.has_term[:, [database.terms.index(network.terms[0])]].toarray().ravel()
        is_near = np.isin(np.arange(600), near)
        assert 60 < has.sum() < 120
        assert is_near[has].mean() > 0.4 > 4 * is_near[~has].mean()
    assert set(networks.GENERIC_TERMS) | set(networks.NOISE_TERMS) < set(database.terms)
    generic = database.has_term[:, [database.terms.index(term) for term in networks.GENERIC_TERMS]].toarray()
    assert generic.mean() == pytest.approx(0.8, abs=0.02)
