"""The documents point to files, sections, commands and names in the code that exist."""

import ast
import builtins
import re
import textwrap

import pytest
from conftest import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
PACKAGE = ROOT / "workflow/scripts/neurovault_ica"
CODE_PATH = re.compile(r"`((?:[\w.-]+/)+(?:[\w.-]+\.(?:py|smk|jinja|md|yaml|json|txt|bib|svg))?)`")
# Files that the walks of CONTRIBUTING.md create.
NEW_FILES = {
    "archive/study_folders.py", "tests/archive/test_study_folders.py",
    "decomposition/infomax.py", "tests/decomposition/test_infomax.py",
    "naming/studies.py", "tests/naming/test_studies.py",
    "figures/subjects.py",
}  # fmt: skip
# Names in the walks that come from other packages, or from the code that surrounds the lines.
OUTSIDE = {"np", "Any", "Path", "Figure", "Iterable", "Generator", "Sequence", "picard", "used", "subjects_figure"}


def anchors_of(text):
    """List the anchors that GitHub gives to the headings of a Markdown text."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_sections(document):
    for link in LINK.findall(document.read_text()):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        assert target.exists(), f"{document.name} links to {link}"
        if anchor:
            assert anchor in anchors_of(target.read_text()), f"{document.name} links to {link}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_name_targets_and_presets_that_exist(document):
    text = document.read_text()
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) <= targets
    for preset in re.findall(r"presets/\w+\.yaml", text):
        assert (ROOT / preset).is_file(), f"{document.name} names {preset}"


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_paths_of_the_code_exist(document):
    paths = set(CODE_PATH.findall(BLOCK.sub("", (ROOT / document).read_text())))
    assert len(paths) > 5
    written = {path for path in paths if path.startswith(("results/", "logs/", "benchmarks/", "truth/"))}
    for path in paths - written - NEW_FILES:
        assert (ROOT / path).exists() or (PACKAGE / path).exists(), f"{document} names {path}"


def test_the_architecture_lists_all_rooms_and_rules():
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = {path.stem for path in PACKAGE.iterdir() if path.name != "__init__.py" and path.suffix in {"", ".py"}}
    listed = text.partition("## The rooms")[2].partition("## The way of the data")
    assert set(re.findall(r"^\| `(\w+)` \|", listed[0], re.MULTILINE)) == rooms - {"__pycache__"}
    rows = re.findall(r"^\| (`.*?) \|", listed[2].partition("## The five seams")[0], re.MULTILINE)
    rules = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert rules == {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}


def names_of(code):
    """Return the names that Python code defines, and the names that it uses."""
    defined, used = set(), set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in OUTSIDE:
            used |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return defined, used


def test_the_walks_use_names_that_exist():
    walks = (ROOT / "CONTRIBUTING.md").read_text().partition("## Five walks")[2]
    blocks = [names_of(textwrap.dedent(code)) for _, kind, code in BLOCK.findall(walks) if kind == "python"]
    assert len(blocks) > 5
    known = OUTSIDE | set(dir(builtins)) | {name for defined, _ in blocks for name in defined}
    for path in PACKAGE.rglob("*.py"):
        known |= names_of(path.read_text())[0]
    assert {name for _, used in blocks for name in used} <= known
