"""The continuous integration on GitHub runs the checks of the Makefile on every supported Python."""

import re
import tomllib

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
    assert commands == ["make lint PYTHON=python", "make test PYTHON=python"]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^PYTHON \?=", makefile, re.MULTILINE)
    assert {"lint", "test"} <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


def test_ci_pins_actions_to_major_versions():
    actions = [step["uses"] for step in STEPS if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in actions)
