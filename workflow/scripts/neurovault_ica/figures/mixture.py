"""Tabulate and draw the mixture model of a component."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from neurovault_ica.figures.sheet import with_minus
from neurovault_ica.figures.style import FAINT, HEADING, INK, NARROW_MM, new_figure, shorten
from neurovault_ica.statistics.mixture import Mixture
from neurovault_ica.statistics.thresholds import Thresholds
from neurovault_ica.types import Real

POSITIVE_LINE, NEGATIVE_LINE = "#d9480f", "#1f62cf"
HISTOGRAM_BINS = 200


def mixture_row(fit: Mixture, limits: Thresholds, values: Real) -> dict[str, Any]:
    """Return the row of desc-ICA_mixture.tsv for one component, without the component's label.

    Parameters
    ----------
    fit : Mixture
    limits : Thresholds
        The thresholds of the component.
    values : array of shape (n_voxels,)
        The component over the mask.
    """
    row: dict[str, Any] = {"noise_mean": fit.mean, "noise_sd": fit.sd}
    for sign, tail, limit, sizes in (
        ("positive", fit.positive, limits.positive, values),
        ("negative", fit.negative, limits.negative, -values),
    ):
        row[f"{sign}_weight"] = tail.weight
        row[f"{sign}_shape"] = tail.shape if tail.weight else None
        row[f"{sign}_scale"] = tail.scale if tail.weight else None
        row[f"{sign}_threshold"] = limit if np.isfinite(limit) else None
        row[f"{sign}_share"] = float(np.mean(sizes >= limit))
    return row | {"iterations": fit.iterations, "converged": fit.converged}


def draw_mixture(fit: Mixture, limits: Thresholds, values: Real, title: str) -> Figure:
    """Draw the histogram of a component with the fitted densities.

    The scale is logarithmic, because the values in the tails are rare. Parameters are those of `mixture_row`.
    """
    figure = new_figure(72, width_mm=NARROW_MM, layout="constrained")
    axes = figure.add_subplot()
    counts, edges = np.histogram(values, HISTOGRAM_BINS, density=True)
    axes.stairs(counts, edges, fill=True, color="#d5dae0", label="voxels of the mask")
    x = np.linspace(edges[0], edges[-1], 1200)
    noise, positive, negative = fit.densities(x)
    axes.plot(x, noise + positive + negative, color=INK, linewidth=0.8, linestyle=":", label="sum")
    mean = with_minus(f"{round(fit.mean, 2) + 0.0:.2f}")
    axes.plot(x, noise, color=FAINT, linewidth=1.2, label=f"noise: mean {mean}, SD {fit.sd:.2f}")
    for name, tail, density, colour in (
        ("positive", fit.positive, positive, POSITIVE_LINE),
        ("negative", fit.negative, negative, NEGATIVE_LINE),
    ):
        if tail.weight:
            label = f"{name}: {100 * tail.weight:.1f} %, shape {tail.shape:.2f}, scale {tail.scale:.2f}"
            axes.plot(x, density, color=colour, linewidth=1.2, label=label)
    for limit, colour in ((limits.positive, POSITIVE_LINE), (-limits.negative, NEGATIVE_LINE)):
        if np.isfinite(limit):
            axes.axvline(limit, color=colour, linewidth=1, linestyle="--")
    # The axis starts at half the density of a bin with a single voxel.
    lowest = 0.5 / (len(values) * (edges[1] - edges[0]))
    axes.set(yscale="log", ylim=(lowest, 3 * max(counts.max(), noise.max())), xlim=(edges[0], edges[-1]))
    axes.set_xlabel("value of the component (SD)")
    axes.set_ylabel("density")
    axes.set_title(shorten(title, NARROW_MM - 12, HEADING), loc="left", parse_math=False)
    figure.legend(loc="outside lower left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
