"""Quality measures of images, and the verdict of the default limits."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neurovault_ica.images.criteria import judge
from neurovault_ica.images.duplicates import find_duplicates
from neurovault_ica.images.masking import mask_image
from neurovault_ica.images.nifti import read_image
from neurovault_ica.images.nifti_header import UnusableError
from neurovault_ica.images.quality import constant_background, count_distinct, measure
from neurovault_ica.images.resampling import Target, plan_resampling, target_of
from nilearn.datasets import load_mni152_brain_mask
from numpy.typing import NDArray
from scipy import ndimage

REAL_MAPS = Path(__file__).parents[3] / "shared" / "real-maps"
LIMITS: dict[str, float | None] = {
    "max_background_fraction": 0.01,
    "min_coverage": 0.6,
    "max_zero_fraction": 0.6,
    "max_outside_fraction": 0.5,
    "max_misplaced_fraction": 0.15,
    "min_distinct_values": 10,
    "min_sign_share": 0.001,
    "sign_percentile": None,
    "min_peak": 1.96,
    "max_peak": 50,
    "min_rms": 0.5,
}


@pytest.fixture(scope="module")
def target() -> Target:
    return target_of(load_mni152_brain_mask(resolution=4))


@pytest.fixture(scope="module")
def brain(target: Target) -> NDArray[np.bool_]:
    """The mask in its uncropped grid, which the images of these tests share."""
    brain = np.zeros(target.shape, dtype=bool, order="F")
    brain[target.box] = target.inside
    return brain


@pytest.fixture
def z_map(brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(brain.shape), 1)
    return np.asfortranarray(np.where(brain, 3 * noise / noise.std(), 0).astype(np.float32))


def measured_of(data: NDArray, target: Target, affine: NDArray | None = None) -> dict[str, Any]:
    affine = target.affine if affine is None else affine
    finite = np.isfinite(data)
    clean = np.where(finite, data, np.float32(0))
    return measure(clean, finite, affine, target, plan_resampling(data.shape, affine, target, "nearest"))


def verdict(data: NDArray, target: Target, map_type: str = "Z map", **limits: float | None) -> Any:
    return judge(measured_of(data, target), map_type=map_type, limits=LIMITS | limits)


def test_a_good_map_is_measured_exactly(z_map, brain, target):
    measured = measured_of(z_map, target)
    inside = z_map[brain].astype(float)
    assert measured["coverage"] == 1
    assert measured["zero_fraction"] == 0
    assert measured["outside_fraction"] == pytest.approx(0, abs=1e-6)
    assert measured["nonfinite_fraction"] == 0
    assert measured["mean"] == pytest.approx(inside.mean(), rel=1e-5)
    assert measured["sd"] == pytest.approx(inside.std(), rel=1e-5)
    assert measured["max_abs"] == pytest.approx(np.abs(inside).max(), rel=1e-5)
    assert measured["rms"] == pytest.approx(np.sqrt(np.square(inside).mean()), rel=1e-5)
    assert measured["negative_share"] == pytest.approx((inside < 0).mean(), rel=1e-5)
    assert measured["sign_share"] == pytest.approx(
        min(inside[inside > 0].sum(), -inside[inside < 0].sum()) / np.abs(inside).sum(), rel=1e-4
    )
    assert measured["shape"] == "50x59x48"
    assert measured["voxel_mm"] == "4x4x4"
    assert judge(measured, map_type="Z map", limits=LIMITS) is None


def test_half_a_brain_is_distinguished_from_a_thresholded_map(z_map, brain, target):
    half = z_map.copy()
    half[: half.shape[0] // 2] = 0
    assert verdict(half, target)[0] == "coverage"
    thresholded = np.where(np.abs(z_map) > 5, z_map, 0)
    measured = measured_of(thresholded, target)
    assert measured["coverage"] > 0.9
    assert measured["zero_fraction"] == pytest.approx((thresholded[brain] == 0).mean(), rel=1e-5)
    assert verdict(thresholded, target)[0] == "thresholded"


def test_nan_counts_as_no_data(z_map, brain, target):
    z_map[brain & (np.arange(brain.shape[2]) < 30)] = np.nan
    measured = measured_of(z_map, target)
    assert measured["nonfinite_fraction"] == pytest.approx(np.isnan(z_map[brain]).mean(), rel=1e-5)
    assert measured["zero_fraction"] == measured["nonfinite_fraction"]


def test_values_outside_are_weighted_by_their_size(z_map, brain, target):
    noise = np.random.default_rng(1).standard_normal(brain.shape).astype(np.float32)
    weak = np.where(brain, z_map, 0.2 * noise)
    strong = np.where(brain, z_map, 5 * noise)
    expected = np.abs(weak[~brain]).sum() / np.abs(weak).sum()
    assert measured_of(weak, target)["outside_fraction"] == pytest.approx(expected, rel=1e-3)
    assert verdict(weak, target) is None
    assert verdict(strong, target)[0] == "outside_brain"


def test_voxel_size_does_not_change_the_share_outside(z_map, brain, target):
    everywhere = np.where(brain, z_map, 1).astype(np.float32)
    fine = everywhere.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = target.affine.copy()
    affine[:3, :3] /= 2
    affine[:3, 3] -= 1
    coarse_value = measured_of(everywhere, target)["outside_fraction"]
    fine_value = measured_of(np.asfortranarray(fine), target, affine)["outside_fraction"]
    assert fine_value == pytest.approx(coarse_value, rel=1e-4)


def test_an_image_in_another_space_is_misplaced(z_map, target):
    moved = np.roll(z_map, 8, axis=1)
    assert verdict(moved, target, min_coverage=None)[0] == "misplaced"


def test_loose_and_tight_masks_are_not_misplaced(z_map, brain, target):
    noise = np.random.default_rng(1).standard_normal(brain.shape).astype(np.float32)
    loose = np.where(ndimage.binary_dilation(brain, iterations=2), np.where(brain, z_map, noise), 0)
    tight = np.where(ndimage.binary_erosion(brain, iterations=2), z_map, 0)
    assert measured_of(loose, target)["misplaced_fraction"] == 0
    assert measured_of(tight, target)["misplaced_fraction"] == pytest.approx(0, abs=1e-6)
    assert verdict(loose, target) is None
    assert verdict(tight, target) is None


def test_a_strong_activation_is_not_one_signed_but_its_absolute_value_is(z_map, brain, target):
    strong = np.where(brain, z_map + 4, 0).astype(np.float32)
    assert (strong[brain] < 0).mean() < 0.15
    assert verdict(strong, target) is None
    assert verdict(strong, target, sign_percentile=15)[0] == "one_signed"
    assert verdict(np.abs(strong), target)[0] == "one_signed"
    assert verdict(-np.abs(strong), target)[0] == "one_signed"


@pytest.mark.parametrize("percentile", [5, 15, 40])
def test_sign_percentile_agrees_with_numpy(percentile, z_map, brain, target):
    for offset in (-4, -1, 0, 1, 4):
        data = np.where(brain, z_map + offset, 0).astype(np.float32)
        low, high = np.percentile(data[brain], [percentile, 100 - percentile])
        rejected = verdict(data, target, sign_percentile=percentile, min_sign_share=None, max_peak=None)
        assert (rejected is None) == (low < 0 < high)


def test_masks_and_conjunctions_have_few_values(brain, z_map, target):
    assert verdict(brain.astype(np.float32), target) == ("few_values", 1, 10)
    assert verdict(np.sign(z_map), target)[0] == "few_values"


def test_a_constant_background_is_no_data(z_map, brain, target):
    shifted = np.where(brain, np.abs(z_map) + 1, -0.003).astype(np.float32)
    assert constant_background(shifted) == pytest.approx(-0.003)
    measured = measured_of(shifted, target)
    assert measured["outside_fraction"] == pytest.approx(0, abs=1e-6)
    assert measured["negative_share"] == 0
    assert constant_background(z_map) == 0


def test_a_constant_background_within_the_mask_is_rejected(z_map, brain, target):
    """The background of this image is 25 and reaches into the brain, where it would enter the matrix."""
    cut = np.where(brain, z_map, 0).astype(np.float32)
    cut[:, :, : cut.shape[2] // 3] = 0
    assert verdict(cut, target, min_coverage=0) is None
    reason, share, limit = verdict(np.where(cut == 0, np.float32(25), cut), target, min_coverage=0)
    assert (reason, limit) == ("background", 0.01)
    assert 0.05 < share < 0.5


def test_an_image_of_one_value_has_no_data(brain, target):
    measured = measured_of(np.full(brain.shape, 3, np.float32, order="F"), target)
    assert measured["coverage"] == 0
    assert measured["zero_fraction"] == 1
    assert measured["max_abs"] == 0


@pytest.mark.parametrize(("scale", "reason"), [(0.01, "magnitude"), (100, "magnitude"), (1, None)])
def test_the_peak_is_judged_where_the_unit_is_known(scale, reason, z_map, target):
    found = verdict(scale * z_map, target)
    assert (found and found[0]) == reason
    assert verdict(scale * z_map, target, map_type="T map") == found
    assert verdict(scale * z_map, target, map_type="univariate-beta map") is None
    measured = measured_of(scale * z_map, target)
    assert judge(measured, map_type=None, limits=LIMITS) is None


def test_values_that_vary_less_than_noise_are_in_another_unit(z_map, target):
    weak = 0.1 * z_map
    weak[25, 30, 24] = 3
    assert verdict(weak, target)[0] == "unit"
    assert verdict(weak, target, map_type="univariate-beta map") is None
    # Zeros do not count: a threshold does not change the unit.
    thresholded = np.where(np.abs(z_map) > 5, z_map, 0)
    assert measured_of(thresholded, target)["sd"] < 3
    assert measured_of(thresholded, target)["rms"] > 5


def test_limits_that_are_none_or_absent_are_not_applied(brain, target):
    measured = measured_of(brain.astype(np.float32), target)
    assert judge(measured, map_type="Z map", limits=dict.fromkeys(LIMITS)) is None
    assert judge(measured, map_type="Z map", limits={}) is None


def test_a_value_equal_to_the_limit_is_accepted(z_map, target):
    measured = measured_of(z_map, target)
    for name, column in [("max_zero_fraction", "zero_fraction"), ("max_peak", "max_abs"), ("min_coverage", "coverage")]:
        assert judge(measured, map_type="Z map", limits={name: measured[column]}) is None


def test_distinct_values_are_counted_exactly_up_to_the_limit():
    rng = np.random.default_rng(0)
    assert count_distinct(rng.integers(0, 7, 100_000).astype(np.float32)) == 7
    rare = np.zeros(100_000, np.float32)
    rare[1:30] = np.arange(1, 30)
    assert count_distinct(rare) == 30
    assert count_distinct(rng.standard_normal(100_000).astype(np.float32)) == 100


@pytest.mark.skipif(not REAL_MAPS.exists(), reason="../shared/real-maps is absent")
def test_real_maps_are_judged_as_a_person_judged_them():
    target = target_of(load_mni152_brain_mask(resolution=4))
    with (REAL_MAPS / "images.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    kept: dict[str, NDArray] = {}
    for row in rows:
        stem = REAL_MAPS / "neurovault" / f"collection_{row['collection_id']}" / f"image_{row['image_id']}"
        map_type = json.loads(Path(f"{stem}_metadata.json").read_text())["map_type"]
        try:
            image = read_image(Path(f"{stem}.nii.gz"))
            plan = plan_resampling(image.data.shape, image.affine, target, "linear")
            nearest = plan_resampling(image.data.shape, image.affine, target, "nearest")
            voxels, measured = mask_image(image, target, plan, nearest, extrapolate_background=False)
        except UnusableError:
            continue
        if judge(measured, map_type=map_type, limits=LIMITS) is None:
            kept[row["image_id"]] = voxels
    ids = list(kept)
    copies = {}
    for copy in find_duplicates(np.stack(list(kept.values())), 0.99):
        copies[ids[copy.of_row]] = ids[copy.row]
        del kept[ids[copy.row]]

    usable = {row["image_id"] for row in rows if row["usable_for_ica"] == "1"}
    others = {row["image_id"] for row in rows} - usable
    # docs/methods.md explains each verdict. The first five images are copies of images that are not in this folder.
    assert others & kept.keys() == {"900095", "900096", "900097", "900100", "900102", "900150"}
    assert usable - kept.keys() == {"900122"}
    assert (len(usable), len(others)) == (99, 52)
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(row["near_dup_group"], set()).add(row["image_id"])
    assert copies == {min(group): max(group) for name, group in groups.items() if name and len(group) > 1}
