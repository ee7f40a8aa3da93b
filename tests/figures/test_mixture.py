"""The table and the figure of a mixture describe the fit, and leave out a tail that was not fitted."""

import numpy as np
import pytest
from neurovault_ica.figures.mixture import draw_mixture, mixture_row
from neurovault_ica.statistics.mixture import NO_TAIL, Mixture, Tail
from neurovault_ica.statistics.thresholds import Thresholds

FIT = Mixture(-0.001, 0.8, Tail(0.05, 6, 0.6), NO_TAIL, -1.2, 31, converged=True)
VALUES = np.array([-3.0, -1, 0, 0, 1, 2, 3, 4, 5, 6])


def test_a_row_describes_only_the_fitted_tail():
    row = mixture_row(FIT, Thresholds(3, np.inf), VALUES)
    assert row == {
        "noise_mean": -0.001, "noise_sd": 0.8, "iterations": 31, "converged": True,
        "positive_weight": 0.05, "positive_shape": 6, "positive_scale": 0.6, "positive_threshold": 3,
        "positive_share": 0.4,
        "negative_weight": 0.0, "negative_shape": None, "negative_scale": None, "negative_threshold": None,
        "negative_share": 0.0,
    }  # fmt: skip


def test_the_figure_shows_densities_and_thresholds():
    figure = draw_mixture(FIT, Thresholds(3, np.inf), VALUES, "ICA_00: $x$")
    (axes,) = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "voxels of the mask", "sum", "noise: mean 0.00, SD 0.80", "positive: 5.0 %, shape 6.00, scale 0.60",
    ]  # fmt: skip
    total, noise, positive, threshold = axes.lines
    x = noise.get_xdata()
    for line, density in ((noise, FIT.densities(x)[0]), (positive, FIT.densities(x)[1])):
        np.testing.assert_array_equal(line.get_ydata(), density)
    np.testing.assert_allclose(total.get_ydata(), noise.get_ydata() + positive.get_ydata())
    assert list(threshold.get_xdata()) == [3, 3]
    assert axes.get_xlim() == pytest.approx((-3, 6))
