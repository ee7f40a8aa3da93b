"""Images in the cache: what is there, what is damaged, when to stop."""

import hashlib

import pytest
from download_images import check_file, main
from outputs import column_names, read_table, write_table


def test_good_file_is_hashed(tmp_path):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(b"\x1f\x8b rest")
    assert check_file(path, expected_bytes=7) == {
        "status": "ok", "reason": None, "bytes": 7, "sha256": hashlib.sha256(b"\x1f\x8b rest").hexdigest(),
    }  # fmt: skip
    assert check_file(path, expected_bytes=None)["status"] == "ok"


@pytest.mark.parametrize(
    ("content", "expected_bytes", "reason"),
    [
        (None, 7, "missing_file"),
        (b"<html>", 6, "damaged_file"),
        (b"\x1f\x8b re", 7, "damaged_file"),
        (b"", 0, "damaged_file"),
    ],
)
def test_bad_file_has_a_reason(tmp_path, content, expected_bytes, reason):
    path = tmp_path / "image.nii.gz"
    if content is not None:
        path.write_bytes(content)
    assert check_file(path, expected_bytes=expected_bytes)["reason"] == reason


@pytest.fixture
def selection(tmp_path, write_archive):
    data_dir = write_archive({1: [{"id": number} for number in range(1, 11)]})
    path = tmp_path / "fetch_metadata" / "images.tsv"
    blank = dict.fromkeys(column_names(path))
    write_table(path, [{**blank, "image_id": n, "collection_id": 1, "batch": n % 2} for n in range(1, 11)])
    return path, data_dir


def test_batch_has_its_own_images_only(selection, tmp_path):
    images, data_dir = selection
    (data_dir / "neurovault/collection_1/image_3.nii.gz").unlink()
    status = tmp_path / "download_images" / "status-1.tsv"
    main(images=str(images), status=str(status), data_dir=str(data_dir), batch=1, max_failed_fraction=0.1)
    rows = read_table(status)
    assert [(row["image_id"], row["reason"]) for row in rows] == [
        (1, None), (3, "missing_file"), (5, None), (7, None), (9, None),
    ]  # fmt: skip
    assert rows[0]["file"] == "neurovault/collection_1/image_1.nii.gz"


def test_too_many_failures_stop_with_the_list(selection, tmp_path):
    images, data_dir = selection
    for number in (3, 5):
        (data_dir / f"neurovault/collection_1/image_{number}.nii.gz").unlink()
    with pytest.raises(RuntimeError, match=r"2 of 10 images .* 3 \(missing_file\), 5 \(missing_file\)"):
        main(
            images=str(images), status=str(tmp_path / "download_images" / "status-1.tsv"), data_dir=str(data_dir),
            batch=1, max_failed_fraction=0.1,
        )  # fmt: skip
