"""Make environments of the software that compare_example.py compares with, from the lock files in this folder."""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
# `make clean` removes them with .venv.
ENVIRONMENTS = FOLDER.parent / ".venv" / "benchmarks"


def make_environment(name: str) -> str:
    """Install ``{name}.lock`` into an environment of its own, unless that was done before, and return its Python."""
    lock, folder = FOLDER / f"{name}.lock", ENVIRONMENTS / name
    python, installed = folder / "bin/python", folder / "installed.lock"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        print(f"installing {lock.name} into {folder}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        subprocess.run([python, *install, "--requirement", lock], check=True)
        shutil.copy(lock, installed)
    return str(python)


def versions_in(python: str, *packages: str) -> str:
    """List the versions of packages in an environment: ``nilearn 0.14.1, numpy 2.5.5``."""
    if python == sys.executable:
        return ", ".join(f"{package} {version(package)}" for package in packages)
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    found = subprocess.run([python, "-c", code, *packages], check=True, capture_output=True, text=True).stdout.split()
    return ", ".join(f"{package} {number}" for package, number in zip(packages, found, strict=True))
