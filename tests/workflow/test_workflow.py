"""The workflow as a whole, run by Snakemake in a folder of its own."""

import csv
import json
import re
import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT
from neurovault_ica.runtime.tables import read_table
from workflow_runs import copy_project, digest, small_config, snakemake, write_config

EXPECTED_FILES = Path(__file__).parents[1] / "demo_files.txt"


def rules_run(done):
    """Which rules a run would execute or has executed, from its table of jobs."""
    lines = done.stdout.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("job ")), None)
    if start is None:
        return set()
    table = lines[start + 2 : next(n for n in range(start, len(lines)) if lines[n].startswith("total"))]
    return {line.split()[0] for line in table} - {"all"}


def test_demo_networks_are_found_and_named(demo):
    rows = [row for row in read_table(demo / "results/check_demo/recovery.tsv") if row["kind"] == "network"]
    assert len(rows) == 12
    assert min(row["abs_r"] for row in rows) >= 0.9
    assert sum(row["abs_r"] for row in rows) / 12 >= 0.95
    assert all(row["passed"] for row in rows), rows


def test_demo_images_meet_their_fate(demo):
    rows = [row for row in read_table(demo / "results/check_demo/recovery.tsv") if row["kind"] == "image"]
    assert len(rows) > 85
    assert [row for row in rows if not row["passed"]] == []


def test_every_selected_image_is_used_or_refused(demo):
    results = demo / "results"
    selected = [row["image_id"] for row in read_table(results / "fetch_metadata/images.tsv")]
    used = [row["image_id"] for row in read_table(results / "stack_images/images.tsv")]
    refused = read_table(results / "stack_images/rejected.tsv")
    assert sorted(selected) == sorted(used + [row["image_id"] for row in refused])
    assert all(row["reason"] and row["stage"] for row in refused)
    assert len(selected) == len(set(selected))


def test_demo_writes_the_files_it_says(demo):
    """Update the list with: cd <run> && find results -type f (without the archive) | sort."""
    written = sorted(
        str(path.relative_to(demo))
        for path in (demo / "results").rglob("*")
        if path.is_file() and "build_demo_archive/archive" not in str(path)
    )
    assert written == EXPECTED_FILES.read_text().split()


def test_demo_says_where_the_report_is(demo):
    assert re.search(
        r"Report: /.*/demo_unfinished/results/render_report/report\.html", (demo / "terminal.txt").read_text()
    )


def test_demo_components_match_the_planted_networks(demo):
    """The rule is no part of a run without a reference: it leaves as it came."""
    reference = "results/build_demo_archive/truth/networks.nii.gz"
    overlay = write_config(demo, match_networks={"reference": reference, "n_surrogates": 39})
    assert "match_networks" in rules_run(snakemake(demo, "-n", "--configfile", overlay))
    assert rules_run(snakemake(demo, "match_networks", "--configfile", overlay)) == {"match_networks"}
    rows = read_table(demo / "results/match_networks/desc-ICA_networks.tsv")
    planted = read_table(demo / "results/build_demo_archive/truth/networks.tsv")
    assert {row["matched_network"] for row in rows} == {row["network"] for row in planted}
    assert min(abs(row["matched_r"]) for row in rows) > 0.9
    assert {row["best_p"] for row in rows} == {1 / 40}
    written = {path.name for path in (demo / "results/match_networks").iterdir()}
    shutil.rmtree(demo / "results/match_networks")
    text = (ROOT / "docs/outputs.md").read_text()
    for name in written - {"desc-ICA_networks.json", "desc-ICA_correlations.json"}:
        assert re.sub(r"ICA_\d+\.", "ICA_00.", name).replace(".pdf", ".png") in text


def test_second_run_does_nothing(demo):
    before = digest(demo, "run_ica", "render_report")
    done = snakemake(demo)
    assert "Nothing to be done" in done.stdout
    assert digest(demo, "run_ica", "render_report") == before


def test_only_what_changed_runs_again(demo):
    overlay = write_config(demo, plot_components={"threshold": {"z": 3}})
    plots = rules_run(snakemake(demo, "-n", "--configfile", overlay))
    assert plots == {"plot_components", "plot_relations", "render_report", "write_lock"}
    overlay = write_config(demo, run_ica={"n_components": 7})
    components = rules_run(snakemake(demo, "-n", "--configfile", overlay))
    assert components == {
        "reduce_images", "run_ica", "project_terms", "check_demo", "plot_components", "plot_relations",
        "render_report", "write_lock",
    }  # fmt: skip
    overlay = write_config(demo, stack_images={"quality": {"min_coverage": 0.7}})
    assert "mask_images" not in rules_run(snakemake(demo, "-n", "--configfile", overlay))


def test_the_scan_is_a_target_of_its_own(demo):
    assert rules_run(snakemake(demo, "-n", "scan_components")) == {"scan_components"}


def test_an_edited_module_reruns_what_uses_it(demo):
    module = demo / "workflow/scripts/quality.py"
    text = module.read_text()
    module.write_text(text + "# edited\n")
    rules = rules_run(snakemake(demo, "-n"))
    module.write_text(text)
    assert {"mask_images", "stack_images"} <= rules
    assert not {"fetch_metadata", "download_images", "build_mask"} & rules


def test_tables_have_sidecars_that_describe_them(demo):
    for table in (demo / "results").rglob("*.tsv"):
        stem = table.stem.rsplit("-", 1)[0] if table.stem.rsplit("-", 1)[-1].isdigit() else table.stem
        with table.open(encoding="utf-8", newline="") as stream:
            header = next(csv.reader(stream, dialect="excel-tab"))
        assert set(json.loads(table.with_name(f"{stem}.json").read_text())) == set(header), table


@pytest.mark.parametrize("document", ["docs/outputs.md"])
def test_every_result_is_documented(document):
    text = (ROOT / document).read_text()
    files = EXPECTED_FILES.read_text().split()
    for file in files:
        is_sidecar = file.replace(".json", ".tsv") in files or file.replace(".json", "-0.tsv") in files
        if file.endswith(".json") and is_sidecar:
            continue
        name = re.sub(r"-\d+\.", "-{batch}.", re.sub(r"ICA_\d+", "ICA_00", file.split("/", 2)[2]))
        # Beside each figure lies its PDF.
        assert name.replace(".pdf", ".png") in text, f"{document} does not mention {file}"


def test_dry_run_needs_snakemake_alone(tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    packages = {"numpy", "scipy", "pandas", "nibabel", "nilearn", "sklearn", "matplotlib"}
    # Snakemake imports each executor plugin that is installed, and that for Slurm imports these.
    if find_spec("snakemake_executor_plugin_slurm"):
        packages -= {"numpy", "pandas"}
    for package in packages:
        (blocked / package).mkdir(parents=True)
        (blocked / package / "__init__.py").write_text(f"raise ImportError('{package} is not for a dry run')")
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    done = snakemake(copy_project(tmp_path / "run"), "-n")
    assert len(rules_run(done)) == 16
    assert "is not for a dry run" not in done.stdout


def test_results_do_not_depend_on_batches_or_cores(tmp_path, small_archive, small_run):
    rules = ["stack_images", "reduce_images", "run_ica", "project_terms", "plot_components"]
    expected = digest(small_run, *rules)
    assert len(expected) > 25
    folder = copy_project(tmp_path / "run")
    overlay = small_config(folder, small_archive, batches=7)
    snakemake(folder, "results/plot_components/overview.png", "--configfile", overlay, cores=1)
    assert digest(folder, *rules) == expected


def test_offline_writes_nothing_into_the_cache_and_opens_no_connection(tmp_path, small_archive, monkeypatch):
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in small_archive.rglob("*")}
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(
        "import socket\n"
        "class Guarded(socket.socket):\n"
        "    def connect(self, address):\n"
        "        raise AssertionError(f'a connection to {address} was opened')\n"
        "socket.socket = Guarded\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "guard"))
    folder = copy_project(tmp_path / "run")
    snakemake(folder, "results/project_terms/desc-ICA_terms.tsv", "--configfile", small_config(folder, small_archive))
    assert before == {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in small_archive.rglob("*")}


def refused(folder, *arguments):
    """Run what must fail; return what the user reads."""
    done = snakemake(folder, *arguments, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def test_typo_stops_before_any_job(tmp_path):
    folder = copy_project(tmp_path / "run")
    overlay = write_config(folder, run_ica={"n_component": 8})
    text = refused(folder, "--configfile", overlay)
    assert "run_ica.n_component: there is no such key; did you mean n_components?" in text
    assert not (folder / "results").exists()


def test_empty_filter_in_an_overlay_asks_for_nothing(tmp_path, small_archive):
    folder = copy_project(tmp_path / "run")
    overlay = small_config(
        folder, small_archive, fetch_metadata={"collection_terms": {}, "image_terms": {"name": "map 3"}}
    )
    snakemake(folder, "results/fetch_metadata/images.tsv", "--configfile", overlay)
    assert [row["name"] for row in read_table(folder / "results/fetch_metadata/images.tsv")] == ["map 3"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"archive": {"source": "offline", "data_dir": "nowhere"}}, "no NeuroVault cache in nowhere"),
        ({"fetch_metadata": {"image_terms": {"map_type": "F map"}}}, 'no image is left: "map_type = F map" dropped'),
        ({"run_ica": {"n_components": 30}}, "24 images are left and run_ica.n_components is 30"),
        ({"mask_images": {"mask": "empty.nii.gz"}}, "empty.nii.gz"),
        ({"mask_images": {"mask": "nowhere.nii.gz"}}, "nowhere.nii.gz"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_stops_a_run_is_said(tmp_path, small_archive, sections, message):
    import nibabel as nib
    import numpy as np

    folder = copy_project(tmp_path / "run")
    nib.save(nib.Nifti1Image(np.zeros((46, 55, 46), np.uint8), np.diag([4, 4, 4, 1])), folder / "empty.nii.gz")
    text = refused(
        folder, "results/run_ica/desc-ICA_mixing.tsv", "results/reduce_images/whitened.npy",
        "--configfile", small_config(folder, small_archive, **sections),
    )  # fmt: skip
    assert message in text


def test_an_edited_filter_or_mask_reruns_what_reads_it(tmp_path, small_archive):
    import nibabel as nib
    import numpy as np

    folder = copy_project(tmp_path / "run")
    mask = np.zeros((46, 55, 46), np.uint8)
    mask[15:30, 15:40, 15:30] = 1
    affine = np.array([[4, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(mask, affine), folder / "mask.nii.gz")
    (folder / "mine.py").write_text("def keep(image):\n    return True\n")
    overlay = small_config(
        folder, small_archive, mask_images={"mask": "mask.nii.gz"}, fetch_metadata={"image_filter": "mine.py:keep"}
    )
    target = "results/run_ica/desc-ICA_mixing.tsv"
    snakemake(folder, target, "--configfile", overlay)
    assert (folder / "results/run_ica/space-MNI152NLin2009aSym_res-mask_desc-ICA_components.nii.gz").is_file()
    assert rules_run(snakemake(folder, "-n", target, "--configfile", overlay)) == set()
    (folder / "mine.py").write_text("def keep(image):\n    return image['id'] > 1001\n")
    assert "fetch_metadata" in rules_run(snakemake(folder, "-n", target, "--configfile", overlay))
    (folder / "mine.py").write_text("def keep(image):\n    return True\n")
    mask[15] = 0
    nib.save(nib.Nifti1Image(mask, affine), folder / "mask.nii.gz")
    assert "build_mask" in rules_run(snakemake(folder, "-n", target, "--configfile", overlay))


def test_fewer_components_leave_no_old_figures(tmp_path, small_archive, small_run):
    folder = tmp_path / "run"
    shutil.copytree(small_run, folder)
    overlay = small_config(
        folder, small_archive, run_ica={"n_components": 3, "n_restarts": 1}, mask_images={"resolution_mm": 5}
    )
    snakemake(folder, "results/plot_components/overview.png", "--configfile", overlay)
    written = files_of(folder, "plot_components") + files_of(folder, "run_ica")
    maps = [name for name in written if name.startswith("ICA_") and "thumbnail" not in name]
    assert maps == [f"ICA_0{i}.{kind}" for i in range(3) for kind in ("pdf", "png")]
    assert [name for name in written if "thumbnail" in name] == [f"ICA_0{i}_thumbnail.png" for i in range(3)]
    assert not [name for name in written if "res-4" in name]


def files_of(folder, rule):
    return sorted(path.name for path in (folder / "results" / rule).iterdir())


def test_damaged_images_are_rows_and_the_run_goes_on(tmp_path, small_archive):
    data_dir = tmp_path / "data"
    shutil.copytree(small_archive, data_dir)
    home = data_dir / "neurovault/collection_100"
    (home / "image_1000.nii.gz").unlink()
    (home / "image_1001.nii.gz").write_bytes((home / "image_1001.nii.gz").read_bytes()[:5000])
    (home / "neurosynth_words_for_image_1002.json").write_text("{")
    folder = copy_project(tmp_path / "run")
    snakemake(folder, "--configfile", small_config(folder, data_dir, run_ica={"n_components": 2, "n_restarts": 1}))
    refused_rows = read_table(folder / "results/stack_images/rejected.tsv")
    assert [(row["image_id"], row["reason"], row["name"]) for row in refused_rows] == [
        ("1000", "missing_file", "map 0"), ("1001", "damaged_file", "map 1"),
    ]  # fmt: skip
    statuses = [row for n in range(4) for row in read_table(folder / f"results/fetch_terms/status-{n}.tsv")]
    assert {row["image_id"]: row["reason"] for row in statuses if row["reason"]} == {"1002": "malformed"}
    report = (folder / "results/render_report/report.html").read_text()
    assert "missing_file" in report
    assert "unreadable answer" in report


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


def test_snakemake_makes_a_report_of_its_own(demo):
    """It stands on what Snakemake's package holds; a page for each category, each result with its caption."""
    snakemake(demo, "--report", "run.zip")
    with zipfile.ZipFile(demo / "run.zip") as packed:
        page = packed.read("run/report.html").decode()
    (demo / "run.zip").unlink()
    categories = json.loads(re.search(r"var categories = (\{.*\});", page)[1])
    results = json.loads(re.search(r"var results = (\{.*\});", page)[1])
    assert set(categories) == {"Components", "Images", "Page", "Relations"}
    shown = {(result["labels"]["shows"], result["labels"]["kind"]): result for result in results.values()}
    assert len(shown) == len(results)
    assert {("terms", "table"), ("terms", "figure"), ("peaks", "table"), ("report of the run", "page")} <= set(shown)
    assert "12 independent components" in shown["ICA_00", "figure"]["caption"]
    assert all(result["caption"] for result in results.values())
