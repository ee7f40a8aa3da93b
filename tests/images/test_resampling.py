"""Resampling equals nilearn's, on synthetic grids of every kind and on real maps."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.images.nifti import read_image
from neurovault_ica.images.nifti_file import UnusableError
from neurovault_ica.images.resampling import SPLINE_ORDERS, extrapolate, plan_resampling, read_voxels, resample
from neurovault_ica.images.targets import Target, target_of
from nilearn import image
from nilearn.datasets import load_mni152_brain_mask
from nilearn.maskers import NiftiMasker
from numpy.typing import NDArray

REAL_MAPS = Path(__file__).parents[3] / "shared" / "real-maps"
INTERPOLATIONS = list(SPLINE_ORDERS)
# Largest accepted difference from nilearn, relative to the image's maximum, in float32.
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def mask_img() -> nib.Nifti1Image:
    return load_mni152_brain_mask(resolution=4)


@pytest.fixture(scope="module")
def target(mask_img: nib.Nifti1Image) -> Target:
    return target_of(mask_img)


def rotated(affine: NDArray, degrees: float) -> NDArray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    rotation = np.eye(4)
    rotation[:2, :2] = [[cos, -sin], [sin, cos]]
    return rotation @ affine


def grid(voxel_mm: tuple[float, float, float], origin_mm: tuple[float, float, float]) -> NDArray:
    affine = np.diag([*voxel_mm, 1.0])
    affine[:3, 3] = origin_mm
    return affine


PERMUTED = np.array([[0.0, 0, -3, 80], [3, 0, 0, -120], [0, -3, 0, 90], [0, 0, 0, 1]])
GRIDS = {
    "3 mm": ((60, 72, 60), grid((3, 3, 3), (-89, -125, -71))),
    "flipped": ((46, 55, 46), grid((-4, 4, 4), (90, -126, -72))),
    "flipped twice": ((60, 72, 60), grid((-3, 3, -3), (88.5, -125, 105))),
    "anisotropic": ((50, 60, 31), grid((3.4375, 3.4375, 4.5), (-85.9, -117.2, -52))),
    "whole voxels off the mask's": ((60, 70, 60), grid((4, 4, 4), (-110, -142, -80))),
    "fine": ((91, 109, 91), grid((2, 2, 2), (-90, -126, -72))),
    "permuted": ((72, 55, 54), PERMUTED),
    "slab of one plane": ((60, 72, 1), grid((3, 3, 6), (-89, -125, 0))),
    "slab of five planes": ((64, 64, 5), grid((-4, 4, 6), (120, -130, 10))),
    "oblique": ((60, 72, 60), rotated(grid((3, 3, 3), (-89, -125, -71)), 8)),
    "rounding errors off the axes": ((60, 72, 60), rotated(grid((3, 3, 3), (-89.3, -125.2, -71.1)), 1e-9)),
    "rounding errors and planes on the border": ((50, 60, 50), rotated(grid((4, 4, 4), (-98, -134, -72)), 1e-9)),
}


def smooth_noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    data = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    data[tuple(slice(length // 3, length // 2 + 1) for length in shape)] += 5
    return np.asfortranarray(data)


def by_nilearn(img: nib.Nifti1Image, mask_img: nib.Nifti1Image, interpolation: str) -> NDArray:
    clean_img = image.smooth_img(img, None)
    if interpolation == "continuous":
        return NiftiMasker(mask_img=mask_img, standardize=None).fit().transform(clean_img).ravel()
    # resample_img returns integers for files of integers.
    as_floats = nib.Nifti1Image(clean_img.get_fdata(dtype=np.float32), clean_img.affine)
    resampled_img = image.resample_img(
        as_floats, mask_img.affine, mask_img.shape, interpolation=interpolation, copy_header=True, force_resample=True
    )
    return resampled_img.get_fdata().reshape(mask_img.shape)[mask_img.get_fdata() > 0]


def by_us(data: NDArray, affine: NDArray, target: Target, interpolation: str) -> NDArray:
    return resample(data, plan_resampling(data.shape, affine, target, interpolation), target)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("name", GRIDS)
def test_equals_nilearn_on_every_kind_of_grid(name, interpolation, mask_img, target):
    shape, affine = GRIDS[name]
    data = smooth_noise(shape)
    expected = by_nilearn(nib.Nifti1Image(data, affine), mask_img, interpolation)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(
        by_us(data, affine, target, interpolation), expected, atol=TOLERANCE * np.abs(data).max()
    )


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_an_image_on_the_grid_of_the_mask_is_unchanged(interpolation, mask_img, target):
    data = smooth_noise(mask_img.shape)
    almost = mask_img.affine + 1e-9
    voxels = by_us(data, almost, target, interpolation)
    np.testing.assert_array_equal(voxels, data[mask_img.get_fdata() > 0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_integers_are_interpolated_like_other_numbers(dtype, mask_img, target, tmp_path):
    shape, affine = GRIDS["3 mm"]
    data = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "integers.nii.gz")
    masker = NiftiMasker(mask_img=mask_img, standardize=None).fit()
    expected = masker.transform(image.smooth_img(tmp_path / "integers.nii.gz", None)).ravel()
    voxels = by_us(data.astype(np.float32), affine, target, "continuous")
    assert np.abs(voxels - voxels.round()).mean() > 0.1
    np.testing.assert_allclose(voxels, expected, atol=TOLERANCE * 200)


def test_values_never_leave_the_range_of_the_image(target):
    shape, affine = GRIDS["3 mm"]
    data = np.zeros(shape, np.float32, order="F")
    data[20:40, 25:45, 20:40] = 7
    voxels = by_us(data, affine, target, "continuous")
    assert voxels.min() == 0
    assert voxels.max() == 7


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_voxels_outside_an_image_without_zeros_are_zero_as_in_nilearn(interpolation, sign, mask_img, target):
    affine = grid((3, 3, 3), (-30, -30, -30))
    data = np.asfortranarray(sign * (5 + np.random.default_rng(3).random((20, 20, 20), dtype=np.float32)))
    found = by_us(data, affine, target, interpolation)
    assert (found == 0).mean() > 0.5
    np.testing.assert_allclose(found, by_nilearn(nib.Nifti1Image(data, affine), mask_img, interpolation), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_large_values_outside_the_mask_do_not_change_those_inside(mask_img, target):
    shape, affine = GRIDS["3 mm"]
    data = smooth_noise(shape)
    data[:2, :2, :2] = 1e6
    expected = by_nilearn(nib.Nifti1Image(data, affine), mask_img, "continuous")
    np.testing.assert_allclose(by_us(data, affine, target, "continuous"), expected, atol=1e-5)


def test_aligned_axes_need_no_interpolation_in_3d():
    target = target_of(load_mni152_brain_mask(resolution=4))
    is_product = {name: plan_resampling(*GRIDS[name], target, "linear").positions is not None for name in GRIDS}
    assert not is_product.pop("oblique")
    assert not is_product.pop("rounding errors and planes on the border")
    assert all(is_product.values()), is_product


def test_shifts_by_whole_voxels_only_select_voxels(target):
    shape, affine = GRIDS["whole voxels off the mask's"]
    for interpolation in INTERPOLATIONS:
        assert plan_resampling(shape, affine, target, interpolation).weights is None


@pytest.mark.parametrize("name", ["3 mm", "flipped", "permuted", "oblique"])
def test_read_voxels_returns_unchanged_values_and_zero_outside(name, mask_img, target):
    shape, affine = GRIDS[name]
    data = smooth_noise(shape)
    plan = plan_resampling(shape, affine, target, "nearest")
    voxels = read_voxels(data, plan, target)
    assert set(np.unique(voxels)) <= set(np.unique(data)) | {0}
    everywhere = read_voxels(np.ones(shape, bool, order="F"), plan, target)
    assert everywhere.dtype == bool
    mm = nib.affines.apply_affine(mask_img.affine, np.argwhere(mask_img.get_fdata() > 0))
    source = nib.affines.apply_affine(np.linalg.inv(affine), mm)
    well_within = np.all((source > 0.01) & (source < np.array(shape) - 1.01), axis=1)
    well_outside = np.any((source < -0.01) | (source > np.array(shape) - 0.99), axis=1)
    assert everywhere[well_within].all()
    assert not everywhere[well_outside].any()


def test_order_in_memory_does_not_matter(target):
    shape, affine = GRIDS["permuted"]
    data = smooth_noise(shape)
    for interpolation in INTERPOLATIONS:
        np.testing.assert_array_equal(
            by_us(data, affine, target, interpolation),
            by_us(np.ascontiguousarray(data), affine, target, interpolation),
        )


def test_extrapolate_fills_with_the_nearest_valid_value():
    data = np.zeros((5, 3, 3), np.float32)
    data[1], data[3] = 2, 8
    filled = extrapolate(data, data != 0)
    np.testing.assert_array_equal(filled[:2], 2)
    np.testing.assert_array_equal(filled[3:], 8)


def real_maps() -> list[Path]:
    if not REAL_MAPS.exists():
        return []
    with (REAL_MAPS / "images.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    folder = REAL_MAPS / "neurovault"
    return [folder / f"collection_{row['collection_id']}" / f"image_{row['image_id']}.nii.gz" for row in rows]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not REAL_MAPS.exists(), reason="../shared/real-maps is absent")
# This test is slow because of nilearn's splines, which take a minute.
@pytest.mark.parametrize("interpolation", [pytest.param("continuous", marks=pytest.mark.long), "linear", "nearest"])
def test_equals_nilearn_on_one_real_map_of_every_grid(interpolation, mask_img, target):
    # Use each grid and data type once, because the whole set takes minutes with nilearn.
    seen = set()
    for file in real_maps():
        try:
            read = read_image(file)
        except UnusableError:
            continue
        kind = (read.data.shape, read.affine.tobytes(), read.dtype)
        if kind in seen:
            continue
        seen.add(kind)
        data = np.where(np.isfinite(read.data), read.data, np.float32(0))
        voxels = by_us(data, read.affine, target, interpolation)
        expected = by_nilearn(nib.load(file), mask_img, interpolation)
        assert np.abs(voxels - expected).max() <= TOLERANCE * np.abs(expected).max(), file.name
    assert len(seen) > 20
