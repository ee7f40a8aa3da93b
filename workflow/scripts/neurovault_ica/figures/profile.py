"""Draw the profile of a map over components, and the loadings of several maps as a heat map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurovault_ica.figures.brain_bar import draw_brain_bar, ends_of
from neurovault_ica.figures.component import draw_place, draw_sides
from neurovault_ica.figures.relations import draw_named, order_rows
from neurovault_ica.figures.sheet import Place, Sheet, shown_text, with_minus
from neurovault_ica.figures.short_names import drop_shared, explain_names, fit_name
from neurovault_ica.figures.shown import Display, Shown, show, show_beside
from neurovault_ica.figures.slices import Box, draw_panel
from neurovault_ica.figures.style import FAINT, INK, TITLE, WIDE_MM, add_axes, shorten
from neurovault_ica.images.maps import Maps, Volume
from neurovault_ica.images.peaks import peak_of
from neurovault_ica.images.signs import sign_at_end
from neurovault_ica.runtime.wording import rounded_down
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q, is_significant
from neurovault_ica.types import Array, Real, Row

# More components would not fit on a page; those with the largest |loading| are drawn.
MOST_COMPONENTS = 60
# More maps would be unreadable in the heat map; those with the largest |loading| are drawn.
MOST_MAPS = 80
# Notes that explain the names in the heat map that have no room.
SHARED_PARTS = "…: the same in all names, see maps.tsv"
ROWS_FOR_NAMES = "rows: long names, in maps.tsv"
# Names are cut to this number of characters, or to the width of their place.
LONGEST = 200
# 95 % of the surrogates have a loading within this number of standard errors.
BAND_SE = 1.96
# Percentiles of the run's images that are drawn as a line and as a box.
LINE, BOX = (5, 95), (25, 75)
MAP_COLOUR, RUN_COLOUR, BAND_COLOUR = "#c2410c", "#8594a6", "#e9ecf0"
# mm: between slices; width of names and of the values behind the loadings; height of a component, and of the space
# above and below the components.
GAP, NAMES, VALUES = 1.2, 62.0, 16.0
ROW, ABOVE, BELOW = 3.6, 9.0, 17.0
# mm: a colour bar with its labels, and distance between lines of a title.
BAR_MM, TITLE_LINE_MM = 12.0, 3.8
# Lines of the titles of the map and of its strongest component. The name of a file is whole in five.
TITLE_LINES = (5, 2)


def draw_profile(
    rows: Sequence[Row],
    maps: Sequence[Shown],
    headings: Sequence[tuple[str, str]],
    template: Volume,
    box: Box,
    of_run: Array | None,
) -> Sheet:
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
    room = WIDE_MM / 2 - 2 * GAP
    zoom = (room - BAR_MM - 3 * GAP) / sum(box.shape(axis)[0] for axis in range(3))
    bottom = BELOW + bars + ABOVE
    top = bottom + box.shape(2)[1] * zoom
    titles = fit_titles([title for title, _ in headings], room)
    sheet = Sheet(top + 5 + TITLE_LINE_MM * max(map(len, titles)))
    for number, (shown_map, (_, facts)) in enumerate(zip(maps, headings, strict=True)):
        left = GAP + number * WIDE_MM / 2
        # The map may have any unit.
        unit = "SD" if number else ""
        _draw_slices(sheet, shown_map, template, box, (left, bottom), zoom, unit)
        for order, line in enumerate(titles[number]):
            y = top + 6.5 + TITLE_LINE_MM * (len(titles[number]) - 1 - order)
            sheet.text(left, y, line, fontsize=TITLE, fontweight="bold", va="center")
        sheet.text(left, top + 2.5, shorten(shown_text(facts, LONGEST), room), color=FAINT, va="center")
    axes = add_axes(sheet.figure, NAMES, BELOW, WIDE_MM - NAMES - VALUES, bars)
    _draw_bars(axes, [rows[number] for number in shown], None if of_run is None else of_run[:, shown])
    handles, labels = axes.get_legend_handles_labels()
    sheet.figure.legend(handles, labels, ncols=2, loc="lower center", labelcolor=INK)
    notes = [say_largest(len(shown), len(rows), "components"), explain_names(row["name"] or "" for row in rows)]
    sheet.text(GAP, BELOW - 1, "\n".join(filter(None, notes)), color=FAINT, va="top")
    return sheet


def fit_titles(titles: Sequence[str], room: float) -> list[list[str]]:
    """Break the titles of a map and of its strongest component into lines of `room` mm."""
    return [fit_name(title, room, lines, TITLE, bold=True) for title, lines in zip(titles, TITLE_LINES, strict=True)]


def say_largest(n_drawn: int, n_all: int, noun: str) -> str:
    """Say that only those with the largest loadings are drawn; an empty text if all are."""
    return f"{n_drawn} of {n_all} {noun}: largest |loading|" if n_drawn < n_all else ""


def _draw_slices(sheet: Sheet, shown: Shown, template: Volume, box: Box, corner: Place, zoom: float, unit: str) -> None:
    """Draw the three slices through the peak of a map side by side, with sides and colour bar."""
    volume, scale = shown.volume, shown.scale
    peak = peak_of(volume)
    tallest = box.shape(2)[1] * zoom
    left = corner[0]
    for axis in range(3):
        width, height = (length * zoom for length in box.shape(axis))
        place = left, corner[1] + (tallest - height) / 2
        options: dict[str, Any] = {"axis": axis, "at_mm": peak[axis], "corner": place, "magnification": zoom}
        draw_panel(sheet, volume, template, box, scale, **options)
        draw_sides(sheet, axis, place, (width, height))
        draw_place(sheet, axis, peak[axis], (left + width / 2, corner[1] - 0.6))
        left += width + GAP
    ends = ends_of(volume.data, scale)
    draw_brain_bar(sheet, scale, ends, left=left, bottom=corner[1] + 0.15 * tallest, height=0.55 * tallest, unit=unit)


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
    names = [f"{row['component']}  {row['name'] or ''}".rstrip() for row in rows]
    axes.set_yticks(places, [fit_name(name, NAMES - 2)[0] for name in names], color=INK, parse_math=False)
    axes.set(ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlabel("loading")
    axes.tick_params(axis="x", color=FAINT)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    right = axes.secondary_yaxis("right")
    values = [
        f"{row['p']:.2g}" if row["percentile"] is None else f"{rounded_down(row['percentile'])} %" for row in rows
    ]
    right.set_yticks(places, values, color=INK)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    meaning = "p" if of_run is None else "images with a smaller loading"
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right", "va": "bottom"}
    axes.annotate(meaning, (1, 1), (34, 4), color=FAINT, **place)


def draw_heat_map(loadings: Array, q: Array, maps: Sequence[str], components: Sequence[str]) -> Figure:
    """Draw the loadings of maps on components, similar maps next to each other. Dots mark q < 0.05.

    Parameters
    ----------
    loadings, q : array of shape (n_maps, n_components)
    maps, components : sequence of str
    """
    strongest = np.sort(np.argsort(-np.abs(loadings).max(axis=1), kind="stable")[:MOST_MAPS])
    chosen = strongest[order_rows(loadings[strongest])]
    label = f"loading (dot: q < {SIGNIFICANT_Q})"
    names = [maps[row] for row in chosen]
    different = [shown_text(name, LONGEST) for name in drop_shared(names)]
    numbers = [f"row {row + 1}{sign_at_end(maps[row])}" for row in chosen]
    shorter = [(SHARED_PARTS, different), (ROWS_FOR_NAMES, numbers)]
    note = say_largest(len(chosen), len(maps), "rows")
    figure = draw_named(loadings[chosen], names, components, label=label, square=True, shorter=shorter, note=note)
    rows, places = np.nonzero(q[chosen] < SIGNIFICANT_Q)
    dark = np.abs(loadings[chosen])[rows, places] > 0.6 * (np.abs(loadings).max() or 1.0)
    figure.axes[0].scatter(places, rows, s=4, c=np.where(dark, "white", INK), linewidths=0)
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
    measures = f"loading {with_minus(format(row['loading'], '.2f'))}, r {with_minus(format(row['r'], '.2f'))}"
    headings = [(title, facts), (f"{row['component']} {row['name'] or ''}".rstrip(), f"strongest: {measures}")]
    sheet = draw_profile(rows, [own, strongest], headings, *template, of_run)
    sheet.save(path, title=f"{title} on components")
