"""Pillow reads back the same pixels from our PNGs, and the brains in PDFs are those of the sheet."""

import io
import re
import struct

import numpy as np
import pytest
from neurovault_ica.figures.png import SIGNATURE, write_png
from neurovault_ica.figures.sheet import PDF_DPI, Sheet
from PIL import Image
from PIL.PngImagePlugin import putchunk


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


def picture_in(pdf):
    """Read the picture of a PDF: its data are those of a PNG, and matplotlib stores the lowest row first."""
    found = re.search(rb"/Subtype /Image.*?stream\n(.*?)\nendstream", pdf, re.DOTALL)
    width, height = (int(re.search(rb"/%b (\d+)" % side, pdf)[1]) for side in (b"Width", b"Height"))
    stream = io.BytesIO(SIGNATURE)
    stream.seek(0, io.SEEK_END)
    putchunk(stream, b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    putchunk(stream, b"IDAT", found[1])
    putchunk(stream, b"IEND")
    return np.asarray(Image.open(stream))[::-1]


def test_a_pdf_shows_the_brains_of_the_sheet_with_fewer_pixels(tmp_path):
    rng = np.random.default_rng(2)
    # Blocks of 3 by 3 equal pixels, because 3 pixels of a PNG become 2 of a PDF.
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8), 3, axis=0), 3, axis=1)
    sheet = Sheet(100, 80, inches=1)
    sheet.place(pixels, 0, 0)
    sheet.save(str(tmp_path / "sheet.png"), title="Sheet")
    shown = picture_in((tmp_path / "sheet.pdf").read_bytes())
    assert shown.shape == (80 * PDF_DPI // 100, PDF_DPI, 3)
    expected = np.asarray(Image.fromarray(sheet.background).resize((PDF_DPI, 80), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(shown, expected)
    assert np.corrcoef(shown[-40:, :40][::2, ::2].ravel(), pixels[::-1][-60:][::3, ::3].ravel())[0, 1] > 0.9
