"""One set of versions everywhere, named without a place to get them from."""

import ast
import re
import sys

import pytest
import yaml
from conftest import ROOT
from packaging.markers import default_environment
from packaging.requirements import Requirement


def locked(python):
    """Read the versions that requirements.lock has for a version of Python on Linux."""
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


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-slurm.lock", "requirements-uv.lock"])
def test_lock_is_pinned_hashed_and_names_no_place(lock):
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?://|file:|/home/|/root/|/tmp/|--find-links|--(extra-)?index-url", text)
    for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
        assert re.match(r"[\w.-]+==[\w.]+", block), block
        assert "--hash=sha256:" in block, block


def test_conda_environment_has_the_locked_versions():
    environment = yaml.safe_load((ROOT / "envs/neurovault_ica.yaml").read_text())
    pins = dict(dependency.split("=") for dependency in environment["dependencies"])
    versions = locked(pins.pop("python"))
    conda_names = {"matplotlib-base": "matplotlib", "python-isal": "isal"}
    assert {name: versions[conda_names.get(name, name)] for name in pins} == pins


def imports_of(path):
    """List the top-level packages that a script imports; the configuration is checked by Snakemake's own process."""
    if path.stem == "configuration":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_conda_environment_has_what_the_scripts_import():
    environment = (ROOT / "envs/neurovault_ica.yaml").read_text()
    module_of = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow", "isal": "python-isal"}
    ours = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}
    imported = {name for path in (ROOT / "workflow/scripts").glob("*.py") for name in imports_of(path)}
    third_party = imported - ours - set(sys.stdlib_module_names)
    for module in third_party:
        assert f"- {module_of.get(module, module)}" in environment, f"{module} is not in envs/neurovault_ica.yaml"
