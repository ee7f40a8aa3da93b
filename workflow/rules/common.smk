"""Shared by all rules. Finds the files that a script consists of, and shows results on Snakemake's own report page.

Reads the package `neurovault_ica`, which lies beside the scripts. Writes nothing.
"""

import functools
import os
import re
import sys

from snakemake.exceptions import WorkflowError

# The folder of this workflow, or None if another workflow imports it or it lies on a hosting site.
ROOT = HOME if IS_MAIN and os.path.isdir(HOME) else None
PACKAGE = "neurovault_ica"
IMPORTED = re.compile(rf"^\s*(?:from|import) ({PACKAGE}[.\w]*)", re.MULTILINE)
DATA_FILE = re.compile(r'\bpackage_file\("([^"]+)"\)')
ENVIRONMENT = "../../envs/neurovault_ica.yaml"


def ours(path):
    """Return the path of a file of this workflow, which is first fetched if the workflow lies on a hosting site."""
    # source_path would give a new temporary path in each run, and then everything would run again.
    return os.path.relpath(os.path.join(ROOT, path)) if ROOT else workflow.source_path(f"../../{path}")


def code_of(script):
    """List what a script consists of: the modules of the package that it imports, and the data files that they read.

    Snakemake reruns a rule when its script changes, but does not look at what the script imports. As inputs of the rule
    they rerun it too, and a hosting site's copy of the workflow gets them before the script runs.
    """
    return [ours(f"workflow/scripts/{name}") for name in sorted(code_behind(f"{script}.py"))]


@functools.cache
def code_behind(name):
    """Follow the imports of one Python file. Names are relative to workflow/scripts."""
    with open(ours(f"workflow/scripts/{name}"), encoding="utf-8") as stream:
        text = stream.read()
    found = {os.path.normpath(f"{PACKAGE}/{file}") for file in DATA_FILE.findall(text)}
    for module in set(IMPORTED.findall(text)):
        *rooms, _ = module.split(".")
        found |= {f"{'/'.join(rooms[:depth])}/__init__.py" for depth in range(1, len(rooms) + 1)}
        file = f"{module.replace('.', '/')}.py"
        found |= {file} | code_behind(file)
    return frozenset(found)


def shown(file, caption, category, what):
    """Show a result on the page that `snakemake --report` makes."""
    kind = {".png": "figure", ".tsv": "table", ".html": "page"}[os.path.splitext(file)[1]]
    labels = {"shows": what, "kind": kind}
    return report(file, caption=f"../report/{caption}.rst", category=category, labels=labels)


# What the Snakefile needs of the package. Another version of it may be there, from another workflow's import of ours.
FOR_SNAKEFILE = ["configuration", "archive/archive", "runtime/recovery", "runtime/resources", "runtime/tables"]
NEEDED = [file for module in FOR_SNAKEFILE for file in code_of(f"{PACKAGE}/{module}")]
for module in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
    del sys.modules[module]
sys.path.insert(0, os.path.abspath(ours("workflow/scripts")))
from neurovault_ica import configuration
from neurovault_ica.archive.archive import open_archive
from neurovault_ica.runtime import recovery
from neurovault_ica.runtime.resources import growing
from neurovault_ica.runtime.tables import component_labels

# Snakemake mounts every entry of sys.path into containers, so remove ours again.
del sys.path[0]
