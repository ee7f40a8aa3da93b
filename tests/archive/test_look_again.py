"""An update finds what is new in the archive, and leaves everything else as it is."""

import json
import shutil
import sys
from pathlib import Path

import look_again
import pytest
from fetching import NETWORK, SETTINGS, ids
from neurovault_ica.runtime.recovery import WROTE
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from neurovault_server import Archive, nifti


@pytest.fixture
def look():
    """Look at the archive of a run again; return what was found."""

    def call(run, lock=None):
        folder = run.results
        names = ("collections", "images", "selection")
        look_again.main(
            **{name: str(folder / "fetch_metadata" / f"{name}.tsv") for name in names},
            looked=str(folder / "look_again" / "looked.json"),
            downloads=[str(folder / "download_images" / f"status-{batch}.tsv") for batch in range(run.batches)],
            terms=[str(folder / "fetch_terms" / f"status-{batch}.tsv") for batch in range(run.batches)],
            databases=[str(folder / "fetch_database" / "files.tsv")], last=[str(folder / "report.html")],
            archive=run.archive, network=NETWORK, terms_network=NETWORK, lock=lock, batches=run.batches, requested=1.0,
            metadata_log=folder.parent / "logs" / "fetch_metadata.log", **SETTINGS,
        )  # fmt: skip
        found = json.loads((folder / "look_again" / "looked.json").read_text())
        return found["changed_tables"], found["found_images"], found["found_terms"]

    return call


def stamps(run):
    files = [
        file for rule in ("fetch_metadata", "download_images", "fetch_terms") for file in (run.results / rule).iterdir()
    ]
    return {str(file.relative_to(run.results)): file.stat().st_mtime_ns for file in files}


def test_unchanged_answers_change_no_file(serve, look):
    server, run = serve(Archive.small({1: 3, 2: 3}), batches=2)
    run.download()
    run.terms()
    before = stamps(run)
    assert look(run) == ([], 0, 0)
    assert stamps(run) == before
    assert server.count("/media/") == server.count("/api/decode/") == 6


def test_new_changed_and_removed_images_are_selected(serve, look, caplog):
    caplog.set_level("INFO")
    archive = Archive.small({1: 3, 2: 3})
    _, run = serve(archive)
    run.download()
    archive.add_image(150, 1)
    archive.images[201]["modify_date"] = "2026-02-03"
    archive.files["2/map_201.nii.gz"] = nifti(999)
    archive.images[201]["file_size"] = len(nifti(999))
    del archive.images[203]
    for collection in archive.collections.values():
        collection["modify_date"] = "2026-02-03"
    changed, _, _ = look(run)
    assert {"images", "collections"} <= set(changed)
    assert ids(read_table(run.results / "fetch_metadata/images.tsv")) == [101, 102, 103, 150, 201, 202]
    assert "images in the selection: 1 new, 1 modified, 1 no longer in it" in caplog.text
    rows = run.download()
    assert (run.data_dir / rows[4]["file"]).read_bytes() == nifti(999)


def test_only_batches_with_new_terms_or_images_are_to_be_run_again(serve, look):
    server, run = serve(Archive.small({1: 4}), batches=2)
    server.misbehave("neurovault=102", always="502")
    server.misbehave("map_103", always="404")
    run.download()
    run.terms()
    # The server still fails, so nothing changes.
    before = stamps(run)
    assert look(run) == ([], 0, 0)
    assert stamps(run) == before
    server.misbehave("neurovault=102")
    server.misbehave("map_103")
    (run.results / "report.html").touch()
    assert look(run) == ([], 1, 1)
    batches = {row["image_id"]: row["batch"] for row in read_table(run.results / "fetch_metadata/images.tsv")}
    gone = {f"fetch_terms/status-{batches['102']}.tsv", f"download_images/status-{batches['103']}.tsv"}
    assert before.keys() - stamps(run).keys() == gone
    assert not (run.results / "report.html").exists()


def test_answers_found_by_a_killed_update_are_not_forgotten(serve, look, monkeypatch):
    server, run = serve(Archive.small({1: 4}), batches=2)
    server.misbehave("neurovault=102", always="502")
    server.misbehave("map_103", always="404")
    run.download()
    run.terms()
    server.misbehave("neurovault=102")
    server.misbehave("map_103")
    before = stamps(run)
    (run.results / "report.html").touch()
    unlink = Path.unlink

    def killed(path, **options):
        if path.name.startswith("status-"):
            sys.exit("killed")
        unlink(path, **options)

    monkeypatch.setattr("pathlib.Path.unlink", killed)
    with pytest.raises(SystemExit, match="killed"):
        look(run)
    monkeypatch.undo()
    # The report is removed first: while it exists, Snakemake does not make a missing status table again.
    assert stamps(run) == before
    assert not (run.results / "report.html").exists()
    assert look(run) == ([], 1, 1)
    run.terms()
    assert [row["status"] for row in run.download()] == ["ok"] * 4


def test_a_lock_is_not_updated(serve, look, tmp_path):
    server, run = serve(Archive.small({1: 2}))
    server.asked.clear()
    assert look(run, lock=str(tmp_path / "paper.tsv")) == ([], 0, 0)
    assert server.asked == []


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_files_of_the_database_that_are_missing_are_requested_again(serve, look, status):
    _, run = serve(Archive.small({1: 3}))
    run.download()
    run.terms()
    table, report = run.results / "fetch_database/files.tsv", run.results / "report.html"
    row = dict.fromkeys(column_names(table)) | {"status": status}
    write_table(table, [row | {"status": "ok"}, row])
    report.touch()
    assert look(run) == ([], 0, 0)
    assert table.exists() == report.exists() == (status == "ok")


def test_an_update_without_a_server_changes_nothing(serve, look):
    server, run = serve(Archive.small({1: 3}), batches=2)
    server.misbehave("map_103", always="404")
    run.download()
    run.terms()
    (run.results / "report.html").touch()
    before = stamps(run)
    server.misbehave("/api/", always="502")
    with pytest.raises(RuntimeError, match="did not deliver the metadata"):
        look(run)
    assert stamps(run) == before
    assert (run.results / "report.html").exists()


@pytest.mark.parametrize("is_nilearns", [False, True])
def test_terms_of_a_replaced_image_are_requested_again(serve, look, is_nilearns):
    archive = Archive.small({1: 3})
    server, run = serve(archive)
    run.download()
    before, _ = run.terms()
    if is_nilearns:
        shutil.rmtree(run.data_dir / "neurovault/records")
        shutil.rmtree(run.data_dir / "neurovault/listings")
    # Image 101 has a new file, and of image 102 only the name was edited.
    for number in (101, 102):
        archive.images[number]["modify_date"] = archive.collections[1]["modify_date"] = "2026-02-03"
        answer = {"data": {"neurovault_id": str(number), "values": {"term 1": 0.9}}}
        archive.terms[number] = json.dumps(answer).encode()
    archive.images[102]["name"] = "faces"
    archive.files["1/map_101.nii.gz"] = nifti(999, shape=(7, 7, 5))
    archive.images[101]["file_size"] = len(archive.files["1/map_101.nii.gz"])
    server.asked.clear()
    assert "images" in look(run)[0]
    assert [row["status"] for row in run.download()] == ["ok"] * 3
    rows, _ = run.terms()
    assert server.count("/api/decode/") == server.count("neurovault=101") == 1
    assert [row for row in rows if row["image_id"] == "101"] == [{"image_id": "101", "term": "term 1", "weight": 0.9}]
    assert [row for row in rows if row["image_id"] != "101"] == [row for row in before if row["image_id"] != "101"]
    # The next look finds nothing to request.
    server.asked.clear()
    look(run)
    run.terms()
    assert server.count("/api/decode/") == 0


def test_an_update_keeps_a_collection_that_the_server_cannot_list_now(serve, look, caplog):
    archive = Archive.small({1: 3, 2: 3})
    server, run = serve(archive)
    run.download()
    archive.add_image(150, 1)
    archive.add_image(250, 2)
    for collection in archive.collections.values():
        collection["modify_date"] = "2026-02-03"
    server.misbehave("/collections/2/images/", always="500")
    look(run)
    assert ids(read_table(run.results / "fetch_metadata/images.tsv")) == [101, 102, 103, 150, 201, 202, 203]
    assert "collection 2: the server cannot list its images now, so the list of an earlier run is used" in caplog.text
    assert [row["status"] for row in run.download()] == ["ok"] * 7
    # The next update asks again. A collection that is private by then is no longer used.
    server.misbehave("/collections/2/images/")
    look(run)
    assert ids(read_table(run.results / "fetch_metadata/images.tsv"))[-1] == 250
    archive.collections[2]["modify_date"] = "2026-02-04"
    for address in ("/collections/2/images/", "/collections/2/"):
        server.misbehave(address, always="403")
    look(run)
    assert ids(read_table(run.results / "fetch_metadata/images.tsv")) == [101, 102, 103, 150]


def test_the_log_of_fetch_metadata_gets_the_sizes_of_replaced_tables(serve, look):
    """The log of an update is lost at the next update. The tables must not look edited then."""
    archive = Archive.small({1: 3})
    _, run = serve(archive)
    log, images = run.results.parent / "logs/fetch_metadata.log", run.results / "fetch_metadata/images.tsv"
    other = f"2026-01-02 03:04:05 INFO wrote {images.with_suffix('.json')}, 12 bytes\n"
    log.parent.mkdir()
    log.write_text(f"2026-01-02 03:04:05 INFO wrote {images}, 7 bytes\n{other}")
    before = log.read_text()
    look(run)
    assert log.read_text() == before
    archive.add_image(150, 1)
    archive.collections[1]["modify_date"] = "2026-02-03"
    assert "images" in look(run)[0]
    assert log.read_text().startswith(other)
    assert (str(images), str(images.stat().st_size)) in WROTE.findall(log.read_text())
    assert "7 bytes" not in log.read_text()
