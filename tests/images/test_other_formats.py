"""Intact files in other formats are named, with a command that converts them."""

import bz2
import gzip
import shlex
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from image_files import AFFINE, SHAPE, image_bytes
from neurovault_ica.archive.image_status import check_file
from neurovault_ica.images.nifti import read_image
from neurovault_ica.images.nifti_file import UnusableError
from neurovault_ica.images.other_formats import describe_format


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def write_pair(folder, data, kind=nib.Nifti1Pair, packed=""):
    nib.save(kind(data, AFFINE), folder / f"map.img{packed}")


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("half", [".img", ".hdr"])
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Spm2AnalyzeImage, nib.Spm99AnalyzeImage])
def test_a_pair_is_named_and_its_command_converts_it(kind, half, packed, data, tmp_path):
    write_pair(tmp_path, data, kind, packed)
    path = tmp_path / f"map{half}{packed}"
    checked = check_file(path, expected_bytes=None)
    assert (checked["reason"], checked["bytes"]) == ("other_format", path.stat().st_size)
    assert "pair (.hdr and .img); convert it: python -c" in checked["found"]
    assert ("left and right" in checked["found"]) == (kind is not nib.Nifti1Pair)
    with pytest.raises(UnusableError, match=r"unreadable: half of a(n Analyze or SPM)? pair"):
        read_image(path)
    if kind is nib.Nifti1Pair:
        convert(checked["found"].split("convert it: ")[1], tmp_path)
        image = read_image(tmp_path / "map.nii.gz")
        np.testing.assert_array_equal(image.data, data)
        np.testing.assert_array_equal(image.affine, AFFINE)


def convert(command, folder):
    program, *arguments = shlex.split(command)
    assert program == "python"
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True)


@pytest.mark.parametrize("extension", [".mgz", ".mgh"])
def test_a_freesurfer_volume_is_named_and_its_command_converts_it(extension, data, tmp_path):
    path = tmp_path / f"my map{extension}"
    nib.save(nib.MGHImage(data, AFFINE), path)
    checked = check_file(path, expected_bytes=None)
    assert checked["reason"] == "other_format"
    assert checked["found"].startswith("a FreeSurfer volume (.mgh, .mgz); convert it: mri_convert my map")
    convert(checked["found"].split(", or ")[1], tmp_path)
    np.testing.assert_array_equal(read_image(tmp_path / "my map.nii.gz").data, data)


def test_a_file_compressed_twice_is_named(data, tmp_path):
    path = tmp_path / "map.nii.gz"
    path.write_bytes(gzip.compress(gzip.compress(image_bytes(data))))
    found = (
        "compressed with gzip twice; unpack it once: gunzip -c map.nii.gz > once.nii.gz && mv once.nii.gz map.nii.gz"
    )
    assert check_file(path, expected_bytes=None)["found"] == found
    subprocess.run(["sh", "-c", found.split("once: ")[1]], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(read_image(path).data, data)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.nii.gz", b"PK\x03\x04" + b"0" * 500, "a zip archive"),
        ("a.nii.bz2", bz2.compress(b"0" * 500), "unpack it with bunzip2"),
        ("a.nii", b"\x93NUMPY\x01\0" + b"0" * 500, "a numpy array without affine"),
        ("a.mat", b"MATLAB 5.0 MAT-file" + b"0" * 500, "a MATLAB file"),
        ("a.nii.gz", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.gii", b'<?xml version="1.0"?>\n<GIFTI Version="1.0">' + b" " * 500, "surface"),
        ("a+tlrc.BRIK.gz", gzip.compress(b"0" * 500, mtime=0), "3dAFNItoNIFTI -prefix a+tlrc.nii.gz a+tlrc.BRIK.gz"),
    ],
)
def test_other_formats_are_named(name, content, expected, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    checked = check_file(path, expected_bytes=None)
    assert checked["reason"] == "other_format"
    assert expected in checked["found"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty file"),
        (b"<html>" * 100, "the file begins with '<html><html><ht'"),
        (gzip.compress(image_bytes(np.ones((9, 9, 9), np.float32)))[:-9], "gzip: the file ends too early"),
        (gzip.compress(b"text" * 200, mtime=0), "the file begins with 'texttexttexttex'"),
    ],
)
def test_damaged_files_have_no_other_format(content, found, tmp_path):
    path = tmp_path / "map.nii.gz"
    path.write_bytes(content)
    assert describe_format(path) is None
    checked = check_file(path, expected_bytes=None)
    assert checked["reason"] == "damaged_file"
    assert found in checked["found"]


def test_a_file_of_another_size_than_stated_has_both_sizes(tmp_path):
    path = tmp_path / "map.nii.gz"
    path.write_bytes(gzip.compress(image_bytes(np.ones((9, 9, 9), np.float32)), mtime=0))
    size = path.stat().st_size
    assert check_file(path, expected_bytes=7)["found"] == f"{size} bytes, but the archive states 7"
    path.write_bytes(b"<html>" * 99)
    found = "594 bytes, but the archive states 7; no NIfTI header, the file begins with '<html><html><ht'"
    assert check_file(path, expected_bytes=7)["found"] == found


def test_voxels_of_a_pair_without_their_header_are_no_image(data, tmp_path):
    write_pair(tmp_path, data)
    (tmp_path / "map.hdr").unlink()
    assert check_file(tmp_path / "map.img", expected_bytes=None)["reason"] == "damaged_file"


def test_the_header_of_a_pair_under_another_name_is_no_file_to_convert(data, tmp_path):
    write_pair(tmp_path, data)
    path = (tmp_path / "map.hdr").rename(tmp_path / "image.nii.gz")
    assert "give both halves these extensions" in check_file(path, expected_bytes=None)["found"]
