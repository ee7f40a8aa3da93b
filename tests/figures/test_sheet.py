"""Sheets show their pictures in the PDF as in the PNG."""

import re
import zlib

import numpy as np
from neurovault_ica.figures.sheet import Sheet, blend


def test_pdf_has_pictures_at_300_dpi_at_their_place_without_their_white_border(tmp_path):
    painted = np.full((30, 40, 3), 255, np.uint8)
    painted[5:25, 10:40] = np.arange(20 * 30 * 3).reshape(20, 30, 3) % 200
    sheet = Sheet(25.4, width_mm=25.4)
    sheet.place(painted, 25.4 / 3, 25.4 / 6)  # 100 and 50 pixels
    sheet.save(str(tmp_path / "sheet.png"), title="A sheet")
    pdf = (tmp_path / "sheet.pdf").read_bytes()
    assert re.search(rb"/Height 20\b", pdf)
    assert re.search(rb"/Width 30\b", pdf)
    page = zlib.decompress(re.search(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)[1])
    placed = re.search(rb"([\d.]+) 0 0 ([\d.]+) ([\d.]+) ([\d.]+) cm\s/I1 Do", page)
    # Width, height, left and bottom, in points.
    np.testing.assert_allclose([float(number) for number in placed.groups()], [7.2, 4.8, 26.4, 13.2], atol=1e-5)


def test_a_picture_covers_another_one_by_its_opacity():
    above = np.array([[[100, 0, 0, 255], [100, 0, 0, 0], [100, 0, 0, 51]]], np.uint8)
    below = np.full((1, 3, 3), 200, np.uint8)
    np.testing.assert_array_equal(blend(above, below), [[[100, 0, 0], [200, 200, 200], [180, 160, 160]]])
