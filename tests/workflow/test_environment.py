"""Software: the lock, the conda environment and the container have the same versions."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.markers import default_environment
from packaging.requirements import Requirement
from verification import compare
from workflow_runs import copy_demo, snakemake


def locked(python):
    """Return the versions in requirements.lock for a version of Python on Linux."""
    environment = default_environment() | {
        "python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux",
    }  # fmt: skip
    lines = re.findall(r"^([a-z0-9][^\\\n]*==[^\\\n]+?)\s*\\$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    requirements = [Requirement(line) for line in lines]
    return {
        requirement.name: str(requirement.specifier).removeprefix("==")
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


@pytest.mark.parametrize(
    "lock", [path.relative_to(ROOT) for path in (*ROOT.glob("*.lock"), *ROOT.glob("benchmarks/*.lock"))], ids=str
)
def test_the_lock_has_versions_and_hashes_but_no_urls(lock):
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?://|file:|/home/|/root/|/tmp/|--find-links|--(extra-)?index-url", text)
    for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
        assert re.match(r"[\w.-]+==[\w.]+", block), block
        assert "--hash=sha256:" in block, block


def test_conda_environment_has_the_locked_versions():
    environment = yaml.safe_load((ROOT / "envs/neurovault_ica.yaml").read_text())
    *of_conda, pip, of_pip = environment["dependencies"]
    pins = dict(dependency.split("=") for dependency in of_conda)
    versions = locked(pins.pop("python"))
    conda_names = {"matplotlib-base": "matplotlib", "python-isal": "isal"}
    assert {name: versions[conda_names.get(name, name)] for name in pins} == pins
    assert pip == "pip"
    for name, version in (dependency.split("==") for dependency in of_pip["pip"]):
        assert versions[name] == version


def imports_of(path):
    """List the top-level packages that a file imports. Snakemake alone imports one room and one module."""
    if path.parent.name == "configuration" or path.stem == "terminal":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_conda_environment_has_what_the_scripts_import():
    environment = (ROOT / "envs/neurovault_ica.yaml").read_text()
    module_of = {
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
        "fontTools": "fonttools",
        "PIL": "pillow",
        "mpl_toolkits": "matplotlib-base",
        "isal": "python-isal",
        "picard": "python-picard",
    }
    imported = {name for path in (ROOT / "workflow/scripts").rglob("*.py") for name in imports_of(path)}
    third_party = imported - {"neurovault_ica"} - set(sys.stdlib_module_names)
    for module in third_party:
        assert f"- {module_of.get(module, module)}" in environment, f"{module} is not in envs/neurovault_ica.yaml"


def recipe():
    """Read the recipe of the container: its header as a mapping, its sections as lists of lines."""
    header, *sections = re.split(r"^%", (ROOT / "envs/neurovault_ica.def").read_text(), flags=re.MULTILINE)
    keys = dict(line.split(": ") for line in header.splitlines() if re.match(r"[A-Z]\w+: ", line))
    lines = {name: [line.strip() for line in body.splitlines()] for name, body in (s.split("\n", 1) for s in sections)}
    return keys, {name: [line for line in body if line and not line.startswith("#")] for name, body in lines.items()}


def test_the_container_is_built_from_the_lock():
    header, sections = recipe()
    conda = yaml.safe_load((ROOT / "envs/neurovault_ica.yaml").read_text())["dependencies"]
    python = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-bookworm", header["From"])[1]
    assert f"python={python}" in conda
    [(source, target)] = (line.split() for line in sections["files"])
    assert (ROOT / source).is_file()
    install = "python -m pip install --no-cache-dir --no-deps --compile --require-hashes --requirement"
    assert sections["post"] == [f"{install} {target}"]
    assert 'container: "neurovault_ica.sif"' in (ROOT / "Snakefile").read_text()


@pytest.mark.long
def test_jobs_run_in_the_image(tmp_path, monkeypatch):
    """A fake apptainer writes down its arguments and runs the command without a container."""
    (tmp_path / "bin").mkdir()
    apptainer = tmp_path / "bin/apptainer"
    apptainer.write_text(
        '#!/bin/bash\n[ "$1" = exec ] || { echo "apptainer version 1.3.4"; exit; }\n'
        f'echo "$@" >> {tmp_path}/calls\nwhile [ "$1" != neurovault_ica.sif ]; do shift; done\nshift\nexec "$@"\n'
    )
    apptainer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apptainer.parent}{os.pathsep}{Path(sys.executable).parent}", prepend=os.pathsep)
    folder = copy_demo(tmp_path / "run")
    snakemake(folder, "build_mask", "--sdm", "apptainer")
    call = (tmp_path / "calls").read_text()
    assert "neurovault_ica.sif bash -c" in call
    # If the scripts were mounted elsewhere, modules would not find the schemas.
    assert f"{folder}/workflow/scripts:" not in call
    assert (folder / "results/build_mask/mask.nii.gz").is_file()


def newest_other_python():
    """Find another Python than this one, on PATH or in pyenv: the newest of those in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    minors = [int(found[1]) for line in project["classifiers"] if (found := re.search(r"Python :: 3\.(\d+)$", line))]
    for minor in sorted(set(minors) - {sys.version_info.minor}, reverse=True):
        installed = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}"))
        for python in [*installed, shutil.which(f"python3.{minor}")]:
            if python and subprocess.run([python, "-c", "import ensurepip"], check=False).returncode == 0:
                return python
    return None


@pytest.mark.long
def test_the_recipe_works_with_another_python_and_gives_the_same_demo(tmp_path, demo, monkeypatch):
    python = newest_other_python()
    if python is None:
        pytest.skip("needs a second Python")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    _, sections = recipe()
    [(source, target)] = (line.split() for line in sections["files"])
    monkeypatch.setenv("PATH", str(tmp_path / "venv/bin"), prepend=os.pathsep)
    folder = copy_demo(tmp_path / "run")
    for command in (sections["post"][0].replace(target, str(ROOT / source)), "python -m snakemake --cores 2"):
        done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert compare(demo / "results/write_lock/run.json", folder)


def make_check(folder, **environment):
    shutil.copy(ROOT / "Makefile", folder)
    return subprocess.run(
        ["make", "check"], cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )  # fmt: skip


def test_a_missing_file_for_slurm_is_named(tmp_path):
    """Snakemake's own message is about folders of profiles."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    command = ["make", "--old-file=.venv/slurm", "slurm", "BIN=echo x", "SITE=my cluster.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "SITE: there is no file my cluster.yaml; write it with your account" in done.stdout
    (tmp_path / "my cluster.yaml").touch()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "--profile my cluster.yaml" in done.stdout


@pytest.mark.parametrize(("pip", "options"), [("false", "--clear .venv"), ("echo", ".venv")])
def test_an_environment_whose_pip_does_not_work_is_made_anew(tmp_path, pip, options):
    """A run that was killed while venv installed pip leaves a .venv that venv would not mend."""
    for name in ("Makefile", "requirements.lock", "requirements-uv.lock"):
        shutil.copy(ROOT / name, tmp_path)
    command = ["make", "--silent", ".venv/installed", "PYTHON=echo", f"BIN={pip} x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"-m venv {options}\n" in done.stdout


def test_a_path_with_a_space_stops_before_anything_is_installed(tmp_path):
    folder = tmp_path / "My Drive"
    folder.mkdir()
    done = make_check(folder)
    assert done.returncode != 0
    assert f"The path of this folder has a space, which Snakemake cannot handle: {folder}; move or" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["Makefile"]
    assert make_check(tmp_path).returncode == 0


def test_a_home_folder_that_cannot_be_written_is_named(tmp_path):
    home = {"HOME": "/proc/none", "XDG_CACHE_HOME": ""}
    done = make_check(tmp_path, **home)
    assert done.returncode != 0
    assert "/proc/none/.cache is not writable; name another one: make check XDG_CACHE_HOME=/tmp/cache" in done.stdout
    assert make_check(tmp_path, **home | {"XDG_CACHE_HOME": str(tmp_path / "cache")}).returncode == 0
