"""Figures, thresholded maps and peaks of components that were made with known values."""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import ROOT
from made_maps import AFFINE, CEREBELLUM_MM, MOTOR_MM, SHAPE, blob
from neurovault_ica.figures.component import facts_of, shown_values
from neurovault_ica.figures.slices import read_template
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from neurovault_ica.statistics.thresholds import Limits, limits_of
from PIL import Image
from plot_components import main


@pytest.fixture
def run(tmp_path, template_file):
    """Run the stage on two components in a folder of the given name; return the paths."""

    def run_in(name, *, threshold=None, terms=("motor", "hand", "finger"), noise=0, atlas=None, empty=None, threads=1):
        folder = tmp_path / name
        maps = np.stack([blob(MOTOR_MM) - blob(CEREBELLUM_MM, height=6), blob(CEREBELLUM_MM)], axis=-1)
        maps += noise * np.random.default_rng(0).standard_normal(maps.shape, dtype=np.float32)
        if empty is not None:
            maps[..., empty] = 0
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
                dict.fromkeys(column_names(folder / "project_terms/desc-ICA_terms.tsv"))
                | {"component": "ICA_00", "term": term, "rank": rank, "weight": 1 / rank, "q": 0.01}
                for rank, term in reversed(list(enumerate(terms, 1)))
            ],
        )
        paths = {
            "figures": [str(folder / "plot_components" / f"ICA_0{k}.png") for k in range(2)],
            "thumbnails": [str(folder / "plot_components" / f"ICA_0{k}_thumbnail.png") for k in range(2)],
            "overview": str(folder / "plot_components/overview.png"),
            "terms_figure": str(folder / "plot_components/terms.png"),
            "thresholded": str(folder / "plot_components/thresholded.nii.gz"),
            "thresholds": str(folder / "plot_components/desc-ICA_thresholds.tsv"),
            "peaks": str(folder / "plot_components/desc-ICA_peaks.tsv"),
            "mixture": [],
            "mixture_figures": [],
        }
        if threshold and "mixture" in threshold:
            paths["mixture"] = str(folder / "plot_components/desc-ICA_mixture.tsv")
            paths["mixture_figures"] = [str(folder / "plot_components" / f"ICA_0{k}_mixture.png") for k in range(2)]
        main(
            components=str(folder / "run_ica/components.nii.gz"),
            mask=str(folder / "run_ica/mask.nii.gz"),
            template=template_file,
            stability=str(folder / "run_ica/desc-ICA_stability.tsv"),
            terms=str(folder / "project_terms/desc-ICA_terms.tsv"),
            threshold=threshold or {"percentile": 90},
            atlas=atlas,
            atlas_names=None,
            threads=threads,
            **paths,
        )
        return folder, paths

    return run_in


def titles(paths):
    """Read the titles that the figures have in their PNG text."""
    return [Image.open(figure).text["Title"] for figure in paths["figures"]]


def test_thresholds():
    values = np.array([-4.0, -3, -2, -1, 0, 1, 2, 3, 4, 5])
    limit = pytest.approx(np.percentile(np.abs(values), 90))
    assert limits_of(values, {"percentile": 90}, None) == (limit, limit)
    assert limits_of(values, {"percentile": 0}, None) == (0, 0)
    assert limits_of(values, {"z": 3}, None) == (3, 3)


def test_a_mixture_tells_activation_from_noise(run):
    folder, paths = run("results", threshold={"mixture": 0.5}, noise=1)
    two_sided, one_sided = read_table(paths["mixture"])
    for row in (two_sided, one_sided):
        assert row["noise_mean"] == pytest.approx(0, abs=0.05)
        assert row["noise_sd"] == pytest.approx(1, abs=0.05)
        assert 2.5 < row["positive_threshold"] < 4.5
        assert row["converged"]
    assert 2.5 < two_sided["negative_threshold"] < 4.5
    assert one_sided["negative_weight"] == one_sided["negative_share"] == 0
    assert one_sided["negative_threshold"] is one_sided["negative_shape"] is None
    maps = nib.load(folder / "run_ica/components.nii.gz").get_fdata(dtype=np.float32)
    inside = nib.load(folder / "run_ica/mask.nii.gz").get_fdata() > 0
    kept = nib.load(paths["thresholded"]).get_fdata(dtype=np.float32) != 0
    limits = two_sided["positive_threshold"], two_sided["negative_threshold"]
    np.testing.assert_array_equal(kept[inside, 0], (maps[inside, 0] >= limits[0]) | (maps[inside, 0] <= -limits[1]))
    assert two_sided["positive_share"] == pytest.approx((kept & (maps > 0))[inside, 0].mean())
    assert not (kept & (maps < 0))[..., 1].any()
    assert {row["value"] > 0 for row in read_table(paths["peaks"]) if row["component"] == "ICA_01"} == {True}


def test_mixtures_are_drawn_and_those_of_an_earlier_run_removed(run):
    folder, paths = run("results", threshold={"mixture": 0.9}, noise=1)
    for figure in paths["mixture_figures"]:
        colours = np.unique(np.asarray(Image.open(figure)).reshape(-1, 3), axis=0)
        assert len(colours) > 20
    for path in (folder / "run_ica", folder / "project_terms"):
        shutil.rmtree(path)
    run("results", threshold={"z": 3})
    assert [path.name for path in (folder / "plot_components").glob("*mixture*")] == []


def test_peaks_are_labelled_by_the_atlas(run, tmp_path):
    regions = (blob(MOTOR_MM) > 5).astype(np.uint8)
    nib.save(nib.Nifti1Image(regions, AFFINE), tmp_path / "atlas.nii.gz")
    (tmp_path / "atlas.txt").write_text("Precentral Gyrus\n")
    _, paths = run("results", threshold={"z": 3}, atlas=str(tmp_path / "atlas.nii.gz"))
    assert [row["region"] for row in read_table(paths["peaks"])] == ["Precentral Gyrus", None, None]


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


def test_thresholds_are_written_down(run):
    folder, paths = run("results")
    maps = nib.load(folder / "run_ica/components.nii.gz").get_fdata(dtype=np.float32)
    inside = nib.load(folder / "run_ica/mask.nii.gz").get_fdata() > 0
    for number, row in enumerate(read_table(paths["thresholds"])):
        sizes = np.abs(maps[inside, number])
        assert row["component"] == f"ICA_0{number}"
        assert row["threshold"] == pytest.approx(np.percentile(sizes, 90))
        assert row["threshold"] < row["brightest"] <= sizes.max()


def test_thumbnails_show_the_peak_and_are_transparent_around_the_brain(run, template_file):
    _, paths = run("results", threshold={"z": 3})
    pixels = np.asarray(Image.open(paths["thumbnails"][1])).astype(int)
    _, box = read_template(template_file)
    assert pixels.shape == (box.shape(2)[1], sum(box.shape(axis)[0] for axis in range(3)), 4)
    left_of_axial = box.shape(0)[0] + box.shape(1)[0]
    column = left_of_axial + CEREBELLUM_MM[0] - box.low[0]
    red, _, blue, alpha = pixels[box.high[1] - CEREBELLUM_MM[1], column]
    assert red > blue + 100
    assert alpha == 255
    assert pixels[0, left_of_axial, 3] == 0


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


def test_figures_have_their_titles(run):
    _, paths = run("results")
    assert titles(paths) == ["ICA_00  motor, hand, finger", "ICA_01"]


def test_hostile_terms_are_drawn_without_a_warning(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, paths = run("results", terms=["$\\frac{1}{$", "x" * 5000, "日本\u202e語 \U0001f9e0", "_^{"])
    assert titles(paths)[0] == f"ICA_00  $\\frac{{1}}{{$, {'x' * 39}…, \ufffd\ufffd\ufffd \ufffd"


def test_facts_leave_out_what_is_not_known():
    stability = {"variance_explained": 0.085, "iq_restarts": 0.934, "r_bootstraps": 0.876}
    known = facts_of(stability, Limits(1.537, 1.537), {"percentile": 90})
    assert known.split("   ·   ") == [
        "8.5 % of variance", "over restarts Iq 0.93", "over collections |r| 0.88",
        "shown: |value| ≥ 1.54 SD (90th percentile)",
    ]  # fmt: skip
    unknown = facts_of(stability | {"iq_restarts": None, "r_bootstraps": None}, Limits(3, 3), {"z": 3})
    assert unknown.split("   ·   ") == ["8.5 % of variance", "shown: |value| ≥ 3.00 SD (fixed)"]


def test_facts_say_what_a_mixture_shows():
    mixture = {"mixture": 0.5}
    assert shown_values(Limits(1.04, 1.874), mixture) == "≥ 1.04 or ≤ \u22121.87 SD (P(active) > 0.5)"
    assert shown_values(Limits(1.04, np.inf), mixture) == "≥ 1.04 SD (P(active) > 0.5)"
    assert shown_values(Limits(np.inf, np.inf), mixture) == "nothing, as noise explains all values"


def test_same_maps_give_the_same_bytes_in_any_number_of_processes(run):
    first, _ = run("first")
    second, _ = run("second", threads=2)
    names = sorted(path.name for path in (first / "plot_components").iterdir())
    assert names == [
        "ICA_00.pdf", "ICA_00.png", "ICA_00_thumbnail.png", "ICA_01.pdf", "ICA_01.png", "ICA_01_thumbnail.png",
        "desc-ICA_peaks.json", "desc-ICA_peaks.tsv", "desc-ICA_thresholds.json", "desc-ICA_thresholds.tsv",
        "overview.pdf", "overview.png", "terms.pdf", "terms.png", "thresholded.nii.gz",
    ]  # fmt: skip
    for name in names:
        assert (first / "plot_components" / name).read_bytes() == (second / "plot_components" / name).read_bytes()


def test_wrong_number_of_figures_is_refused(run, template_file):
    folder, paths = run("results")
    with pytest.raises(ValueError, match=r"2 component maps, 2 rows .* 1 figures asked for"):
        main(
            components=str(folder / "run_ica/components.nii.gz"),
            mask=str(folder / "run_ica/mask.nii.gz"),
            template=template_file,
            stability=str(folder / "run_ica/desc-ICA_stability.tsv"),
            terms=str(folder / "project_terms/desc-ICA_terms.tsv"),
            threshold={"z": 3},
            atlas=None,
            atlas_names=None,
            threads=1,
            **(paths | {"figures": paths["figures"][:1]}),
        )


def test_needs_no_display_and_no_pyplot():
    code = "import sys, plot_components; sys.exit('matplotlib.pyplot' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MPLBACKEND")}
    scripts = str(Path(ROOT) / "workflow" / "scripts")
    done = subprocess.run([sys.executable, "-c", code], env=environment | {"PYTHONPATH": scripts}, check=False)
    assert done.returncode == 0


def test_what_is_wrong_with_a_component_names_it(run):
    with pytest.raises(RuntimeError, match=r"^ICA_01: all values of a component are the same"):
        run("results", threshold={"mixture": 0.5}, empty=1, threads=2)
