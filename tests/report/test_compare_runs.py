"""Two runs side by side: real files of the demo, and a second run made from them with known differences."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from compare_runs import write_comparison
from made_report import HOSTILE, Page
from neurovault_ica.report.compared_runs import compare_runs, read_run
from neurovault_ica.runtime.files import sha256_of
from neurovault_ica.runtime.tables import read_table, write_table
from nilearn.image import resample_img

NEEDED = ("run_ica", "stack_images", "project_terms", "write_lock")
COMPONENTS = "run_ica/space-MNI152NLin2009aSym_res-4_desc-ICA_components.nii.gz"
# Component k of the second run is component ORDER[k] of the first. The last one is missing.
ORDER = [1, 0, *range(2, 11)]


def copy_run(demo, folder):
    for name in NEEDED:
        shutil.copytree(
            demo / "results" / name, folder / "results" / name, ignore=shutil.ignore_patterns("*.npy", "*.pdf")
        )
    return folder


@pytest.fixture(scope="module")
def runs(demo, tmp_path_factory):
    """The demo, and a copy: two components exchanged, one inverted, one missing, other images and other settings."""
    folder = copy_run(demo, tmp_path_factory.mktemp("runs") / "second")
    results = folder / "results"
    img = nib.load(results / COMPONENTS)
    maps = np.asarray(img.dataobj)[..., ORDER]
    maps[..., 2] *= -1
    nib.save(nib.Nifti1Image(maps, img.affine), results / COMPONENTS)
    labels = [f"ICA_{k:02d}" for k in range(len(ORDER))]
    for table in ("run_ica/desc-ICA_stability.tsv", "project_terms/desc-ICA_names.tsv"):
        rows = read_table(results / table)
        write_table(results / table, [rows[k] | {"component": label} for k, label in zip(ORDER, labels, strict=True)])
    rows = read_table(results / "run_ica/desc-ICA_mixing.tsv")
    mixing = [
        {key: row[key] for key in ("image_id", "sign")}
        | {label: row[f"ICA_{k:02d}"] for k, label in zip(ORDER, labels, strict=True)}
        for row in rows
    ]
    # Loadings of images that only one run used must not count.
    mixing[0]["image_id"] = mixing[1]["image_id"] = "another"
    write_table(results / "run_ica/desc-ICA_mixing.tsv", mixing, list(mixing[0]))
    lock = read_table(results / "write_lock/images.lock.tsv")
    used = [row for row in lock if row["used"]]
    used[0]["used"], used[1]["sha256"], used[2]["image_id"] = False, "0" * 64, "9999"
    used[2]["name"], used[4]["terms_sha256"] = HOSTILE[0], "1" * 64
    write_table(results / "write_lock/images.lock.tsv", lock)
    rejected = read_table(results / "stack_images/rejected.tsv")
    rejected.append(rejected[0] | {"image_id": used[0]["image_id"], "reason": "thresholded"})
    write_table(results / "stack_images/rejected.tsv", rejected)
    run = json.loads((results / "write_lock/run.json").read_text())
    run["configuration"]["stack_images"]["quality"]["min_peak"] = 3
    run["configuration"]["fetch_metadata"]["image_terms"] = {}
    run["software"]["packages"]["numpy"] = "1.0"
    run["results_sha256"] = {
        path: sha256_of(folder / path) for path in run["results_sha256"] if (folder / path).is_file()
    }
    (results / "write_lock/run.json").write_text(json.dumps(run))
    return read_run(demo), read_run(folder)


@pytest.fixture(scope="module")
def comparison(runs):
    return compare_runs(*runs)


def test_components_are_found_again_whatever_their_place_and_sign(comparison):
    rows = comparison.components
    assert [row["second"] for row in rows] == ["ICA_01", "ICA_00", *(f"ICA_{k:02d}" for k in range(2, 11)), None]
    np.testing.assert_allclose([row["r"] for row in rows[:-1]], [1, 1, -1, *[1] * 8], atol=1e-6)
    np.testing.assert_allclose([row["r_loadings"] for row in rows[:-1]], 1, atol=1e-6)
    assert max(abs(row[key]) for row in rows[:-1] for key in ("r", "r_loadings")) <= 1
    assert rows[0]["first_name"] == rows[0]["second_name"]
    assert rows[-1]["first"] == "ICA_11"
    assert rows[-1]["r"] is None
    assert comparison.common == 1


def test_a_component_without_a_match_has_a_row_in_either_direction(runs):
    rows = compare_runs(runs[1], runs[0]).components
    assert [row["first"] for row in rows] == [*(f"ICA_{k:02d}" for k in range(11)), None]
    assert rows[-1]["second"] == "ICA_11"


def test_similar_components_beside_the_match_are_listed(runs):
    first, second = runs
    maps = second.maps.values.copy()
    # The second run has component 3 of the first in two halves.
    maps[3, ::2], maps[4] = 0, np.where(np.arange(maps.shape[1]) % 2, 0, maps[3])
    row = compare_runs(first, second._replace(maps=second.maps._replace(values=maps))).components[3]
    assert {row["second"], row["also"].partition(" ")[0]} == {"ICA_03", "ICA_04"}


def test_images_that_differ_have_the_reason(runs, comparison):
    used = [image for image, row in runs[0].images.items() if row["used"]]
    rows = {row["image_id"]: row for row in comparison.images}
    assert rows[used[0]]["second"] == "rejected (thresholded)"
    assert rows[used[1]]["file"] == "changed"
    assert (rows[used[2]]["second"], rows[used[2]]["file"]) == ("not selected", None)
    assert (rows["9999"]["first"], rows["9999"]["second"]) == ("not selected", "used")
    assert (rows[used[3]]["first"], rows[used[3]]["second"], rows[used[3]]["file"]) == ("used", "used", "same")
    assert list(rows) == [*runs[0].images, "9999"]
    assert [rows[used[k]]["terms"] for k in (2, 3, 4)] == [None, "same", "changed"]


def test_settings_and_software_that_differ_are_listed(comparison):
    assert comparison.settings[-1] == {"key": "fetch_metadata.image_terms", "first": None, "second": "{}"}
    assert {"key": "stack_images.quality.min_peak", "first": "1.96", "second": "3"} in comparison.settings
    assert [row["key"] for row in comparison.software] == ["packages.numpy"]


def test_runs_on_other_grids_are_compared_over_the_common_mask(runs, tmp_path):
    first = runs[0]
    mask = nib.load(first.mask)
    coarse = resample_img(mask, np.diag([5, 5, 5]), interpolation="nearest", force_resample=True, copy_header=True)
    data = np.asarray(coarse.dataobj).copy()
    data[data.shape[0] // 2 :] = 0  # one hemisphere
    nib.save(nib.Nifti1Image(data, coarse.affine), tmp_path / "mask.nii.gz")
    maps = nib.Nifti1Image(np.stack([first.maps.volume(k).data for k in range(12)], axis=3), mask.affine)
    maps = resample_img(maps, coarse.affine, coarse.shape, force_resample=True, copy_header=True)
    values = np.asarray(maps.dataobj)[data > 0].T
    other = first._replace(
        maps=first.maps._replace(values=values, inside=data > 0, header=maps.header), mask=str(tmp_path / "mask.nii.gz")
    )
    for comparison in (compare_runs(first, other), compare_runs(other, first)):
        assert [row["first"] for row in comparison.components] == [row["second"] for row in comparison.components]
        assert min(row["r"] for row in comparison.components) > 0.8
    assert 0.4 < compare_runs(first, other).common < 0.6


def test_the_page_shows_all_and_escapes_texts(runs, tmp_path):
    write_comparison(*runs, tmp_path / "mine")
    text = (tmp_path / "mine/comparison.html").read_text()
    page = Page(text)
    assert "Matched pairs with |r| of at least 0.7: 11 of 11." in " ".join(" ".join(page.texts).split())
    assert not [tag for tag, _ in page.elements if tag in ("script", "iframe")]
    assert HOSTILE[0] in page.isolated
    links = [dict(attributes)["href"] for tag, attributes in page.elements if tag == "a"]
    files = [link for link in links if not link.startswith("#")]
    assert files
    assert all((tmp_path / "mine" / link).is_file() for link in files)
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    with pytest.raises(ValueError, match="mine already exists; choose another NAME or delete it"):
        write_comparison(*runs, tmp_path / "mine")


def test_a_folder_without_a_finished_run_is_refused(demo, tmp_path):
    copy_run(demo, tmp_path)
    (tmp_path / "results/run_ica/desc-ICA_mixing.tsv").unlink()
    with pytest.raises(ValueError, match=r"does not contain a finished run \(missing: the loadings\)\. Give"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("write_lock/run.json", lambda text: text[:5000], "run.json is damaged: "),
        ("write_lock/run.json", lambda _: "{}", "run.json is damaged: 'configuration'; run snakemake again"),
        ("write_lock/images.lock.tsv", lambda text: text[:5000], "is not an images.lock.tsv"),
        # A later run with fewer components was stopped before it wrote the names.
        (
            "run_ica/desc-ICA_stability.tsv",
            lambda text: "".join(text.splitlines(keepends=True)[:-1]),
            r"were changed after run.json was written: results/run_ica/desc-ICA_stability.tsv\. A later run",
        ),
    ],
)
def test_damaged_and_mixed_results_are_refused(demo, tmp_path, file, change, message):
    path = copy_run(demo, tmp_path) / "results" / file
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        read_run(tmp_path)
