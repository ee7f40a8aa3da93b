"""Glass brains show the right voxels, head up."""

import numpy as np
from neurovault_ica.figures.glass_brains import glass_brain, glass_outline


def test_glass_brain_shows_the_strongest_of_either_sign_on_each_line():
    inside = np.ones((8, 12, 10), bool)
    volume = np.zeros(inside.shape, np.float32)
    volume[6, 2, 8], volume[1, 9, 1], volume[1, 9, 8] = 3, -3, 1
    found = glass_brain(volume[inside], inside, 2)
    assert found.shape == glass_outline(inside, 2).shape == (6, 6 + 2 + 4 + 2 + 4 + 2)
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
    found = glass_brain(np.arange(1, 28, dtype=np.float32), inside, 1)
    assert found.shape == (9, 9 + 2 + 7 + 2 + 7 + 2)
    np.testing.assert_array_equal(found != 0, glass_outline(inside, 1))
