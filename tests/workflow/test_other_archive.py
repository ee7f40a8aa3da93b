"""A folder with results of one archive: commands for another archive stop, and printed commands can be copied."""

import re
import shlex
import shutil
import subprocess

import pytest
from workflow_runs import ROOT, digest, rules_run, small_config, snakemake


@pytest.fixture(scope="module")
def project(tmp_path_factory, small_run):
    """A copy of the small run, whose configuration is overlay.yaml. config.yaml has the demo."""
    return shutil.copytree(small_run, tmp_path_factory.mktemp("project") / "run")


def state_of(folder):
    """Return the checksum of every result, the memory, and the files that Snakemake knows about."""
    memory = (folder / "results/archive.json").read_text()
    return digest(folder), memory, sorted((folder / ".snakemake/metadata").rglob("*"))


def test_the_demo_does_not_replace_the_results_of_a_project(project):
    before = state_of(project)
    done = snakemake(project, "scan_components", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert "results/: source: offline, data_dir: " in done.stdout
    assert "(24 images of 6 collections), with --configfile overlay.yaml" in done.stdout
    assert "this run: source: demo, with config.yaml alone" in done.stdout
    assert state_of(project) == before
    command = re.search(r"To continue with the results in results/: snakemake (.*)", done.stdout)[1]
    assert command == "--cores 2 scan_components --configfile overlay.yaml"
    assert rules_run(snakemake(project, "-n", *shlex.split(command), cores=None)) == {"scan_components"}


def test_results_of_another_archive_cannot_be_deleted(project):
    before = state_of(project)
    done = snakemake(project, "--delete-all-output", check=False)
    assert done.returncode != 0
    assert "To replace them on purpose, delete them first: rm -rf" in done.stdout
    assert state_of(project) == before


def test_other_settings_of_the_same_archive_rerun_what_depends_on_them(project, small_archive):
    link = project / "link to the archive"
    link.symlink_to(small_archive)
    again = small_config(project, link, stack_images={"quality": None})
    moved = (project / again).rename(project / "again.yaml")
    small_config(project, small_archive)
    targets = ["results/project_terms/desc-ICA_terms.tsv", "--configfile", moved.name]
    planned = rules_run(snakemake(project, "-n", *targets))
    assert {"stack_images", "run_ica"} < planned
    assert "build_mask" not in planned
    assert '"overlay.yaml"' in (project / "results/archive.json").read_text(), "a dry run remembers nothing"


def test_the_page_waits_for_a_scan_of_the_same_run(project, small_archive):
    """Otherwise the page asks for a scan that has been made, unless the run was killed after the scan."""
    overlay = small_config(project, small_archive)
    for targets, waits in ((["all", "scan_components"], True), (["all"], False)):
        graph = snakemake(project, *targets, "--rulegraph", "--configfile", overlay).stdout
        number_of = {name: number for number, name in re.findall(r'(\d+)\[label = "(\w+)"', graph)}
        edge = f"{number_of.get('scan_components')} -> {number_of['render_report']}"
        assert (edge in graph) == waits, graph


def test_a_scan_without_a_measure_stops_before_any_job(project, small_archive):
    overlay = small_config(project, small_archive, run_ica={"n_components": 5, "n_bootstraps": 0, "n_splits": 0})
    done = snakemake(project, "scan_components", "-n", "--configfile", overlay, check=False)
    assert done.returncode == 1
    assert "across studies (n_bootstraps: 0, n_splits: 0), so no number could be recommended" in done.stdout
    assert "Traceback" not in done.stdout
    snakemake(project, "-n", "--configfile", overlay)


@pytest.mark.long
def test_the_scan_ends_with_the_advice_and_says_what_it_is_based_on(project, small_archive):
    (project / "results/render_report").mkdir()
    (project / "results/render_report/report.html").write_text("an earlier report")
    ica = {"n_components": 5, "n_restarts": 2, "n_bootstraps": 2}
    overlay = small_config(project, small_archive, run_ica=ica, scan_components={"orders": [2, 3]})
    done = snakemake(project, "scan_components", "--configfile", overlay)
    basis = f"24 images of 6 collections from the cache {small_archive}"
    begin = done.stdout.index(f"scan_components: comparing numbers of components (2, 3) on {basis}")
    assert begin < done.stdout.index("scan_components: 2 components:")
    advice = (project / "results/scan_components/advice.txt").read_text()
    assert advice.startswith(f"Based on {basis}.\n")
    assert done.stdout.index(advice) > done.stdout.index("steps (100%) done")
    assert "Report:" not in done.stdout
    shutil.rmtree(project / "results/render_report")


@pytest.mark.long
def test_deleting_the_results_on_purpose_starts_afresh(tmp_path, small_run):
    """The message has the right command."""
    folder = shutil.copytree(small_run, tmp_path / "run")
    done = snakemake(folder, "-n", check=False)
    command = re.search(r"delete them first: (rm -rf .*)", done.stdout)[1]
    subprocess.run(command, shell=True, cwd=folder, check=True)
    snakemake(folder, "results/build_mask/mask.nii.gz", "--config", "batches=2", "archive={source: demo, data_dir: x}")
    memory = (folder / "results/archive.json").read_text()
    assert '"source": "demo"' in memory
    assert "snakemake --cores 2 TARGET --config batches=2 'archive={source: demo, data_dir: x}'" in memory


def test_documented_commands_have_their_targets_before_the_configuration_files():
    """Snakemake takes every word after --configfile for a file, up to the next option."""
    folders = {"": ["*.md", "config.yaml"], "docs": ["*.md"], "presets": ["*.yaml"], "envs": ["*.def"]}
    texts = [path.read_text() for home, names in folders.items() for name in names for path in (ROOT / home).glob(name)]
    commands = re.findall(r"(?:snakemake|apptainer run) [^`#\n]*", "\n".join(texts))
    with_files = [command for command in commands if "--configfile" in command]
    assert len(with_files) > 10
    for command in with_files:
        words = command.partition("--configfile ")[2].split()
        files = words[: next((n for n, word in enumerate(words) if word.startswith("-")), None)]
        assert files, command
        assert all(file.endswith(".yaml") for file in files), command
    scans = [command for command in commands if re.search("--cores.* scan_components", command)]
    assert len(scans) > 4
    assert all("--configfile" in command for command in scans), scans
