"""Slices have the values and colours of the map, and text from the archive can be drawn."""

import numpy as np
import pytest
from made_maps import AFFINE, MOTOR_MM, SHAPE, blob
from matplotlib.colors import Normalize
from neurovault_ica.figures.sheet import shown_text
from neurovault_ica.figures.slices import NEGATIVE, POSITIVE, Box, Scale, cut, paint, scale_of
from neurovault_ica.images.maps import Volume
from neurovault_ica.images.peaks import peak_of
from neurovault_ica.statistics.thresholds import Thresholds


def test_long_text_is_cut():
    assert shown_text("x" * 5000, 40) == "x" * 39 + "…"


def test_cut_reads_the_volume_whatever_its_affine():
    box = Box((-80, -110, -60), (80, 76, 84))
    flipped = AFFINE @ np.array([[-1.0, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for affine in (AFFINE, flipped, turn @ AFFINE):
        volume = Volume(blob(MOTOR_MM, affine=affine), affine)
        picture = cut(volume, box, 2, MOTOR_MM[2])
        row, column = np.unravel_index(picture.argmax(), picture.shape)
        assert abs(column + box.low[0] - MOTOR_MM[0]) <= 2
        assert abs(row + box.low[1] - MOTOR_MM[1]) <= 2
        assert np.linalg.norm(np.subtract(peak_of(volume), MOTOR_MM)) < 4


@pytest.mark.parametrize(("zoom", "first", "step"), [(1, 0, 1), (2, -0.25, 0.5), (0.5, 0.5, 2)])
def test_the_middle_of_each_pixel_is_read(zoom, first, step):
    """The box holds whole mm: its first pixel of 1 mm has its middle at the lowest coordinate."""
    x_mm, y_mm = np.meshgrid(*(AFFINE[axis, 3] + 4 * np.arange(SHAPE[axis]) for axis in (0, 1)), indexing="ij")
    box = Box((-20, -30, 0), (19, 29, 0))
    for values, low, pick in ((x_mm, -20, lambda picture: picture[0]), (y_mm, -30, lambda picture: picture[:, 0])):
        volume = Volume(np.repeat(values[..., None], SHAPE[2], axis=2).astype(np.float32), AFFINE)
        found = pick(cut(volume, box, 2, 0, zoom=zoom))
        np.testing.assert_allclose(found, low + first + step * np.arange(len(found)), atol=1e-4)


@pytest.mark.parametrize("zoom", [1, 1.7])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cuts_along_the_axes_are_linear_interpolation(axis, zoom):
    rng = np.random.default_rng(0)
    box = Box((-30, -20, -25), (30, 45, 20))
    permuted = np.array([[0, 0, -3.0, 22.13], [2.5, 0, 0, -20.17], [0, 4, 0, -20.19], [0, 0, 0, 1]])
    volume = Volume(rng.normal(size=(20, 11, 16)).astype(np.float32), permuted)
    picture = cut(volume, box, axis, 3.3, zoom=zoom)
    # A tiny tilt: an affine that is not exactly along the axes takes the general path.
    tilted = volume.affine + np.where(permuted == 0, 1e-12, 0) * [[1], [1], [1], [0]]
    expected = cut(Volume(volume.data, tilted), box, axis, 3.3, zoom=zoom)
    across, up = ((1, 2), (0, 2), (0, 1))[axis]
    assert picture.shape == tuple(round(zoom * (box.high[side] - box.low[side] + 1)) for side in (up, across))
    np.testing.assert_allclose(picture, expected, atol=1e-5)
    assert (picture == 0).any()
    assert picture.std() > 0.3


def test_colours_show_sign_and_threshold():
    values = np.array([[4.0, 2.0, -4.0, -3.2, 0.0]])
    anatomy = np.array([[0.5, 0.5, 0.5, 0.5, 0.0]])
    red, grey, blue, weak, white = paint(values, anatomy, Scale(3.0, 3.5, 4.0))[0].astype(int)
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 50
    assert len(set(grey)) == len(set(weak)) == 1
    assert list(white) == [255, 255, 255]


@pytest.mark.parametrize("scale", [Scale(1.0, 1.5, 4.0), Scale(2.0, 9.0, 3.0), Scale(0.0, 0.0, 5.0)])
def test_colours_are_those_of_matplotlib(scale):
    values = np.random.default_rng(0).uniform(-10, 10, (50, 60)).astype(np.float32)
    painted = paint(values, np.full(values.shape, 0.5, np.float32), scale)
    for sign, threshold, colours in ((1, scale.threshold, POSITIVE), (-1, scale.negative_threshold, NEGATIVE)):
        shown = sign * values >= threshold
        strength = Normalize(threshold, max(threshold, scale.brightest), clip=True)(sign * values[shown])
        expected = colours(strength, bytes=True)[:, :3].astype(int)
        # The pictures have 64 colour steps instead of 256.
        assert np.abs(painted[shown] - expected).max() <= 8
        assert np.abs(painted[shown] - expected).mean() < 1
    np.testing.assert_array_equal(painted[(values < scale.threshold) & (values > -scale.negative_threshold)], 133)


def test_scale_is_never_empty():
    for values in (np.zeros(10), np.full(10, 3.0)):
        scale = scale_of(values, Thresholds(values.max(), values.max()))
        assert scale.brightest > scale.threshold == scale.negative_threshold


def test_the_threshold_of_a_hidden_sign_is_above_all_values():
    values = np.linspace(-2, 8, 101)
    scale = scale_of(values, Thresholds(3.0, np.inf))
    assert scale.threshold == 3
    assert scale.negative_threshold > 8
    assert scale.brightest == pytest.approx(8, abs=0.01)
    nothing = scale_of(values, Thresholds(np.inf, np.inf))
    assert nothing.brightest > nothing.threshold > 8
