"""The profile of a map states its percentiles as the page does."""

import matplotlib.pyplot as plt
import numpy as np
from neurovault_ica.figures.profile import (
    MOST_MAPS,
    ROWS_FOR_NAMES,
    SHARED_PARTS,
    _draw_bars,
    draw_heat_map,
    fit_titles,
)
from neurovault_ica.figures.style import MM_PER_INCH, TALLEST_MM


def test_percentiles_are_rounded_down_so_that_none_reads_as_all():
    axes = plt.figure().add_subplot()
    percentiles = (100.0, 100 * 1999 / 2000, 100 * 29 / 30)
    shared = {"component": "ICA_00", "name": None, "loading": 0.4, "se": 0.1, "p": 0.01, "q": 0.02}
    rows = [shared | {"percentile": percentile} for percentile in percentiles]
    _draw_bars(axes, rows, np.random.default_rng(0).normal(size=(30, 3)))
    right = next(child for child in axes.child_axes if child.get_yticklabels())
    assert [label.get_text() for label in right.get_yticklabels()] == ["100 %", "99 %", "96 %"]


def test_the_name_of_a_file_is_whole_above_its_slices():
    contrast = "_contrast-highIntensityMinusLowIntensity" * 3
    name = f"sub-group_task-painfulHeatOfTheLeftForearm{contrast}_stat-z (activation)"
    map_lines, component_lines = fit_titles([name, f"ICA_03 {'; '.join(['working memory'] * 9)}"], 87)
    assert "".join(map_lines).replace(" ", "") == name.replace(" ", "")
    assert len(component_lines) == 2


def heat_map_of(names, n_components=20):
    """Return the names beside the heat map, its notes, and its height in mm."""
    loadings = np.random.default_rng(0).normal(size=(len(names), n_components))
    figure = draw_heat_map(loadings, np.ones_like(loadings), names, [f"ICA_{k:02d}" for k in range(n_components)])
    beside = [text.get_text() for text in figure.axes[0].texts[: min(len(names), MOST_MAPS)]]
    return beside, figure.texts[-1].get_text(), figure.get_figheight() * MM_PER_INCH


def test_long_names_in_the_heat_map_lose_the_parts_that_all_of_them_have():
    start, end = "sub-group_task-painfulHeatOfTheLeftForearm_acq-multiband_", "_contrast-highMinusLow_stat-z_statmap"
    signs = ("activation", "deactivation")
    names = [f"{start}run-{run}{end} ({sign})" for run in range(40) for sign in signs]
    beside, note, _ = heat_map_of(names)
    assert sorted(beside) == sorted(f"…run-{run}… ({sign})" for run in range(40) for sign in signs)
    assert note == SHARED_PARTS
    # If the parts that differ are too long as well, the number of the row replaces them.
    beside, note, _ = heat_map_of([f"{k}{'x' * 100}{k} ({sign})" for k in range(40) for sign in signs])
    assert sorted(beside) == sorted(f"row {2 * k + 1 + n} ({sign})" for k in range(40) for n, sign in enumerate(signs))
    assert note == ROWS_FOR_NAMES


def test_the_heat_map_of_many_maps_fits_on_a_page_and_says_which_are_drawn():
    beside, note, height = heat_map_of([f"map {k}" for k in range(60)])
    assert (len(beside), note) == (60, "")
    assert height <= TALLEST_MM
    beside, note, _ = heat_map_of([f"map {k}" for k in range(200)])
    assert (len(beside), note) == (80, "80 of 200 rows: largest |loading|")
    assert set(beside) <= {f"map {k}" for k in range(200)}
