"""Titles show the name of a component. The overview greys out names that may be chance."""

import numpy as np
import pytest
from neurovault_ica.figures.component import read_thumbnail, save_thumbnail, title_of
from neurovault_ica.figures.overview import draw_overview, meaning_of
from neurovault_ica.figures.short_names import fit_name
from neurovault_ica.figures.shown import Display
from neurovault_ica.figures.slices import Box, Scale
from neurovault_ica.figures.style import FAINT, INK
from neurovault_ica.naming.names import ComponentName


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
    assert title_of("ICA_03", ComponentName(name, [], "", "", [], "")) == title


BOX = Box((0, 0, 0), (139, 172, 152))


def overview_of(titles):
    small = np.zeros((173, 173 + 140 + 140, 4), np.uint8)
    n = len(titles)
    peaks = [(-56.0, 16.0, 4.4)] * n
    return draw_overview([small] * n, titles, [Scale(2.5, 2.5, 8.0)] * n, peaks, BOX, "t: 2.5 SD")


def test_overview_writes_names_that_may_be_chance_in_grey():
    sheet = overview_of(["ICA_00  motor", "ICA_01  unnamed (closest: task)"])
    colours = {text.get_text(): text.get_color() for text in sheet.figure.texts}
    assert colours["motor"] == INK
    assert colours["(task)"] == FAINT
    notes = "coordinates: peak and slices (x, y, z in mm)"
    assert f"{notes}; names in parentheses: closest terms, not significant" in colours
    assert notes in [text.get_text() for text in overview_of(["ICA_00  motor (left)"]).figure.texts]


@pytest.mark.parametrize(
    ("name", "width_mm", "lines"),
    [
        ("motor; hand (left)", 40, ["motor; hand (left)"]),
        ("motor; hand (left)", 20, ["motor (left)"]),
        ("ICA_04 unnamed (closest: incongruent; conflict; interference)", 50, ["ICA_04 (incongruent; conflict)"]),
        ("unnamed (closest: incongruent; conflict)", 12, ["(incong…"]),
        ("unnamed", 20, ["unnamed"]),
        ("the default mode network of my own", 30, ["the default mode…"]),
        ("the default mode network of my own", 30, ["the default mode", "network of my own"]),
    ],
)
def test_names_are_fitted_by_leaving_out_whole_terms_and_words(name, width_mm, lines):
    assert fit_name(name, width_mm, len(lines)) == lines


def test_overview_has_sides_bar_and_threshold_and_no_text_below_7_points():
    sheet = overview_of([f"ICA_{number:02d}  motor" for number in range(60)])
    texts = [text.get_text() for text in sheet.figure.texts]
    assert texts.count("L") == texts.count("R") == 120
    assert {"±t", "−end", "end", "t: 2.5 SD"} <= set(texts)
    assert {"−56, 16, 4; end 8.0"} <= {text.get_text() for text in overview_of(["ICA_00  motor"]).figure.texts}
    assert min(text.get_fontsize() for text in sheet.figure.texts) >= 7
    assert sheet.figure.get_size_inches()[0] == pytest.approx(180 / 25.4)
    assert meaning_of(Display({"z": 2.5}, 200)).startswith("t: 2.5 SD, clusters ≥ 200 mm³")
    assert meaning_of(Display({"z": 2.5}, 1_250_000)).startswith("t: 2.5 SD, clusters ≥ 1,250,000 mm³")
    assert meaning_of(Display({"percentile": 90}, 0)).startswith("t: 90th percentile;")


def test_overview_breaks_long_names_into_lines():
    sheet = overview_of(
        ["ICA_00  mpfc; social cognition (both sides, posterior)", "ICA_01  " + "y" * 60, "ICA_02  motor"]
    )
    sheet.canvas.draw()
    box = {text.get_text(): text.get_window_extent() for text in sheet.figure.texts}
    first = next(text for text in box if text.startswith("mpfc"))
    second = next(text for text in box if text.endswith("posterior)"))
    assert f"{first} {second}" == "mpfc; social cognition (both sides, posterior)"
    assert box[first].y0 > box[second].y0
    cut = next(text for text in box if text.startswith("yy"))
    assert cut.endswith("y…")
    assert box[cut].x1 < box["ICA_02"].x0


def test_a_thumbnail_is_read_as_it_was_written(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 120, 4), dtype=np.uint8)
    save_thumbnail(str(tmp_path / "ICA_00_thumbnail.png"), pixels)
    np.testing.assert_array_equal(read_thumbnail(str(tmp_path / "ICA_00_thumbnail.png")), pixels)
