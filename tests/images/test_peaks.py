"""Clusters and peaks are found where they were planted, and equal those of nilearn."""

from itertools import combinations

import nibabel as nib
import numpy as np
import pytest
from made_maps import AFFINE, MOTOR_MM, SHAPE, blob
from neurovault_ica.images.maps import Volume
from neurovault_ica.images.peaks import find_peaks, peak_of
from nilearn.reporting import get_clusters_table


def test_peak_of_a_blob_is_its_centre():
    assert peak_of(Volume(blob(MOTOR_MM), AFFINE)) == MOTOR_MM


def test_peaks_equal_those_of_nilearn():
    rng = np.random.default_rng(4)
    volume = sum(
        blob(rng.uniform([-60, -90, -40], [60, 60, 60]), height=height, width_mm=9)
        for height in rng.uniform(-10, 10, 14)
    )
    found = find_peaks(Volume(volume, AFFINE), 1.0, 1.0)
    expected = get_clusters_table(nib.Nifti1Image(volume, AFFINE), 1.0, two_sided=True)
    clusters = expected[expected["Cluster Size (mm3)"] != ""]
    main_peaks = [row for row in found if row["volume_mm3"] is not None]
    assert len(main_peaks) >= 6
    for row, (_, cluster) in zip(main_peaks, clusters.iterrows(), strict=True):
        assert [row["x"], row["y"], row["z"]] == [cluster["X"], cluster["Y"], cluster["Z"]]
        assert row["value"] == pytest.approx(cluster["Peak Stat"], abs=1e-3)
        assert row["volume_mm3"] == cluster["Cluster Size (mm3)"]


def test_subpeaks_have_letters_and_a_minimum_distance():
    volume = blob((-20, 0, 0), height=9) + blob((6, 0, 0), height=8)
    found = find_peaks(Volume(volume, AFFINE), 0.1, 0.1)
    assert [(row["peak"], row["volume_mm3"] is None) for row in found] == [("1", False), ("1a", True)]
    assert found[1]["x"] - found[0]["x"] > 8


@pytest.mark.parametrize(("apart_mm", "is_listed"), [(8, False), (12, True)])
def test_subpeaks_are_more_than_8_mm_apart(apart_mm, is_listed):
    volume = np.zeros(SHAPE, np.float32)
    volume[10:20, 10, 10] = 1
    volume[10, 10, 10], volume[10 + apart_mm // 4, 10, 10] = 5, 4
    found = find_peaks(Volume(volume, AFFINE), 1, 1)
    assert [row["value"] for row in found][:2] == ([5, 4] if is_listed else [5, 1])
    assert all(abs(one["x"] - other["x"]) > 8 for one, other in combinations(found, 2))


def test_a_cluster_that_touches_a_higher_one_at_an_edge_is_listed():
    volume = np.zeros(SHAPE, np.float32)
    volume[10:13, 10:13, 10] = 5
    volume[13:16, 13:16, 10] = 4
    volume[13, 13, 10] = 4.5
    found = find_peaks(Volume(volume, AFFINE), 3, 3)
    assert [(row["peak"], row["value"], row["volume_mm3"]) for row in found if row["volume_mm3"]] == [
        ("1", 5.0, 9 * 64.0),
        ("2", 4.5, 9 * 64.0),
    ]


def test_small_clusters_are_left_out_except_the_first():
    volume = np.zeros(SHAPE, np.float32)
    volume[10, 10, 10] = 5
    volume[30, 30, 30] = 4
    found = find_peaks(Volume(volume, AFFINE), 3, 3)
    assert [(row["peak"], row["value"], row["volume_mm3"]) for row in found] == [("1", 5.0, 64.0)]
    assert find_peaks(Volume(volume, AFFINE), 6, 6) == []


def test_each_sign_has_its_own_threshold():
    volume = blob((-20, 0, 0), height=5) - blob((20, 0, 0), height=5)
    found = find_peaks(Volume(volume, AFFINE), 3, 4)
    sizes = {row["value"] > 0: row["volume_mm3"] for row in found}
    assert sizes[True] > sizes[False]
    assert [row["value"] > 0 for row in find_peaks(Volume(volume, AFFINE), 3, 5.01)] == [True]
