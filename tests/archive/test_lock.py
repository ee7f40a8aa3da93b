"""A run repeated from its lock verifies and uses the same images, without listing the archive."""

import csv
import hashlib
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import ROOT
from fetching import Run, write_lock
from neurovault_ica.archive.lock import SOFTWARE_VERSION, lock_rows, read_lock
from neurovault_ica.runtime.tables import read_table
from neurovault_server import Archive, Server, nifti


@pytest.fixture
def archive():
    archive = Archive.small({1: 4, 2: 3})
    archive.add_collection(3, name='A "study"\twith = signs', DOI="10.1/x", authors="A, B and C", journal_name="None")
    archive.add_image(301, 3, name="=1+1\n", number_of_subjects="12", contrast_definition="'x", brain_coverage=1 / 3)
    archive.add_image(302, 3, file_size=0, terms=False)
    return archive


@pytest.fixture
def locked(archive, tmp_path):
    """Yield a finished run, its server (still running) and its lock."""
    with Server(archive) as server:
        run = Run(tmp_path / "first", server=server)
        run.select(max_images=8)
        run.terms()
        run.download()
        yield run, server, write_lock(run.results, tmp_path / "mine.tsv", unused=["202"])


def repeat(folder, server, lock, *, data_dir=None, batches=1, **archive):
    run = Run(folder, server=server, data_dir=data_dir, **archive)
    run.select(lock=lock, batches=batches, max_images=1, image_terms={"map_type": "F map"})
    run.terms(lock=lock)
    run.download(lock=lock, max_failed_fraction=0)
    return run


def without_id(text):
    header, row, *rest = text.split("\n")
    fields = row.split("\t")
    fields[header.split("\t").index("image_id")] = "n/a"
    return "\n".join([header, "\t".join(fields), *rest])


def same_tables(first, second):
    names = [
        "fetch_metadata/images.tsv", "fetch_metadata/collections.tsv", "download_images/status-0.tsv",
        "fetch_terms/status-0.tsv", "fetch_terms/terms-0.tsv",
    ]  # fmt: skip
    return [(first.results / name).read_bytes() for name in names] == [
        (second.results / name).read_bytes() for name in names
    ]


def test_a_rerun_with_an_empty_cache_gives_the_same_tables(locked, tmp_path):
    run, server, lock = locked
    asked = len(server.asked)
    assert same_tables(run, repeat(tmp_path / "again", server, lock))
    paths = {
        urlsplit(address).path.split("/")[1] + urlsplit(address).path.split("/")[2] for address in server.asked[asked:]
    }
    assert paths == {"mediaimages", "apidecode"}


def test_a_rerun_with_a_full_cache_sends_no_request_and_logs_no_warning(locked, tmp_path, caplog):
    run, server, lock = locked
    asked = len(server.asked)
    caplog.clear()
    assert same_tables(run, repeat(tmp_path / "again", server, lock, data_dir=run.data_dir))
    assert len(server.asked) == asked
    assert same_tables(run, repeat(tmp_path / "offline", None, lock, data_dir=run.data_dir))
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_changed_or_missing_images_stop_the_run_and_are_listed(locked, archive, tmp_path):
    run, server, lock = locked
    victims = [row for row in read_lock(lock) if row["status"] == "ok"][:2]
    changed, gone = (urlsplit(row["file"]).path.removeprefix("/media/images/") for row in victims)
    archive.files[changed] = nifti(999) + b"another size"
    del archive.files[gone]
    listing = (
        rf"the lock mine\.tsv or could not be downloaded: image {victims[0]['image_id']} \(changed\); image .*"
        r" \(not_found\)\. If a download failed, run again\. To continue .* set archive\.on_changed to skip"
    )
    with pytest.raises(RuntimeError, match=listing):
        repeat(tmp_path / "stop", server, lock)
    again = repeat(tmp_path / "skip", server, lock, on_changed="skip")
    rows = {row["image_id"]: row for row in read_table(again.results / "download_images/status-0.tsv")}
    assert {rows[row["image_id"]]["status"] for row in victims} == {"failed"}
    assert sum(row["status"] == "ok" for row in rows.values()) == sum(r["status"] == "ok" for r in read_lock(lock)) - 2
    # With the old files in the cache, the rerun gives the old results.
    assert same_tables(run, repeat(tmp_path / "cached", server, lock, data_dir=run.data_dir))


@pytest.mark.parametrize("what", ["image", "terms of image"])
def test_files_that_could_not_be_downloaded_have_not_changed(locked, tmp_path, what):
    run, server, lock = locked
    row = next(row for row in read_lock(lock) if row["status"] == "ok")
    address = urlsplit(row["file"]).path if what == "image" else f"neurovault={row['image_id']}"
    server.misbehave(address, always="502")
    advice = rf"or could not be downloaded: {what} {row['image_id']} \(.*\)\. If a download failed, run again"
    with pytest.raises(RuntimeError, match=advice):
        repeat(tmp_path / "again", server, lock)
    server.misbehave(address)
    assert same_tables(run, repeat(tmp_path / "again", server, lock))


def test_a_changed_file_of_the_same_size_is_detected(locked, archive, tmp_path, caplog):
    _, server, lock = locked
    row = next(row for row in read_lock(lock) if row["status"] == "ok")
    name = urlsplit(row["file"]).path.removeprefix("/media/images/")
    content = bytearray(archive.files[name])
    content[9] ^= 1  # the gzip header's operating system
    archive.files[name] = bytes(content)
    with pytest.raises(RuntimeError, match=rf"image {row['image_id']} \(changed\)"):
        repeat(tmp_path / "again", server, lock)
    found = hashlib.sha256(content).hexdigest()
    warning = f"image {row['image_id']}: differs from the lock: sha256 {found} instead of {row['sha256']}"
    assert [line for line in caplog.messages if f"image {row['image_id']}:" in line] == [warning]


@pytest.mark.parametrize("what", ["image", "terms of image"])
def test_the_error_lists_changed_files_of_all_batches(locked, archive, tmp_path, what):
    _, server, lock = locked
    rows = [row for row in read_lock(lock) if row["status"] == "ok"]
    for row in rows[:4]:
        if what == "image":
            archive.files[urlsplit(row["file"]).path.removeprefix("/media/images/")] = nifti(9)
        else:
            archive.terms[int(row["image_id"])] += b" "
    with pytest.raises(RuntimeError) as error:
        repeat(tmp_path / "again", server, lock, batches=3)
    assert [f"{what} {row['image_id']} (changed)" in str(error.value) for row in rows] == [True] * 4 + [False] * (
        len(rows) - 4
    )


def test_in_an_offline_cache_a_replaced_file_is_changed_and_a_truncated_one_damaged(locked, tmp_path):
    run, _, lock = locked
    first, second = [run.data_dir / row["path"] for row in read_lock(lock) if row["status"] == "ok"][:2]
    first.write_bytes(nifti(999, shape=(7, 7, 7)))
    second.write_bytes(second.read_bytes()[:-20])
    with pytest.raises(RuntimeError, match=r"\(changed\); image .* \(damaged_file\)\. If"):
        repeat(tmp_path / "offline", None, lock, data_dir=run.data_dir)


def test_changed_terms_stop_the_run_and_new_terms_are_ignored(locked, archive, tmp_path):
    _, server, lock = locked
    row = next(row for row in read_lock(lock) if row["terms_sha256"])
    archive.terms[int(row["image_id"])] += b" "
    with pytest.raises(RuntimeError, match=rf"terms of image {row['image_id']} \(changed\)"):
        repeat(tmp_path / "again", server, lock)


def test_datalad_can_read_the_lock(locked):
    """This imitates ``datalad addurls --key SHA256-s{bytes}--{sha256} images.lock.tsv {file} {path}``."""
    run, _, lock = locked
    with Path(lock).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert None not in {key for row in rows for key in row}
    assert all(name.isidentifier() for name in rows[0])
    # docs/neurovault.md filters the failed images by this column.
    assert list(rows[0])[12 - 1] == "status"
    for row in rows:
        if row["status"] == "ok":
            content = (run.data_dir / "{path}".format(**row)).read_bytes()
            assert "SHA256-s{bytes}--{sha256}".format(**row) == (
                f"SHA256-s{len(content)}--{hashlib.sha256(content).hexdigest()}"
            )
            assert "{file}".format(**row).startswith("http://127.0.0.1")
    assert {row["used"] for row in rows} <= {"true", "false"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "", "is not an images.lock.tsv of this workflow: it is empty"),
        (lambda text: text.replace("sha256", "md5", 1), "is not an images.lock.tsv"),
        (lambda text: text.replace("\tmodify_date", "", 1), "is not an images.lock.tsv"),
        (lambda text: text + text.splitlines()[1] + "\n", "occurs twice"),
        (lambda text: without_id(text), "line 2: image_id 'n/a' is not a valid id"),
        (lambda text: text.replace("\tok\t", "\tfailed\t", 1), "contradict"),
        (lambda text: text.replace(text.splitlines()[1].split("\t")[4], "abc"), "64 lower-case hexadecimal"),
        (lambda text: text[:-3], "broken.tsv ends in the middle of a line"),
        (lambda text: text + "\n", "line 10 has 0 cells, but the first line has "),
        (lambda text: text[: text.rindex("\t")] + "\n", r"line 9 has \d+ cells, but the first line has "),
        (lambda text: text.replace("\ttrue\t", "\tyes\t", 1), "line 2 has an unusable used: 'yes' is neither true nor"),
        (lambda text: text.replace("\t12\t", "\ttwelve\t", 1), "line 8 has an unusable number_of_subjects: .*'twelve'"),
    ],
)
def test_a_damaged_lock_is_refused(locked, tmp_path, change, message):
    path = tmp_path / "broken.tsv"
    path.write_text(change(Path(locked[2]).read_text()))
    with pytest.raises(ValueError, match=message):
        read_lock(str(path))


def test_a_lock_saved_by_an_editor_is_read(locked, tmp_path):
    path = tmp_path / "edited.tsv"
    text = Path(locked[2]).read_text().replace("\n", "\r\n")
    # Spreadsheets write booleans in capitals.
    text = text.replace("\ttrue\t", "\tTRUE\t").replace("\tfalse\t", "\tFALSE\t")
    path.write_text("\ufeff" + text, newline="")
    assert read_lock(str(path)) == read_lock(locked[2])


@pytest.mark.parametrize(("resampled", "path"), [(False, "lab/face_resampled.nii.gz"), (True, "lab/face.nii.gz")])
def test_a_lock_gives_the_original_of_a_copy_and_leaves_other_names_unchanged(resampled, path):
    images, collections = [{"image_id": 1, "collection_id": 2}], [{"collection_id": 2}]
    download = {"image_id": 1, "status": "ok", "bytes": 5, "sha256": "a" * 64, "file": "lab/face_resampled.nii.gz"}
    terms = [{"image_id": 1, "sha256": None, "reason": None}]
    (row,) = lock_rows(images, collections, [download | {"reason": None}], terms, {1}, resampled=resampled)
    assert row["path"] == path


def test_the_version_in_the_lock_is_that_of_the_project():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == SOFTWARE_VERSION
