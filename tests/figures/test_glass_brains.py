"""Glass brains show the right voxels, head up."""

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.figures.glass_brains import glass_brain, glass_outline


def test_glass_brain_shows_the_strongest_of_either_sign_on_each_line():
    inside = np.ones((8, 12, 10), bool)
    volume = np.zeros(inside.shape, np.float32)
    volume[6, 2, 8], volume[1, 9, 1], volume[1, 9, 8] = 3, -3, 1
    found = glass_brain(volume[inside], inside, np.eye(4), 2)
    assert found.shape == glass_outline(inside, np.eye(4), 2).shape == (6, 6 + 2 + 4 + 2 + 4 + 2)
    side, back, top = found[:, :6], found[:, 8:12], found[:, 14:18]
    # The head is up, so the last slices come first. The first row is empty, because the view from above is taller.
    assert side[1, 1] == side[5, 4] * -1 == 127
    assert back[1, 3] == 127
    assert back[5, 0] == -127
    assert top[4, 3] == 127
    assert top[1, 0] == -127
    assert np.count_nonzero(side) == 3


def test_glass_brain_of_another_grid_keeps_its_voxels():
    inside = np.zeros((7, 9, 5), bool)
    inside[2:5, 3:6, 1:4] = True
    found = glass_brain(np.arange(1, 28, dtype=np.float32), inside, np.eye(4), 1)
    assert found.shape == (9, 9 + 2 + 7 + 2 + 7 + 2)
    np.testing.assert_array_equal(found != 0, glass_outline(inside, np.eye(4), 1))


@pytest.mark.parametrize("axes", ["LAS", "RPS", "SAR", "PIL"])
def test_glass_brains_do_not_depend_on_the_order_of_voxels(axes):
    """FSL's masks are stored from right to left (LAS). Left must stay left."""
    rng = np.random.default_rng(0)
    inside = rng.random((7, 9, 5)) < 0.6
    volume = np.where(inside, rng.standard_normal(inside.shape), 0).astype(np.float32)
    whole = nib.Nifti1Image(np.stack([volume, inside], axis=-1).astype(np.float32), np.diag([2, 2, 2, 1]))
    turned = whole.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(whole.affine), nib.orientations.axcodes2ornt(axes))
    )
    assert nib.aff2axcodes(turned.affine) == tuple(axes)
    data = turned.get_fdata(dtype=np.float32)
    its_mask = data[..., 1] > 0
    found = glass_brain(data[..., 0][its_mask], its_mask, turned.affine, 1)
    np.testing.assert_array_equal(found, glass_brain(volume[inside], inside, whole.affine, 1))
    np.testing.assert_array_equal(glass_outline(its_mask, turned.affine, 1), glass_outline(inside, whole.affine, 1))
