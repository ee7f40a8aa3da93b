"""Imports between the rooms of the package, imports of a dry run, and the code files that rules depend on."""

import ast
import functools
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from workflow_runs import ROOT, copy_project, rules_run, snakemake

SCRIPTS = ROOT / "workflow/scripts"
PACKAGE = "neurovault_ica"
# From the lowest floor to the highest. Rooms import from lower floors only. Modules of a room have no import cycles.
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


@functools.cache
def imports_of(file):
    """Return the modules of the package that a file imports, as paths relative to workflow/scripts."""
    nodes = list(ast.walk(ast.parse((SCRIPTS / file).read_text())))
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {f"{name.replace('.', '/')}.py" for name in modules if name.partition(".")[0] == PACKAGE}


def room_of(file):
    return file.removesuffix(".py").split("/")[1] if "/" in file else "scripts"


FILES = sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("file", FILES)
def test_rooms_import_from_lower_floors_only(file):
    for module in imports_of(file):
        assert (SCRIPTS / module).is_file(), f"{file}: import the module itself, not its room: {module}"
        is_below = FLOOR_OF[room_of(module)] < FLOOR_OF[room_of(file)]
        assert is_below or room_of(module) == room_of(file) != "scripts", f"{file} imports {module}"
        assert file not in all_imports_of(module), f"{file} and {module} import each other"


@functools.cache
def all_imports_of(file):
    direct = imports_of(file)
    return direct.union(*(all_imports_of(module) for module in direct))


@pytest.mark.parametrize(
    ("scripts", "slow"),
    [
        ("download_images, fetch_metadata, fetch_terms", {"numpy", "nibabel"}),
        ("build_mask, stack_images, reduce_images, run_ica, project_terms", {"scipy.linalg", "matplotlib", "pandas"}),
    ],
)
def test_stages_start_without_libraries_that_few_runs_need(scripts, slow):
    code = f"import sys, {scripts}; print(*sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_rooms_have_no_code_of_their_own():
    """An edit of a room's __init__.py reruns nothing, because rules do not have it as an input."""
    for path in (SCRIPTS / PACKAGE).rglob("__init__.py"):
        assert len(ast.parse(path.read_text()).body) == 1, path
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_a_public_name_has_one_meaning():
    """Functions of one name must take the same parameters, like `rotate` of each algorithm."""
    meanings = {}
    for file in set(FILES) - {path.name for path in SCRIPTS.glob("*.py")}:
        for node in ast.parse((SCRIPTS / file).read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                meaning = ast.unparse(node.args) if isinstance(node, ast.FunctionDef) else file
                meanings.setdefault(node.name, {})[meaning] = file
    assert {name: homes for name, homes in meanings.items() if len(homes) > 1} == {}


def test_the_figure_of_the_architecture_has_all_rooms_and_rules():
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (ROOT / "docs/architecture.svg").read_text())
    rooms = [FLOOR_OF[text] for text in texts if text in FLOOR_OF]
    assert rooms == sorted([*FLOOR_OF.values()][:-1], reverse=True), "the highest floor comes first, without scripts"
    # The rules of a file follow its name.
    shown = {}
    for text in texts:
        if text.endswith(".smk"):
            rules = shown[text] = set()
        elif (SCRIPTS / f"{text}.py").is_file():
            rules.add(text)
    for file in set(ROOT.glob("workflow/rules/*.smk")) - {ROOT / "workflow/rules/common.smk"}:
        scripts = set(re.findall(r'"\.\./scripts/(\w+)\.py"', file.read_text()))
        assert shown[file.name] == scripts, file.name
        assert 60 <= len(file.read_text().splitlines()) <= 160, file.name


def test_jobs_with_several_threads_compute_with_one_blas_thread():
    """Snakemake gives BLAS as many threads as the job has. Then the last digits would depend on the number of cores."""
    text = "".join(path.read_text() for path in ROOT.glob("workflow/rules/*.smk"))
    rules = re.findall(r"^    threads: [2-9]\n(?:.*\n)*?        \"\.\./scripts/(\w+)\.py\"", text, re.MULTILINE)
    assert {"stack_images", "run_ica", "plot_surfaces"} <= set(rules)
    for rule in rules:
        start = (SCRIPTS / f"{rule}.py").read_text().partition('if __name__ == "__main__":')[2]
        assert "    with one_blas_thread():\n        main(" in start, rule


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory):
    """A dry run without the packages that only jobs need. It prints the code files of each rule."""
    home = tmp_path_factory.mktemp("dry_run")
    folder, blocked = copy_project(home / "run"), home / "blocked"
    packages = {"numpy", "scipy", "pandas", "nibabel", "nilearn", "sklearn", "matplotlib"}
    # Snakemake imports every installed executor plugin, and the Slurm plugin imports numpy and pandas.
    if find_spec("snakemake_executor_plugin_slurm"):
        packages -= {"numpy", "pandas"}
    for package in packages:
        (blocked / package).mkdir(parents=True)
        (blocked / package / "__init__.py").write_text(f"raise ImportError('{package} is not for a dry run')")
    program = "print('CODE', rule.name, sorted(str(f) for f in rule.input if 'scripts' in str(f)))"
    with (folder / "Snakefile").open("a") as stream:
        stream.write(f"\nfor rule in workflow.rules:\n    {program}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(blocked))
        return snakemake(folder, "-n")


def test_dry_run_needs_snakemake_alone(dry_run):
    assert len(rules_run(dry_run)) == 19
    assert "is not for a dry run" not in dry_run.stdout


def test_the_inputs_of_rules_are_the_modules_that_their_scripts_import(dry_run):
    """code_of finds imports with a regular expression, because parsing all modules would slow down every start."""
    rules = re.findall(r"^CODE (\w+) (.*)$", dry_run.stdout, re.MULTILINE)
    assert {name for name, _ in rules} >= {path.stem for path in SCRIPTS.glob("*.py")}
    for name, listed in rules:
        if name in ("all", "update"):  # targets without a script
            continue
        files = {path.removeprefix("workflow/scripts/") for path in ast.literal_eval(listed)}
        wanted = all_imports_of(f"{name}.py")
        assert wanted <= files, f"{name}: {wanted - files} missing"
        assert {file for file in files - wanted if not file.endswith("/__init__.py") and file.endswith(".py")} == set()


def users_of(file):
    """Return the rules whose scripts import a module of the package, or import a module that reads a data file."""
    path = f"{PACKAGE}/{file}"
    readers = {name for name in FILES if f'package_file("{file}")' in (SCRIPTS / name).read_text()}
    return {script.stem for script in SCRIPTS.glob("*.py") if all_imports_of(script.name) & {path, *readers}}


@pytest.mark.parametrize("file", ["naming/sides.py", "report/report.css"])
def test_an_edit_reruns_the_rules_that_use_the_file_and_those_after_them(demo, file):
    edited = demo / "workflow/scripts" / PACKAGE / file
    text = edited.read_text()
    edited.write_text(text + "\n")
    done = snakemake(demo, "-n", "--quiet", "host")
    edited.write_text(text)
    reasons = dict(re.findall(r"^ *(?:local)?rule (\w+):\n(?: .*\n)*? *reason: (.*)$", done.stdout, re.MULTILINE))
    assert set(reasons) == rules_run(done) | {"all"}
    updated = f"Updated input files: workflow/scripts/{PACKAGE}/{file}"
    first = {rule for rule, reason in reasons.items() if reason.startswith(updated)}
    assert first
    assert first <= users_of(file)
    # These two run only if asked for.
    assert users_of(file) - {"scan_components", "project_images"} <= set(reasons)
    assert all(reasons[rule].startswith("Input files updated by another job") for rule in set(reasons) - first)
