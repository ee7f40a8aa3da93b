"""Clusters below the extent are hidden; the others keep every voxel and every value."""

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.images.clusters import JUST_BELOW, drop_small_clusters
from neurovault_ica.images.maps import Volume
from neurovault_ica.images.peaks import find_peaks
from nilearn.image import threshold_img
from scipy import ndimage

AFFINE = np.diag([2.0, 2, 2, 1])


def planted(*blocks):
    """Make a map of 2 mm voxels from blocks (first voxel, voxels along each axis, value)."""
    data = np.zeros((20, 20, 20), np.float32, order="F")
    for (x, y, z), length, value in blocks:
        data[x : x + length, y : y + length, z : z + length] = value
    return Volume(data, AFFINE)


def test_small_clusters_are_hidden_and_large_ones_keep_their_values():
    volume = planted(((1, 1, 1), 3, 5), ((8, 8, 8), 2, 4), ((14, 1, 1), 3, -6), ((14, 14, 14), 2, -3))
    shown = drop_small_clusters(volume, 2.5, 2.5, 27 * 8)
    assert find_peaks(shown, 2.5, 2.5) == find_peaks(planted(((1, 1, 1), 3, 5), ((14, 1, 1), 3, -6)), 2.5, 2.5)
    np.testing.assert_array_equal(shown.data[:4], volume.data[:4])
    np.testing.assert_allclose(shown.data[8:10, 8:10, 8:10], 2.5 * JUST_BELOW)
    np.testing.assert_allclose(shown.data[14:16, 14:16, 14:16], -2.5 * JUST_BELOW)
    assert volume.data[8, 8, 8] == 4, "the input is unchanged"


def test_clusters_are_those_of_nilearn():
    rng = np.random.default_rng(4)
    data = ndimage.gaussian_filter(rng.standard_normal((30, 30, 30)), 1.2).astype(np.float32)
    data *= 3 / data.std()
    data[15, 15, 15] = 40  # The cluster of the highest peak always stays, so this peak is in a large one.
    data[13:18, 13:18, 13:18] += 20
    shown = drop_small_clusters(Volume(data, AFFINE), 4, 4, 20 * 8).data
    img = nib.Nifti1Image(data, AFFINE)
    # nilearn keeps values above its threshold, and clusters of at least 20 voxels.
    expected = threshold_img(img, 3.9999, cluster_threshold=20, two_sided=True, copy_header=True).get_fdata()
    found = np.where(np.abs(shown) >= 4, shown, 0)
    assert 0 < np.count_nonzero(expected) < np.count_nonzero(np.abs(data) >= 4)
    np.testing.assert_allclose(found, np.where(np.abs(expected) >= 4, expected, 0))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_cluster_of_the_highest_peak_stays(sign):
    volume = planted(((1, 1, 1), 1, 9 * sign), ((8, 8, 8), 1, 4 * sign))
    shown = drop_small_clusters(volume, 2.5, 2.5, 200).data
    assert shown[1, 1, 1] == 9 * sign
    assert abs(shown[8, 8, 8]) < 2.5


def test_nothing_changes_without_an_extent_or_without_values_above_the_threshold():
    volume = planted(((1, 1, 1), 1, 1))
    assert drop_small_clusters(volume, 0.5, 0.5, 0) is volume
    np.testing.assert_array_equal(drop_small_clusters(volume, 2.5, 2.5, 200).data, volume.data)
