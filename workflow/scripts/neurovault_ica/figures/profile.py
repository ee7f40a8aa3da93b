"""Draw the profile of a map over components, and the loadings of several maps as a heat map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurovault_ica.figures.relations import order_rows
from neurovault_ica.figures.sheet import DPI, FAINT, INK, save_figure, shown_text, with_minus
from neurovault_ica.figures.shown import Display, Shown, show, show_beside
from neurovault_ica.figures.slices import Box, cut, paint
from neurovault_ica.images.maps import Maps, Volume
from neurovault_ica.images.peaks import peak_of
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q, is_significant
from neurovault_ica.types import Array, Real, Row

# More components would not fit on a page; those with the largest |loading| are drawn.
MOST_COMPONENTS = 60
# More maps would be unreadable in the heat map; those with the largest |loading| are drawn.
MOST_MAPS = 80
LONGEST_NAME, LONGEST_TITLE = 40, 50
# 95 % of the surrogates have a loading within this number of standard errors.
BAND_SE = 1.96
# Percentiles of the run's images that are drawn as a line and as a box.
LINE, BOX = (5, 95), (25, 75)
MAP_COLOUR, RUN_COLOUR, BAND_COLOUR = "#c2410c", "#8594a6", "#e9ecf0"
# Pixels per mm of the slices, and white columns between them.
ZOOM, GAP = 1.5, 12
# Inches: width of the figure and of the names; height of a component, of the brains, and of the space above and below
# the components.
WIDTH, NAMES = 8.8, 2.9
ROW, BRAIN, ABOVE, BELOW = 0.19, 1.3, 0.35, 0.95
# Inches: side of a cell of the heat map, and mean width of a character of its labels.
CELL, CHARACTER = 0.25, 0.065


def draw_profile(
    rows: Sequence[Row],
    maps: Sequence[Shown],
    headings: Sequence[tuple[str, str]],
    template: Volume,
    box: Box,
    of_run: Array | None,
) -> Figure:
    """Draw slices of a map and of its strongest component, and the loadings of the map on all components.

    Parameters
    ----------
    rows : sequence of dict
        The rows of loadings.tsv for this map, one for each component.
    maps : sequence of Shown
        The map and the component with the largest absolute loading.
    headings : sequence of (str, str)
        Title and second line of each of them.
    template : Volume
    box : Box
        The part of the brain to show.
    of_run : array of shape (n_images, n_components) or None
        Loadings of the run's images. None if the components are not those of a run.
    """
    loadings = np.array([row["loading"] for row in rows])
    shown = np.sort(np.argsort(-np.abs(loadings), kind="stable")[:MOST_COMPONENTS])
    bars = ROW * len(shown)
    height = BELOW + bars + ABOVE + BRAIN + 0.6
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")

    def add_axes(left: float, bottom: float, width: float, tall: float) -> Axes:
        """Add axes at a place in inches."""
        return figure.add_axes((left / WIDTH, bottom / height, width / WIDTH, tall / height))

    for number, (shown_map, (title, facts)) in enumerate(zip(maps, headings, strict=True)):
        left, bottom = 0.15 + number * WIDTH / 2, BELOW + bars + ABOVE
        axes = add_axes(left, bottom, WIDTH / 2 - 0.3, BRAIN)
        axes.imshow(paint_slices(shown_map, template, box), interpolation="antialiased")
        axes.set_anchor("W")
        axes.axis("off")
        style: dict[str, Any] = {"transform": figure.dpi_scale_trans, "parse_math": False, "va": "baseline"}
        title = shown_text(title, LONGEST_TITLE)
        figure.text(left, bottom + BRAIN + 0.32, title, fontsize=10, fontweight="bold", color=INK, **style)
        figure.text(left, bottom + BRAIN + 0.12, shown_text(facts, 80), fontsize=8.5, color=FAINT, **style)
    axes = add_axes(NAMES, BELOW, WIDTH - NAMES - 0.75, bars)
    _draw_bars(axes, [rows[number] for number in shown], None if of_run is None else of_run[:, shown])
    handles, labels = axes.get_legend_handles_labels()
    place: dict[str, Any] = {
        "loc": "lower center",
        "bbox_to_anchor": (0.5, 0.03 / height),
        "bbox_transform": figure.transFigure,
    }
    figure.legend(handles, labels, ncols=2, fontsize=8, frameon=False, labelcolor=INK, **place)
    return figure


def paint_slices(shown: Shown, template: Volume, box: Box) -> npt.NDArray[np.uint8]:
    """Paint the three slices through the peak of a map side by side; the first row is the highest."""
    volume, scale = shown.volume, shown.scale
    peak = peak_of(volume)
    slices = [
        paint(cut(volume, box, axis, peak[axis], zoom=ZOOM), cut(template, box, axis, peak[axis], zoom=ZOOM), scale)
        for axis in range(3)
    ]
    tallest = max(len(painted) for painted in slices)
    columns = []
    for painted in slices:
        below = (tallest - len(painted)) // 2
        missing = ((below, tallest - len(painted) - below), (GAP // 2, GAP // 2), (0, 0))
        columns.append(np.pad(painted, missing, constant_values=255))
    return np.concatenate(columns, axis=1)[::-1]


def _draw_bars(axes: Axes, rows: Sequence[Row], of_run: Array | None) -> None:
    """Draw the loadings of a map, the band of chance and the distribution of the run's images."""
    places = np.arange(len(rows))
    loadings = np.array([row["loading"] for row in rows])
    significant = np.array([is_significant(row["q"]) for row in rows])
    band = BAND_SE * np.array([row["se"] for row in rows])
    style: dict[str, Any] = {"height": 1.0, "color": BAND_COLOUR, "linewidth": 0, "zorder": 0}
    axes.barh(places, 2 * band, left=-band, label="95 % of surrogates of the map", **style)
    if of_run is not None:
        low, high = np.percentile(of_run, LINE, axis=0)
        first, third = np.percentile(of_run, BOX, axis=0)
        axes.hlines(places, low, high, color=RUN_COLOUR, linewidth=1, zorder=1)
        label = f"{len(of_run)} images of the run: middle half, and middle 90 %"
        axes.barh(places, third - first, left=first, height=0.5, color=RUN_COLOUR, linewidth=0, zorder=1, label=label)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=2)
    for chosen, face, label in (
        (significant, MAP_COLOUR, f"this map, q < {SIGNIFICANT_Q}"),
        (~significant, "white", "this map, not significant"),
    ):
        axes.scatter(
            loadings[chosen], places[chosen], s=28, c=face, edgecolors=MAP_COLOUR, linewidths=1.3, zorder=3, label=label
        )
    names = [shown_text(f"{row['component']}  {row['name'] or ''}".rstrip(), LONGEST_NAME) for row in rows]
    axes.set_yticks(places, names, fontsize=8, color=INK, parse_math=False)
    axes.set(ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlabel("loading", fontsize=8.5, color=INK)
    axes.tick_params(axis="x", labelsize=8, color=FAINT)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    right = axes.secondary_yaxis("right")
    values = [f"{row['percentile']:.0f} %" if row["percentile"] is not None else f"{row['p']:.2g}" for row in rows]
    right.set_yticks(places, values, fontsize=8, color=INK)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    meaning = "p" if of_run is None else "images with a smaller loading"
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right", "va": "bottom"}
    axes.annotate(meaning, (1, 1), (34, 4), fontsize=8, color=FAINT, **place)


def draw_heat_map(loadings: Array, q: Array, maps: Sequence[str], components: Sequence[str]) -> Figure:
    """Draw the loadings of maps on components, similar maps next to each other. Dots mark q < 0.05.

    Parameters
    ----------
    loadings, q : array of shape (n_maps, n_components)
    maps, components : sequence of str
    """
    strongest = np.sort(np.argsort(-np.abs(loadings).max(axis=1), kind="stable")[:MOST_MAPS])
    chosen = strongest[order_rows(loadings[strongest])]
    names = [shown_text(name, LONGEST_NAME) for name in components]
    wide, tall = CELL * len(components), CELL * len(chosen)
    below = 0.2 + CHARACTER * max(map(len, names))
    width, height = NAMES + max(wide, 3.0) + 0.2, below + tall + 0.75
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((NAMES / width, below / height, wide / width, tall / height))
    limit = float(np.abs(loadings).max()) or 1.0
    picture = axes.imshow(loadings[chosen], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    rows, columns = np.nonzero(q[chosen] < SIGNIFICANT_Q)
    dark = np.abs(loadings[chosen])[rows, columns] > 0.6 * limit
    axes.scatter(columns, rows, s=6, c=np.where(dark, "white", INK), linewidths=0)
    style: dict[str, Any] = {"fontsize": 8, "color": INK, "parse_math": False}
    axes.set_yticks(range(len(chosen)), [shown_text(maps[row], LONGEST_NAME) for row in chosen], **style)
    axes.set_xticks(range(len(components)), names, rotation=90, **style)
    axes.tick_params(length=0)
    place = figure.add_axes((NAMES / width, (below + tall + 0.12) / height, 2.5 / width, 0.12 / height))
    bar = figure.colorbar(picture, cax=place, orientation="horizontal", ticklocation="top")
    bar.set_label(f"loading (dot: q < {SIGNIFICANT_Q})", fontsize=8.5, color=INK)
    bar.ax.tick_params(labelsize=8)
    return figure


def plot_profile(
    path: str,
    title: str,
    rows: Sequence[Row],
    values: Real,
    components: Maps,
    facts: str,
    display: Display,
    template: tuple[Volume, Box],
    of_run: Array | None,
) -> None:
    """Draw the profile of one map and write it as PNG and PDF.

    Parameters
    ----------
    path : path
        Of the PNG.
    title : str
        Of the map.
    rows : sequence of dict
        The rows of loadings.tsv for this map.
    values : array of shape (n_voxels,)
        The map.
    components : Maps
    facts : str
        Line below the name of the map.
    display : Display
        How components are shown.
    template : Volume and Box
        From `read_template`.
    of_run : array of shape (n_images, n_components) or None
    """
    number = int(np.argmax([abs(row["loading"]) for row in rows]))
    row = rows[number]
    strongest = show(components, number, display)
    own = show_beside(strongest, components._replace(values=np.asarray(values, dtype=np.float32)[None]), 0, display)
    measures = f"loading {with_minus(format(row['loading'], '.2f'))}   r {with_minus(format(row['r'], '.2f'))}"
    headings = [(title, facts), (f"{row['component']} {row['name'] or ''}".rstrip(), f"strongest:   {measures}")]
    figure = draw_profile(rows, [own, strongest], headings, *template, of_run)
    save_figure(figure, path, title=f"{title} on components")
