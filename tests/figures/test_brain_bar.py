"""Colour bars end where the values end, and are pointed where values go beyond the colours."""

import numpy as np
import pytest
from matplotlib.patches import Polygon
from neurovault_ica.figures.brain_bar import draw_brain_bar, draw_flat_bar, ends_of, spread_numbers
from neurovault_ica.figures.sheet import Sheet
from neurovault_ica.figures.slices import Scale


@pytest.mark.parametrize(
    ("values", "texts", "n_points"),
    [
        ([-1.0, 5.0], ["0.0", "2.5", "5.0", "SD"], 0),
        ([-1.0, 9.0], ["0.0", "2.5", "8.0", "SD"], 1),
        ([-4.0, 2.0], ["−4.0", "−3.0", "0.0", "SD"], 0),
        ([-9.0, 9.0], ["−8.0", "−3.0", "2.5", "8.0", "SD"], 2),
        ([-1.0, 1.0], [], 0),
    ],
)
def test_a_bar_ends_where_the_values_end(values, texts, n_points):
    scale, sheet = Scale(2.5, 3.0, 8.0), Sheet(40)
    draw_brain_bar(sheet, scale, ends_of(np.array(values), scale), left=5, bottom=5, height=25)
    assert [text.get_text() for text in sheet.figure.texts] == texts
    assert sum(isinstance(artist, Polygon) for artist in sheet.figure.artists) == n_points


def test_a_flat_bar_has_numbers_where_there_is_room_and_fits_any_unit():
    sheet = Sheet(10)
    draw_flat_bar(sheet, Scale(0.0025, 0.003, 0.08), (-0.004, 0.2), left=5, top=8, length=30, unit="")
    # The threshold of 0.0025 would lie on that of -0.003 and on the end at -0.004.
    assert [text.get_text() for text in sheet.figure.texts] == ["−0.004", "0.08"]
    assert sum(isinstance(artist, Polygon) for artist in sheet.figure.artists) == 1


def test_labels_of_a_bar_do_not_overlap():
    assert spread_numbers([0, 1, 20, 21]) == [pytest.approx(-1.9), 1, 20, pytest.approx(22.9)]
    assert spread_numbers([0, 10, 10.5, 21]) == pytest.approx([0, 8.8, 11.7, 21])


def test_a_bar_without_threshold_marks_zero_once():
    sheet = Sheet(40)
    draw_brain_bar(sheet, Scale(0.0, 0.0, 8.0), (-3.0, 5.0), left=0, bottom=0, height=30)
    assert [text.get_text() for text in sheet.figure.texts] == ["−3.0", "0.0", "5.0", "SD"]
