"""Draw the figure that compares numbers of components."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from neurovault_ica.figures.sheet import save_figure
from neurovault_ica.figures.style import new_figure
from neurovault_ica.types import Row


def draw_orders(rows: Sequence[Row], n_above_chance: int, *, n_restarts: int, path: str) -> None:
    """Draw stability, number of reproduced components and explained variance against the number of components.

    Parameters
    ----------
    rows : sequence of mappings
        Rows of orders.tsv, in ascending order.
    n_above_chance : int
        Number of components by parallel analysis.
    n_restarts : int
    path : path
        The PNG file to write. A PDF is written beside it.
    """
    figure = new_figure(78, layout="constrained")
    stability, number, variance = figure.subplots(1, 3)
    orders = [row["n_components"] for row in rows]

    def draw(axes: Any, column: str, label: str, **style: Any) -> None:
        values = [np.nan if row[column] is None else row[column] for row in rows]
        if not np.isnan(values).all():
            axes.plot(orders, values, label=label, **style)

    draw(stability, "iq_restarts", "Iq across restarts", color="C0", marker="o", markersize=3)
    draw(stability, "iq_bootstraps", "Iq across bootstraps", color="C1", marker="o", markersize=3)
    draw(stability, "r_bootstraps", "|r| across bootstraps", color="C2", marker="o", markersize=3)
    draw(stability, "chance_r_bootstraps", "|r| across bootstraps, chance", color="C2", linestyle=":")
    draw(stability, "r_split_half", "|r| of split halves", color="C3", marker="o", markersize=3)
    draw(stability, "chance_r_split_half", "|r| of split halves, chance", color="C3", linestyle=":")
    stability.set(ylabel="mean over components", ylim=(0, 1.02))
    if stability.lines:
        stability.legend(loc="lower left", bbox_to_anchor=(0, 1))
    else:
        stability.text(0.5, 0.5, "not measured", transform=stability.transAxes, ha="center", va="center")
    # A line of one point is not visible.
    alone = "o" if len(orders) == 1 else ""
    number.plot(orders, orders, color="0.7", linestyle="--", marker=alone, markersize=3, label="all components")
    draw(number, "reproduced", "reproduced across studies", color="C3", marker="o", markersize=3)
    number.axvline(n_above_chance, color="0.4", linestyle=":", label="above chance (parallel analysis)")
    number.set(ylabel="components", ylim=(0, None))
    number.legend(loc="lower left", bbox_to_anchor=(0, 1))
    draw(variance, "variance_explained", "variance explained", color="C4", marker="o", markersize=3)
    share = [row["restarts_converged"] / n_restarts for row in rows]
    variance.plot(orders, share, color="C0", marker="s", markersize=3, label="converged restarts")
    variance.set(ylabel="share", ylim=(0, 1.02))
    variance.legend(loc="lower left", bbox_to_anchor=(0, 1))
    for axes in (stability, number, variance):
        axes.set_xlabel("number of components")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (stability, variance):
        axes.set_xlim(*(axes.get_xlim() if len(orders) > 1 and axes.lines else (orders[0] - 1, orders[-1] + 1)))
    number.yaxis.set_major_locator(MaxNLocator(integer=True))
    save_figure(figure, path, title="Numbers of components")
