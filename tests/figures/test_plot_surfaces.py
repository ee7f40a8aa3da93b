"""The stage draws made-up components on the cortex, at the right places and sides. Empty ones get a note."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import ROOT
from made_maps import AFFINE, MOTOR_MM, SHAPE, blob
from neurovault_ica.figures.slices import Scale
from neurovault_ica.figures.surface_sheets import draw_gallery, shown_limits
from neurovault_ica.runtime.tables import write_table
from nilearn.datasets import load_fsaverage
from partial_tables import write_partial
from PIL import Image
from plot_surfaces import main

# Below the cortex: the left putamen.
PUTAMEN_MM = (-26, 2, 2)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Draw a component of the left motor cortex and one of the putamen; return the folder and the log."""
    folder = tmp_path_factory.mktemp("surfaces") / "plot_surfaces"
    folder.mkdir()
    maps = np.stack([blob(MOTOR_MM), blob(PUTAMEN_MM, width_mm=4)], axis=-1)
    nib.save(nib.Nifti1Image(maps, AFFINE), folder.parent / "components.nii.gz")
    nib.save(nib.Nifti1Image(np.where(maps >= 2.5, maps, 0), AFFINE), folder.parent / "thresholded.nii.gz")
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), AFFINE), folder.parent / "mask.nii.gz")
    labels = ["ICA_00", "ICA_01"]
    scale = {"threshold": 2.5, "negative_threshold": 2.5, "brightest": 8.0}
    thresholds = folder.parent / "plot_components/desc-ICA_thresholds.tsv"
    names = folder.parent / "project_terms/desc-ICA_names.tsv"
    write_table(thresholds, [{"component": label, **scale} for label in labels])
    write_partial(names, [{"component": label, "name": name} for label, name in zip(labels, "ab", strict=True)])
    (folder / "ICA_07.png").touch()
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    main(
        components=str(folder.parent / "components.nii.gz"),
        mask=str(folder.parent / "mask.nii.gz"),
        thresholded=str(folder.parent / "thresholded.nii.gz"),
        thresholds=str(thresholds),
        names=str(names),
        figures=[str(folder / f"{label}.png") for label in labels],
        surfaces=[str(folder / f"{label}_surface.png") for label in labels],
        glass=[str(folder / f"{label}_glass.png") for label in labels],
        gallery=str(folder / "surfaces.png"),
        pdfs=[str(folder / f"{name}.pdf") for name in (*labels, "surfaces")],
        left=str(folder / "left.func.gii"),
        right=str(folder / "right.func.gii"),
        mesh=str(folder / "mesh.npz"),
        min_cluster_mm3=200,
        threads=2,
    )
    logging.getLogger().removeHandler(handler)
    return folder, records


def coloured(picture):
    """Return which pixels are neither grey nor transparent."""
    pixels = np.asarray(Image.open(picture).convert("RGBA")).astype(int)
    return (np.ptp(pixels[..., :3], axis=2) > 40) & (pixels[..., 3] > 128)


def test_values_on_the_surface_are_highest_at_the_peak(drawn):
    folder, _ = drawn
    sides = (nib.load(folder / f"{side}.func.gii") for side in ("left", "right"))
    left, right = (np.stack([array.data for array in side.darrays]) for side in sides)
    assert left.shape == right.shape == (2, 10242)
    pial = load_fsaverage("fsaverage5")["pial"].parts["left"].coordinates
    assert np.linalg.norm(pial[np.nanargmax(left[0])] - MOTOR_MM) < 10
    assert np.nanmax(right[0]) < 0.1 < 2.5 < np.nanmax(left[0])
    # The medial wall has no values.
    assert 0.04 < np.isnan(left).mean() < 0.1


def test_colour_is_in_the_left_lateral_view_only(drawn):
    folder, _ = drawn
    views = np.array_split(coloured(folder / "ICA_00_surface.png"), 4, axis=1)
    assert views[0].mean() > 0.005
    assert not views[1].any()
    assert not views[2].any()
    assert not views[3].any()
    assert coloured(folder / "ICA_00_glass.png").any()


def test_component_below_the_cortex_is_said_to_be_there_and_drawn_in_the_glass_brain(drawn):
    folder, records = drawn
    assert not coloured(folder / "ICA_01_surface.png").any()
    assert coloured(folder / "ICA_01_glass.png").any()
    assert next(record for record in records if "cortex reaches the threshold" in record).startswith("ICA_01")


def test_all_figures_are_written_and_older_ones_removed(drawn):
    folder, _ = drawn
    assert not (folder / "ICA_07.png").exists()
    with Image.open(folder / "ICA_00.png") as figure:
        assert figure.width / figure.info["dpi"][0] == pytest.approx(180 / 25.4, rel=0.01)
        assert figure.info["Title"] == "ICA_00  a"
    assert {"ICA_00.pdf", "ICA_01.pdf", "surfaces.png", "surfaces.pdf"} <= {file.name for file in folder.iterdir()}


@pytest.mark.parametrize(("n_components", "n_columns"), [(2, 2), (60, 4)])
def test_gallery_says_what_is_shown_and_fits_on_a_page(n_components, n_columns):
    titles = [f"ICA_{number:02d}  unnamed (closest: taste; odor; olfactory)" for number in range(n_components)]
    scales, small = [Scale(2.5, 3.0, 4.6)] * n_components, np.zeros((157, 920, 4), np.uint8)
    sheet = draw_gallery([small] * n_components, titles, scales, [True, False, *[True] * (n_components - 2)], 200)
    texts = [text.get_text() for text in sheet.figure.texts]
    assert "t: 2.5 to 3 SD, clusters ≥ 200 mm³; end: SD at the end of the scale" in texts
    explained = "names in parentheses: closest terms, not significant"
    assert f"{explained}; * hardly any of it on the cortex, see the glass brain" in texts
    assert (texts.count("end 4.6"), texts.count("end 4.6 *")) == (n_components - 1, 1)
    assert texts.count("(taste; odor; olfactory)") == n_components
    assert texts.count("lateral") == 2 * n_columns
    assert sheet.figure.get_size_inches()[1] * 25.4 < 245


def test_limits_are_written_for_each_sign():
    assert shown_limits(Scale(2.5, 2.5, 8.0)) == "|value| ≥ 2.50 SD"
    assert shown_limits(Scale(2.0, 3.0, 8.0)) == "value ≥ 2.00 or ≤ \u22123.00 SD"
    assert shown_limits(Scale(2.0, 9.0, 8.0)) == "value ≥ 2.00 SD"
    assert shown_limits(Scale(9.0, 9.0, 8.0)) == "nothing"


@pytest.mark.long
def test_glass_brains_need_no_screen_whatever_the_matplotlibrc(tmp_path):
    (tmp_path / "matplotlibrc").write_text("backend: TkAgg\ninteractive: True\n")
    code = (
        "import numpy as np\n"
        "from neurovault_ica.figures.surfaces import GlassBrain\n"
        "from neurovault_ica.images.maps import Volume\n"
        "from neurovault_ica.figures.slices import Scale\n"
        "data = np.zeros((20, 20, 20), np.float32)\n"
        "data[5:9, 5:9, 5:9] = 3\n"
        "affine = np.diag([8.0, 8, 8, 1])\n"
        "affine[:3, 3] = -80\n"
        "drawn = GlassBrain(20, 100).draw(Volume(data, affine), Scale(2, 2, 3))\n"
        "assert any((picture[..., 0] != picture[..., 2]).any() for picture in drawn.values())\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MPLBACKEND")}
    environment |= {"MPLCONFIGDIR": str(tmp_path), "PYTHONPATH": str(Path(ROOT) / "workflow" / "scripts")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
