"""Bounding boxes contain all true voxels and no plane without one."""

import numpy as np
import pytest
from neurovault_ica.images.boxes import bounding_box
from scipy import ndimage


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.5])
def test_the_box_equals_that_of_scipy(order, share):
    inside = np.array(np.random.default_rng(0).random((17, 23, 11)) < share, order=order)
    inside[3, 5, 7] = True
    assert bounding_box(inside) == ndimage.find_objects(inside.astype(np.uint8))[0]


def test_without_voxels_the_box_is_empty():
    inside = np.zeros((4, 5, 6), dtype=bool)
    assert inside[bounding_box(inside)].size == 0
