"""The packed folder of a paper, and the comparison of a repeated run with the original."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime

import nibabel as nib
import numpy as np
import paper as paper_tool
import pytest
from neurovault_ica.runtime.layers import read_file
from neurovault_server import Archive, Server
from paper import files_of, pack, repeat
from verification import compare, difference
from workflow_runs import ROOT, SMALL, copy_project, make_maps, snakemake, write_config

COMPONENTS = "results/run_ica/space-MNI152NLin2009aSym_res-4_desc-ICA_components.nii.gz"


@pytest.fixture(scope="module")
def paper(demo, tmp_path_factory):
    """The demo, packed."""
    folder = tmp_path_factory.mktemp("papers") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(demo)
        pack(folder)
    return folder


def test_a_paper_has_all_files_for_a_rerun(paper, demo):
    subprocess.run(["sha256sum", "--check", "--quiet", "sha256.txt"], cwd=paper, check=True)
    run = json.loads((paper / "run.json").read_text())
    # The maps of project_images are not part of the run.
    sections = list(read_file(demo / "config.yaml"))
    assert [*read_file(paper / "config.yaml"), "project_images"] == sections
    assert (paper / "requirements.lock").read_bytes() == (ROOT / "requirements.lock").read_bytes()
    assert (paper / "images.lock.tsv").read_bytes() == (demo / "results/write_lock/images.lock.tsv").read_bytes()
    readme = (paper / "README.md").read_text()
    assert "make verify RUN=" in readme
    assert run["software"]["processor"]["model"] in readme
    assert f"{run['counts']['images_used']} images of {run['counts']['collections_used']} collections" in readme


def test_the_page_is_packed_and_its_links_work(paper):
    page = paper / "results/render_report/report.html"
    text = page.read_text()
    links = set(re.findall(r'(?:href|data-probe)="(\.\./[^"#]+)"', text))
    assert {"../write_lock/methods.md", "../plot_components/ICA_00.pdf", "../plot_images/coverage.nii.gz"} <= links
    assert [link for link in links if not (page.parent / link).is_file()] == []


def test_the_crate_lists_exactly_the_files_in_the_folder(paper):
    graph = {entry["@id"]: entry for entry in json.loads((paper / "ro-crate-metadata.json").read_text())["@graph"]}
    files = {str(path.relative_to(paper)) for path in paper.rglob("*") if path.is_file()}
    assert {name for name, entry in graph.items() if entry["@type"] == "File"} == files - {"ro-crate-metadata.json"}
    for reference in [*graph["#run"]["object"], *graph["#run"]["result"], graph["#run"]["instrument"]]:
        assert reference["@id"] in graph
    assert graph["./"]["mentions"] == {"@id": "#run"}


def test_the_crate_meets_its_profiles(paper):
    """These are the requirements of roc-validator for ro-crate-1.1 and process-run-crate-0.5."""
    graph = {entry["@id"]: entry for entry in json.loads((paper / "ro-crate-metadata.json").read_text())["@graph"]}
    assert graph["ro-crate-metadata.json"]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    for key, kind in {"conformsTo": "CreativeWork", "license": "CreativeWork"}.items():
        assert graph[graph["./"][key]["@id"]]["@type"] == kind
    assert {"name", "description", "datePublished"} <= set(graph["./"])
    assert {"name", "url", "version"} <= set(graph[graph["#run"]["instrument"]["@id"]])
    assert datetime.fromisoformat(graph["#run"]["endTime"]).tzinfo is not None


def test_an_address_with_a_password_is_not_published(monkeypatch):
    monkeypatch.setattr(paper_tool, "git", lambda *_: "https://me:secret@example.org/lab/ica.git")
    assert paper_tool.workflow_url() == "README.md"
    monkeypatch.setattr(paper_tool, "git", lambda *_: "https://example.org/lab/ica.git")
    assert paper_tool.workflow_url() == "https://example.org/lab/ica.git"


def test_changed_results_are_not_packed(demo, tmp_path, monkeypatch):
    run = json.loads((demo / "results/write_lock/run.json").read_text())
    (tmp_path / "results/write_lock").mkdir(parents=True)
    run["results_sha256"] = {"results/a.txt": "0" * 64}
    (tmp_path / "results/a.txt").write_text("other")
    (tmp_path / "results/write_lock/run.json").write_text(json.dumps(run))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"differ from results/write_lock/run.json: results/a.txt; run the workflow again"
    ):
        pack(tmp_path / "papers/mine")
    assert not (tmp_path / "papers").exists()


def test_files_of_the_configuration_are_packed_unless_they_are_outside_the_folder(tmp_path):
    settings = read_file(ROOT / "config.yaml")
    assert files_of(settings, tmp_path) == []
    settings["mask_images"]["mask"] = "mask.nii.gz"
    settings["fetch_metadata"]["image_filter"] = "mine.py:keep"
    settings["match_networks"]["reference"] = "networks.nii.gz"
    settings["project_terms"]["term_maps"] = "terms"
    settings["plot_components"]["atlas"] = "regions.nii.gz"
    (tmp_path / "terms").mkdir()
    named = ["networks.txt", "terms/pain.nii.gz", "terms/reward.nii.gz", "regions.tsv"]
    for file in named:
        (tmp_path / file).touch()
    files = ["mine.py", "mask.nii.gz", "networks.nii.gz", *named[:3], "regions.nii.gz", "regions.tsv"]
    assert files_of(settings, tmp_path) == files
    settings["mask_images"]["mask"] = str(tmp_path / "mask.nii.gz")
    with pytest.raises(ValueError, match="is outside of this folder"):
        files_of(settings, tmp_path)


@pytest.fixture
def rerun(paper, tmp_path):
    """Simulate a rerun of the paper, with changed maps or another processor, and compare it."""

    def make(*, factor=1.0, processor=None):
        shutil.copytree(paper / "results", tmp_path / "results")
        run = json.loads((paper / "run.json").read_text())
        # Large results are not in the folder of a paper.
        run["results_sha256"] = {
            path: value for path, value in run["results_sha256"].items() if (paper / path).exists()
        }
        old = tmp_path / "old"
        old.mkdir()
        (old / "config.yaml").touch()
        shutil.copytree(paper / "results", old / "results")
        (old / "run.json").write_text(json.dumps(run))
        if factor != 1.0:
            # One component is enough.
            img = nib.load(paper / COMPONENTS).slicer[..., :1]
            nib.save(img, old / COMPONENTS)
            nib.save(nib.Nifti1Image(img.get_fdata(dtype=np.float32) * factor, img.affine), tmp_path / COMPONENTS)
        if processor:
            run["software"]["processor"]["model"] = processor
        (tmp_path / "results/write_lock/run.json").write_text(json.dumps(run))
        return compare(old / "run.json", tmp_path)

    return make


def test_equal_files_agree(rerun, capsys):
    assert rerun()
    assert "byte for byte" in capsys.readouterr().out


def test_the_last_digits_may_differ_on_another_processor(rerun, capsys):
    assert rerun(factor=1.00001, processor="another")
    said = capsys.readouterr().out
    assert f"differs: {COMPONENTS}, by 1e-05 of its largest value" in said
    assert "model differs: " in said
    assert "another now" in said


@pytest.mark.parametrize(("factor", "processor"), [(1.00001, None), (1.001, "another")])
def test_larger_differences_do_not_agree(rerun, capsys, factor, processor):
    assert not rerun(factor=factor, processor=processor)
    assert "do NOT agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a\tb\n1\tx\n-4\ty\n", "a\tb\n1\tx\n-4.2\ty\n", 0.05),
        ("a\n1\nn/a\n", "a\n1\nn/a\n", 0.0),
        ("a\n1\nn/a\n", "a\n1\n2\n", np.inf),
        ("a\n1\n", "a\n1\n2\n", np.inf),
        ("a\n1\n", "b\n1\n", None),
        ("a\nx\n", "a\ny\n", None),
    ],
)
def test_numbers_in_tables_are_compared(tmp_path, before, after, expected):
    (tmp_path / "old.tsv").write_text(before)
    (tmp_path / "new.tsv").write_text(after)
    found = difference(tmp_path / "old.tsv", tmp_path / "new.tsv")
    assert found == (expected if expected is None else pytest.approx(expected))


def clone(folder):
    """Copy the files that a git clone would have."""
    copy_project(folder)
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.lock", "requirements-uv.lock", "CITATION.cff"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def tool(folder, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "tools/paper.py", *arguments], cwd=folder, env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_file_that_is_no_run_is_refused_with_advice(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "README.md").write_text("# Study")
    for name, found in (
        ("missing.json", "there is no file"),
        (".", "run.json does not describe a run"),
        ("README.md", "README.md does not describe a run"),
    ):
        with pytest.raises(ValueError, match=f"{found}.*; give the run.json of a run, such as results/write_lock"):
            repeat(tmp_path / name, into=tmp_path / "rerun", data=None, arguments=[])
    assert not (tmp_path / "rerun").exists()


@pytest.mark.long
def test_an_empty_clone_repeats_the_paper_on_another_processor(tmp_path, paper):
    folder = clone(tmp_path / "clone")
    # Disable modern CPU instructions, as if on a processor from 2008.
    old = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"}
    code, said = tool(folder, "verify", str(paper / "run.json"), "--into", "other", "--cores", "2", **old)
    assert code == 0, said
    assert "Maps and loadings agree" in said


@pytest.mark.long
def test_a_clone_downloads_the_images_in_the_lock_of_a_paper(tmp_path):
    archive = Archive.of_cache(make_maps(tmp_path / "served", n_images=12, n_sources=4))
    with Server(archive) as server:
        first = clone(tmp_path / "first")
        source = {"source": "neurovault", "url": server.url, "neurosynth_url": server.url}
        small = SMALL | {"run_ica": {"n_components": 3, "n_restarts": 2, "n_bootstraps": 2}}
        (first / "mine.py").write_text("def keep(image):\n    return image['id'] != 1003\n")
        overlay = write_config(first, archive=source, fetch_metadata={"image_filter": "mine.py:keep"}, **small)
        snakemake(first, "--configfile", overlay)
        code, said = tool(first, "pack", "papers/mine")
        assert code == 0, said
        second = clone(tmp_path / "second")
        shutil.copytree(first / "papers", second / "papers")
        code, said = tool(second, "verify", "papers/mine/run.json", "--cores", "2")
        assert code == 0, said
        assert "byte for byte" in said
        assert len(list(second.glob("data/neurovault/collection_*/image_*.nii.gz"))) == 11
