"""Each archive is described in one module, which the Snakefile can import."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT
from neurovault_ica.archive.archive import ARCHIVES, find_contradictions, open_archive
from neurovault_ica.record.bibliography import read_works
from neurovault_ica.runtime.layers import read_file

SETTINGS = read_file(ROOT / "config.yaml")["archive"]


def opened(source, **settings):
    return open_archive(SETTINGS | {"source": source, "table": "lab/maps.tsv"} | settings)


def test_the_snakefile_imports_nothing_that_snakemake_does_not_need():
    heavy = {"numpy", "nibabel", "pandas", "scipy", "nilearn", "requests"}
    code = f"import sys, neurovault_ica.archive.archive; print(*{heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "workflow/scripts", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_no_other_file_compares_source_or_mode():
    files = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.*"), *(ROOT / "tools").glob("*.py")]
    texts = {
        str(path.relative_to(ROOT)): path.read_text()
        for path in files
        if path.suffix in ("", ".py", ".smk", ".jinja") and path.parent.name != "archive"
    }
    assert len(texts) > 100
    # fetch_terms has a key `source`, too.
    comparison = re.compile(
        r"""(?<!\["fetch_terms"\])(\["(source|mode)"\]|archive\.(source|mode))\s*(==|!=|(not )?in\b)"""
    )
    assert [name for name, text in texts.items() if comparison.search(text)] == []


def test_sentences_cite_works_that_exist():
    for name in ARCHIVES:
        assert set(re.findall(r"\{(\w+)\}", opened(name).sentence)) <= set(read_works())


@pytest.mark.parametrize(
    ("source", "mode", "asks", "writes", "offline"),
    [
        ("demo", "download_new", False, True, False),
        ("neurovault", "download_new", True, True, False),
        ("neurovault", "overwrite", True, True, False),
        ("neurovault", "offline", False, False, True),
        ("offline", "download_new", False, False, True),
        ("table", "download_new", False, False, False),
        ("table", "offline", False, False, True),
    ],
)
def test_permissions_of_a_run_by_source_and_mode(source, mode, asks, writes, offline):
    archive = opened(source, mode=mode)
    assert (archive.asks_server, archive.may_write, archive.forbids_network) == (asks, writes, offline)


def test_labels_name_the_place():
    assert opened("neurovault").label == opened("neurovault").address == "https://neurovault.org"
    assert opened("neurovault", mode="offline").label == "the cache data"
    assert (opened("table").label, opened("table").address) == ("the table lab/maps.tsv", None)


def test_a_key_of_one_archive_is_needed_there_and_refused_elsewhere():
    (missing,) = find_contradictions(SETTINGS | {"source": "table"})
    assert missing == (
        "archive.table: null is not valid with archive.source table; expected: a value, because this source needs it"
    )
    (useless,) = find_contradictions(SETTINGS | {"table": "x.tsv"})
    assert useless.endswith("expected: null, because only table uses it")


def test_a_rerun_in_another_folder_finds_the_images(tmp_path):
    assert opened("demo").moved(tmp_path, None) == {}
    assert opened("offline").moved(tmp_path, tmp_path / "cache") == {"data_dir": str(tmp_path / "cache")}
    assert opened("table").moved(tmp_path, None) == {"table": str(tmp_path / "lab/maps.tsv")}
    assert opened("table").moved(tmp_path, tmp_path / "there") == {"table": str(tmp_path / "there/maps.tsv")}
    assert opened("table").is_fixed
    assert not opened("neurovault").is_fixed


def test_only_own_maps_are_in_no_public_archive():
    assert {opened(name).public_name for name in ("demo", "neurovault", "offline")} == {"NeuroVault"}
    assert opened("table").public_name == ""


@pytest.mark.parametrize(
    ("url", "extra", "server"),
    [
        ("http://host/api", "/api", "http://host"),
        ("https://neurovault.org/api/collections/", "/api/collections/", "https://neurovault.org"),
        ("https://neurovault.org/collections/1952/", "/collections/1952/", "https://neurovault.org"),
        ("http://host:8000/vault/api/", "/api/", "http://host:8000/vault"),
    ],
)
@pytest.mark.parametrize("key", ["url", "neurosynth_url"])
def test_an_address_of_the_api_is_not_the_address_of_the_server(key, url, extra, server):
    lines = list(find_contradictions(SETTINGS | {"source": "neurovault", key: url}))
    assert lines == [f"archive.{key}: {url} is the address of a page ({extra}); give only the server, {server}"]


@pytest.mark.parametrize("url", ["https://api.org", "https://neurovault.org/", "http://host/vault", "http://images"])
def test_addresses_of_servers_are_accepted(url):
    assert list(find_contradictions(SETTINGS | {"source": "neurovault", "url": url})) == []
