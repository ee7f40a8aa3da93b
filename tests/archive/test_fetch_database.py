"""Neurosynth's database: downloaded once, checked, and used offline. The server is on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fetch_database
import numpy as np
import pytest
from made_database import make_tables, write_database
from neurovault_ica.archive import neurosynth_database
from neurovault_ica.archive.database_files import DatabaseFiles, files_of, find_database, neurosynth_names
from neurovault_ica.runtime.tables import read_table
from workflow_runs import ROOT

NETWORK = {"connections": 2, "timeout_s": 20, "attempts": 2, "backoff_s": 0.005}
POINTS = np.array([[-38.0, -24, 56], [8, -92, 0], [-22, -4, -20]])


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Serve a made-up database under Neurosynth's names, with pinned checksums for all files but the features."""
    made = find_database(write_database(tmp_path / "made", *make_tables(POINTS, n_studies=20)), "terms")
    names = neurosynth_names("terms")
    contents = {name: open(file, "rb").read() for name, file in zip(names, made, strict=True)}  # noqa: PTH123, SIM115
    pins = {
        name: neurosynth_database.Pin(len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
        if name != names.features
    }
    monkeypatch.setattr(neurosynth_database, "PINS", pins)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path.rpartition("/")[2])
            content = contents.get(asked[-1]) if self.path.startswith("/mirror/") else None
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/mirror", contents, asked
    server.shutdown()
    server.server_close()


def fetch(tmp_path, database, *, offline=False):
    table = tmp_path / "results/fetch_database/files.tsv"
    fetch_database.main(
        files=str(table), database=database, vocabulary="terms", data_dir=str(tmp_path / "data"),
        offline=offline, network=NETWORK,
    )  # fmt: skip
    return read_table(table)


def kept(tmp_path):
    folder = tmp_path / "data/neurosynth"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_files_are_fetched_once_and_used_offline(tmp_path, published):
    url, contents, asked = published
    rows = fetch(tmp_path, url)
    assert sorted(asked) == sorted(contents)
    assert kept(tmp_path) == {*contents, "SHA256SUMS", "README.txt"}
    for row in rows:
        content = contents[row["file"].rpartition("/")[2]]
        assert (row["status"], row["bytes"]) == ("ok", len(content))
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
    sums = (tmp_path / "data/neurosynth/SHA256SUMS").read_text().splitlines()
    assert sums == [f"{hashlib.sha256(contents[name]).hexdigest()}  {name}" for name in sorted(contents)]
    assert "Open Database License" in (tmp_path / "data/neurosynth/README.txt").read_text()
    files = files_of(rows)
    assert files == find_database(tmp_path / "data/neurosynth", "terms")
    asked.clear()
    # With the files in the cache, no server is asked, whatever the database and without a network too.
    assert fetch(tmp_path, url) == fetch(tmp_path, "neurosynth", offline=True) == rows
    assert not asked


def test_a_file_with_a_wrong_checksum_is_refused_and_not_kept(tmp_path, published):
    url, contents, _ = published
    name = neurosynth_names("terms").metadata
    wrong = contents[name][:-8] + b"12345678"
    contents[name] = wrong
    with pytest.raises(
        RuntimeError, match=rf"{name} was not accepted.*checksum is {hashlib.sha256(wrong).hexdigest()}.*null"
    ):
        fetch(tmp_path, url)
    assert kept(tmp_path) == {neurosynth_names("terms").coordinates, "SHA256SUMS", "README.txt"}
    contents[name] = wrong + b"longer"
    with pytest.raises(RuntimeError, match=f"not accepted.*{len(wrong) + 6} bytes announced, but {len(wrong)} stated"):
        fetch(tmp_path, url)
    assert kept(tmp_path) == {neurosynth_names("terms").coordinates, "SHA256SUMS", "README.txt"}


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1", b"PK\3\4 truncated", b""])
def test_a_file_without_a_known_checksum_must_at_least_be_complete(tmp_path, published, content):
    url, contents, _ = published
    contents[neurosynth_names("terms").features] = content
    with pytest.raises(RuntimeError, match=r"features.npz was not accepted.*not a complete .npz file"):
        fetch(tmp_path, url)
    assert neurosynth_names("terms").features not in kept(tmp_path)


def test_a_changed_file_is_downloaded_again(tmp_path, published, caplog):
    """This holds for a file with a pinned checksum, and for one whose checksum was recorded after its download."""
    url, contents, asked = published
    fetch(tmp_path, url)
    names = neurosynth_names("terms")
    for name in (names.features, names.metadata):
        path = tmp_path / "data/neurosynth" / name
        path.write_bytes(path.read_bytes()[:-1])
    asked.clear()
    offline = fetch(tmp_path, url, offline=True)
    assert [(row["kind"], row["reason"]) for row in offline if row["status"] == "failed"] == [
        ("metadata", "offline"), ("features", "offline"),
    ]  # fmt: skip
    assert files_of(offline) is None
    assert "is not used: its SHA-256 checksum is" in caplog.text
    fetch(tmp_path, url)
    assert set(asked) == {names.features, names.metadata}
    assert (tmp_path / "data/neurosynth" / names.features).read_bytes() == contents[names.features]


def test_files_that_the_user_put_there_are_used_and_nothing_is_written(tmp_path, published):
    """The folder may be a read-only cache of a laboratory."""
    url, contents, asked = published
    folder = tmp_path / "data/neurosynth"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    assert {row["status"] for row in fetch(tmp_path, url)} == {"ok"}
    assert not asked
    assert kept(tmp_path) == set(contents)


def test_without_network_the_run_goes_on(tmp_path, caplog):
    rows = fetch(tmp_path, "http://127.0.0.1:9/nothing")
    assert [row["kind"] for row in rows] == list(DatabaseFiles._fields)
    assert {row["status"] for row in rows} == {"failed"}
    assert {row["reason"] for row in rows} <= {"no_connection", "server_down"}
    assert files_of(rows) is None
    assert "4 of 4 files of Neurosynth's database could not be fetched" in caplog.text
    assert not kept(tmp_path)


def test_an_address_without_the_files_is_an_error(tmp_path, published):
    url, _, _ = published
    with pytest.raises(RuntimeError, match=r"coordinates.tsv.gz was not acc.*status 404.*build_term_maps.database"):
        fetch(tmp_path, url.replace("mirror", "elsewhere"))


def test_the_pinned_checksums_are_those_of_the_published_files():
    folder = ROOT.parent / "shared" / "neurosynth"
    if not folder.is_dir():
        pytest.skip("needs ../shared/neurosynth")
    for name, pin in neurosynth_database.PINS.items():
        content = (folder / name).read_bytes()
        assert pin == (len(content), hashlib.sha256(content).hexdigest())
    assert set(neurosynth_names("LDA50")) <= set(neurosynth_database.PINS)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, published):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/neurosynth").write_text("not a folder")
    with pytest.raises(RuntimeError, match=r"coordinates.tsv.gz cannot be written to .*neurosynth: .*archive.data_dir"):
        fetch(tmp_path, published[0])
