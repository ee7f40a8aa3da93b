"""The mask equals nilearn's, or comes from a valid file of the user."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from build_mask import main
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_mask, load_mni152_template
from nilearn.image import resample_img


@pytest.fixture(scope="module")
def brain_img() -> nib.Nifti1Image:
    return load_mni152_brain_mask(resolution=4)


def built(folder, source, resolution_mm=4) -> nib.Nifti1Image:
    files = [str(folder / "build_mask" / f"{name}.nii.gz") for name in ("mask", "brain", "template")]
    main(*files, source=str(source), resolution_mm=resolution_mm)
    return nib.load(files[0])


def saved(folder, data, affine):
    path = folder / "mine.nii.gz"
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@pytest.mark.parametrize(("source", "load"), [("brain", load_mni152_brain_mask), ("gray_matter", load_mni152_gm_mask)])
@pytest.mark.parametrize("resolution_mm", [2, 3])
def test_the_masks_are_those_of_nilearn(source, load, resolution_mm, tmp_path):
    mask_img, expected_img = built(tmp_path, source, resolution_mm), load(resolution=resolution_mm)
    assert mask_img.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask_img.affine, expected_img.affine)
    np.testing.assert_array_equal(np.asarray(mask_img.dataobj), np.asarray(expected_img.dataobj))


@pytest.mark.parametrize("source", ["brain", "gray_matter"])
def test_the_brain_for_quality_control_does_not_depend_on_the_mask(source, tmp_path):
    brain_img = nib.load(Path(built(tmp_path, source, 3).get_filename()).with_name("brain.nii.gz"))
    expected_img = load_mni152_brain_mask(resolution=2)
    np.testing.assert_array_equal(brain_img.affine, expected_img.affine)
    np.testing.assert_array_equal(np.asarray(brain_img.dataobj), np.asarray(expected_img.dataobj))


def test_the_template_is_that_of_nilearn(tmp_path):
    template_img = nib.load(Path(built(tmp_path, "brain").get_filename()).with_name("template.nii.gz"))
    expected_img = load_mni152_template(resolution=1)
    np.testing.assert_array_equal(template_img.affine, expected_img.affine)
    np.testing.assert_allclose(np.asarray(template_img.dataobj) / 255, np.asarray(expected_img.dataobj), atol=1e-6)


def test_the_same_mask_has_the_same_bytes(tmp_path):
    files = [Path(built(tmp_path / folder, "brain").get_filename()) for folder in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("value", [1, 255])
def test_a_file_keeps_its_own_grid(value, tmp_path, brain_img):
    own_img = resample_img(brain_img, np.diag([-5.0, 5, 5]), interpolation="nearest", copy_header=True)
    own = (np.asarray(own_img.dataobj) > 0)[..., np.newaxis]
    mask_img = built(tmp_path, saved(tmp_path, own.astype(np.uint8) * np.uint8(value), own_img.affine))
    np.testing.assert_array_equal(mask_img.affine, own_img.affine)
    np.testing.assert_array_equal(np.asarray(mask_img.dataobj), own[..., 0])


def test_a_mask_that_the_file_stores_rounded_is_a_mask(tmp_path, brain_img):
    inside = np.asarray(brain_img.dataobj).astype(np.int16)
    img = nib.Nifti1Image(100 * inside, brain_img.affine)
    img.header.set_slope_inter(0.01, 0.003)
    nib.save(img, tmp_path / "mine.nii.gz")
    np.testing.assert_allclose(np.unique(nib.load(tmp_path / "mine.nii.gz").get_fdata()), [0.003, 1.003])
    np.testing.assert_array_equal(np.asarray(built(tmp_path, tmp_path / "mine.nii.gz").dataobj), inside)


HEADER_FAULTS = {
    "no qform and sform": ({"sform_code": 0, "qform_code": 0}, "position is not usable: neither qform nor sform"),
    "voxels within the header": ({"vox_offset": 0}, "begin at byte 0, within the header"),
    "voxels after its beginning": ({"vox_offset": 40}, "vox offset 40 too low"),
    "a qform that is none": (
        {"sform_code": 0, "qform_code": 1, "quatern_b": 9},
        "position is not usable|cannot be read",
    ),
    "metres": (
        {"srow_x": [0.004, 0, 0, 0], "srow_y": [0, 0.004, 0, 0], "srow_z": [0, 0, 0.004, 0]},
        "voxels of 0.004x0.004x0.004 mm; the affine seems to be in metres",
    ),
    "unknown type": ({"datatype": 999}, "data code 999"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("fault", HEADER_FAULTS)
def test_a_mask_with_a_wrong_header_is_refused(fault, packed, tmp_path, brain_img):
    fields, message = HEADER_FAULTS[fault]
    content = nib.Nifti1Image(np.asarray(brain_img.dataobj), brain_img.affine).to_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for field, value in fields.items():
        header[field] = value
    path = tmp_path / ("mask.nii.gz" if packed else "mask.nii")
    content = header.binaryblock + content[348:]
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=message) as error:
        built(tmp_path, path)
    assert str(error.value).startswith(f"mask_images.mask {path}: ")


def test_a_damaged_mask_is_refused(tmp_path, brain_img):
    path = saved(tmp_path, np.asarray(brain_img.dataobj), brain_img.affine)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as an image"):
        built(tmp_path, path)


def test_part_of_the_brain_is_a_mask_too(tmp_path, brain_img):
    left = np.asarray(brain_img.dataobj).astype(np.float64)
    left[left.shape[0] // 2 :] = 0
    assert np.asarray(built(tmp_path, saved(tmp_path, left, brain_img.affine)).dataobj).sum() == left.sum()


def moved(affine, mm):
    affine = affine.copy()
    affine[:3, 3] += mm
    return affine


FAULTS = {
    "volumes": (lambda data, affine: (np.stack([data, data], axis=-1), affine), "one of its volumes"),
    "a plane": (lambda data, affine: (data[:, :, 20], affine), "3-D"),
    "NaN": (lambda data, affine: (np.where(data, data, np.nan), affine), "not finite"),
    "zeros": (lambda data, affine: (0 * data, affine), "voxels are 0"),
    "probabilities": (lambda data, affine: (np.cumsum(data, axis=0) / 100, affine), "threshold it first"),
    "all of the box": (lambda data, affine: (data * 0 + 1, affine), "has 1 different"),
    "no background": (lambda data, affine: (data + 1, affine), "threshold it first"),
    "nearly the box": (lambda data, affine: (np.pad(data[2:-2, 2:-2, 2:-2] * 0 + 1, 2), affine), "MNI152"),
    "another space": (lambda data, affine: (data, moved(affine, (0, 50, -30))), "MNI152"),
    "no affine": (lambda data, _: (data, np.diag([4.0, 4, 4, 1])), "MNI152"),
    "singular": (lambda data, _: (data, np.diag([4.0, 4, 0, 1])), "voxels of 4x4x0 mm"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_not_a_mask_is_refused(fault, tmp_path, brain_img):
    change, message = FAULTS[fault]
    data, affine = change(np.asarray(brain_img.dataobj).astype(np.float32), brain_img.affine)
    img = nib.Nifti1Image(data, np.eye(4))
    img.header.set_sform(affine, code="mni")
    path = tmp_path / "mine.nii.gz"
    nib.save(nib.Nifti1Image(data, None, img.header), path)
    with pytest.raises(ValueError, match=message):
        built(tmp_path, path)
    assert not (tmp_path / "build_mask").exists()


def test_a_file_that_is_not_an_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        built(tmp_path, "grey_matter")
    path = tmp_path / "mask.nii.gz"
    path.write_text("<html>")
    with pytest.raises(ValueError, match="cannot be read"):
        built(tmp_path, path)
    surface = str(tmp_path / "lh.surf.gii")
    nib.save(nib.gifti.GiftiImage(), surface)
    with pytest.raises(ValueError, match="it has no voxels, but is a GiftiImage"):
        built(tmp_path, surface)
