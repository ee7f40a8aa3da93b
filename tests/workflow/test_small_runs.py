"""Runs on a small archive: damaged images, messages about mistakes, and changes of inputs."""

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.naming.built_maps import read_built_maps
from neurovault_ica.runtime.tables import read_table
from workflow_runs import copy_project, rules_run, small_config, snakemake, write_config


def test_damaged_images_become_rows_and_the_run_continues(small_run):
    rejected = read_table(small_run / "results/stack_images/rejected.tsv")
    assert [(row["image_id"], row["reason"], row["name"]) for row in rejected] == [
        ("1024", "missing_file", "map 0"), ("1025", "damaged_file", "map 0"),
    ]  # fmt: skip
    statuses = [row for n in range(2) for row in read_table(small_run / f"results/fetch_terms/status-{n}.tsv")]
    assert {row["image_id"]: row["reason"] for row in statuses if row["image_id"] == "1002"} == {"1002": "malformed"}


def refused(folder, *arguments):
    """Run Snakemake, which must fail without a traceback, and return its output."""
    done = snakemake(folder, *arguments, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def test_a_typo_stops_the_run_before_any_job(tmp_path):
    folder = copy_project(tmp_path / "run")
    overlay = write_config(folder, run_ica={"n_component": 8})
    text = refused(folder, "--configfile", overlay)
    assert "run_ica.n_component: unknown key; did you mean n_components?" in text
    assert not (folder / "results").exists()


@pytest.mark.long
def test_a_run_without_maps_of_terms_says_so_at_its_end(tmp_path, small_archive):
    folder = copy_project(tmp_path / "run")
    settings = {"build_term_maps": {"database": "http://127.0.0.1:9/mirror"}, "download_images": {"attempts": 1}}
    archive = {"source": "neurovault", "data_dir": str(small_archive)}
    overlay = small_config(folder, small_archive, archive=archive, **settings)
    done = snakemake(folder, "results/build_term_maps/terms.tsv", "--configfile", overlay)
    [note] = [line for line in done.stdout.splitlines() if line.startswith("No term maps were computed: ")]
    assert "database could not be fetched (no_conn" in note
    built = read_built_maps(folder / "results/build_term_maps")
    assert built.maps.shape == (0, np.count_nonzero(built.mask_img.dataobj))
    assert built.terms == []


def test_the_reason_of_a_failure_is_shown(tmp_path, small_archive, small_run):
    folder = shutil.copytree(small_run, tmp_path / "run")
    overlay = small_config(folder, small_archive, run_ica={"n_components": 30})
    text = refused(folder, "results/run_ica/desc-ICA_mixing.tsv", "--configfile", overlay)
    assert "24 images are left, but run_ica.n_components is 30" in text


@pytest.mark.long
def test_figures_are_drawn_from_a_notebook(tmp_path, small_archive, small_run, monkeypatch):
    """A notebook sets MPLBACKEND to a module that is not installed here."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    folder = shutil.copytree(small_run, tmp_path / "run")
    snakemake(folder, "results/plot_images/quality.png", "--configfile", small_config(folder, small_archive))


@pytest.mark.long
def test_an_edited_filter_or_mask_reruns_what_reads_it(tmp_path, small_archive):
    folder = copy_project(tmp_path / "run")
    mask = np.zeros((46, 55, 46), np.uint8)
    mask[15:30, 15:40, 15:30] = 1
    affine = np.array([[4, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(mask, affine), folder / "mask.nii.gz")
    (folder / "mine.py").write_text("def keep(image):\n    return True\n")
    overlay = small_config(
        folder, small_archive, mask_images={"mask": "mask.nii.gz"}, fetch_metadata={"image_filter": "mine.py:keep"}
    )
    targets = ["results/build_mask/mask.nii.gz", "results/fetch_metadata/images.tsv", "--configfile", overlay]
    snakemake(folder, *targets)
    (folder / "mine.py").write_text("def keep(image):\n    return image['id'] > 1001\n")
    mask[15] = 0
    nib.save(nib.Nifti1Image(mask, affine), folder / "mask.nii.gz")
    assert rules_run(snakemake(folder, "-n", *targets)) == {"build_mask", "fetch_metadata"}


@pytest.mark.long
def test_real_maps_run_to_the_report(tmp_path, real_maps):
    folder = copy_project(tmp_path / "run")
    overlay = write_config(
        folder,
        archive={"source": "offline", "data_dir": str(real_maps)},
        fetch_metadata={"max_images": None, "max_images_per_collection": None, "image_terms": {}},
        run_ica={"n_components": 20},
    )
    snakemake(folder, "--configfile", overlay)
    with (real_maps / "images.tsv").open() as stream:
        judged = {row["image_id"]: row["usable_for_ica"] == "1" for row in csv.DictReader(stream, delimiter="\t")}
    selected = {row["image_id"] for row in read_table(folder / "results/fetch_metadata/images.tsv")}
    used = {row["image_id"] for row in read_table(folder / "results/stack_images/images.tsv")}
    usable = {image_id for image_id in selected if judged[image_id]}
    assert len(selected) == 150, "all but the one whose name says that it holds ICA maps"
    assert len(usable & used) >= 0.9 * len(usable)
    assert len(used - usable) <= 0.15 * len(selected - usable)
    stability = read_table(folder / "results/run_ica/desc-ICA_stability.tsv")
    assert len(stability) == 20
    assert sum(row["variance_explained"] for row in stability) > 0.5
