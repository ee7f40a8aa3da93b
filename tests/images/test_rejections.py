"""Each image is kept, or rejected by the first stage that found something wrong."""

import pytest
from neurovault_ica.images.rejections import reject

IMAGE = {"image_id": 7, "map_type": "Z map"}
DOWNLOADED = {"status": "ok", "reason": None, "bytes": 900}
MEASURED = {"row": 3, "reason": None, "value": None, "threshold": None, "mean": 0.1, "sd": 1.2} | {
    "coverage": 0.9, "background_fraction": 0, "distinct_values": 100, "zero_fraction": 0.1, "outside_fraction": 0.1,
    "misplaced_fraction": 0.01, "displaced_fraction": 0, "sign_share": 0.4, "negative_share": 0.4,
    "positive_share": 0.6, "max_abs": 6, "rms": 1,
}  # fmt: skip
LIMITS = {"min_coverage": 0.6, "max_zero_fraction": 0.6, "min_peak": 1.96}


def rejected(**measured):
    return reject(IMAGE, DOWNLOADED, MEASURED | measured, LIMITS)


def test_a_good_image_is_kept():
    assert rejected() is None
    assert rejected(coverage=0.6) is None


def test_a_failed_download_gives_its_reason_and_size():
    failed = {"status": "failed", "reason": "damaged_file", "bytes": 12}
    expected = {"reason": "damaged_file", "value": 12, "threshold": None, "stage": "download_images"}
    assert reject(IMAGE, failed, None, LIMITS) == expected


def test_an_image_that_was_not_masked_gives_what_mask_images_found():
    found = {"row": None, "reason": "not_3d", "value": "4x4x4x2", "threshold": None}
    assert rejected(**found) == {"reason": "not_3d", "value": "4x4x4x2", "threshold": None, "stage": "mask_images"}


def test_a_constant_is_rejected_without_any_limit():
    expected = {"reason": "constant", "value": 2.5, "threshold": None, "stage": "stack_images"}
    assert reject(IMAGE, DOWNLOADED, MEASURED | {"sd": 0, "mean": 2.5}, {}) == expected


def test_a_criterion_gives_value_and_threshold():
    assert rejected(coverage=0.2, zero_fraction=0.9) == {
        "reason": "coverage", "value": 0.2, "threshold": 0.6, "stage": "stack_images"
    }  # fmt: skip


def test_a_peak_is_judged_by_the_map_type():
    assert rejected(max_abs=1)["reason"] == "magnitude"
    assert reject(IMAGE | {"map_type": "univariate-beta map"}, DOWNLOADED, MEASURED | {"max_abs": 1}, LIMITS) is None


def test_a_downloaded_image_without_a_row_stops_the_run():
    with pytest.raises(RuntimeError, match="image 7 was downloaded, but it is not in results/mask_images"):
        reject(IMAGE, DOWNLOADED, None, LIMITS)
