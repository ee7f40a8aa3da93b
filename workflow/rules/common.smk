"""Helpers of all rules: the code files that a rule depends on, and results for Snakemake's own report.

Reads: the package neurovault_ica, which lies in the folder of the scripts. Writes: nothing.
"""

import contextlib
import functools
import gc
import os
import re
import sys
from importlib.machinery import PathFinder

from snakemake.exceptions import WorkflowError

# The folder of this workflow. None if another workflow imports it or it is on a hosting site.
ROOT = HOME if IS_MAIN and os.path.isdir(HOME) else None
PACKAGE = "neurovault_ica"
IMPORTED = re.compile(rf"\n *(?:from|import) ({PACKAGE}[.\w]*)")
DATA_FILE = re.compile(r'package_file\("([^"]+)"\)')
ENVIRONMENT = "../../envs/neurovault_ica.yaml"


@functools.cache
def ours(path):
    """Return the path of a file of this workflow. If the workflow is on a hosting site, download the file first."""
    # source_path gives a new temporary path in each run, and a changed path would rerun every rule.
    return os.path.relpath(os.path.join(ROOT, path)) if ROOT else workflow.source_path(f"../../{path}")


def code_of(script):
    """List the modules of the package that a script imports, and the data files that these modules read.

    Snakemake reruns a rule if its script has changed, but it does not follow the imports of the script. As inputs of
    the rule, the modules rerun it too. Snakemake also downloads them if the workflow is on a hosting site.
    """
    return [ours(f"workflow/scripts/{name}") for name in sorted(code_behind(f"{script}.py"))]


@functools.cache
def code_behind(name):
    """Follow the imports of one Python file. Names are relative to workflow/scripts."""
    with open(ours(f"workflow/scripts/{name}"), encoding="utf-8") as stream:
        text = stream.read()
    # The __init__.py of a subpackage has only a docstring, so imports work without it.
    found = {f"{PACKAGE}/__init__.py"} | {os.path.normpath(f"{PACKAGE}/{file}") for file in DATA_FILE.findall(text)}
    for module in set(IMPORTED.findall(text)):
        file = f"{module.replace('.', '/')}.py"
        found |= {file} | code_behind(file)
    return frozenset(found)


def shown(file, caption, category, what):
    """Show a result in the report of `snakemake --report`."""
    kind = {".png": "figure", ".tsv": "table", ".html": "page"}[os.path.splitext(file)[1]]
    labels = {"shows": what, "kind": kind}
    return report(file, caption=f"../report/{caption}.rst", category=category, labels=labels)


def archive_without(*unused):
    """Return the archive's settings for a rule, without those that the rule's script does not use.

    Snakemake reruns a rule when its parameters change. The lock is an input of the rules, so it is left out too.
    """
    return {key: value for key, value in config["archive"].items() if key not in {"lock", *unused}}


def maps_for_images():
    """Return the inputs of fetch_terms that it needs to decode images with the term maps; none for other sources."""
    if config["fetch_terms"]["source"] != "database":
        return {}
    return {
        "voxels": rules.mask_images.output.voxels,
        "quality": rules.mask_images.output.quality,
        "mask": rules.build_mask.output.mask,
        "term_maps": rules.build_term_maps.output.term_maps,
    }


def page_figures(ending, *figure_rules):
    """Return the outputs of rules whose names have this ending, by name. The report's templates use the same names."""
    return dict(item for rule in figure_rules for item in rule.output.items() if item[0].endswith(ending))


@contextlib.contextmanager
def plain_errors():
    """Stop at an error with its message alone. Snakemake would add a traceback and a line of the Snakefile."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if IS_MAIN:
            sys.exit(str(error))
        raise WorkflowError(str(error)) from None


def is_requested(target):
    """Return whether a rule is a target of this run. Another workflow may import it with a prefix."""
    return any(str(name).endswith(target) for name in workflow.dag_settings.targets)


def loaded_modules():
    """List the loaded modules of any package with the name of ours."""
    return [name for name in sys.modules if name.partition(".")[0] == PACKAGE]


# Jobs search PYTHONPATH and sys.path before the folder of the scripts. A package of our name there would replace ours.
searched = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *sys.path]
shadow = PathFinder.find_spec(PACKAGE, searched)
if shadow and shadow.origin and not os.path.samefile(shadow.origin, ours(f"workflow/scripts/{PACKAGE}/__init__.py")):
    raise WorkflowError(
        f"Python finds another version of this workflow's package, which the scripts would import: {shadow.origin};"
        " remove its folder from PYTHONPATH or, in a workflow that imports this one, from sys.path"
    )

if IS_MAIN and any(map(str.isspace, sys.executable)) and not workflow.deployment_settings.deployment_method:
    sys.exit(
        f"Snakemake cannot start scripts with {sys.executable}, because this path has a space; install Python elsewhere"
    )

# Modules that the Snakefile and the rules import. If the workflow is on a hosting site, this downloads them.
FOR_SNAKEFILE = [
    "archive/archive",
    "archive/database_files",
    "archive/disk_space",
    "archive/notices",
    "archive/own_maps",
    "archive/owner",
    "configuration/checking",
    "configuration/named_files",
    "naming/component_files",
    "runtime/commands",
    "runtime/layers",
    "runtime/recovery",
    "runtime/resources",
    "runtime/tables",
    "runtime/terminal",
]
NEEDED = [file for module in FOR_SNAKEFILE for file in code_of(f"{PACKAGE}/{module}")]
# Another workflow in this process may use another version of the package. Set it aside here and restore it below.
theirs = {name: sys.modules.pop(name) for name in loaded_modules()}
sys.path.insert(0, os.path.abspath(ours("workflow/scripts")))
from neurovault_ica.archive import disk_space, notices, own_maps, owner
from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.database_files import DEMO_FILES, is_downloaded
from neurovault_ica.configuration import checking, named_files
from neurovault_ica.naming import component_files
from neurovault_ica.runtime import commands, recovery
from neurovault_ica.runtime.layers import read_layers
from neurovault_ica.runtime.resources import growing
from neurovault_ica.runtime.tables import component_labels
from neurovault_ica.runtime.terminal import tidy_terminal

# Snakemake mounts every entry of sys.path into containers, so remove ours again.
del sys.path[0]
for name in loaded_modules():
    del sys.modules[name]
sys.modules.update(theirs)
# All imported modules stay until the end. Garbage collection that skips them saves 0.2 s at each start.
gc.freeze()
