"""Titles show the name of a component. The overview greys out names that may be chance."""

import numpy as np
import pytest
from neurovault_ica.figures.component import draw_overview, read_thumbnail, save_thumbnail, title_of
from neurovault_ica.figures.sheet import FAINT, INK
from neurovault_ica.naming.names import Names


@pytest.mark.parametrize(
    ("words", "mark", "title"),
    [
        (["motor", "hand", "finger"], "", "ICA_03  motor, hand, finger"),
        (["task", "memory", "word"], "n.s.", "ICA_03  n.s. (task, memory, word)"),
        (["motor"], "untested", "ICA_03  untested (motor)"),
        ([], "", "ICA_03"),
        (["$x^2$", "a_b", "<b>"], "", "ICA_03  $x^2$, a_b, <b>"),
        (["a\tb\n c", "\u202eabc\x00", "日本"], "", "ICA_03  a b c, abc, \ufffd\ufffd"),
        (["y" * 5000] * 3, "", "ICA_03  " + ", ".join(["y" * 39 + "…"] * 3)),
    ],
)
def test_titles(words, mark, title):
    assert title_of("ICA_03", Names(words, mark, [])) == title


def test_overview_writes_names_that_may_be_chance_in_grey():
    small = np.zeros((40, 120, 4), np.uint8)
    sheet = draw_overview([small, small], ["ICA_00  motor", "ICA_01  n.s. (task)"])
    colours = {text.get_text(): text.get_color() for text in sheet.axes.texts}
    assert colours["motor"] == INK
    assert colours["n.s. (task)"] == FAINT


def test_a_thumbnail_is_read_as_it_was_written(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 120, 4), dtype=np.uint8)
    save_thumbnail(str(tmp_path / "ICA_00_thumbnail.png"), pixels)
    np.testing.assert_array_equal(read_thumbnail(str(tmp_path / "ICA_00_thumbnail.png")), pixels)
