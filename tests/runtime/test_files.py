"""Tables and files: they are read back as written, and an interrupted write leaves nothing behind."""

import errno
import gzip
import json
import os
import subprocess

import nibabel as nib
import numpy as np
import psutil
import pytest
from neurovault_ica.naming.term_weights import read_term_weights
from neurovault_ica.runtime.files import HOST, replacing
from neurovault_ica.runtime.tables import TABLES_FILE, component_labels, read_table, write_table


def test_a_table_is_read_with_the_types_of_its_columns(tmp_path):
    path = tmp_path / "download_images" / "status-3.tsv"
    rows = [
        {
            "image_id": "1",
            "status": "ok",
            "reason": None,
            "bytes": 12,
            "sha256": "ab",
            "file": "a/b.nii.gz",
            "found": None,
        },
        {
            "image_id": "2",
            "status": "failed",
            "reason": "missing_file",
            "bytes": None,
            "sha256": None,
            "file": "n",
            "found": None,
        },
    ]
    write_table(path, rows)
    assert read_table(path) == rows
    assert path.read_text().splitlines()[1] == "1\tok\tn/a\t12\tab\ta/b.nii.gz\tn/a"


def test_tabs_and_line_breaks_in_texts_do_not_split_cells(tmp_path):
    path = tmp_path / "fetch_terms" / "terms-0.tsv"
    write_table(path, [{"image_id": "1", "term": 'a\tb\n"c"\u2028d', "weight": np.float64(0.1)}])
    assert read_table(path) == [{"image_id": "1", "term": 'a b "c" d', "weight": 0.1}]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+2", "'=1+2"), ("+faces", "'+faces"), ("-1 back > 0 back", "'-1 back > 0 back"), ("@SUM(A1)", "'@SUM(A1)"),
        ("'=1", "''=1"), ("'-5", "''-5"), ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"), ("-5", "-5"),
        ("+1.5e-3", "+1.5e-3"), ("-", "-"), ("--", "--"), ("'quoted'", "'quoted'"), ("a=b", "a=b"), ("007", "007"),
        ("-10 -94 2 (+1); 11 -92 4", "-10 -94 2 (+1); 11 -92 4"), ("-10 A1", "'-10 A1"),
    ],
)  # fmt: skip
def test_no_text_runs_as_a_formula_in_a_spreadsheet_and_each_comes_back(tmp_path, text, cell):
    path = tmp_path / "fetch_terms" / "terms-0.tsv"
    rows = [{"image_id": "1", "term": text, "weight": -0.5}]
    write_table(path, rows)
    assert path.read_text().splitlines()[1] == f"1\t{cell}\t-0.5"
    assert read_table(path) == rows
    write_table(path, [*rows, {"image_id": "1", "term": "faces", "weight": 0.5}])
    assert set(read_term_weights([path], ["1"]).terms) == {text, "faces"}


@pytest.mark.parametrize("character", ["\x80", "\x85", "\x9b", "\u2029", "\x7f", "\x1b"])
def test_control_characters_become_a_space(tmp_path, character):
    path = tmp_path / "fetch_terms" / "terms-0.tsv"
    write_table(path, [{"image_id": "1", "term": f"a{character * 2}é\u200db", "weight": 1.0}])
    assert read_table(path)[0]["term"] == "a é\u200db"


@pytest.mark.parametrize("character", ["\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069"])
def test_marks_of_writing_direction_are_dropped(tmp_path, character):
    path = tmp_path / "fetch_terms" / "terms-0.tsv"
    rows = [{"image_id": "1", "term": term, "weight": 1.0} for term in (f"a{character}b", character)]
    write_table(path, rows)
    assert [row["term"] for row in read_table(path)] == ["ab", None]


def test_long_texts_are_shortened_but_stay_distinct(tmp_path):
    path = tmp_path / "fetch_terms" / "terms-0.tsv"
    write_table(path, [{"image_id": "1", "term": "x" * 200_000 + end, "weight": 1.0} for end in "ab"])
    rows = read_table(path)
    assert [len(row["term"]) for row in rows] == [2000, 2000]
    assert rows[0]["term"].startswith("x" * 1990 + "… ")
    assert rows[0]["term"] != rows[1]["term"]
    first = path.read_bytes()
    write_table(path, rows)
    assert path.read_bytes() == first
    # Tables of other programs may have longer texts.
    path.write_text("image_id\tterm\tweight\n1\t" + "x" * 200_000 + "\t1\n")
    assert len(read_table(path)[0]["term"]) == 200_000


def test_sidecar_describes_every_column(tmp_path):
    path = tmp_path / "run_ica" / "desc-ICA_mixing.tsv"
    write_table(path, [{"image_id": "1", "ICA_00": 0.5, "ICA_01": float("nan")}], ["image_id", "ICA_00", "ICA_01"])
    sidecar = json.loads((tmp_path / "run_ica" / "desc-ICA_mixing.json").read_text())
    assert list(sidecar) == ["ICA_00", "ICA_01", "image_id"]
    assert all(column["Description"] for column in sidecar.values())
    assert read_table(path) == [{"image_id": "1", "ICA_00": 0.5, "ICA_01": None}]


def test_a_table_or_column_without_a_description_is_refused(tmp_path):
    with pytest.raises(KeyError, match="fetch_terms/nonsense is not described"):
        write_table(tmp_path / "fetch_terms" / "nonsense.tsv", [])
    with pytest.raises(KeyError, match="the column colour is not described"):
        write_table(tmp_path / "fetch_terms" / "terms-0.tsv", [], ["image_id", "colour"])
    with pytest.raises(KeyError, match="a row has the columns"):
        write_table(tmp_path / "fetch_terms" / "terms-0.tsv", [{"image_id": "1", "term": "a"}])


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("half of the ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


WRITERS = {
    "a.txt": lambda path: path.write_text("half of the new"),
    "a.npy": lambda path: np.save(path, np.zeros(100_000)),
    "a.npz": lambda path: np.savez(path, np.zeros(100_000)),
    "a.nii.gz": lambda path: nib.save(nib.Nifti1Image(np.zeros((30, 30, 30)), np.eye(4)), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_an_error_of_a_full_disk_names_the_result(tmp_path, name):
    def write_to_a_full_disk():
        with replacing(tmp_path / name) as temporary:
            temporary.symlink_to("/dev/full")
            WRITERS[name](temporary)

    with pytest.raises(OSError, match="No space left on device") as stopped:
        write_to_a_full_disk()
    assert (stopped.value.errno, stopped.value.filename) == (errno.ENOSPC, str(tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_temporary_files_of_killed_runs_are_removed(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    # Nothing collects this process, so it stays as a zombie.
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    born = round(psutil.Process(zombie.pid).create_time())
    this, started = os.getpid(), round(psutil.Process().create_time())
    left = [f"{HOST}-{dead.pid}.{started}-a.txt", f"{HOST}-{this}.{started - 100}-a.txt", f"{HOST}-{this}-a.txt"]
    left.append(f"{HOST}-{zombie.pid}.{born}-a.txt")
    kept = ["far-2.5-b.txt", f"{HOST}-{this}.{started}-c.txt"]
    for name in [*left, "away-1.5-a.txt", *kept]:
        (tmp_path / f".part-{name}").write_text("half")
    os.utime(tmp_path / ".part-away-1.5-a.txt", (0, 0))
    with replacing(tmp_path / "d.txt") as temporary:
        temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {f".part-{name}" for name in kept} | {"d.txt"}
    zombie.wait()


def test_a_temporary_file_of_another_user_does_not_stop_a_run(tmp_path, monkeypatch):
    left = tmp_path / ".part-away-1.5-a.txt"
    left.write_text("half")
    os.utime(left, (0, 0))

    def refuse(path, **_options):
        if path.name == left.name:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(type(tmp_path), "unlink", refuse)
    with replacing(tmp_path / "d.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "d.txt").read_text() == "whole"


def test_compressed_images_contain_no_time_stamp_or_name(tmp_path):
    img = nib.Nifti1Image(np.arange(8, dtype=np.float32).reshape(2, 2, 2), np.eye(4))
    with replacing(tmp_path / "a.nii.gz") as temporary:
        nib.save(img, temporary)
    header = (tmp_path / "a.nii.gz").read_bytes()[:10]
    assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes())
    assert header[3] == 0, "the gzip header names a file"
    assert header[4:8] == b"\0\0\0\0", "the gzip header has a time stamp"


def test_every_described_column_has_format_and_description():
    for table, columns in json.loads(TABLES_FILE.read_text()).items():
        for name, column in columns.items():
            assert column["Format"] in {"integer", "number", "string", "boolean"}, (table, name)
            assert column["Description"], (table, name)


def test_labels_of_components_are_padded():
    assert component_labels(3) == ["ICA_00", "ICA_01", "ICA_02"]
    assert component_labels(100)[-1] == "ICA_99"
    assert component_labels(101)[-1] == "ICA_100"
    assert component_labels(101)[0] == "ICA_000"
