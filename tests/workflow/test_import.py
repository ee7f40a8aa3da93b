"""The workflow run from another folder, and imported by other workflows from a folder or from GitHub."""

import os
import re
import subprocess
import sys

import nibabel as nib
import pytest
from workflow_runs import ROOT, SMALL, copy_project, digest, snakemake, write_config

SCRIPTS = ROOT / "workflow/scripts"
FOREIGN = """
import sys

sys.path.insert(0, "modules")
import configuration, jobs


configfile: "config.yaml"

rule all:
    input: "mine.txt"

module ica:
    snakefile: {snakefile}
    {options}

use rule * from ica as ica_*

rule mine:
    input: rules.ica_run_ica.output.components, rules.ica_project_terms.output.terms
    output: jobs.OUTPUT
    shell: "sha256sum < {{input[0]}} > {{output}}"
"""
# Names of our modules. Modules with these names that cannot be imported are put on the path. Python itself needs those
# of the standard library, such as `types`.
SHADOWS = {"names", "png", "web", "jobs", "outputs", "resampling", "types"} - set(sys.stdlib_module_names)
# Every Python process of the other workflow's run imports this module when it starts.
GUARD = """
import socket

class Guarded(socket.socket):
    def connect(self, address):
        raise AssertionError(f"a connection to {address} was opened")

socket.socket = Guarded
"""
SHADOWS |= {path.stem for path in SCRIPTS.rglob("*.py")} - {"__init__"} - set(sys.stdlib_module_names)
COMPONENTS = "results/run_ica/space-MNI152NLin2009aSym_res-4_desc-ICA_components.nii.gz"


def test_in_another_folder_its_configuration_is_laid_over_the_defaults(tmp_path):
    snakefile = ("--snakefile", ROOT / "Snakefile", "--directory", tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    write_config(tmp_path / "elsewhere", "config.yaml", batches=3)
    overlay = write_config(tmp_path, match_networks={"reference": "smith_2009_rsn10"})
    done = snakemake(tmp_path, "-n", *snakefile, "--configfile", overlay)
    assert re.search(r"^mask_images +3$", done.stdout, re.MULTILINE)
    for rule in ("match_networks", "build_demo_archive"):
        assert re.search(rf"^{rule} +1$", done.stdout, re.MULTILINE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "overlay.yaml"]


def make_foreign(folder, snakefile, *, archive, prefix=None, **sections):
    """Write a workflow that imports ours and has modules named like ours, and the configuration of both."""
    options = ['config: config["ica"]', *([f'prefix: "{prefix}"'] if prefix else [])]
    (folder / "modules").mkdir(parents=True)
    (folder / "modules/configuration.py").write_text("")
    (folder / "modules/jobs.py").write_text('OUTPUT = "mine.txt"')
    (folder / "Snakefile").write_text(FOREIGN.format(snakefile=snakefile, options="\n    ".join(options)))
    write_config(folder, "config.yaml", batches="theirs", ica=SMALL | {"archive": archive, **sections})
    return folder


def write_shadows(folder):
    """Write modules with all names of ours, which cannot be imported."""
    folder.mkdir()
    for name in SHADOWS:
        (folder / f"{name}.py").write_text("raise ImportError('this module shadows one of the workflow')")
    return str(folder)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory, small_archive):
    """Another workflow runs this one with one core and one batch. It must not open a connection.

    Both have modules of the same names, and so has a folder on PYTHONPATH. There are components of an earlier run.
    """
    home = tmp_path_factory.mktemp("foreign")
    archive = {"source": "offline", "data_dir": str(small_archive)}
    folder = make_foreign(home / "run", f'"{ROOT}/Snakefile"', archive=archive, batches=1)
    (folder / COMPONENTS).parent.mkdir(parents=True)
    (folder / COMPONENTS.replace("res-4", "res-5")).touch()
    before = state_of(small_archive)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", write_shadows(home / "shadows"))
        (home / "shadows/sitecustomize.py").write_text(GUARD)
        done = snakemake(folder, cores=1)
    return folder, done.stdout, before


def state_of(folder):
    """Return time and size of every file."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_results_do_not_depend_on_batches_cores_or_an_earlier_run(foreign, small_run):
    rules = ["stack_images", "reduce_images", "run_ica", "project_terms"]
    expected = digest(small_run, *rules)
    assert len(expected) > 15
    assert digest(foreign[0], *rules) == expected


def test_offline_writes_nothing_into_the_cache(foreign, small_archive):
    assert (foreign[0] / "results/project_terms/desc-ICA_terms.tsv").is_file()
    assert state_of(small_archive) == foreign[2]


def test_another_workflow_imports_this_one(foreign, small_run):
    folder, said, _ = foreign
    sha256 = digest(small_run, "run_ica")[COMPONENTS]
    assert (folder / "mine.txt").read_text().split()[0] == sha256
    # The other workflow decides on locks, targets and the message at the end, so ours writes none of these files.
    assert not (folder / ".snakemake/running").exists()
    assert not (folder / "results/archive.json").exists()
    assert not (folder / "results/plot_components").exists()
    assert "Report:" not in said
    assert "Nothing to be done" in snakemake(folder).stdout


OWN_PACKAGE = """
import sys

sys.path.insert(0, "{other}/workflow/scripts")

module ica:
    snakefile: "{folder}/Snakefile"

use rule * from ica as ica_*
"""


def test_modules_on_the_path_do_not_matter_except_another_version_of_the_package(tmp_path, monkeypatch):
    """Scripts would import the other version, because Python searches PYTHONPATH before the folder of a script."""
    folder, other = copy_project(tmp_path / "run"), copy_project(tmp_path / "other")
    monkeypatch.setenv("PYTHONPATH", f"{write_shadows(tmp_path / 'shadows')}{os.pathsep}{other}/workflow/scripts")
    assert snakemake(other, "-n").returncode == 0
    done = snakemake(folder, "-n", check=False)
    assert done.returncode != 0
    message = f"would import: {other}/workflow/scripts/neurovault_ica/__init__.py; remove its folder"
    assert message in done.stdout
    # The same happens if another workflow adds the folder to sys.path.
    monkeypatch.delenv("PYTHONPATH")
    (tmp_path / "Snakefile").write_text(OWN_PACKAGE.format(other=other, folder=folder))
    done = snakemake(tmp_path, "-n", check=False)
    assert done.returncode != 0
    assert message in done.stdout


TWO_VERSIONS = """
import sys

sys.path.insert(0, "{own}")
import neurovault_ica.runtime.tables as own

del sys.path[0]

module first:
    snakefile: "{first}/Snakefile"
    prefix: "one"

use rule * from first as first_*

module second:
    snakefile: "{second}/Snakefile"
    prefix: "two"

use rule * from second as second_*

assert sys.modules["neurovault_ica.runtime.tables"] is own
assert own.component_labels(1) == ["OWN_00"]
"""


@pytest.mark.long
def test_one_workflow_uses_three_versions_of_the_package(tmp_path):
    """It imports two versions of this workflow, and has imported another version of the package before.

    Without a configuration, both run the demo.
    """
    versions = {name: copy_project(tmp_path / name) for name in ("own", "first", "second")}
    for name, folder in versions.items():
        module = folder / "workflow/scripts/neurovault_ica/runtime/tables.py"
        text = module.read_text()
        assert 'f"ICA_{' in text
        module.write_text(text.replace('f"ICA_{', f'f"{name.upper()}_{{'))
    own = versions["own"] / "workflow/scripts"
    (tmp_path / "Snakefile").write_text(TWO_VERSIONS.format(**versions | {"own": own}))
    done = snakemake(tmp_path, "-n", "first_all", "second_all")
    figures = set(re.findall(r"(one|two)/results/plot_components/([A-Z]+)_00\.png", done.stdout))
    assert figures == {("one", "FIRST"), ("two", "SECOND")}
    for rule, n_jobs in {"build_demo_archive": 1, "mask_images": 4}.items():
        assert re.search(rf"^first_{rule} +{n_jobs}$", done.stdout, re.MULTILINE)


def test_a_mistake_in_an_imported_configuration_is_explained(tmp_path):
    folder = make_foreign(tmp_path / "foreign", f'"{ROOT}/Snakefile"', archive={"sorce": "demo"})
    done = snakemake(folder, "-n", check=False)
    assert done.returncode != 0
    assert "archive.sorce: unknown key; did you mean source?" in done.stdout


@pytest.mark.long
def test_studies_share_a_mask_through_the_cache_of_snakemake(tmp_path, monkeypatch):
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
    """Redirect git from github.com to a folder, in which this workflow is lab/ica with the tag v1."""
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
    rules = ["stack_images", "run_ica", "project_terms"]
    assert digest(folder / "sub", *rules) == digest(small_run, *rules)
    assert (folder / "sub/results/render_report/report.html").stat().st_size > 100_000
    assert not (folder / "results").exists()
