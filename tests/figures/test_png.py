"""Pillow reads the same pixels from our PNGs, and PDFs have the fonts and resolution that journals ask for."""

import io
import re

import numpy as np
import pytest
from neurovault_ica.figures.png import write_png
from neurovault_ica.figures.sheet import Sheet
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


def test_a_pdf_has_the_pixels_of_the_sheet_without_white_borders_and_truetype_fonts(tmp_path):
    sheet = Sheet(20)
    pixels = np.full((60, 90, 3), 255, np.uint8)
    pixels[10:50, 20:80] = np.random.default_rng(2).integers(0, 250, (40, 60, 1), dtype=np.uint8)
    sheet.place(pixels, 2, 3)
    # A letter that the subset of the font lacks comes from the whole font.
    sheet.text(50, 10, "motor −2.5 λ ж")
    sheet.text(50, 5, "motor", fontweight="bold")
    sheet.save(str(tmp_path / "sheet.png"), title="Sheet")
    pdf = (tmp_path / "sheet.pdf").read_bytes()
    sizes = [[int(number) for number in re.findall(rb"/%b (\d+)" % side, pdf)] for side in (b"Width", b"Height")]
    assert sizes == [[60], [40]]
    assert pdf.count(b"/CIDFontType2") == 3
    assert b"/Type3" not in pdf
    width, height = (float(number) for number in re.search(rb"/MediaBox \[ *0 0 ([\d.]+) ([\d.]+)", pdf).groups())
    assert (width, height) == pytest.approx((180 / 25.4 * 72, 20 / 25.4 * 72), abs=0.1)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.width == pytest.approx(180 / 25.4 * 300, abs=1)
