"""The lines that a reader copies from the page open the right map."""

import shlex
from itertools import pairwise

import matplotlib
import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.report.take import add_files, link_to

PLACES = {
    "report": "results/render_report/report.html",
    "maps": "results/run_ica/maps.nii.gz",
    "mask": "results/stack_images/mask.nii.gz",
    "template": "results/build_mask/template.nii.gz",
    "thresholded": "results/plot_components/thresholded.nii.gz",
}
FIGURES = [f"results/plot_components/ICA_0{number}.png" for number in range(2)]


def describe(min_cluster_mm3=0, surfaces=(), hemispheres=(), **changes):
    components = [
        {"component": f"ICA_0{number}", "threshold": 1.234, "negative_threshold": 1.234, "brightest": 7.891}
        | {"place": [2.0, -4.0, 6.0]}
        | changes
        for number in range(2)
    ]
    more = {"surfaces": surfaces, "hemispheres": hemispheres, "min_cluster_mm3": min_cluster_mm3}
    add_files(components, figures=FIGURES, networks=[], charts={}, **PLACES, **more)
    return components


def test_the_line_for_fsleyes_shows_what_the_figures_show():
    words = shlex.split(describe()[1]["fsleyes"])
    assert words[:6] == ["fsleyes", PLACES["template"], "--name", "MNI152", PLACES["maps"], "--name"]
    options = dict(pairwise(words))
    assert (options["--volume"], options["--displayRange"]) == ("1", "1.23")
    assert words[-1] == "7.89"
    # One range cannot show two thresholds or leave out small clusters.
    for component, _ in (describe(negative_threshold=2.5), describe(min_cluster_mm3=200)):
        other = shlex.split(component["fsleyes"])
        assert PLACES["thresholded"] in other
        assert PLACES["maps"] not in other
        assert f'index_img("{PLACES["thresholded"]}", 0)' in component["nilearn"]


def test_surfaces_are_linked_with_their_values():
    places = [f"results/plot_surfaces/hemi-{side}.func.gii" for side in "LR"]
    figures = [f"results/plot_surfaces/ICA_0{number}.png" for number in range(2)]
    files = {one["title"]: one["links"] for one in describe(surfaces=figures, hemispheres=places)[1]["files"]}
    assert files["Surfaces and glass brain"] == [
        ("PNG", "../plot_surfaces/ICA_01.png"), ("PDF", "../plot_surfaces/ICA_01.pdf"),
    ]  # fmt: skip
    assert files["Values on fsaverage5"] == [
        (f"data array 1 of hemi-{side}.func.gii", f"../plot_surfaces/hemi-{side}.func.gii") for side in "LR"
    ]
    assert {"Surfaces and glass brain", "Values on fsaverage5"}.isdisjoint(
        one["title"] for one in describe()[1]["files"]
    )


def test_links_are_relative_to_the_page():
    assert describe()[0]["files"][0]["links"] == [
        ("PNG", "../plot_components/ICA_00.png"), ("PDF", "../plot_components/ICA_00.pdf"),
    ]  # fmt: skip
    assert describe()[0]["files"][-1]["links"] == [
        ("volume 0 of thresholded.nii.gz", "../plot_components/thresholded.nii.gz")
    ]
    assert link_to("/a/b/c.png", "/a/d/page.html") == "../b/c.png"


@pytest.mark.filterwarnings("ignore")
def test_the_lines_for_nilearn_run(tmp_path, monkeypatch):
    """Loadings of a map that is component 1 plus half of component 0 are found again."""
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(8, 9, 7, 2)).astype(np.float32)
    files = {"maps": maps, "mask": np.ones(maps.shape[:3], np.uint8), "mine": maps[..., 1] + maps[..., 0] / 2}
    for key, data in files.items():
        path = tmp_path / PLACES.get(key, "my_map.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])), path)
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    exec(describe(place=[6, 8, 4])[1]["nilearn"], found := {})
    matplotlib.pyplot.close()
    np.testing.assert_array_equal(found["component"].get_fdata(), maps[..., 1])
    np.testing.assert_allclose(found["loadings"].ravel(), [0.5, 1], atol=1e-5)
