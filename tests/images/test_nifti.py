"""All variants of NIfTI files are read. Files that are not NIfTI or are incomplete are recognised."""

import gzip
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from conftest import ROOT
from image_files import AFFINE, SHAPE, damaged, image_bytes, saved
from neurovault_ica.images import nifti_file
from neurovault_ica.images.nifti import read_image
from neurovault_ica.images.nifti_file import UnusableError, find_fault
from neurovault_ica.images.nifti_header import MAX_VOXELS

SCRIPTS = ROOT / "workflow/scripts"


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


@pytest.mark.parametrize(
    "encode",
    [
        lambda data: image_bytes(data.astype(">f4"), dim_info=0),
        lambda data: image_bytes(data.astype(np.float64)),
        lambda data: image_bytes(data[..., np.newaxis]),
        lambda data: image_bytes(data[..., np.newaxis, np.newaxis]),
        lambda data: image_bytes(data, kind=nib.Nifti2Image),
        lambda data: nib.Nifti1Image(data, AFFINE, nib.Nifti1Header(endianness=">")).to_bytes(),
        lambda data: image_bytes(np.round(1000 * data).astype(np.int16), scl_slope=0.001, scl_inter=0),
        lambda data: image_bytes(data) + b"\0" * 5000,
    ],
    ids=["big-endian type", "float64", "4-D", "5-D", "NIfTI-2", "big-endian file", "int16 with slope", "bytes after"],
)
def test_every_format_and_type_is_read(encode, tmp_path, data):
    path = saved(tmp_path / "image.nii.gz", encode(data))
    image = read_image(path)
    assert image.data.flags.f_contiguous
    assert image.data.dtype == np.float32
    expected = np.squeeze(nib.load(path).get_fdata())
    np.testing.assert_allclose(image.data, expected, rtol=1e-6)
    np.testing.assert_allclose(image.data, data, atol=6e-4)
    np.testing.assert_array_equal(image.affine, nib.load(path).affine)


def test_uncompressed_files_and_files_of_several_gzip_members_are_read(tmp_path, data):
    content = image_bytes(data)
    path = tmp_path / "image.nii.gz"
    for stored in (content, gzip.compress(content[:1000]) + gzip.compress(content[1000:])):
        path.write_bytes(stored)
        np.testing.assert_array_equal(read_image(path).data, data)


def test_the_step_between_stored_values_is_known(tmp_path, data):
    counts = (10 * np.abs(data)).astype(np.int16)
    assert read_image(saved(tmp_path / "a.nii.gz", image_bytes(counts))).step == 1
    scaled = saved(tmp_path / "b.nii.gz", image_bytes(counts, scl_slope=-0.5, scl_inter=0))
    assert read_image(scaled).step == 0.5
    assert read_image(saved(tmp_path / "c.nii.gz", image_bytes(data))).step == 0


def test_a_small_file_with_a_huge_header_costs_no_memory(tmp_path):
    claim = damaged(image_bytes(np.zeros((2, 2, 2), np.float32)), 40, np.array([3, 399, 400, 400], "<i2").tobytes())
    assert MAX_VOXELS > 399 * 400 * 400
    with pytest.raises(UnusableError, match="unreadable"):
        read_image(saved(tmp_path / "image.nii.gz", claim))


def test_a_gzip_bomb_is_decompressed_only_to_the_size_in_its_header(tmp_path):
    content = image_bytes(np.ones((4, 4, 4), np.float32)) + b"\0" * 200_000_000
    path = saved(tmp_path / "image.nii.gz", content)
    code = (
        "import resource, sys; from pathlib import Path; from neurovault_ica.images.nifti import read_image;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "read_image(Path(sys.argv[1]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 50_000


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_complete_image_has_no_fault(kind, pack, tmp_path, data):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(pack(image_bytes(data, kind=kind)))
    assert find_fault(path) is None
    assert find_fault(path, whole=True) is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html>" * 50, "no NIfTI header, the file begins with '<!DOCTYPE html>'"),
        (gzip.compress(b"hello " * 500), "no NIfTI header, the file begins with 'hello hello hel'"),
        (b"\x1f\x8b\x00\x00 this is not gzip", "gzip: "),
        (damaged(image_bytes(np.ones((2, 2, 2), np.float32)), 344, b"nop\0"), "magic b'nop\\x00'"),
    ],
    ids=["no bytes", "HTML", "text packed", "wrong gzip", "wrong magic"],
)
def test_the_beginning_shows_that_a_file_is_not_nifti(content, fault, tmp_path):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(content)
    assert fault in str(find_fault(path))
    with pytest.raises(UnusableError) as caught:
        read_image(path)
    assert caught.value.reason == "unreadable"
    assert caught.value.found == find_fault(path)


def test_a_missing_end_is_found_only_by_reading_the_whole_file(tmp_path, data):
    path = saved(tmp_path / "image.nii.gz", image_bytes(data))
    path.write_bytes(path.read_bytes()[:-100])
    assert find_fault(path) is None
    assert find_fault(path, whole=True) == "gzip: the file ends too early"


def test_a_fault_in_any_gzip_member_is_found(tmp_path, data, monkeypatch):
    content = image_bytes(data)
    members = [gzip.compress(part) for part in (content[:1000], content[1000:60_000], content[60_000:], b"")]
    path = tmp_path / "image.nii.gz"
    # The file is read in pieces. With these sizes, a piece ends within the first member, at its end, or one byte later.
    for n_bytes in (997, len(members[0]), len(members[0]) + 1, 1 << 16):
        monkeypatch.setattr(nifti_file, "CHUNK_BYTES", n_bytes)
        # Zeros after the last member, as in the last block of a tape, are not a fault.
        path.write_bytes(b"".join(members) + bytes(100))
        assert find_fault(path, whole=True) is None
        for number in (1, 2):
            before, member, after = b"".join(members[:number]), members[number], b"".join(members[number + 1 :])
            path.write_bytes(before + damaged(member, len(member) - 6, b"!!") + after)  # its checksum
            assert "gzip: " in str(find_fault(path, whole=True))
        for n_left in (1, 5, len(members[1]) // 2):
            path.write_bytes(members[0] + members[1][:n_left])
            assert (find_fault(path, whole=True) == "gzip: the file ends too early") == (n_left > 1)


def test_files_are_decompressed_only_up_to_the_limit(tmp_path, data, monkeypatch):
    path = saved(tmp_path / "image.nii.gz", image_bytes(data))
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(nifti_file, "MAX_UNPACKED_BYTES", 100_000)
    assert find_fault(path, whole=True) is None
