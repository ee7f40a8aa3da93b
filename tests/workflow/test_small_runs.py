"""Runs on a small archive: independence of batches and cores, messages about mistakes, and changes of inputs."""

import csv
import shutil
from importlib.util import find_spec

import nibabel as nib
import numpy as np
import pytest
import yaml
from neurovault_ica.naming.built_maps import read_built_maps
from neurovault_ica.runtime.tables import read_table
from workflow_runs import copy_project, digest, rules_run, small_config, snakemake, write_config

GUARD = """
import socket

class Guarded(socket.socket):
    def connect(self, address):
        raise AssertionError(f"a connection to {address} was opened")

socket.socket = Guarded
"""


def test_dry_run_needs_snakemake_alone(tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    packages = {"numpy", "scipy", "pandas", "nibabel", "nilearn", "sklearn", "matplotlib"}
    # Snakemake imports every installed executor plugin, and the Slurm plugin imports numpy and pandas.
    if find_spec("snakemake_executor_plugin_slurm"):
        packages -= {"numpy", "pandas"}
    for package in packages:
        (blocked / package).mkdir(parents=True)
        (blocked / package / "__init__.py").write_text(f"raise ImportError('{package} is not for a dry run')")
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    done = snakemake(copy_project(tmp_path / "run"), "-n")
    assert len(rules_run(done)) == 18
    assert "is not for a dry run" not in done.stdout


@pytest.fixture(scope="module")
def guarded_run(tmp_path_factory, small_archive):
    """A run with one core and three batches that must not open a connection, and the state of the cache before it."""
    folder = copy_project(tmp_path_factory.mktemp("guarded") / "run")
    (folder / "guard").mkdir()
    (folder / "guard/sitecustomize.py").write_text(GUARD)
    before = state_of(small_archive)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "guard"))
        overlay = small_config(folder, small_archive, batches=3)
        snakemake(folder, "results/project_terms/desc-ICA_terms.tsv", "--configfile", overlay, cores=1)
    return folder, before


def state_of(folder):
    """Return time and size of every file."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_results_do_not_depend_on_batches_or_cores(guarded_run, small_run):
    rules = ["stack_images", "reduce_images", "run_ica", "project_terms"]
    expected = digest(small_run, *rules)
    assert len(expected) > 15
    assert digest(guarded_run[0], *rules) == expected


def test_offline_writes_nothing_into_the_cache_and_opens_no_connection(guarded_run, small_archive):
    folder, before = guarded_run
    assert (folder / "results/project_terms/desc-ICA_terms.tsv").is_file()
    assert state_of(small_archive) == before


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


@pytest.mark.parametrize(
    ("database", "target", "note"),
    [
        ("demo", "results/build_mask/mask.nii.gz", "build_term_maps.database is demo, which is only for simulated"),
        ("http://127.0.0.1:9/mirror", "results/build_term_maps/terms.tsv", "database could not be fetched (no_conn"),
        (None, "results/build_mask/mask.nii.gz", None),
    ],
)
def test_a_run_without_maps_of_terms_says_so_at_its_end(tmp_path, small_archive, database, target, note):
    folder = copy_project(tmp_path / "run")
    overlay = small_config(
        folder, small_archive, build_term_maps={"database": database}, download_images={"attempts": 1}
    )
    source = yaml.safe_load((folder / overlay).read_text())["archive"] | {"source": "neurovault"}
    online = write_config(folder, "online.yaml", archive=source)
    done = snakemake(folder, target, "--configfile", overlay, online)
    notes = [line for line in done.stdout.splitlines() if line.startswith("No maps of terms: ")]
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]
    if database == "http://127.0.0.1:9/mirror":
        built = read_built_maps(folder / "results/build_term_maps")
        assert built.maps.shape == (0, np.count_nonzero(built.mask_img.dataobj))
        assert built.terms == []


def test_an_empty_filter_in_an_overlay_removes_the_default(tmp_path, small_archive):
    folder = copy_project(tmp_path / "run")
    overlay = small_config(
        folder, small_archive, fetch_metadata={"collection_terms": {}, "image_terms": {"name": "map 3"}}
    )
    snakemake(folder, "results/fetch_metadata/images.tsv", "--configfile", overlay)
    assert [row["name"] for row in read_table(folder / "results/fetch_metadata/images.tsv")] == ["map 3"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"fetch_metadata": {"image_terms": {"map_type": "F map"}}},
            "no image has the value F map; values",
        ),
        ({"run_ica": {"n_components": 30}}, "24 images are left, but run_ica.n_components is 30"),
        ({"mask_images": {"mask": "empty.nii.gz"}}, "empty.nii.gz"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_the_reason_of_a_failure_is_shown(tmp_path, small_archive, small_run, sections, message):
    folder = shutil.copytree(small_run, tmp_path / "run")
    nib.save(nib.Nifti1Image(np.zeros((46, 55, 46), np.uint8), np.diag([4, 4, 4, 1])), folder / "empty.nii.gz")
    text = refused(
        folder, "results/run_ica/desc-ICA_mixing.tsv", "--configfile", small_config(folder, small_archive, **sections),
    )  # fmt: skip
    assert message in text


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
    assert rules_run(snakemake(folder, "-n", *targets)) == set()
    (folder / "mine.py").write_text("def keep(image):\n    return image['id'] > 1001\n")
    mask[15] = 0
    nib.save(nib.Nifti1Image(mask, affine), folder / "mask.nii.gz")
    assert rules_run(snakemake(folder, "-n", *targets)) == {"build_mask", "fetch_metadata"}


def test_fewer_components_leave_no_old_figures(tmp_path, small_archive, small_run):
    folder = shutil.copytree(small_run, tmp_path / "run")
    ica = {"n_components": 3, "n_restarts": 1, "n_bootstraps": 0, "n_splits": 0}
    overlay = small_config(folder, small_archive, run_ica=ica, mask_images={"resolution_mm": 5})
    snakemake(folder, "results/plot_components/overview.png", "--configfile", overlay)
    written = files_of(folder, "plot_components") + files_of(folder, "run_ica")
    maps = [name for name in written if name.startswith("ICA_") and "thumbnail" not in name]
    assert maps == [f"ICA_0{i}.{kind}" for i in range(3) for kind in ("pdf", "png")]
    assert [name for name in written if "thumbnail" in name] == [f"ICA_0{i}_thumbnail.png" for i in range(3)]
    assert not [name for name in written if "res-4" in name]


def files_of(folder, rule):
    return sorted(path.name for path in (folder / "results" / rule).iterdir())


def test_damaged_images_become_rows_and_the_run_continues(tmp_path, small_archive):
    data_dir = tmp_path / "data"
    shutil.copytree(small_archive, data_dir)
    home = data_dir / "neurovault/collection_100"
    (home / "image_1000.nii.gz").unlink()
    (home / "image_1001.nii.gz").write_bytes((home / "image_1001.nii.gz").read_bytes()[:5000])
    (home / "neurosynth_words_for_image_1002.json").write_text("{")
    folder = copy_project(tmp_path / "run")
    overlay = small_config(folder, data_dir, run_ica={"n_components": 2})
    snakemake(folder, "--until", "stack_images", "fetch_terms", "--configfile", overlay)
    rejected = read_table(folder / "results/stack_images/rejected.tsv")
    assert [(row["image_id"], row["reason"], row["name"]) for row in rejected] == [
        ("1000", "missing_file", "map 0"), ("1001", "damaged_file", "map 1"),
    ]  # fmt: skip
    statuses = [row for n in range(2) for row in read_table(folder / f"results/fetch_terms/status-{n}.tsv")]
    assert {row["image_id"]: row["reason"] for row in statuses if row["reason"]} == {"1002": "malformed"}


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
