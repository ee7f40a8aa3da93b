"""Titles show the name of a component. The overview greys out names that may be chance."""

import numpy as np
import pytest
from neurovault_ica.figures.component import draw_overview, read_thumbnail, save_thumbnail, title_of
from neurovault_ica.figures.sheet import FAINT, INK
from neurovault_ica.naming.names import Names


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("motor; hand (left)", "ICA_03  motor; hand (left)"),
        ("unnamed (closest: task)", "ICA_03  unnamed (closest: task)"),
        ("", "ICA_03"),
        ("$x^2$; a_b; <b>", "ICA_03  $x^2$; a_b; <b>"),
        ("a\tb\n c; \u202eabc\x00; 日本", "ICA_03  a b c; abc; \ufffd\ufffd"),
        ("y" * 5000, "ICA_03  " + "y" * 119 + "…"),
    ],
)
def test_titles(name, title):
    assert title_of("ICA_03", Names(name, [], "", "", [], "")) == title


def test_overview_writes_names_that_may_be_chance_in_grey():
    small = np.zeros((40, 120, 4), np.uint8)
    sheet = draw_overview([small, small], ["ICA_00  motor", "ICA_01  unnamed (closest: task)"])
    colours = {text.get_text(): text.get_color() for text in sheet.axes.texts}
    assert colours["motor"] == INK
    assert colours["unnamed (closest: task)"] == FAINT


def test_overview_writes_long_names_smaller_rather_than_cutting_them():
    name = "mpfc; social cognition (both sides, posterior)"
    unnamed = "unnamed (closest: reward feedback striatum)"
    titles = [f"ICA_00  {name}", "ICA_01  " + "y" * 60, f"ICA_02  {unnamed}", "ICA_03  motor"]
    sheet = draw_overview([np.zeros((185, 483, 4), np.uint8)] * 4, titles)
    sizes = {text.get_text(): text.get_fontsize() for text in sheet.axes.texts}
    assert 6 < sizes[name] < 9
    assert 6 <= sizes["y" * 51 + "…"] < 6.5
    # A gap remains before the next title.
    drawn = {text.get_text(): text.get_window_extent(sheet.canvas.get_renderer()) for text in sheet.axes.texts}
    assert drawn[unnamed].x1 + 15 * sheet.pixels_per_mm < drawn["ICA_03"].x0


def test_a_thumbnail_is_read_as_it_was_written(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 120, 4), dtype=np.uint8)
    save_thumbnail(str(tmp_path / "ICA_00_thumbnail.png"), pixels)
    np.testing.assert_array_equal(read_thumbnail(str(tmp_path / "ICA_00_thumbnail.png")), pixels)
