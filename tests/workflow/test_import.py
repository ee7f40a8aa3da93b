"""The workflow in others' hands: run from elsewhere, imported by another workflow, from a folder and from GitHub."""

import re
import subprocess

import nibabel as nib
import pytest
from workflow_runs import ROOT, SMALL, copy_project, digest, snakemake, write_config

FOREIGN = """
configfile: "config.yaml"

rule all:
    input: "mine.txt"

module ica:
    snakefile: {snakefile}
    {options}

use rule * from ica as ica_*

rule mine:
    input: rules.ica_run_ica.output.components
    output: "mine.txt"
    shell: "sha256sum < {{input}} > {{output}}"
"""
COMPONENTS = "results/run_ica/space-MNI152NLin2009aSym_res-4_desc-ICA_components.nii.gz"


def test_from_elsewhere_the_defaults_hold_and_a_configuration_lies_over_them(tmp_path):
    snakefile = ("--snakefile", ROOT / "Snakefile", "--directory", tmp_path / "elsewhere")
    done = snakemake(tmp_path, "-n", *snakefile)
    assert re.search(r"^mask_images +4$", done.stdout, re.MULTILINE)
    write_config(tmp_path / "elsewhere", "config.yaml", batches=3)
    overlay = write_config(tmp_path, match_networks={"reference": "smith_2009_rsn10"})
    done = snakemake(tmp_path, "-n", *snakefile, "--configfile", overlay)
    assert re.search(r"^mask_images +3$", done.stdout, re.MULTILINE)
    assert re.search(r"^match_networks +1$", done.stdout, re.MULTILINE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "overlay.yaml"]


def make_foreign(folder, snakefile, *, archive, prefix=None):
    """Write a workflow that imports ours, and the configuration of both."""
    options = ['config: config["ica"]', *([f'prefix: "{prefix}"'] if prefix else [])]
    folder.mkdir()
    (folder / "Snakefile").write_text(FOREIGN.format(snakefile=snakefile, options="\n    ".join(options)))
    write_config(folder, "config.yaml", batches="theirs", ica=SMALL | {"archive": archive})
    return folder


def test_another_workflow_imports_this_one(tmp_path, small_archive, small_run):
    archive = {"source": "offline", "data_dir": str(small_archive)}
    folder = make_foreign(tmp_path / "foreign", f'"{ROOT}/Snakefile"', archive=archive)
    done = snakemake(folder)
    assert digest(folder, "run_ica") == digest(small_run, "run_ica")
    sha256 = digest(small_run, "run_ica")[COMPONENTS]
    assert (folder / "mine.txt").read_text().split()[0] == sha256
    # Its folder, its targets and its last words are its own.
    assert not (folder / ".snakemake/running").exists()
    assert not (folder / "results/project_terms").exists()
    assert "Report:" not in done.stdout
    assert "Nothing to be done" in snakemake(folder).stdout


def test_without_a_configuration_the_import_is_the_demo(tmp_path):
    folder = make_foreign(tmp_path / "foreign", f'"{ROOT}/Snakefile"', archive={})
    text = (folder / "Snakefile").read_text()
    (folder / "Snakefile").write_text(text.replace('config: config["ica"]', ""))
    done = snakemake(folder, "-n", "ica_all")
    assert re.search(r"^ica_build_demo_archive +1$", done.stdout, re.MULTILINE)
    assert re.search(r"^ica_mask_images +4$", done.stdout, re.MULTILINE)


def test_a_mistake_in_an_imported_configuration_is_said(tmp_path):
    folder = make_foreign(tmp_path / "foreign", f'"{ROOT}/Snakefile"', archive={"sorce": "demo"})
    done = snakemake(folder, "-n", check=False)
    assert done.returncode != 0
    assert "archive.sorce: there is no such key; did you mean source?" in done.stdout


def test_a_mask_is_made_once_for_all_studies(tmp_path, monkeypatch):
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    for study in ("first", "second"):
        (tmp_path / study).mkdir()
        write_config(tmp_path / study, "config.yaml", mask_images={"resolution_mm": 4})
        snakemake(tmp_path / study, "build_mask", "--cache", "--snakefile", ROOT / "Snakefile")
    assert digest(tmp_path / "first") == digest(tmp_path / "second")
    assert (tmp_path / "first/logs/build_mask.log").read_text()
    assert not (tmp_path / "second/logs/build_mask.log").read_text()
    mask = nib.load(tmp_path / "second/results/build_mask/mask.nii.gz")
    assert mask.header.get_zooms() == (4, 4, 4)


@pytest.fixture
def github(tmp_path, monkeypatch):
    """Let git find github.com in a folder; there, this workflow is lab/ica, at the tag v1."""
    repository = copy_project(tmp_path / "github.com/lab/ica")
    as_author = ["git", "-c", "user.name=Lab", "-c", "user.email=lab@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=All"], ["tag", "v1"]):
        subprocess.run([*as_author, *command], cwd=repository, check=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{tmp_path}/github.com/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")


@pytest.mark.long
@pytest.mark.usefixtures("github")
def test_another_workflow_imports_this_one_from_github(tmp_path, small_archive, small_run):
    archive = {"source": "offline", "data_dir": str(small_archive)}
    snakefile = 'github("lab/ica", path="Snakefile", tag="v1")'
    folder = make_foreign(tmp_path / "foreign", snakefile, archive=archive, prefix="sub")
    snakemake(folder, "all", "ica_all")
    rules = ["stack_images", "run_ica", "project_terms", "plot_components"]
    assert digest(folder / "sub", *rules) == digest(small_run, *rules)
    assert (folder / "sub/results/render_report/report.html").stat().st_size > 100_000
    assert not (folder / "results").exists()
