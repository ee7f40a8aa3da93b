"""The overview greys out names that may be chance. A thumbnail is read as it was written."""

import numpy as np
from neurovault_ica.figures.component import draw_overview, read_thumbnail, save_thumbnail
from neurovault_ica.figures.sheet import FAINT, INK


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
