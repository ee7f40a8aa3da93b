"""The house: who imports whom, and which files a rule's script consists of."""

import ast
import re

import pytest
from workflow_runs import ROOT, copy_project, snakemake

SCRIPTS = ROOT / "workflow/scripts"
PACKAGE = "neurovault_ica"
# From the ground up. A room imports from lower floors only, and its modules from each other without circles.
FLOORS = [
    ["types"],
    ["runtime", "net"],
    ["images"],
    ["archive", "statistics", "decomposition"],
    ["naming"],
    ["figures", "record", "demo"],
    ["report"],
    ["configuration"],
    ["scripts"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imports_of(file):
    """List the modules of the package that a file imports, as paths relative to workflow/scripts."""
    nodes = list(ast.walk(ast.parse((SCRIPTS / file).read_text())))
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {f"{name.replace('.', '/')}.py" for name in modules if name.partition(".")[0] == PACKAGE}


def room_of(file):
    return file.removesuffix(".py").split("/")[1] if "/" in file else "scripts"


FILES = sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("file", FILES)
def test_nothing_imports_from_a_floor_above_or_from_another_room_of_its_own(file):
    for module in imports_of(file):
        assert (SCRIPTS / module).is_file(), f"{file}: import the module itself, not its room: {module}"
        is_below = FLOOR_OF[room_of(module)] < FLOOR_OF[room_of(file)]
        assert is_below or room_of(module) == room_of(file) != "scripts", f"{file} imports {module}"
        assert file not in all_imports_of(module), f"{file} and {module} import each other"


def all_imports_of(file):
    direct = imports_of(file)
    return direct.union(*(all_imports_of(module) for module in direct))


def test_rules_have_as_inputs_what_their_scripts_import(tmp_path):
    """code_of reads import lines with a pattern, because parsing every module would slow down each start."""
    folder = copy_project(tmp_path / "run")
    program = "print('CODE', rule.name, sorted(str(f) for f in rule.input if 'scripts' in str(f)))"
    with (folder / "Snakefile").open("a") as stream:
        stream.write(f"\nfor rule in workflow.rules:\n    {program}\n")
    output = snakemake(folder, "-n", "--quiet").stdout
    rules = re.findall(r"^CODE (\w+) (.*)$", output, re.MULTILINE)
    assert {name for name, _ in rules} >= {path.stem for path in SCRIPTS.glob("*.py")}
    for name, listed in rules:
        if name == "all":
            continue
        files = {path.removeprefix("workflow/scripts/") for path in ast.literal_eval(listed)}
        wanted = all_imports_of(f"{name}.py")
        assert wanted <= files, f"{name}: {wanted - files} missing"
        assert {file for file in files - wanted if not file.endswith("/__init__.py") and file.endswith(".py")} == set()
