"""Unusual headers are read correctly, read with a note, or rejected with what was found and what to do."""

import re

import nibabel as nib
import numpy as np
import pytest
from image_files import AFFINE, damaged, image_bytes, saved
from neurovault_ica.images.nifti import read_image
from neurovault_ica.images.nifti_file import UnusableError

# Small, because each variant is written and read.
SHAPE = (32, 33, 31)
KINDS = {"NIfTI-1": nib.Nifti1Image, "NIfTI-2": nib.Nifti2Image}


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def content_of(data, kind="NIfTI-1", endian="<", affine=AFFINE, **fields) -> bytes:
    """Write an image whose header has other values in some fields."""
    image_class = KINDS[kind]
    img = image_class(data, affine, image_class.header_class(endianness=endian))
    img.header["sform_code"] = img.header["qform_code"] = 0
    img.set_sform(affine, 2)
    content = img.to_bytes()
    header = image_class.header_class(content[: image_class.header_class.template_dtype.itemsize], check=False)
    for field, value in fields.items():
        header[field] = value
    return header.binaryblock + content[len(header.binaryblock) :]


def read(tmp_path, content):
    return read_image(saved(tmp_path / "image.nii.gz", content))


def refusal(tmp_path, content) -> UnusableError:
    with pytest.raises(UnusableError) as caught:
        read(tmp_path, content)
    return caught.value


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({}, None),
        ({"vox_offset": 0}, "begin at byte 0, within the header; read from byte"),
        ({"vox_offset": 348}, "begin at byte 348, within the header; read from byte"),
        ({"dim": [4, *SHAPE, 1, 1, 1, 1]}, None),
        ({"dim": [4, *SHAPE, 0, 0, 0, 0]}, "states 0 volumes; read as 1"),
        ({"dim": [5, *SHAPE, 0, 1, 0, 0]}, "states 0 volumes; read as 1"),
        ({"dim": [3, *SHAPE, 0, 0, 0, 0]}, None),
        ({"dim": [3, *SHAPE, 7, 7, 7, 7]}, None),
        ({"scl_slope": 0, "scl_inter": 3}, None),
        ({"scl_slope": np.nan, "scl_inter": np.nan}, None),
        ({"scl_slope": np.inf}, "scales the values by inf; read without scaling"),
        ({"xyzt_units": 1}, "voxels of 4x4x4 metres; read as mm"),
        ({"xyzt_units": 3 | 8}, "voxels of 4x4x4 micrometres; read as mm"),
        ({"xyzt_units": 255}, None),
        ({"bitpix": 8}, "states 8 bits per voxel and the data type float32; read as float32"),
        ({"pixdim": [0, 0, 0, 0, 0, 0, 0, 0]}, None),
        ({"qform_code": 1, "quatern_b": 0, "quatern_c": 1, "quatern_d": 0, "pixdim": [1, 4, 4, 4, 0, 0, 0, 0]},
         "qform and sform put left and right on opposite sides"),
        ({"qform_code": 1, "quatern_b": 0, "quatern_c": 1, "quatern_d": 0, "pixdim": [-1, 4, 4, 4, 0, 0, 0, 0]}, None),
    ],
)  # fmt: skip
def test_sound_maps_with_unusual_headers_are_read(fields, note, kind, endian, packed, data, tmp_path):
    content = content_of(data, kind, endian, **fields)
    path = saved(tmp_path / "image.nii.gz", content)
    if not packed:
        path.write_bytes(content)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, data)
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert len(image.notes) == (note is not None)
    assert note is None or note in image.notes[0]


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fields", "reason", "found"),
    [
        ({"sform_code": 0}, "bad_affine", "neither qform nor sform is set .* copy the geometry .* an sform is stored"),
        ({"sform_code": 0, "srow_x": 0, "srow_y": 0, "srow_z": 0}, "bad_affine", "neither qform nor .* fslcpgeom$"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 9}, "bad_affine", "w2 .* correct qform and sform"),
        ({"srow_x": [0.004, 0, 0, 0], "srow_y": [0, 0.004, 0, 0], "srow_z": [0, 0, 0.004, 0], "xyzt_units": 1},
         "bad_affine", "voxels of 0.004x0.004x0.004 metres; write the affine of the header in mm"),
        ({"srow_x": [0.004, 0, 0, 0], "srow_y": [0, 0.004, 0, 0], "srow_z": [0, 0, 0.004, 0], "xyzt_units": 0},
         "bad_affine", "voxels of 0.004x0.004x0.004 mm; the affine seems to be in metres; write it in mm"),
        ({"srow_x": [4000, 0, 0, 0], "srow_y": [0, 4000, 0, 0], "srow_z": [0, 0, 4000, 0], "xyzt_units": 3},
         "bad_affine", r"voxels of 4e\+03x4e\+03x4e\+03 micrometres"),
        ({"srow_x": [4000, 0, 0, 0], "xyzt_units": 2}, "bad_affine", "voxels of .* mm; correct the affine"),
        ({"dim": [4, *SHAPE[:2], 15, 2, 1, 1, 1]}, "not_3d", "32x33x15x2: 2 volumes; save"),
        ({"dim": [5, *SHAPE[:2], 15, 1, 2, 1, 1]}, "not_3d", "32x33x15x1x2: 2 volumes"),
        ({"dim": [5, 1, 1, 1, 1, 500, 1, 1], "intent_code": 3006}, "not_3d", "CIFTI .* surface"),
        ({"dim": [2, 46, 55, 1, 1, 1, 1, 1]}, "not_3d", "46x55: not a volume"),
        ({"scl_slope": 2, "scl_inter": np.nan}, "unreadable", "slope is 2, but the intercept is nan"),
        ({"datatype": 1}, "not_numeric", "single bits"),
        ({"datatype": 32}, "not_numeric", "complex64 numbers; save"),
        ({"datatype": 128}, "not_numeric", "RGB colours"),
        ({"datatype": 2304}, "not_numeric", "RGBA colours"),
        ({"datatype": 1536}, "not_numeric", "float128 numbers; save them as float64"),
        ({"datatype": 0}, "unreadable", "header: data code 0 not supported"),
    ],
)  # fmt: skip
def test_unusable_headers_have_a_sentence(fields, reason, found, kind, endian, data, tmp_path):
    fields = {"dim": [3, *SHAPE, 1, 1, 1, 1]} | fields
    error = refusal(tmp_path, content_of(data, kind, endian, **fields))
    assert error.reason == reason
    assert re.search(found, error.found), error.found


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float64"])
@pytest.mark.parametrize("endian", "<>")
def test_every_real_type_is_read(dtype, endian, tmp_path):
    values = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.dtype(dtype).newbyteorder(endian))
    image = read(tmp_path, nib.Nifti1Image(values, AFFINE, nib.Nifti1Header(endianness=endian), dtype=dtype).to_bytes())
    np.testing.assert_array_equal(image.data, values)
    assert image.dtype == dtype


def test_extensions_are_skipped_unless_their_length_is_unknown(data, tmp_path):
    img = nib.Nifti1Image(data, AFFINE)
    img.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"made by a test" * 20))
    content = img.to_bytes()
    image = read(tmp_path, content)
    np.testing.assert_array_equal(image.data, data)
    error = refusal(tmp_path, damaged(content, 108, np.float32(0).tobytes()))
    assert error.found.startswith("header: the voxels begin at byte 0 (vox_offset), which is within the header")


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("kind", KINDS)
def test_voxels_that_would_begin_in_an_extension_are_refused(kind, endian, data, tmp_path):
    image_class = KINDS[kind]
    content = content_of(data, kind, endian)
    header = image_class.header_class.template_dtype.itemsize
    order = {"<": "little", ">": "big"}[endian]
    extension = (32).to_bytes(4, order) + (6).to_bytes(4, order) + b"a comment".ljust(24)
    extended = content[:header] + b"\1\0\0\0" + extension + content[header + 4 :]
    error = refusal(tmp_path, extended)
    assert error.reason == "unreadable"
    assert "an extension of 32 bytes begins there" in error.found
    # Some programs announce extensions without writing one.
    announced = content[:header] + b"\1\0\0\0" + content[header + 4 :]
    np.testing.assert_array_equal(read(tmp_path, announced).data, data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_faulty_qform_does_not_spoil_a_file_with_an_sform(kind, data, tmp_path):
    image = read(tmp_path, content_of(data, kind, qform_code=1, quatern_b=9))
    np.testing.assert_array_equal(image.data, data)
    np.testing.assert_allclose(image.affine, AFFINE)
    assert [note for note in image.notes if "the qform is faulty" in note and "the sform is used" in note]
    assert refusal(tmp_path, content_of(data, kind, qform_code=1, sform_code=0, quatern_b=9)).reason == "bad_affine"


def test_a_number_of_bits_that_contradicts_the_data_type_is_noted(data, tmp_path):
    image = read(tmp_path, content_of(data, bitpix=16))
    np.testing.assert_array_equal(image.data, data)
    assert image.notes == ("the header states 16 bits per voxel and the data type float32; read as float32",)
    assert read(tmp_path, content_of(data, bitpix=0)).notes == ()


def test_a_file_that_ends_before_its_voxels_do_is_refused(data, tmp_path):
    content = content_of(data, vox_offset=0)
    found = f"the file has only {len(content) - 4} of {len(content)} bytes; get the complete file"
    assert refusal(tmp_path, content[:-4]).found == found


def test_the_qform_is_used_if_the_sform_is_not_set(data, tmp_path):
    img = nib.Nifti1Image(data, AFFINE)
    img.set_sform(np.diag([4.0, 4, 4, 1]), 0)
    img.set_qform(AFFINE, 4)
    np.testing.assert_allclose(read(tmp_path, img.to_bytes()).affine, AFFINE, atol=1e-4)


def clipped(data, tmp_path, **options):
    return read_image(saved(tmp_path / "image.nii.gz", image_bytes(data)), **options)


@pytest.mark.parametrize("beyond", [np.inf, 1e300])
def test_infinite_peaks_get_the_strongest_finite_value(beyond, data, tmp_path):
    large = data.astype(np.float64)
    large[20:22, 20, 20] = beyond
    large[10, 10, 10] = -beyond
    finite = data[np.abs(large) < 1e3]
    image = clipped(large, tmp_path)
    np.testing.assert_array_equal(image.data[20:22, 20, 20], finite.max())
    assert image.data[10, 10, 10] == finite.min()
    kept = np.abs(large) < 1e3
    np.testing.assert_array_equal(image.data[kept], data[kept])
    assert image.data.flags.f_contiguous
    ends = f"{finite.min():.4g} and {finite.max():.4g}"
    assert image.notes == (
        f"3 voxels are infinite or too large for float32; set to the strongest finite value ({ends})",
    )


def test_a_single_infinite_voxel_is_counted_in_the_singular(data, tmp_path):
    large = data.astype(np.float64)
    large[20, 20, 20] = np.inf
    (note,) = clipped(large, tmp_path).notes
    assert note.startswith("1 voxel is infinite or too large for float32; set to the strongest finite value (")


def test_infinite_values_stay_if_they_are_not_to_be_clipped(data, tmp_path):
    large = data.copy()
    large[20, 20, 20] = np.inf
    image = clipped(large, tmp_path, clip=False)
    np.testing.assert_array_equal(image.data, large)
    assert image.notes == ()


def test_an_infinite_background_is_zero_and_nan_stays(data, tmp_path):
    image = data.copy()
    image[:5] = np.where(np.indices(image[:5].shape).sum(axis=0) % 2, np.inf, -np.inf)
    image[20, 20, 20] = np.inf
    image[25, 25, 25] = np.nan
    read_ = clipped(image, tmp_path)
    assert not read_.data[:5].any()
    assert read_.data[20, 20, 20] == np.nanmax(image[np.isfinite(image)])
    assert np.isnan(read_.data[25, 25, 25])
    assert [note.split(" voxel")[0] for note in read_.notes] == ["1", f"{image[:5].size:,}"]


def test_infinite_voxels_in_a_background_of_nan_or_zeros_are_zero_and_peaks_at_its_edge_are_not(data, tmp_path):
    image = data.copy()
    image[:5, :15], image[:5, 15:] = 0, np.nan
    image[2, 3, 3] = image[1, 20, 8] = np.inf
    image[5, 20, 8] = image[-1, 20, 8] = np.inf
    read_ = clipped(image, tmp_path)
    highest = image[np.isfinite(image)].max()
    assert [float(read_.data[place]) for place in ((2, 3, 3), (1, 20, 8), (5, 20, 8), (-1, 20, 8))] == [
        0, 0, highest, highest,
    ]  # fmt: skip


def test_the_sign_of_infinite_values_is_kept_in_one_signed_maps(data, tmp_path):
    negative = -np.abs(data)
    negative[20, 20, 20] = np.inf
    assert clipped(negative, tmp_path).data[20, 20, 20] == -negative[np.isfinite(negative)].min()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda data: data * 1e300, "no other voxel differs from 0"),
        (lambda data: data * 1e-200, "too small for float32; rescale"),
        (lambda data: np.where(data > 3, np.inf, 0), "voxels are infinite or too large for float32, and no other"),
    ],
)
def test_values_that_float32_cannot_hold_are_refused(change, found, data, tmp_path):
    error = refusal(tmp_path, image_bytes(change(data.astype(np.float64))))
    assert error.reason == "empty"
    assert found in error.found
