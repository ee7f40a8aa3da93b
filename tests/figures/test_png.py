"""PNGs come back pixel by pixel from Pillow, and so do the pictures of a PDF."""

import io
import re
import zlib

import numpy as np
import pytest
from neurovault_ica.figures.png import quick_png, write_png
from neurovault_ica.figures.sheet import DPI, Sheet
from PIL import Image


@pytest.mark.parametrize(("n_channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("shape", [(1, 1), (37, 53)])
def test_pixels_come_back(shape, n_channels, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, n_channels), dtype=np.uint8)
    write_png(stream := io.BytesIO(), pixels, dpi=150, title="Größe 3 − 4")
    image = Image.open(stream)
    assert (image.format, image.mode) == ("PNG", mode)
    np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    assert image.info["dpi"] == pytest.approx((150, 150), abs=0.02)
    assert image.text == {"Title": "Größe 3 − 4"}


def test_upside_down_pixels_come_back():
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)[::-1]
    write_png(stream := io.BytesIO(), pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(stream)), pixels)
    assert set(Image.open(stream).info) == set()


def test_pillow_writes_so_only_for_a_while_and_not_what_has_a_palette():
    usual = Image.SAVE["PNG"]
    palette = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).convert("P")
    with quick_png():
        palette.save(stream := io.BytesIO(), format="png")
        assert Image.SAVE["PNG"] is not usual
    assert Image.open(stream).mode == "P"
    assert Image.SAVE["PNG"] is usual


def test_the_picture_in_a_pdf_is_the_sheet(tmp_path):
    """Read as a PDF reader does: deflated, each row after the number of its PNG filter."""
    pixels = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    sheet = Sheet(100, 80, inches=1)
    sheet.place(pixels, 0, 0)
    sheet.save(str(tmp_path / "sheet.png"), title="Sheet")
    pdf = (tmp_path / "sheet.pdf").read_bytes()
    found = re.search(rb"/Subtype /Image.*?stream\n(.*?)\nendstream", pdf, re.DOTALL)
    height, width = sheet.background.shape[:2]
    rows = np.frombuffer(zlib.decompress(found[1]), np.uint8).reshape(height, 1 + 3 * width)
    # Filter 2: the difference from the row above.
    assert set(rows[:, 0]) == {2}
    shown = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).reshape(height, width, 3)
    # matplotlib stores the lowest row first.
    np.testing.assert_array_equal(shown[::-1], sheet.background)
    np.testing.assert_array_equal(shown[:40, :60], pixels)
    assert width == DPI
