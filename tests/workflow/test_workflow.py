"""A finished run of the demo: its results, its files, and what runs again after a change."""

import csv
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from neurovault_ica.archive.disk_space import needed, used_bytes
from neurovault_ica.runtime.layers import read_file
from neurovault_ica.runtime.tables import read_table
from PIL import Image
from workflow_runs import copy_project, digest, rules_run, snakemake, write_config

EXPECTED_FILES = Path(__file__).parents[1] / "demo_files.txt"


def test_demo_networks_are_found_and_named(demo):
    rows = [row for row in read_table(demo / "results/check_demo/recovery.tsv") if row["kind"] == "network"]
    assert len(rows) == 12
    assert min(row["abs_r"] for row in rows) >= 0.9
    assert sum(row["abs_r"] for row in rows) / 12 >= 0.95
    assert all(row["passed"] for row in rows), rows


@pytest.mark.parametrize("kind", ["name", "term map"])
def test_demo_networks_are_named_by_their_own_terms(demo, kind):
    rows = [row for row in read_table(demo / "results/check_demo/recovery.tsv") if row["kind"] == kind]
    assert len(rows) == 12
    assert all(row["passed"] for row in rows), rows


def test_names_are_the_same_everywhere_and_among_the_bold_terms(demo):
    """Figures, gallery and cards of the page, log and methods text have the names of desc-ICA_names.tsv."""
    rows = read_table(demo / "results/project_terms/desc-ICA_names.tsv")
    page = (demo / "results/render_report/report.html").read_text()
    log = (demo / "logs/project_terms.log").read_text()
    for row in rows:
        label, name = row["component"], row["name"]
        figure = Image.open(demo / f"results/plot_components/{label}.png")
        assert figure.text["Title"] == f"{label}  {name}"
        assert f" {label}: {name} ({row['source']}, " in log
        card = page.partition(f'<article class="card component" id="{label}"')[2].partition("</article>")[0]
        heading = card.partition(f'<h2 id="{label}-name"')[2].partition("</h2>")[0]
        assert f"<strong><bdi>{name}</bdi></strong>" in heading
        gallery = page.partition(f'<li data-component="{label}"')[2].partition("</li>")[0]
        assert f"<bdi>{name}</bdi>" in gallery
        significant = set(re.findall(r'<tr class="significant"><td[^>]*><bdi>([^<]*)</bdi>', card))
        assert row["source"] == "term maps"
        assert set(row["words"].split("; ")) <= significant
    methods = (demo / "results/write_lock/methods.md").read_text()
    assert f"{len(rows)} of {len(rows)} components have a significant name ({len(rows)} from term maps)" in methods


def test_demo_images_have_their_expected_fate(demo):
    rows = [row for row in read_table(demo / "results/check_demo/recovery.tsv") if row["kind"] == "image"]
    assert len(rows) > 85
    assert [row for row in rows if not row["passed"]] == []


def test_every_selected_image_is_used_or_rejected(demo):
    results = demo / "results"
    selected = [row["image_id"] for row in read_table(results / "fetch_metadata/images.tsv")]
    used = [row["image_id"] for row in read_table(results / "stack_images/images.tsv")]
    rejected = read_table(results / "stack_images/rejected.tsv")
    assert sorted(selected) == sorted(used + [row["image_id"] for row in rejected])
    assert all(row["reason"] and row["stage"] for row in rejected)
    assert len(selected) == len(set(selected))


def test_demo_takes_the_space_on_the_disk_that_is_said_before(demo):
    """The comparison is approximate, because both folders also have small tables."""
    results = demo / "results"
    config = read_file(demo / "config.yaml")
    rows = [row for table in (results / "mask_images").glob("quality-*.tsv") for row in read_table(table)]
    readable = needed(config, sum(row["row"] is not None for row in rows), results)
    used = needed(config, len(read_table(results / "stack_images/images.tsv")), results)
    # In a run, the files in kept/ are second names of the same voxels. In this copy of the run, they are copies.
    kept = used_bytes(results / "mask_images/kept")
    masked, stacked = used_bytes(results / "mask_images") - kept, used_bytes(results / "stack_images")
    assert readable.mask_images == pytest.approx(masked, rel=0.01)
    assert used.stack_images == pytest.approx(stacked, rel=0.01)
    others = used_bytes(results) - kept - masked - stacked - used_bytes(results / "build_demo_archive")
    assert 0.8 * others < used.others < 1.5 * others


def results_of(folder):
    """List the files of a run. To update the list: find results -type f | grep -v build_demo_archive/archive | sort."""
    files = [str(path.relative_to(folder)) for path in (folder / "results").rglob("*") if path.is_file()]
    return sorted(file for file in files if "build_demo_archive/archive" not in file)


def test_demo_writes_the_listed_files(demo):
    """With voxels of 4 mm and two batches."""
    files = EXPECTED_FILES.read_text().replace("_res-2_", "_res-4_").split()
    assert results_of(demo) == [file for file in files if not re.search(r"-[23]\.", file)]


@pytest.mark.long
def test_make_run_in_a_clone_passes_all_checks_of_the_demo(tmp_path):
    """With the settings of config.yaml. Other tests of the demo have shorter ones, to save time."""
    folder = copy_project(tmp_path / "clone")
    for name in ("Makefile", "requirements.lock", "requirements-uv.lock"):
        shutil.copy(ROOT / name, folder)
    # This environment counts as installed.
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(Path(sys.prefix) / "bin")
    (folder / ".venv/installed").touch()
    subprocess.run(["make", "run"], cwd=folder, check=True)
    assert results_of(folder) == EXPECTED_FILES.read_text().split()
    rows = read_table(folder / "results/check_demo/recovery.tsv")
    assert {row["kind"] for row in rows} >= {"network", "name", "term map", "image"}
    assert [row for row in rows if not row["passed"]] == []


def test_demo_prints_the_path_of_the_report(demo):
    assert re.search(
        r"Report: /.*/demo_unfinished/results/render_report/report\.html", (demo / "terminal.txt").read_text()
    )


def test_demo_components_get_reference_networks_that_the_page_finds(demo):
    """The demo plants networks at the places where Seitzman et al. found networks of the same names."""
    rows = read_table(demo / "results/check_demo/recovery.tsv")
    planted = {row["id"]: row["found"] for row in rows if row["kind"] == "network"}
    found = {row["component"]: row for row in read_table(demo / "results/match_networks/desc-ICA_networks.tsv")}
    for name in ("default_mode", "visual", "auditory"):
        row = found[planted[name]]
        assert row["best_network"] == row["matched_network"] == name.replace("_", " ")
        assert row["best_q"] < 0.05
    assert found[planted["hand_motor"]]["best_network"] == "somatomotor dorsal"
    page = (demo / "results/render_report/report.html").read_text()
    findings = json.loads(re.search(r'<script type="application/json" id="findings">(.*?)</script>', page)[1])
    kinds = {label: {(kind, text) for _, _, kind, text, _ in rows} for label, rows in findings.items()}
    for planted_name, network in (("default_mode", "default mode"), ("hand_motor", "somatomotor dorsal")):
        assert f'data-network="{network}"' in page
        assert ("reference network", network) in kinds[planted[planted_name]]
    peaks = read_table(demo / "results/plot_components/desc-ICA_peaks.tsv")
    region = next(row["region"] for row in peaks if row["component"] == planted["hand_motor"])
    assert region in ("Precentral_L", "Postcentral_L")
    assert ("region", region) in kinds[planted["hand_motor"]]


def test_demo_files_of_match_networks_are_documented():
    text = (ROOT / "docs/outputs.md").read_text()
    written = [Path(file) for file in EXPECTED_FILES.read_text().split() if "/match_networks/" in file]
    for name in {path.name for path in written if path.suffix != ".json"}:
        assert re.sub(r"ICA_\d+\.", "ICA_00.", name).replace(".pdf", ".png") in text


def test_second_run_does_nothing(demo):
    before = digest(demo, "run_ica", "render_report")
    done = snakemake(demo)
    assert "Nothing to be done" in done.stdout
    assert digest(demo, "run_ica", "render_report") == before


def test_a_missing_result_is_computed_again_but_an_array_is_not(demo):
    """Ctrl-C removes the results of the job that is running, but the page of the last run exists."""
    would_run = {}
    for file in ("run_ica/desc-ICA_unmixing.tsv", "download_images/status-0.tsv", "stack_images/matrix.npy"):
        path = demo / "results" / file
        aside = path.rename(path.with_name("aside"))
        would_run[file] = rules_run(snakemake(demo, "-n"))
        aside.rename(path)
    assert {"run_ica", "project_terms", "render_report"} <= would_run["run_ica/desc-ICA_unmixing.tsv"]
    assert not {"stack_images", "reduce_images"} & would_run["run_ica/desc-ICA_unmixing.tsv"]
    assert "download_images" in would_run["download_images/status-0.tsv"]
    assert would_run["stack_images/matrix.npy"] == set()


def test_only_rules_after_a_changed_setting_run_again(demo):
    overlay = write_config(demo, stack_images={"quality": {"min_coverage": 0.7}})
    assert rules_run(snakemake(demo, "-n", "--configfile", overlay)) == {
        "stack_images", "reduce_images", "run_ica", "project_terms", "match_networks", "check_demo", "plot_components",
        "plot_surfaces", "plot_images", "plot_relations", "write_lock", "render_report",
    }  # fmt: skip


def test_tables_have_sidecars_that_describe_them(demo):
    for table in (demo / "results").glob("*/*.tsv"):
        stem = table.stem.rsplit("-", 1)[0] if table.stem.rsplit("-", 1)[-1].isdigit() else table.stem
        with table.open(encoding="utf-8", newline="") as stream:
            header = next(csv.reader(stream, dialect="excel-tab"))
        assert set(json.loads(table.with_name(f"{stem}.json").read_text())) == set(header), table


def test_every_result_is_documented():
    text = (ROOT / "docs/outputs.md").read_text()
    files = EXPECTED_FILES.read_text().split()
    for file in files:
        is_sidecar = file.replace(".json", ".tsv") in files or file.replace(".json", "-0.tsv") in files
        if file.endswith(".json") and is_sidecar:
            continue
        name = re.sub(r"-\d+\.", "-{batch}.", re.sub(r"ICA_\d+", "ICA_00", file.split("/", 2)[-1]))
        # Each figure has a PDF of the same name.
        assert name.replace(".pdf", ".png") in text, f"docs/outputs.md does not mention {file}"


@pytest.mark.long
def test_snakemake_makes_a_report_of_its_own(demo):
    """The report needs no network, and has all categories and a caption for each result."""
    snakemake(demo, "--report", "run.zip")
    with zipfile.ZipFile(demo / "run.zip") as packed:
        page = packed.read("run/report.html").decode()
    (demo / "run.zip").unlink()
    categories = json.loads(re.search(r"var categories = (\{.*\});", page)[1])
    results = json.loads(re.search(r"var results = (\{.*\});", page)[1])
    assert set(categories) == {"Components", "Images", "Page", "Relations", "Surfaces"}
    shown = {
        (category, results[file]["labels"]["shows"], results[file]["labels"]["kind"]): results[file]
        for category, groups in categories.items()
        for file in groups["Other"]
    }
    assert len(shown) == len(results)
    for what, kind in (("terms", "table"), ("terms", "figure"), ("peaks", "table")):
        assert ("Components", what, kind) in shown
    assert ("Page", "report of the run", "page") in shown
    assert "12 independent components" in shown["Components", "ICA_00", "figure"]["caption"]
    assert all(result["caption"] for result in results.values())
