"""Quality measures of images, and the verdict of the default limits."""

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from conftest import ROOT
from neurovault_ica.images.criteria import judge
from neurovault_ica.images.duplicates import find_duplicates
from neurovault_ica.images.masking import make_masker
from neurovault_ica.images.nifti import read_image
from neurovault_ica.images.nifti_file import UnusableError
from neurovault_ica.images.placement import Brain, brain_of
from neurovault_ica.images.quality import constant_background, count_distinct, measure, percentile
from neurovault_ica.images.resampling import plan_resampling, read_voxels
from neurovault_ica.images.targets import Target, target_of
from neurovault_ica.runtime.layers import read_file
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_mask
from numpy.typing import NDArray
from scipy import ndimage

REAL_MAPS = Path(__file__).parents[3] / "shared" / "real-maps"
LIMITS = read_file(ROOT / "config.yaml")["stack_images"]["quality"]


@pytest.fixture(scope="module")
def place() -> Brain:
    """The place of the brain, in which quality is measured."""
    return brain_of(load_mni152_brain_mask(resolution=4))


@pytest.fixture(scope="module")
def target(place: Brain) -> Target:
    return place.target


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


def measured_of(data: NDArray, place: Brain, affine: NDArray | None = None, *, step: float = 0) -> dict[str, Any]:
    affine = place.target.affine if affine is None else affine
    finite = np.isfinite(data)
    clean = np.asfortranarray(np.where(finite, data, np.float32(0)), dtype=np.float32)
    plans = [plan_resampling(data.shape, affine, to, "nearest") for to in (place.target, place.surroundings)]
    in_brain = read_voxels(clean, plans[0], place.target)
    return measure(clean, in_brain, finite, affine, place, *plans, step=step)


def verdict(
    data: NDArray,
    place: Brain,
    affine: NDArray | None = None,
    *,
    map_type: str = "Z map",
    step: float = 0,
    **limits: float | None,
) -> Any:
    return judge(measured_of(data, place, affine, step=step), map_type=map_type, limits=LIMITS | limits)


def splined(data: NDArray, affine: NDArray, mm: float) -> tuple[NDArray[np.float32], NDArray]:
    """Resample to voxels of `mm` with third-order splines, as many tools do before an upload."""
    zoom = mm / np.abs(affine[0, 0])
    shape = tuple(int(np.ceil(n / zoom)) for n in data.shape)
    volume = ndimage.affine_transform(data.astype(float), np.full(3, zoom), output_shape=shape, order=3)
    return volume.astype(np.float32), affine @ np.diag([zoom, zoom, zoom, 1])


def test_percentiles_are_the_same_numbers_as_those_of_numpy():
    rng = np.random.default_rng(0)
    for n_values in (1, 2, 3, 100, 101, 5003):
        values = rng.standard_normal(n_values) ** 9
        for percent in (0, 50, 99, 100):
            assert percentile(values, percent) == np.percentile(values, percent)


def test_a_good_map_is_measured_exactly(z_map, brain, place):
    measured = measured_of(z_map, place)
    inside = z_map[brain].astype(float)
    assert measured["coverage"] == 1
    # Values below a thousandth of the 99th percentile count as zero.
    assert measured["zero_fraction"] == pytest.approx(0, abs=0.01)
    assert measured["outside_fraction"] == pytest.approx(0, abs=1e-6)
    assert measured["nonfinite_fraction"] == 0
    assert measured["mean"] == pytest.approx(inside.mean(), rel=1e-5)
    assert measured["sd"] == pytest.approx(inside.std(), rel=1e-5)
    assert measured["max_abs"] == pytest.approx(np.abs(inside).max(), rel=1e-5)
    assert measured["rms"] == pytest.approx(np.sqrt(np.square(inside).mean()), rel=2e-3)
    assert measured["negative_share"] == pytest.approx((inside < 0).mean(), abs=2e-3)
    assert measured["sign_share"] == pytest.approx(
        min(inside[inside > 0].sum(), -inside[inside < 0].sum()) / np.abs(inside).sum(), rel=1e-3
    )
    assert measured["shape"] == "50x59x48"
    assert measured["voxel_mm"] == "4x4x4"
    assert judge(measured, map_type="Z map", limits=LIMITS) is None


def test_half_a_brain_is_distinguished_from_a_thresholded_map(z_map, brain, place):
    half = z_map.copy()
    half[: half.shape[0] // 2] = 0
    assert verdict(half, place)[0] == "coverage"
    thresholded = np.where(np.abs(z_map) > 5, z_map, 0)
    measured = measured_of(thresholded, place)
    assert measured["coverage"] > 0.9
    assert measured["zero_fraction"] == pytest.approx((thresholded[brain] == 0).mean(), rel=1e-5)
    assert verdict(thresholded, place)[0] == "thresholded"


def test_nan_counts_as_no_data(z_map, brain, place):
    z_map[brain & (np.arange(brain.shape[2]) < 30)] = np.nan
    measured = measured_of(z_map, place)
    assert measured["nonfinite_fraction"] == pytest.approx(np.isnan(z_map[brain]).mean(), rel=1e-5)
    assert measured["zero_fraction"] == pytest.approx(measured["nonfinite_fraction"], abs=0.01)


def test_values_outside_are_weighted_by_their_size(z_map, brain, place):
    noise = np.random.default_rng(1).standard_normal(brain.shape).astype(np.float32)
    weak = np.where(brain, z_map, 0.2 * noise)
    strong = np.where(brain, z_map, 5 * noise)
    expected = np.abs(weak[~brain]).sum() / np.abs(weak).sum()
    assert measured_of(weak, place)["outside_fraction"] == pytest.approx(expected, rel=1e-3)
    assert verdict(weak, place) is None
    assert verdict(strong, place)[0] == "outside_brain"


def test_voxel_size_does_not_change_the_share_outside(z_map, brain, target, place):
    everywhere = np.where(brain, z_map, 1).astype(np.float32)
    fine = everywhere.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = target.affine.copy()
    affine[:3, :3] /= 2
    affine[:3, 3] -= 1
    coarse_value = measured_of(everywhere, place)["outside_fraction"]
    fine_value = measured_of(np.asfortranarray(fine), place, affine)["outside_fraction"]
    assert fine_value == pytest.approx(coarse_value, rel=1e-4)


def test_an_image_in_another_space_is_misplaced(z_map, place):
    moved = np.roll(z_map, 8, axis=1)
    assert verdict(moved, place, min_coverage=None)[0] == "misplaced"


def test_brain_that_the_field_of_view_leaves_out_is_no_hole(z_map, place):
    """Half of the brain, with data around it, too. The other half lies outside the data's box, so it has no holes."""
    half = z_map.copy()
    half[half == 0] = 0.5
    half[:, :, half.shape[2] // 2 :] = 0
    measured = measured_of(half, place)
    assert 0.3 < measured["zero_fraction"] < 0.7
    assert measured["outside_fraction"] > 0.1
    assert measured["misplaced_fraction"] == pytest.approx(0, abs=0.01)


def test_loose_and_tight_masks_are_not_misplaced(z_map, brain, place):
    noise = np.random.default_rng(1).standard_normal(brain.shape).astype(np.float32)
    loose = np.where(ndimage.binary_dilation(brain, iterations=2), np.where(brain, z_map, noise), 0)
    tight = np.where(ndimage.binary_erosion(brain, iterations=2), z_map, 0)
    assert measured_of(loose, place)["misplaced_fraction"] == pytest.approx(0, abs=0.01)
    assert measured_of(tight, place)["misplaced_fraction"] == pytest.approx(0, abs=1e-6)
    assert measured_of(loose, place)["displaced_fraction"] < 0.01
    assert measured_of(tight, place)["displaced_fraction"] < 0.01
    assert verdict(loose, place) is None
    assert verdict(tight, place) is None


def test_a_strong_activation_is_not_one_signed_but_its_absolute_value_is(z_map, brain, place):
    strong = np.where(brain, z_map + 4, 0).astype(np.float32)
    assert (strong[brain] < 0).mean() < 0.15
    assert verdict(strong, place) is None
    assert verdict(strong, place, sign_percentile=15)[0] == "one_signed"
    assert verdict(np.abs(strong), place)[0] == "one_signed"
    assert verdict(-np.abs(strong), place)[0] == "one_signed"


@pytest.mark.parametrize("percentile", [5, 15, 40])
def test_sign_percentile_agrees_with_numpy(percentile, z_map, brain, place):
    for offset in (-4, -1, 0, 1, 4):
        data = np.where(brain, z_map + offset, 0).astype(np.float32)
        low, high = np.percentile(data[brain], [percentile, 100 - percentile])
        rejected = verdict(data, place, sign_percentile=percentile, min_sign_share=None, max_peak=None)
        assert (rejected is None) == (low < 0 < high)


def test_masks_and_conjunctions_have_few_values(brain, z_map, place):
    assert verdict(brain.astype(np.float32), place) == ("few_values", 1, 50)
    assert verdict(np.sign(z_map), place)[0] == "few_values"


def test_a_constant_background_is_no_data(z_map, brain, place):
    shifted = np.where(brain, np.abs(z_map) + 1, -0.003).astype(np.float32)
    assert constant_background(shifted) == pytest.approx(-0.003)
    measured = measured_of(shifted, place)
    assert measured["outside_fraction"] == pytest.approx(0, abs=1e-6)
    assert measured["negative_share"] == 0
    assert constant_background(z_map) == 0


def test_a_constant_background_within_the_mask_is_rejected(z_map, brain, place):
    """The background of this image is 25 and reaches into the brain, where it would enter the matrix."""
    cut = np.where(brain, z_map, 0).astype(np.float32)
    cut[:, :, : cut.shape[2] // 3] = 0
    assert verdict(cut, place, min_coverage=0) is None
    reason, share, limit = verdict(np.where(cut == 0, np.float32(25), cut), place, min_coverage=0)
    assert (reason, limit) == ("background", 0.01)
    assert 0.05 < share < 0.5


def test_an_image_of_one_value_has_no_data(brain, place):
    measured = measured_of(np.full(brain.shape, 3, np.float32, order="F"), place)
    assert measured["coverage"] == 0
    assert measured["zero_fraction"] == 1
    assert measured["max_abs"] == 0


@pytest.mark.parametrize(("scale", "reason"), [(0.01, "magnitude"), (100, "magnitude"), (1, None)])
def test_the_peak_is_judged_where_the_unit_is_known(scale, reason, z_map, place):
    found = verdict(scale * z_map, place)
    assert (found and found[0]) == reason
    assert verdict(scale * z_map, place, map_type="T map") == found
    assert verdict(scale * z_map, place, map_type="univariate-beta map") is None
    measured = measured_of(scale * z_map, place)
    assert judge(measured, map_type=None, limits=LIMITS) is None


def test_values_that_vary_less_than_noise_are_in_another_unit(z_map, place):
    weak = 0.1 * z_map
    weak[25, 30, 24] = 3
    assert verdict(weak, place)[0] == "unit"
    assert verdict(weak, place, map_type="univariate-beta map") is None
    # Maps of a meta-analysis can vary less than noise does.
    meta_analytic = 0.4 * z_map / measured_of(z_map, place)["rms"]
    assert verdict(meta_analytic, place, min_peak=None) is None
    assert verdict(0.75 * meta_analytic, place, min_peak=None)[0] == "unit"
    # Zeros do not count: a threshold does not change the unit.
    thresholded = np.where(np.abs(z_map) > 5, z_map, 0)
    assert measured_of(thresholded, place)["sd"] < 3
    assert measured_of(thresholded, place)["rms"] > 5


def test_limits_that_are_none_or_absent_are_not_applied(brain, place):
    measured = measured_of(brain.astype(np.float32), place)
    assert judge(measured, map_type="Z map", limits=dict.fromkeys(LIMITS)) is None
    assert judge(measured, map_type="Z map", limits={}) is None


def test_a_value_equal_to_the_limit_is_accepted(z_map, place):
    measured = measured_of(z_map, place)
    for name, column in [("max_zero_fraction", "zero_fraction"), ("max_peak", "max_abs"), ("min_coverage", "coverage")]:
        assert judge(measured, map_type="Z map", limits={name: measured[column]}) is None


def test_distinct_values_are_counted_exactly_up_to_the_limit():
    rng = np.random.default_rng(0)
    assert count_distinct(rng.integers(0, 7, 100_000).astype(np.float32)) == 7
    rare = np.zeros(100_000, np.float32)
    rare[1:30] = np.arange(1, 30)
    assert count_distinct(rare) == 30
    assert count_distinct(rng.standard_normal(100_000).astype(np.float32)) == 100


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "int8"])
def test_rounded_zeros_of_integers_are_no_background(dtype, z_map, brain, place, tmp_path):
    """nibabel chooses a scale factor and an intercept that do not represent zero exactly."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    nib.save(nib.Nifti1Image(z_map, place.target.affine, header), tmp_path / "image.nii.gz")
    image = read_image(tmp_path / "image.nii.gz")
    assert image.data[0, 0, 0] != 0
    # A step of int32 is smaller than the rounding of float32.
    assert abs(image.data[0, 0, 0]) <= max(image.step / 2, 1e-7 * np.abs(z_map).max())
    measured = measured_of(image.data, place, image.affine, step=image.step)
    assert measured["background_fraction"] == 0
    assert measured["zero_fraction"] < 0.03
    assert measured["outside_fraction"] == pytest.approx(0, abs=1e-4)
    assert judge(measured, map_type="Z map", limits=LIMITS) is None
    # With its other half at the rounded zero, the map is half a brain, although no voxel is exactly zero.
    half = np.where(np.arange(brain.shape[0])[:, None, None] < 25, image.data[0, 0, 0], image.data)
    assert verdict(half, place, step=image.step)[0] == "coverage"
    # A map without negative values stays one-signed.
    assert (
        verdict(np.where(image.data < -image.step, -image.data, image.data), place, step=image.step)[0] == "one_signed"
    )


@pytest.mark.parametrize(("background", "step", "is_background"), [
    (0.0149, 0.03, False), (-0.0149, 0.03, False), (0.016, 0.03, True), (0.002, 0, False), (0.02, 0, True),
])  # fmt: skip
def test_a_background_is_zero_within_half_a_step_or_a_thousandth_of_the_standard_deviation(
    background, step, is_background, z_map, brain, place
):
    cut = np.where(brain & (np.arange(brain.shape[2]) > 12), z_map, np.float32(background))
    measured = measured_of(cut, place, step=step)
    assert (measured["background_fraction"] > 0.01) == is_background
    assert measured["zero_fraction"] == pytest.approx((cut[brain] == np.float32(background)).mean(), abs=0.01)
    found = judge(measured, map_type="Z map", limits=LIMITS)
    assert (found and found[0]) == ("background" if is_background else None)


@pytest.mark.parametrize("mm", [2, 3, 5])
def test_splines_do_not_hide_the_zeros_of_a_thresholded_map(mm, brain, place):
    noise = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(brain.shape), 2)
    smooth = np.where(brain, 1.6 * noise / noise.std(), 0).astype(np.float32)
    sound, affine = splined(smooth, place.target.affine, mm)
    assert verdict(sound, place, affine) is None
    assert measured_of(sound, place, affine)["zero_fraction"] < 0.03
    for threshold in (2.3, 3.1):
        cut = np.where(np.abs(smooth) > threshold, smooth, 0)
        ringing, affine = splined(cut, place.target.affine, mm)
        assert np.count_nonzero(ringing == 0) < 0.1 * ringing.size
        measured = measured_of(ringing, place, affine)
        true_share = measured_of(cut, place)["zero_fraction"]
        assert 0.7 * true_share < measured["zero_fraction"] <= true_share + 0.01
        assert judge(measured, map_type="Z map", limits=LIMITS)[0] == "thresholded"


def test_splines_do_not_hide_half_brains_and_one_signed_maps(z_map, place):
    half = z_map.copy()
    half[: half.shape[0] // 2] = 0
    ringing, affine = splined(half, place.target.affine, 3)
    assert verdict(ringing, place, affine)[0] == "coverage"
    blurred = ndimage.gaussian_filter(np.abs(z_map), 1)
    positive = np.where(z_map != 0, 3 * blurred / blurred.std(), 0)
    ringing, affine = splined(positive, place.target.affine, 3)
    assert (ringing < 0).mean() > 0.1
    assert verdict(ringing, place, affine)[0] == "one_signed"


def test_a_plateau_of_small_values_is_not_zero(z_map, brain, place):
    """Some sound meta-analytic maps have the same small value in most of the brain."""
    plateau = np.where(brain & (np.abs(z_map) < 4), np.float32(0.02 * np.abs(z_map).max()), z_map)
    measured = measured_of(plateau, place)
    assert (plateau[brain] == plateau[brain].min()).mean() < 0.01
    assert measured["zero_fraction"] == 0


@pytest.mark.parametrize("shift_mm", [(18, 0, 0), (0, -25, 0), (0, 18, 18), (0, 0, 25), (0, 0, -40), (-40, 0, 0)])
def test_a_shifted_map_is_misplaced(shift_mm, z_map, place):
    shift = np.array(shift_mm) / np.diag(place.target.affine)[:3]
    moved = ndimage.shift(z_map.astype(float), shift, order=3).astype(np.float32)
    measured = measured_of(moved, place)
    assert measured["displaced_fraction"] > 0.09
    assert measured_of(z_map, place)["displaced_fraction"] < 0.01
    assert verdict(moved, place, min_coverage=None, max_misplaced_fraction=None)[0] == "misplaced"
    # A wrong origin in the header does the same.
    affine = place.target.affine.copy()
    affine[:3, 3] += shift_mm
    assert measured_of(z_map, place, affine)["displaced_fraction"] > 0.09


def test_the_gain_of_a_shift_is_that_of_the_overlap(brain, place):
    """A slab of data just below the brain overlaps fully after a shift by its height."""
    lowest = int(np.flatnonzero(brain.any(axis=(0, 1)))[0])
    slab = np.zeros(brain.shape, np.float32)
    slab[20:30, 25:35, lowest + 16 : lowest + 28] = np.random.default_rng(0).standard_normal((10, 10, 12))
    assert measured_of(slab, place)["displaced_fraction"] == 0
    affine = place.target.affine.copy()
    affine[2, 3] -= 300
    assert measured_of(slab, place, affine)["displaced_fraction"] == 1


@pytest.mark.parametrize("scale", [1e18, 1e-25])
def test_measures_do_not_depend_on_the_unit(scale, z_map, place):
    plain, scaled = measured_of(z_map, place), measured_of(z_map * np.float32(scale), place)
    for name, value in plain.items():
        factor = scale if name in ("max_abs", "mean", "sd", "rms") else 1
        expected = value if isinstance(value, str) else pytest.approx(value * factor, rel=1e-5, abs=1e-6 * factor)
        assert scaled[name] == expected, name
    assert verdict(z_map * np.float32(scale), place, map_type="univariate-beta map") is None


@pytest.mark.skipif(not REAL_MAPS.exists(), reason="../shared/real-maps is absent")
@pytest.mark.parametrize(
    "load_mask", [load_mni152_brain_mask, pytest.param(load_mni152_gm_mask, marks=pytest.mark.long)]
)
def test_real_maps_are_judged_as_a_person_judged_them(load_mask):
    place = brain_of(load_mni152_brain_mask(resolution=2))
    masked = make_masker(target_of(load_mask(resolution=4)), place, "linear", extrapolate_background=False)
    with (REAL_MAPS / "images.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    kept: dict[str, NDArray] = {}
    for row in rows:
        stem = REAL_MAPS / "neurovault" / f"collection_{row['collection_id']}" / f"image_{row['image_id']}"
        map_type = json.loads(Path(f"{stem}_metadata.json").read_text())["map_type"]
        try:
            voxels, measured = masked(read_image(Path(f"{stem}.nii.gz")))
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
