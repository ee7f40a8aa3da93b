"""The profile of a map states its percentiles as the page does."""

import matplotlib.pyplot as plt
import numpy as np
from neurovault_ica.figures.profile import _draw_bars


def test_percentiles_are_rounded_down_so_that_none_reads_as_all():
    axes = plt.figure().add_subplot()
    percentiles = (100.0, 100 * 1999 / 2000, 100 * 29 / 30)
    shared = {"component": "ICA_00", "name": None, "loading": 0.4, "se": 0.1, "p": 0.01, "q": 0.02}
    rows = [shared | {"percentile": percentile} for percentile in percentiles]
    _draw_bars(axes, rows, np.random.default_rng(0).normal(size=(30, 3)))
    right = next(child for child in axes.child_axes if child.get_yticklabels())
    assert [label.get_text() for label in right.get_yticklabels()] == ["100 %", "99 %", "96 %"]
