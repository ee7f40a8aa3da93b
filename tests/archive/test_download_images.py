"""Images are found in the cache or downloaded, and checked. Too many failures stop the run."""

import errno
import gzip
import hashlib
import threading
import time
import tracemalloc
import zlib
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from fetching import Run, cached_files, ids, kept_images
from neurovault_ica.archive.cache import read_modify_date
from neurovault_ica.archive.image_status import check_file
from neurovault_ica.images.nifti import read_image
from neurovault_ica.images.nifti_file import UnusableError
from neurovault_server import Archive, Faults, nifti
from nilearn.datasets import fetch_neurovault
from nilearn.datasets.neurovault import STD_AFFINE
from nilearn.image import resample_img


def test_good_file_is_hashed(tmp_path):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(content := nifti())
    assert check_file(path, expected_bytes=len(content)) == {
        "status": "ok", "reason": None, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    assert check_file(path, expected_bytes=None)["status"] == "ok"


@pytest.mark.parametrize(
    ("content", "expected_bytes", "reason"),
    [
        (None, 7, "missing_file"),
        (b"<html>", 6, "damaged_file"),
        (b"\x1f\x8b re", 5, "damaged_file"),
        (gzip.compress(b"text" * 200, mtime=0), None, "damaged_file"),
        (nifti(), 7, "damaged_file"),
        (b"", 0, "damaged_file"),
    ],
)
def test_bad_file_has_a_reason(tmp_path, content, expected_bytes, reason):
    path = tmp_path / "image.nii.gz"
    if content is not None:
        path.write_bytes(content)
    assert check_file(path, expected_bytes=expected_bytes)["reason"] == reason


@pytest.mark.parametrize("step", ["sha256_of", "find_fault"])
def test_a_file_that_cannot_be_read_has_a_reason(tmp_path, monkeypatch, step):
    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    path = tmp_path / "image.nii.gz"
    path.write_bytes(nifti())
    monkeypatch.setattr(f"neurovault_ica.archive.image_status.{step}", refuse)
    checked = check_file(path, expected_bytes=None)
    assert (checked["status"], checked["reason"], checked["found"]) == ("failed", "unreadable", "Permission denied")


@pytest.fixture
def offline(tmp_path, write_archive):
    run = Run(tmp_path, data_dir=write_archive({1: [{"id": number} for number in range(1, 11)]}))
    run.select(batches=2)
    return run


def test_batches_together_have_all_images(offline):
    (offline.data_dir / "neurovault/collection_1/image_3.nii.gz").unlink()
    before = cached_files(offline.data_dir)
    rows = offline.download(max_failed_fraction=0.1)
    assert damaged(rows) == {3: "missing_file"}
    assert ids(rows) == list(range(1, 11))
    assert rows[0]["file"] == "neurovault/collection_1/image_1.nii.gz"
    assert cached_files(offline.data_dir) == before


def test_too_many_failures_stop_the_run_and_are_listed(offline):
    for number in (2, 3):
        (offline.data_dir / f"neurovault/collection_1/image_{number}.nii.gz").unlink()
    with pytest.raises(RuntimeError, match=r"2 of 10 images .* 2 \(missing_file\), 3 \(missing_file\)"):
        offline.download(max_failed_fraction=0.1)


# Images of a server.


def damaged(rows):
    return {int(row["image_id"]): row["reason"] for row in rows if row["status"] == "failed"}


def test_images_equal_those_on_the_server_and_are_requested_once(serve, monkeypatch):
    monkeypatch.setattr("neurovault_ica.archive.cache_lock.ANOTHER_AFTER_S", 0)
    archive = Archive.small({1: 5, 2: 7})
    server, run = serve(archive, faults=Faults(latency_s=0.03))
    rows = run.download()
    assert damaged(rows) == {}
    for row in rows:
        content = archive.files[f"{row['image_id'][0]}/map_{row['image_id']}.nii.gz"]
        assert (run.data_dir / row["file"]).read_bytes() == content
        assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert server.count("/media/") == 12
    assert 2 <= server.most_at_once <= 4
    assert all("neurovault-ica" in headers["User-Agent"] for headers in server.headers)
    before = cached_files(run.data_dir)
    assert run.download() == rows
    assert server.count("/media/") == 12
    assert cached_files(run.data_dir) == before


def test_missing_damaged_and_outdated_images_are_downloaded_again(serve):
    archive = Archive.small({1: 6})
    server, run = serve(archive)
    rows = run.download()
    home = run.data_dir / "neurovault/collection_1"
    (home / "image_101.nii.gz").unlink()
    (home / "image_102.nii.gz").write_bytes(b"<html>")
    (home / "image_103.nii.gz").write_bytes(nifti(103)[:-5])
    (home / "image_104_metadata.json").unlink()
    (home / "image_105.nii.gz").write_bytes(b"x" * rows[4]["bytes"])
    assert run.download() == rows
    assert server.count("/media/") == 6 + 5
    # The new file has the same size, so only the modification date shows the change.
    archive.files["1/map_106.nii.gz"] = replaced = nifti(106).replace(
        b"\x1f\x8b\x08\0\0\0\0\0", b"\x1f\x8b\x08\0\0\0\0\1"
    )
    archive.images[106]["modify_date"] = "2026-02-03"
    archive.collections[1]["modify_date"] = "2026-02-03"
    run.select()
    run.download()
    assert (home / "image_106.nii.gz").read_bytes() == replaced
    assert read_modify_date(run.data_dir, 1, 106) == "2026-02-03"


def test_each_mode_downloads_what_it_should(serve):
    archive = Archive.small({1: 3})
    server, run = serve(archive)
    rows = run.download()
    run.archive["mode"] = "overwrite"
    assert run.download() == rows
    assert server.count("/media/") == 6
    run.archive["mode"] = "offline"
    asked = len(server.asked)
    run.select()
    assert run.download() == rows
    assert len(server.asked) == asked


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "fault",
    [
        "drop",
        "truncate",
        "truncate_without_length",
        "lie",
        "refuse",
        "429",
        "500",
        "502",
        "503",
        "html",
        "206",
        "redirect_without_address",
        "redirect",
        "slow",
        "chunked",
    ],
)
def test_a_download_that_fails_once_is_repeated(serve, fault):
    server, run = serve(Archive.small({1: 5}))
    server.misbehave("/media/images/1/map_103.nii.gz", fault)
    rows = run.download()
    assert damaged(rows) == {}
    assert rows[2]["sha256"] == hashlib.sha256(nifti(103)).hexdigest()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("drop", "no_connection"), ("truncate", "damaged_file"), ("truncate_without_length", "damaged_file"),
        ("lie", "damaged_file"), ("502", "server_error"), ("html", "bad_answer"), ("silence", "timeout"),
        ("206", "bad_answer"), ("redirect_without_address", "bad_answer"), ("not_http", "no_connection"),
        ("trickle", "timeout"), ("endless", "bad_answer"), ("redirects", "bad_address"),
        ("redirect_to_file", "bad_address"), ("trickle_headers", "timeout"), ("continue", "bad_answer"),
        ("trickle_chunk", "timeout"), ("trickle_trailer", "timeout"),
    ],
)  # fmt: skip
def test_a_download_that_always_fails_has_a_reason_in_the_table(serve, fault, reason, tmp_path):
    server, run = serve(Archive.small({1: 3}))
    # Download the other images first: on a busy machine, the short time-out below may end any answer.
    server.misbehave("/media/images/1/map_103.nii.gz", always="404")
    assert damaged(run.download()) == {103: "not_found"}
    server.misbehave("/media/images/1/map_103.nii.gz", always=fault)
    server.asked.clear()
    assert damaged(run.download(network={"timeout_s": 0.2, "attempts": 2})) == {103: reason}
    assert not [name for name in cached_files(tmp_path) if "image_103." in name and "/records/" not in name]
    assert server.count("map_103") <= 12


def test_retry_after_pauses_all_connections(serve):
    server, run = serve(Archive.small({1: 2}))
    server.misbehave("/media/", "429")
    start = time.monotonic()
    assert damaged(run.download(network={"connections": 1})) == {}
    assert time.monotonic() - start >= 1


def test_a_request_that_waits_for_its_turn_heeds_a_pause(serve, monkeypatch):
    server, run = serve(Archive.small({1: 4}))
    server.misbehave("/media/", "429")
    times, enter = [], server.enter
    monkeypatch.setattr(server, "enter", lambda *arguments: (times.append(time.monotonic()), enter(*arguments)))
    assert damaged(run.download(network={"connections": 1})) == {}
    assert len(times) == 5
    assert times[1] - times[0] >= 1


def test_final_failures_are_not_repeated(serve):
    archive = Archive.small({1: 3})
    archive.add_image(150, 1, file="Übung.nii.gz")
    archive.add_image(151, 1, file_size=0)
    archive.add_image(152, 1)
    del archive.files["1/map_152.nii.gz"]
    archive.add_image(153, 1, file="ftp://example.org/map.nii.gz")
    archive.add_image(154, 1, file="../../../../etc/passwd")
    server, run = serve(archive)
    assert damaged(run.download()) == {
        150: "not_found", 151: "missing_file", 152: "not_found", 153: "bad_address", 154: "not_found",
    }  # fmt: skip
    assert server.count("/media/") <= 6
    with pytest.raises(RuntimeError, match=r"images could not be read or downloaded, .*max_failed_fraction"):
        run.download(max_failed_fraction=0.2)


@pytest.mark.parametrize(
    "name", ["a b.nii.gz", "100%.nii.gz", "a%20b.nii.gz", "a#b?c=d&e.nii.gz", "x.NII.GZ", "-rf.nii.gz", "a;b$(c)`d`.gz"]
)
def test_unusual_file_names_are_requested_unchanged(serve, name):
    archive = Archive.small({1: 0})
    archive.add_image(150, 1, file=name)
    _, run = serve(archive)
    rows = run.download()
    assert damaged(rows) == {}
    assert rows[0]["file"] == "neurovault/collection_1/image_150.nii.gz"


def test_an_unquoted_address_is_quoted(serve):
    archive = Archive.small({1: 0})
    archive.add_image(150, 1, file="a b.nii.gz")
    server, run = serve(archive)
    archive.images[150]["file"] = f"{server.url}/media/images/1/a b.nii.gz"
    run.archive["mode"] = "overwrite"
    run.select()
    assert damaged(run.download()) == {}


@pytest.mark.parametrize(
    "file", [None, "", 7, ["a"], {"a": 1}, "map.nii.gz", "/media/images/1/map_101.nii.gz", "\ud800"]
)
def test_a_record_without_an_address_has_a_reason_in_the_table(serve, file):
    archive = Archive.small({1: 2})
    archive.images[101] |= {"file": file, "as_is": True}
    _, run = serve(archive)
    assert damaged(run.download()) == {101: "bad_address"}


def test_names_and_paths_from_the_server_never_become_paths(serve, tmp_path):
    archive = Archive.small({1: 1})
    archive.add_image(
        150, 1, file="..%2f..%2fescaped.nii.gz", name="../../../x", relative_path="/etc/passwd",
        ns_words_relative_path="../../../../etc/passwd", absolute_path="/etc/passwd",
    )  # fmt: skip
    _, run = serve(archive)
    assert damaged(run.download()) == {}
    assert {str(path.relative_to(tmp_path)).split("/")[1] for path in tmp_path.rglob("*") if path.is_file()} == {
        "data", "results",
    }  # fmt: skip
    assert b"passwd" not in (run.data_dir / "neurovault/collection_1/image_150_metadata.json").read_bytes()


def bomb(start, n_bytes=4_000_000_000):
    """Make a gzip file that decompresses to `start` and gigabytes of zeros."""
    packing = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    packed = packing.compress(start) + packing.flush(zlib.Z_FULL_FLUSH)
    # After a full flush, equal bytes are compressed to equal blocks.
    block = packing.compress(bytes(10_000_000)) + packing.flush(zlib.Z_FULL_FLUSH)
    return packed + block * (n_bytes // 10_000_000) + packing.flush()


def test_decompression_bombs_cost_neither_time_nor_memory(serve, monkeypatch):
    """Bombs are a gzip file that decompresses to gigabytes, and a header that claims 10^12 voxels."""
    monkeypatch.setattr("neurovault_ica.images.nifti_file.MAX_UNPACKED_BYTES", 50_000_000)
    archive = Archive.small({1: 1})
    archive.add_image(150, 1, content=bomb(gzip.decompress(nifti())[:352]))
    archive.add_image(151, 1, content=nifti(claim=(10_000, 10_000, 10_000)))
    archive.add_image(152, 1, content=bomb(b""))
    # The size of this file is unknown, so it is decompressed, but only up to the limit.
    archive.add_image(153, 1, content=bomb(gzip.decompress(nifti())[:352]), file_size=None)
    _, run = serve(archive)
    tracemalloc.start()
    rows = run.download()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert damaged(rows) == {152: "damaged_file"}
    assert peak < 20_000_000
    # read_image refuses the bomb with the right reason.
    with pytest.raises(UnusableError, match="too_large"):
        read_image(run.data_dir / rows[2]["file"])


def test_an_uncompressed_image_is_kept_and_gets_a_compressed_copy_for_nilearn(serve):
    archive = Archive.small({1: 1})
    archive.add_image(150, 1, file="atlas.nii", content=(content := gzip.decompress(nifti(1))))
    server, run = serve(archive)
    rows = run.download()
    assert [row["file"] for row in rows] == [
        "neurovault/collection_1/image_101.nii.gz", "neurovault/collection_1/image_150.nii",
    ]  # fmt: skip
    assert (run.data_dir / rows[1]["file"]).read_bytes() == content
    assert rows[1]["sha256"] == hashlib.sha256(content).hexdigest()
    cached = cached_files(run.data_dir)
    assert run.download() == rows
    assert (server.count("/media/"), cached_files(run.data_dir)) == (2, cached)
    theirs = fetch_neurovault(data_dir=run.data_dir, mode="offline", collection_terms={}, image_terms={}, verbose=0)
    packed = next(Path(file) for file in theirs.images if "150" in file)
    assert nib.load(packed).get_fdata().tobytes() == nib.Nifti1Image.from_bytes(content).get_fdata().tobytes()
    assert packed.read_bytes()[3:8] == bytes(5), "a name or a time in the header"
    # When a compressed file replaces the server's file, the uncompressed file is removed.
    archive.files["1/atlas.nii"] = nifti(2)
    archive.images[150] |= {"modify_date": "2026", "file_size": len(nifti(2))}
    archive.collections[1]["modify_date"] = "2026"
    run.select()
    assert run.download()[1]["file"] == "neurovault/collection_1/image_150.nii.gz"
    assert not (run.data_dir / rows[1]["file"]).exists()


def test_an_uncompressed_file_with_the_name_of_a_compressed_one_is_downloaded_again(serve):
    archive = Archive.small({1: 1})
    archive.add_image(150, 1, file="atlas.nii", content=gzip.decompress(nifti(1)))
    server, run = serve(archive)
    rows = run.download()
    (run.data_dir / "neurovault/collection_1/image_150.nii").replace(
        run.data_dir / "neurovault/collection_1/image_150.nii.gz"
    )
    assert run.download() == rows
    assert server.count("map_101") == 1
    assert server.count("atlas") == 2


def test_a_server_that_goes_down_stops_the_run_and_the_next_run_continues(serve):
    server, run = serve(Archive.small({1: 40}))
    server.misbehave("map_110", *["502"] * 50)
    server.faults.is_down = False

    def fall(address, headers, enter=server.enter):
        enter(address, headers)
        server.faults.is_down = server.count("/media/") > 15

    server.enter = fall
    with pytest.raises(RuntimeError, match=r"no longer answers .* run again"):
        run.download()
    for thread in threading.enumerate():
        if thread.name.startswith("connection"):
            thread.join(30)  # wait until the other threads have finished their downloads
    kept = kept_images(run.data_dir)
    assert 5 < len(kept) < 20
    assert len(server.images_asked()) < 40
    server.faults, server.enter = Faults(), type(server).enter.__get__(server)
    server._wrong.clear()
    server.asked.clear()
    assert damaged(run.download()) == {}
    assert server.images_asked() == set(server.archive.images) - kept


def test_3_mm_copies_equal_those_of_nilearn(serve):
    _, run = serve(Archive.small({1: 2}))
    rows = run.download(resample=True, interpolation="nearest")
    assert rows[0]["file"] == "neurovault/collection_1/image_101_resampled.nii.gz"
    expected = resample_img(
        str(run.data_dir / "neurovault/collection_1/image_101.nii.gz"), target_affine=STD_AFFINE,
        interpolation="nearest",
    )  # fmt: skip
    assert np.array_equal(nib.load(run.data_dir / rows[0]["file"]).get_fdata(), expected.get_fdata())
    theirs = fetch_neurovault(
        data_dir=run.data_dir, mode="offline", resample=True, collection_terms={}, image_terms={}, verbose=0
    )
    assert sorted(theirs.images) == [str(run.data_dir / row["file"]) for row in rows]
    assert rows[0]["sha256"] == hashlib.sha256(nifti(101)).hexdigest()


def test_a_3_mm_copy_of_an_image_with_an_unusual_header_has_its_voxels(offline, caplog):
    path = offline.data_dir / "neurovault/collection_1/image_1.nii.gz"
    expected = resample_img(str(path), target_affine=STD_AFFINE, interpolation="nearest").get_fdata()
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:108] + bytes(4) + content[112:]))
    rows = offline.download(resample=True, interpolation="nearest")
    assert rows[0]["file"] == "neurovault/collection_1/image_1_resampled.nii.gz"
    np.testing.assert_array_equal(nib.load(offline.data_dir / rows[0]["file"]).get_fdata(), expected)
    assert "image_1.nii.gz: the header states that the voxels begin at byte 0" in caplog.text


@pytest.mark.parametrize(
    "faults", [["502", "html"], ["drop", "truncate"], ["truncate", "refuse", "truncate"], ["html", "html"]]
)
def test_two_different_failures_are_not_final(serve, faults):
    server, run = serve(Archive.small({1: 2}))
    server.misbehave("map_101", *faults)
    assert damaged(run.download(network={"attempts": 5})) == {}


def test_the_same_fault_twice_is_final(serve):
    server, run = serve(Archive.small({1: 2}))
    server.misbehave("map_101", always="truncate")
    assert damaged(run.download(network={"attempts": 5})) == {101: "damaged_file"}
    assert server.count("map_101") == 2


def test_an_impossible_size_is_refused_without_a_request(serve):
    archive = Archive.small({1: 3})
    archive.images[101]["file_size"] = 10**15
    archive.images[103]["file_size"] = 500
    server, run = serve(archive)
    assert damaged(run.download()) == {101: "file_too_large", 103: "damaged_file"}
    assert server.count("map_101") == 0


def test_an_endless_file_is_cut_off_at_the_size_limit(serve, monkeypatch):
    monkeypatch.setattr("neurovault_ica.net.client.MAX_FILE_BYTES", 1_000_000)
    archive = Archive.small({1: 2})
    archive.images[101]["file_size"] = None
    server, run = serve(archive)
    server.misbehave("map_101", always="endless")
    assert damaged(run.download()) == {101: "bad_answer"}


def test_the_client_waits_for_the_end_of_an_outage_at_the_start_of_a_batch(serve):
    server, run = serve(Archive.small({1: 12}))
    server.misbehave("/", *["502"] * 10)
    assert damaged(run.download(network={"patience_s": 60, "connections": 1})) == {}


@pytest.mark.parametrize("fault", ["truncate", "truncate_without_length"])
def test_a_file_of_unknown_size_must_be_complete(serve, fault):
    archive = Archive.small({1: 2}, content=nifti(shape=(30, 30, 30)), file_size=None)
    server, run = serve(archive)
    server.misbehave("map_101", fault)
    server.misbehave("map_102", always=fault)
    rows = run.download()
    assert damaged(rows) == {102: "damaged_file"}
    path = run.data_dir / rows[0]["file"]
    path.write_bytes(path.read_bytes()[:-9])
    assert run.download() == rows
    assert server.count("map_101") == 3


@pytest.mark.parametrize(
    "date", [7, 0, True, False, [1], {"a": "b"}, "", "null", "a\tb\u2028", "x" * 3000, 1e400, None]
)
def test_no_image_is_downloaded_twice_whatever_its_date(serve, date):
    server, run = serve(Archive.small({1: 1}, modify_date=date))
    rows = run.download()
    run.select()
    assert run.download() == rows
    assert server.count("/media/") == 1


def test_a_damaged_file_of_the_right_size_is_found_in_the_cache(serve):
    server, run = serve(Archive.small({1: 2}))
    rows = run.download()
    path = run.data_dir / rows[0]["file"]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    assert check_file(path, expected_bytes=len(whole))["reason"] == "damaged_file"
    assert run.download() == rows
    assert path.read_bytes() == whole
    assert server.count("map_101") == 2


def test_the_log_says_how_much_is_still_to_be_downloaded(serve, caplog):
    caplog.set_level("INFO")
    _, run = serve(Archive.small({1: 4}, content=bytes(1_000_000)), batches=2)
    run.archive["url"] = "http://127.0.0.1:9"
    run.download()
    line = next(line for line in caplog.messages if line.startswith("to download"))
    assert line.startswith(
        "to download from http://127.0.0.1:9: 3 files, 3.0 MB; with all other batches 4 files, 4.0 MB; "
    )


def test_only_files_that_are_not_in_the_cache_are_announced(serve, caplog):
    caplog.set_level("INFO")
    _, run = serve(Archive.small({1: 5}))
    rows = run.download()
    caplog.clear()
    run.download()
    assert not [line for line in caplog.messages if line.startswith("to download")]
    (run.data_dir / rows[3]["file"]).unlink()
    run.download()
    assert ": 1 files, 0.0 MB; " in next(line for line in caplog.messages if line.startswith("to download"))


def test_a_disk_that_is_too_small_stops_the_run_before_the_first_download(serve, monkeypatch):
    server, run = serve(Archive.small({1: 5}), batches=2)
    total = sum(len(content) for content in server.archive.files.values())
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=total - 1))
    with pytest.raises(RuntimeError, match=r"the disk of .*/data has 0.0 MB free, but 5 files, 0.0 MB are still"):
        run.download()
    assert server.count("/media/") == 0
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=total))
    assert damaged(run.download()) == {}


def test_a_full_disk_is_named_by_the_file_that_did_not_fit(serve, monkeypatch):
    def save(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("neurovault_ica.net.client.Client.save", save)
    _, run = serve(Archive.small({1: 1}))
    with pytest.raises(OSError, match="No space left on device") as stopped:
        run.download()
    assert stopped.value.filename == str(run.data_dir / "neurovault/collection_1/image_101.nii.gz")


def test_a_file_that_replaces_an_older_one_needs_no_more_space(serve, monkeypatch):
    server, run = serve(Archive.small({1: 4}), batches=2)
    rows = run.download()
    run.archive["mode"] = "overwrite"
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1))
    assert run.download() == rows
    assert server.count("/media/") == 8
