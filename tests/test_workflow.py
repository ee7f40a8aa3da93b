"""The workflow as a whole, run by Snakemake in a folder of its own."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from conftest import REAL_MAPS, ROOT
from outputs import read_table

SHIPPED = ["Snakefile", "config.yaml", "workflow", "profiles", "presets", "envs"]


def copy_project(folder):
    """Copy what the workflow needs into `folder`, so that results of a test never land in the checkout."""
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def snakemake(folder, *arguments, check=True):
    """Run snakemake in `folder` and return the finished process, with its output as text."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stdout
    return done


def write_config(folder, name="overlay.yaml", **sections):
    path = folder / name
    path.write_text(yaml.safe_dump(sections))
    return str(path)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A finished run of the demo with the default configuration."""
    folder = copy_project(tmp_path_factory.mktemp("demo"))
    snakemake(folder)
    return folder


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def digest(folder):
    """Bytes of all results that are promised to be the same: everything but the configuration's own record."""
    return {
        name: (folder / name).read_bytes()
        for name in files_below(folder)
        if not name.startswith(("write_lock/", "render_report/"))
    }
