"""Sheets show their pictures in the PDF as in the PNG."""

import re
import zlib

import numpy as np
from neurovault_ica.figures.sheet import Sheet, blend, shown_text
from neurovault_ica.figures.style import break_lines, shorten, wrap


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


def test_a_file_name_is_broken_after_its_punctuation_and_keeps_all_its_letters():
    name = "sub-01_task-pain_contrast-highIntensityMinusLowIntensity_space-MNI152NLin2009cAsym_stat-z_statmap"
    lines = break_lines(name, 60)
    assert lines == [
        "sub-01_task-pain_contrast-",
        "highIntensityMinusLowIntensity_space-",
        "MNI152NLin2009cAsym_stat-z_statmap",
    ]
    assert wrap(name, 60, 3) == lines
    # The last line has no spaces that the name does not have.
    assert wrap(name, 60, 2) == [lines[0], "highIntensityMinusLowIntensity_space-MNI15…"]
    assert wrap(f"pain {name}", 60, 2)[0] == "pain sub-01_task-pain_contrast-"
    # Words that have room are not broken.
    assert break_lines("a well-known self-report of pain", 18) == ["a well-known", "self-report of", "pain"]


def test_a_shortened_title_keeps_the_sign_that_tells_both_halves_of_a_map_apart():
    title = f"pain {'heat ' * 60}(deactivation)"
    assert shorten(title, 45) == "pain heat heat… (deactivation)"
    assert shorten(title.replace("deactivation", "unknown"), 45).endswith("heat…")
    assert wrap(title, 45, 2)[1].endswith("heat… (deactivation)")
    assert shown_text(title, 40) == "pain heat heat heat heat… (deactivation)"
