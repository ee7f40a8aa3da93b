"""Held-out simulated contrasts load on their planted networks; bad maps are rejected with a reason."""

import os
import re
import shutil
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from build_demo_archive import ImagePlan, simulate
from conftest import orthogonal_rows
from made_maps import EGG, EGG_AFFINE, smooth_noise
from neurovault_ica.archive.own_maps import OwnMap, check_maps, files_of_maps, list_maps
from neurovault_ica.demo.networks import NETWORK_NAMES
from neurovault_ica.demo.studies import STUDIES
from neurovault_ica.demo.volumes import SimulatedVolume, make_scene, render_all
from neurovault_ica.images.maps import place_maps, write_maps
from neurovault_ica.images.targets import target_of
from neurovault_ica.naming.component_files import check_components, read_components
from neurovault_ica.naming.own_images import describe_rejection, judge_images, split_signs, treatment_of
from neurovault_ica.naming.projection import MIN_P, Projector, find_unusable, percentiles, project, project_run
from neurovault_ica.naming.projection_tables import group_by_map, rejected_rows
from neurovault_ica.report.projection import describe_percentile, strongest
from neurovault_ica.runtime.files import sha256_of
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from neurovault_ica.statistics.lattice import lattice_of
from partial_tables import write_partial
from project_images import main

SETTINGS = {"interpolation": "linear", "extrapolate_background": False, "clip_infinite": True, "smoothing_mm": None,
            "scale": "unit_variance", "signs": "together"}  # fmt: skip
LIMITS = {"max_zero_fraction": 0.6}
# Networks of the run, and their planted weights in the user's maps, which are not images of the run.
RUN_NETWORKS = ("visual", "default_mode", "salience", "memory")
LABELS = [f"ICA_{number:02d}" for number in range(len(RUN_NETWORKS))]
PLANTED = {"sub-1/con_0001": {"salience": 1.0}, "sub-2/con_0001": {"memory": -0.9, "visual": 0.8}}


def write_run(folder, masks, rng):
    """Write the files of a finished run that project_images reads: four networks in 30 images."""
    mask = str(masks / "mask.nii.gz")
    inside = np.asarray(nib.load(mask).dataobj) > 0
    networks = render_all(inside, nib.load(mask).affine)[[NETWORK_NAMES.index(name) for name in RUN_NETWORKS]]
    S = orthogonal_rows(networks).astype(np.float32)
    S *= np.sign((S * networks).sum(axis=1, keepdims=True))
    X = (rng.normal(size=(30, 4)) @ S + rng.normal(size=(30, S.shape[1]))).astype(np.float32)
    X /= X.std(axis=1, keepdims=True)
    for part in ("run_ica", "stack_images", "project_terms"):
        (folder / part).mkdir(parents=True)
    files = {
        "components": folder / "run_ica/components.nii.gz",
        "names": folder / "project_terms/desc-ICA_names.tsv",
        "images": folder / "stack_images/images.tsv",
        "matrix": folder / "stack_images/matrix.npy",
    }
    maps = place_maps(S, mask)
    write_maps(files["components"], maps.header, (maps.volume(k) for k in range(4)))
    np.save(files["matrix"], X)
    write_partial(files["names"], [{"component": k, "name": n} for k, n in zip(LABELS, RUN_NETWORKS, strict=True)])
    columns = [name for name in column_names(files["images"]) if not name.endswith("activation_scale")]
    rows = [dict.fromkeys(columns) | {"image_id": f"i{row}", "collection_id": "c", "row": row} for row in range(30)]
    write_table(files["images"], rows, columns)
    return {name: str(file) for name, file in files.items()}, S, X


def write_own_maps(folder, masks):
    """Write two held-out contrasts with the same file name, and maps that cannot be used."""
    brain_img = nib.load(masks / "brain.nii.gz")
    brain = SimulatedVolume(np.asarray(brain_img.dataobj), brain_img.affine)
    scene = make_scene("FSL 4 mm", brain, render_all(brain.data > 0, brain.affine).std(axis=1))
    for number, (name, weights) in enumerate(PLANTED.items()):
        (folder / name).parent.mkdir(parents=True)
        values = simulate(ImagePlan(990_000 + number, STUDIES[number], weights), scene, 7)
        nib.save(nib.Nifti1Image(values, scene.affine), folder / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image(np.where(values > 2, values, 0), scene.affine), folder / "sub-2/thresholded.nii")
    (folder / "sub-2/broken.nii.gz").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no map")
    (folder / ".hidden").mkdir()
    (folder / ".hidden/map.nii.gz").write_bytes(b"")
    return values, scene


def every_voxel(run):
    """Return all voxels of the mask as points of the test."""
    return np.ones(run["S"].shape[1], dtype=bool)


@pytest.fixture(scope="module")
def run(tmp_path_factory, template_file):
    """Project the maps of a folder on the components of a run."""
    folder, masks = tmp_path_factory.mktemp("own"), Path(template_file).parent
    files, S, X = write_run(folder, masks, np.random.default_rng(0))
    write_own_maps(folder / "maps", masks)
    results = folder / "project_images"
    outputs = {name: str(results / f"{name}.tsv") for name in ("loadings", "maps", "rejected", "similar")}
    outputs |= {"heat_map": str(results / "heat_map.png"), "figures": str(results / "figures"),
                "page": str(results / "projection.html")}  # fmt: skip
    call = partial(
        main,
        mask=str(masks / "mask.nii.gz"),
        brain=str(masks / "brain.nii.gz"),
        template=template_file,
        own_maps=str(folder / "maps"),
        settings=SETTINGS,
        limits=LIMITS,
        display={"threshold": {"z": 2.5}, "min_cluster_mm3": 200},
        random_state=0,
        threads=2,
        source=None,
        **outputs,
    )
    call(**files)
    return {"call": call, "files": files, "results": results, "folder": folder, "masks": masks, "S": S, "X": X}


def test_held_out_contrasts_load_on_their_planted_networks(run):
    rows = read_table(run["results"] / "loadings.tsv")
    assert list(rows[0]) == ["map", "component", "name", "loading", "se", "p", "percentile", "r", "q"]
    assert [(row["map"], row["component"]) for row in rows] == [(own, label) for own in PLANTED for label in LABELS]
    for own, weights in PLANTED.items():
        found = {row["name"]: row for row in rows if row["map"] == own}
        assert {name for name, row in found.items() if row["q"] < 0.05} == set(weights)
        for name, weight in weights.items():
            assert np.sign(found[name]["loading"]) == np.sign(weight)
            assert abs(found[name]["loading"]) > 3 * found[name]["se"]
    most = max(rows, key=lambda row: row["loading"])
    assert (most["map"], most["name"], most["p"]) == ("sub-1/con_0001", "salience", MIN_P)


def test_loadings_percentiles_and_similar_images_are_those_of_least_squares(run):
    rows = read_table(run["results"] / "loadings.tsv")
    target = target_of(nib.load(run["masks"] / "mask.nii.gz"))
    own = OwnMap("x", str(run["folder"] / "maps/sub-1/con_0001.nii.gz"), None)
    brain = str(run["masks"] / "brain.nii.gz")
    values = next(judge_images([own], target, brain, treatment_of(SETTINGS), {}, every_voxel(run))).values
    design = np.vstack([np.ones(values.size), run["S"]]).T.astype(np.float64)
    expected = np.linalg.lstsq(design, values, rcond=None)[0][1:]
    np.testing.assert_allclose([row["loading"] for row in rows[:4]], expected, atol=1e-5)
    of_run = np.linalg.lstsq(design, run["X"].T.astype(np.float64), rcond=None)[0][1:].T
    shares = [100 * np.mean(of_run[:, k] < expected[k]) for k in range(4)]
    np.testing.assert_allclose([row["percentile"] for row in rows[:4]], shares)
    r = np.corrcoef(values, run["X"])[0, 1:]
    first = read_table(run["results"] / "similar.tsv")[0]
    assert (first["image_id"], first["rank"]) == (f"i{r.argmax()}", 1)
    assert first["r"] == pytest.approx(r.max(), abs=1e-5)
    explained = 1 - (values - design @ np.linalg.lstsq(design, values, rcond=None)[0]).var() / values.var()
    assert read_table(run["results"] / "maps.tsv")[0]["variance_explained"] == pytest.approx(explained, abs=1e-5)


def test_bad_maps_are_rejected_with_a_reason_and_other_files_are_left_out(run):
    rejected = {row["map"]: row for row in read_table(run["results"] / "rejected.tsv")}
    assert {name: row["reason"] for name, row in rejected.items()} == {
        "broken": "damaged_file",
        "thresholded": "thresholded",
    }
    assert rejected["thresholded"]["file"] == "sub-2/thresholded.nii"
    assert rejected["thresholded"]["threshold"] == 0.6
    assert float(rejected["thresholded"]["value"]) > 0.6


def test_page_and_figures_are_written(run):
    page = (run["results"] / "projection.html").read_text()
    assert re.search(r"Loads on <strong>ICA_02.*?salience.*?more than (all|\d+ % of the) 30 images", page)
    assert "Too much of the brain is zero" in page
    assert not re.search("https?://", page)
    # The table rounds percentiles down, as the sentences do: 29 of 30 images are 96 %.
    by_map = group_by_map(read_table(run["results"] / "loadings.tsv"))
    listed = [int(row["percentile"] + 1e-6) for rows in by_map.values() for row in strongest(rows)]
    assert [int(found) for found in re.findall(r'<td class="n">(\d+)</td></tr>', page)] == listed
    for row in read_table(run["results"] / "maps.tsv"):
        assert (run["results"] / row["figure"]).stat().st_size > 10_000
        assert (run["results"] / row["figure"]).with_suffix(".pdf").is_file()


def test_maps_that_are_all_bad_are_an_error_that_names_them(run):
    with pytest.raises(RuntimeError, match=r"none of the 1 maps .*broken.nii.gz can be projected \(1 damaged_file\)"):
        run["call"](**run["files"] | {"own_maps": str(run["folder"] / "maps/sub-2/broken.nii.gz")})
    assert not (run["results"] / "heat_map.pdf").exists()


@pytest.mark.parametrize(
    ("value", "threshold", "sentence"),
    [(0.1, 0.6, "coverage (0.1, limit 0.6)"), ("3 volumes", None, "coverage (3 volumes)"), (None, None, "coverage")],
)
def test_a_rejection_tells_what_was_found_and_the_limit(value, threshold, sentence):
    assert describe_rejection({"reason": "coverage", "value": value, "threshold": threshold}) == sentence


def test_with_split_signs_a_map_has_two_halves(run):
    own = [OwnMap("x", str(run["folder"] / "maps/sub-2/con_0001.nii.gz"), None)]
    target, brain = target_of(nib.load(run["masks"] / "mask.nii.gz")), str(run["masks"] / "brain.nii.gz")
    split = treatment_of(SETTINGS | {"signs": "split"})
    points = every_voxel(run)
    whole = next(judge_images(own, target, brain, split, {}, points))
    halves = split_signs([whole], split, points)
    assert [half.title for half in halves] == ["x (activation)", "x (deactivation)"]
    for half, sign in zip(halves, (1, -1), strict=True):
        expected = np.maximum(sign * whole.values, 0)
        np.testing.assert_allclose(half.values, expected / expected.std(), rtol=1e-4)
    positive = whole._replace(values=np.abs(whole.values))
    assert [half.note for half in split_signs([positive], split, points)] == ["it has no deactivation"]
    points = whole.values > 0
    (left,) = split_signs([whole], split, points)
    assert (left.sign, left.note) == ("activation", "its deactivation lies in too few voxels for a test")


def test_five_percent_of_unrelated_maps_have_p_below_five_percent(monkeypatch):
    monkeypatch.setattr("neurovault_ica.naming.projection.N_SURROGATES", 208)
    rng = np.random.default_rng(0)
    S = np.array([smooth_noise(rng, 20, symmetry=0.3) for _ in range(10)])
    lattice = lattice_of(EGG, EGG_AFFINE)
    projector, on_lattice = Projector(S), Projector(S[:, lattice.points])
    maps = [smooth_noise(rng, 15, symmetry=0.3).astype(np.float32) for _ in range(12)]
    p = np.array([project(one, projector, on_lattice, lattice, rng).p for one in maps])
    assert abs((p <= 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 120)
    # Standard errors of least squares treat voxels as independent. With them, more than half of p would be below 5 %.
    loadings = projector.loadings(np.stack(maps))
    naive = 1 / np.sqrt(S.shape[1]) * np.std(maps, axis=1)
    assert (np.abs(loadings / naive[:, None]) > 1.96).mean() > 0.5


def test_a_constant_added_to_a_map_changes_nothing():
    """Halves of split maps have a large mean, which the intercept takes up in the map and in its surrogates."""
    rng = np.random.default_rng(2)
    lattice = lattice_of(EGG, EGG_AFFINE)
    S = np.array([smooth_noise(rng, 15) for _ in range(3)])
    projector, on_lattice = Projector(S), Projector(S[:, lattice.points])
    one = (smooth_noise(rng, 12) + 0.5 * S[0]).astype(np.float32)
    found, shifted = (
        project(values, projector, on_lattice, lattice, np.random.default_rng(0)) for values in (one, one + 4)
    )
    for expected, values in zip(found, shifted, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-4)


def test_each_map_that_cannot_be_projected_is_a_row_and_stops_no_other(run, tmp_path, monkeypatch):
    mask = nib.load(run["masks"] / "mask.nii.gz")
    target, inside = target_of(mask), np.asarray(mask.dataobj) > 0
    lattice = lattice_of(inside, mask.affine)
    folder = tmp_path / "maps"
    shutil.copytree(run["folder"] / "maps/sub-1", folder)
    good = nib.load(folder / "con_0001.nii.gz")
    for name, factor in (("huge", 1e36), ("tiny", 1e-30)):
        nib.save(nib.Nifti1Image((good.get_fdata() * factor).astype("f4"), good.affine), folder / f"{name}.nii.gz")
    dot = np.zeros(inside.shape, dtype="f4")
    for place in np.argwhere(inside)[~lattice.points][5:7]:
        dot[tuple(place)] = 3
    nib.save(nib.Nifti1Image(dot, mask.affine), folder / "dot.nii.gz")
    for name in (b"a{b}.nii", b"\xfc.nii.gz"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    (folder / "folder.nii.gz").mkdir()
    (folder / "gone.nii").symlink_to("nowhere.nii")
    (folder / "secret.nii").write_bytes(b"")
    monkeypatch.setattr(
        "neurovault_ica.archive.image_status.sha256_of",
        lambda path: open_secret() if path.stem == "secret" else sha256_of(path),
    )
    maps, _ = list_maps(str(folder))
    plain = treatment_of(SETTINGS | {"scale": "none"})
    judged = list(judge_images(maps, target, str(run["masks"] / "brain.nii.gz"), plain, {}, lattice.points))
    rows = {row["map"]: (row["reason"], row["value"]) for row in rejected_rows(judged, str(folder))}
    assert [one.own.name for one in judged if one.values is not None] == ["con_0001"]
    assert rows == {
        "a{b}": ("unusable_path", "the path has {, which Snakemake would replace; rename it"),
        "\ufffd": ("unusable_path", "the path is not UTF-8, which Snakemake needs; rename it, such as with convmv"),
        "dot": ("too_few_voxels", "2 voxels"),
        "folder": ("unreadable", "it is a folder, not a file"),
        "gone": ("missing_file", None),
        "huge": ("extreme_values", rows["huge"][1]),
        "secret": ("unreadable", "Permission denied"),
        "tiny": ("extreme_values", rows["tiny"][1]),
    }
    write_table(
        tmp_path / "rejected.tsv", rejected_rows(judged, str(folder)), described_as="project_images/rejected.tsv"
    )
    scaled = treatment_of(SETTINGS | {"smoothing_mm": 8, "signs": "split"})
    huge = [own for own in maps if own.name in ("huge", "tiny")]
    found = list(judge_images(huge, target, str(run["masks"] / "brain.nii.gz"), scaled, {}, lattice.points))
    # Scaling to unit variance keeps maps of any unit.
    assert [half.title for half in split_signs(found, scaled, lattice.points)] == [
        f"{name} ({sign})" for name in ("huge", "tiny") for sign in ("activation", "deactivation")
    ]


def open_secret():
    raise PermissionError(13, "Permission denied", "secret.nii")


def test_folders_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    (tmp_path / "x.nii").write_bytes(b"")
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    maps, warnings = list_maps(str(tmp_path))
    assert [own.name for own in maps] == ["x"]
    assert warnings == [f"the folder {tmp_path}/closed cannot be read: Permission denied"]


def test_components_on_which_nothing_can_be_projected_are_found():
    lattice = lattice_of(np.ones((20, 20, 20), dtype=bool), np.diag([2.0, 2, 2, 1]))
    S = np.random.default_rng(0).normal(size=(7, lattice.points.size))
    S[1] = 4
    S[2] = 0
    S[2, np.flatnonzero(~lattice.points)[:3]] = 1
    S[4] = -2 * S[3] + 1
    S[6, lattice.points] = S[0, lattice.points] + S[5, lattice.points]
    assert find_unusable(S, list("abcdefg"), lattice) == {
        "b": ("constant", "all values are 4"),
        "c": ("too_few_voxels", "3 voxels"),
        "e": ("dependent", "depends on d"),
        "g": ("dependent", "depends on a, f"),
    }


def test_components_that_depend_on_each_other_are_refused():
    S = np.random.default_rng(0).normal(size=(4, 500))
    with pytest.raises(ValueError, match=r"components 0, 1, 3 are linearly dependent over the mask"):
        Projector(np.vstack([S[:3], S[0] - S[1]]))
    with pytest.raises(ValueError, match=r"component volume_7 is constant at the points"):
        Projector(np.vstack([S[:2], np.ones(500)]), ["ICA_0", "ICA_1", "volume_7"], "at the points")


def test_overlapping_components_share_a_map_as_in_the_regression():
    rng = np.random.default_rng(0)
    S = rng.normal(size=(3, 5000))
    S[1] += S[0]
    S = 7 * S + 3
    unit = (S - S.mean(axis=1, keepdims=True)) / S.std(axis=1, keepdims=True)
    X = (np.array([[0.5, 0, -2]]) @ unit + 10).astype(np.float32)
    found = project_run(X, Projector(S), X)
    np.testing.assert_allclose(found.loadings, [[0.5, 0, -2]], atol=1e-4)
    np.testing.assert_allclose(found.r, 1)
    assert percentiles(np.array([1.0, 0]), np.array([[0.0, 0], [0.5, 1], [2, -1], [1, 2]])).tolist() == [50, 25]


def test_maps_of_a_table_have_their_ids_and_types(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"")
    table = tmp_path / "maps.tsv"
    table.write_text("file\timage_id\tcollection_id\tmap_type\na.nii\t7\t1\tZ map\ngone.nii\tb\t1\tn/a\n")
    maps, warnings = list_maps(str(table))
    assert maps == [OwnMap("7", str(tmp_path / "a.nii"), "Z map"), OwnMap("b", str(tmp_path / "gone.nii"), None)]
    assert "gone.nii" in warnings[0]
    assert files_of_maps(str(table)) == [str(table), str(tmp_path / "a.nii")]


def test_equal_file_names_are_told_apart_by_folder_and_extension(tmp_path):
    files = "a/x.nii b/x.nii b/x.nii.gz b/Y.NII.GZ z.mgz b/pair.img b/pair.hdr lone.HDR b/x.json"
    for file in files.split():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    names = [own.name for own in list_maps(str(tmp_path))[0]]
    assert names == ["a/x", "Y", "pair", "b/x.nii", "b/x.nii.gz", "lone", "z"]
    (tmp_path / "b/loop").symlink_to(tmp_path)
    (tmp_path / "a_link_beside").symlink_to(tmp_path / "b")
    assert [own.name for own in list_maps(str(tmp_path))[0]] == names


def test_paths_that_snakemake_cannot_handle_are_refused(tmp_path):
    for name, message in (
        (b"a{b}.nii", r".*/a\{b\}\.nii has \{, which"),
        (b"a <results>.nii", r".*/a <results>\.nii has <results>, which"),
        (b"\xfc.nii.gz", "\ufffd\\.nii\\.gz is not UTF-8"),
    ):
        file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        file.write_bytes(b"")
        with pytest.raises(ValueError, match=f"project_images.maps: the path .*{message}"):
            list_maps(str(file))
        assert files_of_maps(str(tmp_path)) == []
        with pytest.raises(ValueError, match=f"project_images.components: the path .*{message}"):
            check_components(str(file))
        file.unlink()


@pytest.mark.parametrize(
    ("percentile", "loading", "n_images", "sentence"),
    [
        (100.0, 0.4, 103, "more than all 103 images"),
        (100 * 1999 / 2000, 0.4, 2000, "more than 99 % of the 2,000 images"),
        (100 * 29 / 50, 0.4, 50, "more than 58 % of the 50 images"),
        (100 * 1 / 50, -0.4, 50, "more negatively than 98 % of the 50 images"),
        (None, 0.4, 0, ""),
    ],
)
def test_a_percentile_is_rounded_down_so_that_it_never_reads_as_all(percentile, loading, n_images, sentence):
    assert describe_percentile({"percentile": percentile, "loading": loading}, n_images) == sentence


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (None, "project_images.maps is null; give a folder"),
        ("nowhere", "there is no file or folder nowhere"),
        (".", "subfolders have no map; give a folder"),
        ("table.tsv", "project_images.maps: table.tsv.*image_id"),
    ],
)
def test_mistakes_in_the_maps_are_explained(tmp_path, monkeypatch, maps, message):
    monkeypatch.chdir(tmp_path)
    Path("table.tsv").write_text("file\nx.nii\n")
    with pytest.raises(ValueError, match=message):
        check_maps({"maps": maps})
    assert files_of_maps(maps) == []


def test_any_4d_file_of_networks_can_be_projected_on(run, tmp_path, caplog):
    volumes = np.zeros((*nib.load(run["files"]["components"]).shape[:3], 8), dtype=np.float32)
    volumes[..., :4] = nib.load(run["files"]["components"]).get_fdata()
    volumes[..., 5] = 1
    volumes[..., 6] = 3 * volumes[..., 1]
    # Large values outside the brain of a single volume do not put the others outside.
    volumes[..., 7] = np.nan
    volumes[:3, :3, :3, 7] = 1e30
    file = tmp_path / "networks.NII"
    nib.save(nib.Nifti1Image(volumes[..., [0, 4, 1, 2, 3, 5, 6, 7]], nib.load(run["files"]["components"]).affine), file)
    (tmp_path / "networks.txt").write_text("see\nempty\nrest\nnotice\nremember\nconstant\ncopy\nedge\n")
    found = read_components(str(file), str(run["masks"] / "mask.nii.gz"))
    assert found.labels == ["volume_00", "volume_02", "volume_03", "volume_04"]
    assert found.names == ["see", "rest", "notice", "remember"]
    np.testing.assert_allclose(found.maps.values, run["S"], atol=1e-5)
    left_out = {row["component"]: (row["reason"], row["value"]) for row in found.left_out}
    assert left_out == {
        "volume_01": ("constant", "all values are 0"),
        "volume_05": ("constant", "all values are 1"),
        "volume_06": ("dependent", "depends on volume_02"),
        "volume_07": ("constant", "all values are 0"),
    }
    assert "left out volume_06: dependent (depends on volume_02)" in caplog.text
    inside = nib.load(run["masks"] / "mask.nii.gz").get_fdata() > 0
    between = ~lattice_of(inside, found.maps.affine).points
    volumes[(*np.argwhere(inside)[between][5], 4)] = 3
    nib.save(nib.Nifti1Image(volumes[..., 4:6], found.maps.affine), tmp_path / "none.nii")
    with pytest.raises(ValueError, match=r"none of its volumes can be used.*\(1 too few voxels, 1 constant\); choose"):
        read_components(str(tmp_path / "none.nii"), str(run["masks"] / "mask.nii.gz"))
    (tmp_path / "networks.txt").write_text("see\n")
    with pytest.raises(ValueError, match=r"8 volumes, but .* has 1 name;"):
        read_components(str(file), str(run["masks"] / "mask.nii.gz"))
    with pytest.raises(ValueError, match="is not a package of components, because it has no dataset_description"):
        check_components(str(tmp_path))
    with pytest.raises(ValueError, match="does not exist"):
        check_components("nowhere.nii")


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("probseg.nii.gz", cut, "project_images.components .*/package: "),
        ("probseg.nii.gz", spoil, "project_images.components .*/package: "),
        ("mask.nii.gz", lambda path: path.write_bytes(b""), "project_images.components .*/package: "),
        ("probseg.json", cut, r"probseg\.json is not valid JSON .* unchanged package"),
        ("probseg.json", lambda path: path.write_text("{}"), "probseg.json has no Treatment; give an unchanged"),
        (
            "dseg.tsv",
            lambda path: path.write_text(path.read_text().replace("component", "part")),
            "do not fit together",
        ),
    ],
)
def test_a_damaged_package_is_refused(run, tmp_path, name, change, message):
    space = tmp_path / "package/tpl-X"
    space.mkdir(parents=True)
    (space.parent / "dataset_description.json").write_text("{}")
    shutil.copy(run["files"]["components"], space / "tpl-X_desc-ICA_probseg.nii.gz")
    shutil.copy(run["masks"] / "mask.nii.gz", space / "tpl-X_desc-ICA_mask.nii.gz")
    (space / "tpl-X_desc-ICA_probseg.json").write_text('{"Treatment": {"scale": "unit_variance", "signs": "split"}}')
    rows = [{"index": k, "name": "n", "component": label, "source": "", "q": 0} for k, label in enumerate(LABELS)]
    write_table(space / "tpl-X_dseg.tsv", rows, described_as="package/dseg.tsv")
    missing = "interpolation, extrapolate_background, clip_infinite, smoothing_mm"
    with pytest.raises(ValueError, match=f"lacks the settings {missing} of"):
        treatment_of(read_components(str(space.parent), "unused").treatment)
    change(next(space.glob(f"*_{name}")))
    with pytest.raises(ValueError, match=message):
        read_components(str(space.parent), "unused")
