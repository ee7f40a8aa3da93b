"""Figures, thresholded maps and peaks of components that were made with known values."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import ROOT
from nilearn.reporting import get_clusters_table
from outputs import column_names, read_table, write_table
from PIL import Image
from plot_components import (
    Box,
    Scale,
    Volume,
    cut,
    facts_of,
    find_peaks,
    main,
    paint,
    peak_of,
    scale_of,
    shown_text,
    threshold_of,
    title_of,
)

AFFINE = np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
SHAPE = (46, 55, 46)
MOTOR_MM, CEREBELLUM_MM = (-38, -22, 56), (22, -58, -24)


def blob(centre_mm, *, height=10.0, width_mm=8.0, affine=AFFINE):
    """Make a Gaussian of the given height at a place in mm."""
    mm = nib.affines.apply_affine(affine, np.indices(SHAPE).reshape(3, -1).T)
    squared = np.square(mm - np.array(centre_mm)).sum(axis=1)
    return (height * np.exp(-squared / (2 * width_mm**2))).reshape(SHAPE).astype(np.float32)


@pytest.fixture
def run(tmp_path):
    """Run the stage on two components in a folder of the given name; return the paths."""

    def run_in(name, *, threshold=None, terms=("motor", "hand", "finger")):
        folder = tmp_path / name
        maps = np.stack([blob(MOTOR_MM) - blob(CEREBELLUM_MM, height=6), blob(CEREBELLUM_MM)], axis=-1)
        inside = np.zeros(SHAPE, np.uint8)
        inside[5:-5, 5:-5, 5:-5] = 1
        (folder / "run_ica").mkdir(parents=True)
        nib.save(nib.Nifti1Image(maps * inside[..., None], AFFINE), folder / "run_ica/components.nii.gz")
        nib.save(nib.Nifti1Image(inside, AFFINE), folder / "run_ica/mask.nii.gz")
        write_table(
            folder / "run_ica/desc-ICA_stability.tsv",
            [
                dict.fromkeys(column_names(folder / "run_ica/desc-ICA_stability.tsv"))
                | {"component": f"ICA_0{k}", "variance_explained": 0.2}
                for k in range(2)
            ],
        )
        write_table(
            folder / "project_terms/desc-ICA_terms.tsv",
            [
                {"component": "ICA_00", "term": term, "rank": rank, "weight": 1 / rank, "images": 5}
                for rank, term in reversed(list(enumerate(terms, 1)))
            ],
        )
        paths = {
            "figures": [str(folder / "plot_components" / f"ICA_0{k}.png") for k in range(2)],
            "overview": str(folder / "plot_components/overview.png"),
            "terms_figure": str(folder / "plot_components/terms.png"),
            "thresholded": str(folder / "plot_components/thresholded.nii.gz"),
            "peaks": str(folder / "plot_components/desc-ICA_peaks.tsv"),
        }
        main(
            components=str(folder / "run_ica/components.nii.gz"),
            mask=str(folder / "run_ica/mask.nii.gz"),
            stability=str(folder / "run_ica/desc-ICA_stability.tsv"),
            terms=str(folder / "project_terms/desc-ICA_terms.tsv"),
            threshold=threshold or {"percentile": 90},
            **paths,
        )
        return folder, paths

    return run_in


def titles(paths):
    """Read the titles that the figures have in their PNG text."""
    return [Image.open(figure).text["Title"] for figure in paths["figures"]]


def test_thresholds():
    values = np.array([-4.0, -3, -2, -1, 0, 1, 2, 3, 4, 5])
    assert threshold_of(values, {"percentile": 90}) == pytest.approx(np.percentile(np.abs(values), 90))
    assert threshold_of(values, {"percentile": 0}) == 0
    assert threshold_of(values, {"z": 3}) == 3


@pytest.mark.parametrize("threshold", [{"percentile": 90}, {"percentile": 0}, {"z": 3}])
def test_thresholded_maps_keep_exactly_the_voxels_that_reach_it(run, threshold):
    folder, paths = run("results", threshold=threshold)
    maps = nib.load(folder / "run_ica/components.nii.gz").get_fdata()
    inside = nib.load(folder / "run_ica/mask.nii.gz").get_fdata() > 0
    found_img = nib.load(paths["thresholded"])
    np.testing.assert_array_equal(found_img.affine, AFFINE)
    for component, found in zip(np.moveaxis(maps, -1, 0), np.moveaxis(found_img.get_fdata(), -1, 0), strict=True):
        limit = 3 if "z" in threshold else np.percentile(np.abs(component[inside]), threshold["percentile"])
        np.testing.assert_array_equal(found, np.where(np.abs(component) >= limit, component, 0))
    if threshold == {"percentile": 90}:
        kept = (found_img.get_fdata()[inside] != 0).mean(axis=0)
        np.testing.assert_allclose(kept, 0.1, atol=1e-3)  # ties


def test_peaks_lie_where_the_blobs_were_planted(run):
    _, paths = run("results", threshold={"z": 3})
    found = read_table(paths["peaks"])
    assert [(row["component"], row["peak"], row["x"], row["y"], row["z"]) for row in found] == [
        ("ICA_00", "1", *MOTOR_MM),
        ("ICA_00", "2", *CEREBELLUM_MM),
        ("ICA_01", "1", *CEREBELLUM_MM),
    ]
    assert [row["value"] for row in found] == pytest.approx([10, -6, 10], abs=1e-3)
    # A Gaussian above 3 is a ball of radius 8 mm * sqrt(2 ln(10/3)).
    ball_mm3 = 4 / 3 * np.pi * (8 * np.sqrt(2 * np.log(10 / 3))) ** 3
    assert found[0]["volume_mm3"] == pytest.approx(ball_mm3, rel=0.1)


def test_peaks_equal_those_of_nilearn():
    rng = np.random.default_rng(4)
    volume = sum(
        blob(rng.uniform([-60, -90, -40], [60, 60, 60]), height=height, width_mm=9)
        for height in rng.uniform(-10, 10, 14)
    )
    found = find_peaks(Volume(volume, AFFINE), 1.0)
    expected = get_clusters_table(nib.Nifti1Image(volume, AFFINE), 1.0, two_sided=True)
    clusters = expected[expected["Cluster Size (mm3)"] != ""]
    main_peaks = [row for row in found if row["volume_mm3"] is not None]
    assert len(main_peaks) >= 6
    for row, (_, cluster) in zip(main_peaks, clusters.iterrows(), strict=True):
        assert [row["x"], row["y"], row["z"]] == [cluster["X"], cluster["Y"], cluster["Z"]]
        assert row["value"] == pytest.approx(cluster["Peak Stat"], abs=1e-3)
        assert row["volume_mm3"] == cluster["Cluster Size (mm3)"]


def test_further_peaks_of_a_cluster_are_lettered_and_apart():
    volume = blob((-20, 0, 0), height=9) + blob((6, 0, 0), height=8)
    found = find_peaks(Volume(volume, AFFINE), 0.1)
    assert [(row["peak"], row["volume_mm3"] is None) for row in found] == [("1", False), ("1a", True)]
    assert found[1]["x"] - found[0]["x"] > 8


def test_a_cluster_that_touches_a_higher_one_at_an_edge_is_listed():
    volume = np.zeros(SHAPE, np.float32)
    volume[10:13, 10:13, 10] = 5
    volume[13:16, 13:16, 10] = 4
    volume[13, 13, 10] = 4.5
    found = find_peaks(Volume(volume, AFFINE), 3)
    assert [(row["peak"], row["value"], row["volume_mm3"]) for row in found if row["volume_mm3"]] == [
        ("1", 5.0, 9 * 64.0),
        ("2", 4.5, 9 * 64.0),
    ]


def test_specks_are_left_out_but_not_the_highest_peak():
    volume = np.zeros(SHAPE, np.float32)
    volume[10, 10, 10] = 5
    volume[30, 30, 30] = 4
    found = find_peaks(Volume(volume, AFFINE), 3)
    assert [(row["peak"], row["value"], row["volume_mm3"]) for row in found] == [("1", 5.0, 64.0)]
    assert find_peaks(Volume(volume, AFFINE), 6) == []


@pytest.mark.parametrize(
    ("terms", "title"),
    [
        (["motor", "hand", "finger", "arm"], "ICA_03  motor, hand, finger"),
        (["motor"], "ICA_03  motor"),
        ([], "ICA_03"),
        (["$x^2$", "a_b", "<b>"], "ICA_03  $x^2$, a_b, <b>"),
        (["a\tb\n c", "\u202eabc\x00", "日本"], "ICA_03  a b c, abc, \ufffd\ufffd"),
    ],
)
def test_titles(terms, title):
    assert title_of("ICA_03", terms) == title


def test_long_terms_are_cut():
    assert shown_text("x" * 5000, 40) == "x" * 39 + "…"
    assert len(title_of("ICA_03", ["y" * 5000] * 3)) == len("ICA_03  ") + 3 * 40 + 2 * len(", ")


def test_figures_have_their_titles(run):
    _, paths = run("results")
    assert titles(paths) == ["ICA_00  motor, hand, finger", "ICA_01"]


def test_hostile_terms_are_drawn_without_a_warning(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, paths = run("results", terms=["$\\frac{1}{$", "x" * 5000, "日本\u202e語 \U0001f9e0", "_^{"])
    assert titles(paths)[0] == f"ICA_00  $\\frac{{1}}{{$, {'x' * 39}…, \ufffd\ufffd\ufffd \ufffd"


def test_cut_reads_the_volume_whatever_its_affine():
    box = Box((-80, -110, -60), (80, 76, 84))
    flipped = AFFINE @ np.array([[-1.0, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for affine in (AFFINE, flipped, turn @ AFFINE):
        volume = Volume(blob(MOTOR_MM, affine=affine), affine)
        picture = cut(volume, box, 2, MOTOR_MM[2])
        row, column = np.unravel_index(picture.argmax(), picture.shape)
        assert abs(column + box.low[0] - MOTOR_MM[0]) <= 2
        assert abs(row + box.low[1] - MOTOR_MM[1]) <= 2
        assert np.linalg.norm(np.subtract(peak_of(volume), MOTOR_MM)) < 4


def test_colours_show_sign_and_threshold():
    values = np.array([[4.0, 2.0, -4.0, 0.0]])
    anatomy = np.array([[0.5, 0.5, 0.5, 0.0]])
    red, grey, blue, white = paint(values, anatomy, Scale(3.0, 4.0))[0].astype(int)
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 50
    assert len(set(grey)) == 1
    assert list(white) == [255, 255, 255]


def test_facts_leave_out_what_is_not_known():
    stability = {"variance_explained": 0.085, "iq_restarts": 0.934, "r_bootstraps": 0.876}
    known = facts_of(stability, Scale(1.537, 9), {"percentile": 90})
    assert known.split("   ·   ") == [
        "8.5 % of variance", "over restarts Iq 0.93", "over collections |r| 0.88",
        "shown: |value| ≥ 1.54 SD (90th percentile)",
    ]  # fmt: skip
    unknown = facts_of(stability | {"iq_restarts": None, "r_bootstraps": None}, Scale(3, 9), {"z": 3})
    assert unknown.split("   ·   ") == ["8.5 % of variance", "shown: |value| ≥ 3.00 SD (fixed)"]


def test_scale_is_never_empty():
    for values in (np.zeros(10), np.full(10, 3.0)):
        scale = scale_of(values, threshold_of(values, {"percentile": 90}))
        assert scale.brightest > scale.threshold


def test_same_maps_give_the_same_bytes(run):
    first, _ = run("first")
    second, _ = run("second")
    names = sorted(path.name for path in (first / "plot_components").iterdir())
    assert names == [
        "ICA_00.png", "ICA_01.png", "desc-ICA_peaks.json", "desc-ICA_peaks.tsv", "overview.png", "terms.png",
        "thresholded.nii.gz",
    ]  # fmt: skip
    for name in names:
        assert (first / "plot_components" / name).read_bytes() == (second / "plot_components" / name).read_bytes()


def test_wrong_number_of_figures_is_refused(run):
    folder, paths = run("results")
    with pytest.raises(ValueError, match=r"2 component maps, 2 rows .* 1 figures asked for"):
        main(
            components=str(folder / "run_ica/components.nii.gz"),
            mask=str(folder / "run_ica/mask.nii.gz"),
            stability=str(folder / "run_ica/desc-ICA_stability.tsv"),
            terms=str(folder / "project_terms/desc-ICA_terms.tsv"),
            threshold={"z": 3},
            **(paths | {"figures": paths["figures"][:1]}),
        )


def test_needs_no_display_and_no_pyplot():
    code = "import sys, plot_components; sys.exit('matplotlib.pyplot' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MPLBACKEND")}
    scripts = str(Path(ROOT) / "workflow" / "scripts")
    done = subprocess.run([sys.executable, "-c", code], env=environment | {"PYTHONPATH": scripts}, check=False)
    assert done.returncode == 0
