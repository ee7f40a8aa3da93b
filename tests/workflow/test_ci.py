"""The continuous integration on GitHub runs the checks of the Makefile on every supported Python."""

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from conftest import ROOT

CI = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS = CI["jobs"]["test"]["steps"]


def test_ci_uses_the_pythons_of_the_classifiers():
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    prefix = "Programming Language :: Python :: "
    assert CI["jobs"]["test"]["strategy"]["matrix"]["python"] == [name.removeprefix(prefix) for name in classifiers]


def test_ci_calls_make_with_the_python_that_it_has_set_up():
    commands = [step["run"] for step in STEPS if "run" in step]
    assert commands[0] == "make lint test PYTHON=python"
    assert commands[1:] == [".venv/bin/pytest -m long tests/workflow/test_workflow.py -k make_run"]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^PYTHON \?=", makefile, re.MULTILINE)


@pytest.mark.parametrize("goals", [["test"], ["lint", "test"]])
def test_make_runs_the_checks_once(goals, tmp_path):
    """`make test` runs them beside the tests, and `make lint test` before them."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").mkdir()
    # Make an environment that counts as installed. Its programs only print their arguments.
    for name in ("requirements.lock", "requirements-uv.lock", ".venv/installed"):
        (tmp_path / name).touch()
    arguments = ["make", "--silent", *goals, "BIN=echo x"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("x/mypy ") == done.stdout.count("x/pytest ") == 1


def test_ci_pins_actions_to_major_versions():
    actions = [step["uses"] for step in STEPS if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in actions)
