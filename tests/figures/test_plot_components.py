"""The stage draws components with known values, and writes their thresholded maps and peaks."""

import os
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
from neurovault_ica.figures.shown import Display
from neurovault_ica.figures.slices import Scale, read_template
from neurovault_ica.images.maps import read_maps
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.statistics.thresholds import Thresholds, thresholds_of
from partial_tables import write_partial
from PIL import Image
from plot_components import main, remove_older, thresholded_volumes


def make_inputs(folder, *, terms=("motor", "hand", "finger"), noise=0, empty=None):
    """Write two components: motor positive and cerebellum negative, and cerebellum. Only the first has terms."""
    maps = np.stack([blob(MOTOR_MM) - blob(CEREBELLUM_MM, height=6), blob(CEREBELLUM_MM)], axis=-1)
    maps += noise * np.random.default_rng(0).standard_normal(maps.shape, dtype=np.float32)
    if empty is not None:
        maps[..., empty] = 0
    inside = np.zeros(SHAPE, np.uint8)
    inside[5:-5, 5:-5, 5:-5] = 1
    (folder / "run_ica").mkdir(parents=True)
    nib.save(nib.Nifti1Image(maps * inside[..., None], AFFINE), folder / "run_ica/components.nii.gz")
    nib.save(nib.Nifti1Image(inside, AFFINE), folder / "run_ica/mask.nii.gz")
    ranked = reversed(list(enumerate(terms, 1)))
    return {
        "components": str(folder / "run_ica/components.nii.gz"),
        "mask": str(folder / "run_ica/mask.nii.gz"),
        "stability": write_partial(
            folder / "run_ica/desc-ICA_stability.tsv",
            [{"component": f"ICA_0{k}", "variance_explained": 0.2, "grey_matter_share": 0.6} for k in range(2)],
        ),
        "terms": write_partial(
            folder / "project_terms/desc-ICA_terms.tsv",
            [{"component": "ICA_00", "term": t, "rank": rank, "weight": 1 / rank, "q": 0.01} for rank, t in ranked],
        ),
        "names": write_partial(
            folder / "project_terms/desc-ICA_names.tsv",
            [{"component": "ICA_00", "name": "; ".join(terms[:3]), "source": "terms"}, {"component": "ICA_01"}],
        ),
    }


def outputs_in(folder, *, mixture=False):
    figures = folder / "plot_components"
    labels = ["ICA_00", "ICA_01"]
    drawn = [*labels, "overview", "terms", *([f"{label}_mixture" for label in labels] if mixture else [])]
    return {
        "figures": [str(figures / f"{label}.png") for label in labels],
        "thumbnails": [str(figures / f"{label}_thumbnail.png") for label in labels],
        "overview": str(figures / "overview.png"),
        "terms_figure": str(figures / "terms.png"),
        "pdfs": [str(figures / f"{name}.pdf") for name in drawn],
        "thresholded": str(figures / "thresholded.nii.gz"),
        "thresholds": str(figures / "desc-ICA_thresholds.tsv"),
        "peaks": str(figures / "desc-ICA_peaks.tsv"),
        "mixture": str(figures / "desc-ICA_mixture.tsv") if mixture else [],
        "mixture_figures": [str(figures / f"{label}_mixture.png") for label in labels] if mixture else [],
    }


def plot(folder, template, *, threshold, min_cluster_mm3=0, atlas=None, threads=1, **made):
    """Run the stage in a new folder; return the folder and the paths of inputs and outputs."""
    inputs, outputs = make_inputs(folder, **made), outputs_in(folder, mixture="mixture" in threshold)
    options = {
        "threshold": threshold,
        "min_cluster_mm3": min_cluster_mm3,
        "atlas": atlas,
        "atlas_names": None,
        "threads": threads,
    }
    main(**inputs, **outputs, template=template, **options)
    return folder, inputs | outputs


@pytest.fixture(scope="module")
def by_percentile(tmp_path_factory, template_file):
    return plot(tmp_path_factory.mktemp("percentile"), template_file, threshold={"percentile": 90})


@pytest.fixture(scope="module")
def by_z(tmp_path_factory, template_file):
    """Draw values beyond 3 standard deviations, with an atlas that has only the motor region."""
    folder = tmp_path_factory.mktemp("z")
    nib.save(nib.Nifti1Image((blob(MOTOR_MM) > 5).astype(np.uint8), AFFINE), folder / "atlas.nii.gz")
    (folder / "atlas.txt").write_text("Precentral Gyrus\n")
    return plot(folder, template_file, threshold={"z": 3}, atlas=str(folder / "atlas.nii.gz"))


@pytest.fixture(scope="module")
def by_mixture(tmp_path_factory, template_file):
    return plot(tmp_path_factory.mktemp("mixture"), template_file, threshold={"mixture": 0.5}, noise=1)


def titles(paths):
    """Read the titles that the figures have in their PNG text."""
    return [Image.open(figure).text["Title"] for figure in paths["figures"]]


def test_thresholds():
    values = np.array([-4.0, -3, -2, -1, 0, 1, 2, 3, 4, 5])
    limit = pytest.approx(np.percentile(np.abs(values), 90))
    assert thresholds_of(values, {"percentile": 90}, None) == (limit, limit)
    assert thresholds_of(values, {"percentile": 0}, None) == (0, 0)
    assert thresholds_of(values, {"z": 3}, None) == (3, 3)


def test_a_mixture_separates_activation_from_noise(by_mixture):
    _, paths = by_mixture
    two_sided, one_sided = read_table(paths["mixture"])
    for row in (two_sided, one_sided):
        assert row["noise_mean"] == pytest.approx(0, abs=0.05)
        assert row["noise_sd"] == pytest.approx(1, abs=0.05)
        assert 2.5 < row["positive_threshold"] < 4.5
        assert row["converged"]
    assert 2.5 < two_sided["negative_threshold"] < 4.5
    assert one_sided["negative_weight"] == one_sided["negative_share"] == 0
    assert one_sided["negative_threshold"] is one_sided["negative_shape"] is None
    maps = nib.load(paths["components"]).get_fdata(dtype=np.float32)
    inside = nib.load(paths["mask"]).get_fdata() > 0
    kept = nib.load(paths["thresholded"]).get_fdata(dtype=np.float32) != 0
    limits = two_sided["positive_threshold"], two_sided["negative_threshold"]
    np.testing.assert_array_equal(kept[inside, 0], (maps[inside, 0] >= limits[0]) | (maps[inside, 0] <= -limits[1]))
    assert two_sided["positive_share"] == pytest.approx((kept & (maps > 0))[inside, 0].mean())
    assert not (kept & (maps < 0))[..., 1].any()
    assert {row["value"] > 0 for row in read_table(paths["peaks"]) if row["component"] == "ICA_01"} == {True}


def test_mixtures_are_drawn(by_mixture):
    _, paths = by_mixture
    for figure in paths["mixture_figures"]:
        assert len(Image.open(figure).getcolors(2**24)) > 20


def test_files_of_an_earlier_run_are_removed(tmp_path):
    kept = ["ICA_00.png", "ICA_00.pdf", "ICA_00_thumbnail.png", "overview.png", "terms.pdf", "desc-ICA_peaks.tsv"]
    stale = ["ICA_07.png", "ICA_07.pdf", "ICA_07_thumbnail.png", "ICA_00_mixture.png", "ICA_00_mixture.pdf"]
    for name in [*kept, *stale, "desc-ICA_mixture.tsv", "desc-ICA_mixture.json"]:
        (tmp_path / name).touch()
    remove_older(str(tmp_path / "overview.png"), keep=[str(tmp_path / name) for name in kept[:3]])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_peaks_are_labelled_by_the_atlas(by_z):
    _, paths = by_z
    assert [row["region"] for row in read_table(paths["peaks"])] == ["Precentral Gyrus", None, None]


@pytest.mark.parametrize("run", ["by_percentile", "by_z"])
def test_thresholded_maps_keep_exactly_the_voxels_that_reach_the_threshold(run, request):
    _, paths = request.getfixturevalue(run)
    maps = nib.load(paths["components"]).get_fdata()
    inside = nib.load(paths["mask"]).get_fdata() > 0
    found_img = nib.load(paths["thresholded"])
    np.testing.assert_array_equal(found_img.affine, AFFINE)
    for component, found in zip(np.moveaxis(maps, -1, 0), np.moveaxis(found_img.get_fdata(), -1, 0), strict=True):
        limit = 3 if run == "by_z" else np.percentile(np.abs(component[inside]), 90)
        np.testing.assert_array_equal(found, np.where(np.abs(component) >= limit, component, 0))
    if run == "by_percentile":
        kept = (found_img.get_fdata()[inside] != 0).mean(axis=0)
        np.testing.assert_allclose(kept, 0.1, atol=1e-3)  # ties


def test_small_clusters_are_in_no_result(tmp_path, template_file):
    """The smallest extent is above that of the negative blob, so maps and peaks have only the positive blobs."""
    _, paths = plot(tmp_path, template_file, threshold={"z": 3}, min_cluster_mm3=4500)
    assert [row["value"] > 0 for row in read_table(paths["peaks"])] == [True, True]
    kept = nib.load(paths["thresholded"]).get_fdata()
    assert kept.min() == 0
    assert [kept[..., number].max() for number in range(2)] == pytest.approx([10, 10], abs=1e-3)
    pixels = np.asarray(Image.open(paths["figures"][0])).astype(int)
    of_brains = pixels[:, : 4 * pixels.shape[1] // 5]
    assert not (of_brains[..., 2] > of_brains[..., 0] + 40).any()


def test_a_threshold_of_zero_keeps_everything(tmp_path):
    inputs = make_inputs(tmp_path)
    maps = read_maps(inputs["components"], inputs["mask"])
    volumes = list(thresholded_volumes(maps, [Scale(0, 0, 9)] * 2, 0))
    for number, volume in enumerate(volumes):
        np.testing.assert_array_equal(volume.data, maps.volume(number).data)


def test_thresholds_are_written_to_the_table(by_percentile):
    _, paths = by_percentile
    maps = nib.load(paths["components"]).get_fdata(dtype=np.float32)
    inside = nib.load(paths["mask"]).get_fdata() > 0
    for number, row in enumerate(read_table(paths["thresholds"])):
        sizes = np.abs(maps[inside, number])
        assert row["component"] == f"ICA_0{number}"
        assert row["threshold"] == pytest.approx(np.percentile(sizes, 90))
        assert row["threshold"] < row["brightest"] <= sizes.max()


def test_thumbnails_show_the_peak_and_are_transparent_around_the_brain(by_z, template_file):
    _, paths = by_z
    pixels = np.asarray(Image.open(paths["thumbnails"][1])).astype(int)
    _, box = read_template(template_file)
    assert pixels.shape == (box.shape(2)[1], sum(box.shape(axis)[0] for axis in range(3)), 4)
    left_of_axial = box.shape(0)[0] + box.shape(1)[0]
    column = left_of_axial + CEREBELLUM_MM[0] - box.low[0]
    red, _, blue, alpha = pixels[box.high[1] - CEREBELLUM_MM[1], column]
    assert red > blue + 100
    assert alpha == 255
    assert pixels[0, left_of_axial, 3] == 0


def test_peaks_lie_where_the_blobs_were_planted(by_z):
    _, paths = by_z
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


def test_figures_have_their_titles(by_percentile):
    _, paths = by_percentile
    assert titles(paths) == ["ICA_00  motor; hand; finger", "ICA_01"]


def test_hostile_terms_are_drawn_without_a_warning(tmp_path, template_file):
    terms = ["$\\frac{1}{$", "x" * 600, "日本\u202e語 \U0001f9e0", "_^{"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, paths = plot(tmp_path, template_file, threshold={"percentile": 90}, terms=terms)
    assert titles(paths)[0] == "ICA_00  " + ("$\\frac{1}{$; " + "x" * 600)[:119] + "…"


def test_facts_leave_out_what_is_not_known():
    stability = {
        "variance_explained": 0.085, "iq_restarts": 0.934, "r_bootstraps": 0.876, "grey_matter_share": 0.617,
        "flags": None,
    }  # fmt: skip
    known = facts_of(stability, Thresholds(1.537, 1.537), Display({"percentile": 90}, 0))
    assert known.split("   ·   ") == [
        "8.5 % of variance", "Iq across restarts 0.93", "|r| across bootstraps of collections 0.88",
        "62 % in grey matter", "shown: |value| ≥ 1.54 SD (90th percentile)",
    ]  # fmt: skip
    unknown = facts_of(
        stability | {"iq_restarts": None, "r_bootstraps": None}, Thresholds(3, 3), Display({"z": 3}, 200)
    )
    assert unknown.split("   ·   ") == [
        "8.5 % of variance",
        "62 % in grey matter",
        "shown: |value| ≥ 3.00 SD, clusters ≥ 200 mm³",
    ]
    empty = facts_of(stability, Thresholds(3, 3), Display({"z": 3}, 200), is_empty=True)
    assert empty.endswith("shown: |value| ≥ 3.00 SD; no voxel reaches this")


def test_components_below_the_threshold_are_named(tmp_path, template_file, caplog):
    _, paths = plot(tmp_path, template_file, threshold={"z": 1000})
    assert read_table(paths["peaks"]) == []
    assert "no voxel of ICA_00 and ICA_01 reaches plot_components.threshold" in caplog.text


def test_facts_name_the_flags_as_tables_and_methods_text_do():
    stability = {
        "variance_explained": 0.018, "iq_restarts": None, "r_bootstraps": None, "grey_matter_share": 0.567,
        "flags": "not_reproduced,not_grey_matter",
    }  # fmt: skip
    assert facts_of(stability, Thresholds(3, 3), Display({"z": 3}, 0)).split("   ·   ")[1:] == [
        "57 % in grey matter", "flagged: not_reproduced, not_grey_matter", "shown: |value| ≥ 3.00 SD",
    ]  # fmt: skip


def test_facts_say_what_a_mixture_shows():
    mixture = {"mixture": 0.5}
    assert shown_values(Thresholds(1.04, 1.874), mixture) == "≥ 1.04 or ≤ \u22121.87 SD (P(active) > 0.5)"
    assert shown_values(Thresholds(1.04, np.inf), mixture) == "≥ 1.04 SD (P(active) > 0.5)"
    assert shown_values(Thresholds(np.inf, np.inf), mixture) == "nothing, as noise explains all values"


def test_same_maps_give_the_same_bytes_in_any_number_of_processes(by_percentile, tmp_path, template_file):
    first, _ = by_percentile
    second, _ = plot(tmp_path, template_file, threshold={"percentile": 90}, threads=2)
    names = {path.name for path in (first / "plot_components").iterdir()}
    assert names == {path.name for path in (second / "plot_components").iterdir()}
    assert names >= {
        "ICA_00.pdf", "ICA_00.png", "ICA_00_thumbnail.png", "ICA_01.pdf", "ICA_01.png", "ICA_01_thumbnail.png",
        "desc-ICA_peaks.json", "desc-ICA_peaks.tsv", "desc-ICA_thresholds.json", "desc-ICA_thresholds.tsv",
        "overview.pdf", "overview.png", "terms.pdf", "terms.png", "thresholded.nii.gz",
    }  # fmt: skip
    for name in names:
        assert (first / "plot_components" / name).read_bytes() == (second / "plot_components" / name).read_bytes()


def test_wrong_number_of_figures_is_refused(tmp_path):
    paths = make_inputs(tmp_path) | outputs_in(tmp_path)
    paths["figures"] = paths["figures"][:1]
    with pytest.raises(
        ValueError, match=r"components\.nii\.gz has 2 maps and .* has 2 rows, but run_ica.n_components is 1"
    ):
        main(**paths, template="unused", threshold={"z": 3}, min_cluster_mm3=0, atlas=None, atlas_names=None, threads=1)


def test_needs_no_display_and_no_pyplot():
    code = "import sys, plot_components; sys.exit('matplotlib.pyplot' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MPLBACKEND")}
    scripts = str(Path(ROOT) / "workflow" / "scripts")
    done = subprocess.run([sys.executable, "-c", code], env=environment | {"PYTHONPATH": scripts}, check=False)
    assert done.returncode == 0


def test_errors_name_the_component(tmp_path, template_file):
    with pytest.raises(RuntimeError, match=r"^ICA_00: all values of a component are the same"):
        plot(tmp_path, template_file, threshold={"mixture": 0.5}, empty=0, threads=2)
