"""Draw the images: quality measures, coverage and correlations."""

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from neurovault_ica.figures.component import draw_place, draw_sides
from neurovault_ica.figures.sheet import Sheet, shown_text
from neurovault_ica.figures.slices import AXIAL_CUTS_MM, LEAST_BRAIN, Box, cut
from neurovault_ica.figures.style import (
    FAINT,
    HEADING,
    INK,
    LINE_MM,
    TALLEST_MM,
    WIDE_MM,
    add_axes,
    add_bar,
    new_figure,
    wrap,
)
from neurovault_ica.images.criteria import Criterion, Limits, broken_limit, limit_of, panels
from neurovault_ica.images.maps import Volume
from neurovault_ica.types import Real, Row

# Okabe and Ito's blue and vermilion, and grey. Markers differ too, for readers who cannot tell the colours apart.
USED, REJECTED, OTHERS = "#0072b2", "#d55e00", "#9aa3ad"
PANEL_MM, TITLE_MM, LEGEND_MM = 36.0, 46.0, 5.0  # height of a panel, width of its title, height of the legend
# If the ends of a logarithmic axis have a smaller ratio than this, we set its minor ticks. matplotlib would label nine
# ticks per decade, and the labels would overlap.
NARROW = 100
# Names are cut to this number of characters, and to this number of lines or fewer.
LONGEST_NAME, LINES_OF_NAME = 200, 3
# mm: longest name beside the matrix of correlations, side of the matrix, their distance, and space below for the bar.
NAME_MM, MATRIX_MM, LEADER_MM, FOOT_MM = 62.0, 112.0, 4.0, 15.0
# With more images than this, dots are drawn smaller, so that they do not merge.
FULL_SIZE_DOTS = 1500
# With more collections than this, no lines are drawn between them, because lines would hide the correlations.
MOST_LINES = 100


def draw_quality(quality: Sequence[Row], reasons: Mapping[Hashable, str], limits: Limits) -> Figure:
    """Draw the quality measures of all images, one panel per criterion, with the limits.

    Parameters
    ----------
    quality : list of dict
        Rows of quality.tsv.
    reasons : mapping
        Reason of rejection by image id.
    limits : mapping
        Section ``stack_images.quality`` of the configuration.
    """
    shown = panels()
    n_columns = 3
    n_rows = math.ceil(len(shown) / n_columns)
    figure = new_figure(n_rows * PANEL_MM + LEGEND_MM, layout="constrained")
    grid = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for axes in grid[len(shown) :]:
        axes.remove()
    for axes, criterion in zip(grid, shown, strict=False):
        _draw_criterion(axes, criterion, quality, reasons, limits)
        for key in criterion.keys:
            if (limit := limit_of(criterion, key, limits)) is not None:
                axes.axvline(limit, color=INK, linewidth=1, linestyle="--")
        # No measure is negative. A small margin below 0 keeps dots at 0 from being cut in half.
        left, right = axes.get_xlim()
        axes.set_xlim(left=max(left, -0.03 * right))
        if criterion.is_log:
            # Exponents would be smaller than other text.
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
            if right < NARROW * left:
                axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
                axes.xaxis.set_minor_formatter("{x:g}")
        axes.set_title("\n".join(wrap(criterion.label or "", TITLE_MM, 2, HEADING)))
        texts = [f"{key} {limits[key]:g}" for key in criterion.keys if limits.get(key) is not None]
        axes.set_xlabel("\n".join(wrap(", ".join(texts) or "no limit", TITLE_MM, 2)), color=FAINT)
    marks = [
        Line2D([], [], color=colour, marker=marker, markersize=size, linestyle="none", label=meaning)
        for colour, marker, size, meaning in (
            (USED, "o", 3, "used"),
            (REJECTED, "X", 4, "rejected by this criterion"),
            (OTHERS, "x", 3, "rejected by another one"),
        )
    ]
    marks.append(Line2D([], [], color=INK, linewidth=1, linestyle="--", label="limit"))
    figure.legend(handles=marks, loc="outside lower center", ncols=4)
    return figure


def _draw_criterion(
    axes: Axes, criterion: Criterion, quality: Sequence[Row], reasons: Mapping[Hashable, str], limits: Limits
) -> None:
    """Draw a dot for each used image (below) and a cross for each rejected one (above).

    Orange crosses are images that this criterion rejected. Two criteria can share a reason, so the value is compared
    with the limits, too.
    """
    values_of = {
        row["image_id"]: min(row[column] for column in criterion.columns)
        for row in quality
        if all(row[column] is not None for column in criterion.columns)
    }
    rows = [row for row in quality if row["image_id"] in values_of]
    rejected_here = {
        name
        for name, value in values_of.items()
        if reasons.get(name) == criterion.reason and broken_limit(criterion, value, limits) is not None
    }
    elsewhere = reasons.keys() - rejected_here
    kinds = [
        (1, OTHERS, "x", [row for row in rows if row["image_id"] in elsewhere]),
        (1, REJECTED, "X", [row for row in rows if row["image_id"] in rejected_here]),
        (0, USED, "o", [row for row in rows if row["used"]]),
    ]
    for level, colour, marker, shown in kinds:
        values = [values_of[row["image_id"]] for row in shown]
        # Multiples of the golden ratio spread the dots evenly and are the same in each run.
        heights = [level + 0.15 + 0.7 * (0.618034 * number % 1) for number in range(len(shown))]
        size = (14 if marker == "X" else 7) * min(1, FULL_SIZE_DOTS / max(1, len(rows)))
        axes.scatter(values, heights, size, color=colour, marker=marker, alpha=0.75, linewidths=0.6, rasterized=True)
    if criterion.is_log:
        axes.set_xscale("log")
    axes.set(ylim=(0, 2), yticks=(0.5, 1.5))
    n_used = len(kinds[2][3])
    axes.set_yticklabels([f"used\n{n_used}", f"rejected\n{len(rows) - n_used}"])
    axes.axhline(1, color="#d8dde3", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_coverage(counts: Volume, mask: Volume, template: Volume, box: Box, n_images: int) -> Sheet:
    """Draw the number of images with data at each voxel of the mask, on axial slices.

    Parameters
    ----------
    counts, mask, template : Volume
        Number of images with data; 1 inside the mask; nilearn's template.
    box : Box
        The part of the brain to draw.
    n_images : int
    """
    width, height = box.shape(2)
    gap, bar_mm = 1.0, 12.0
    zoom = ((WIDE_MM - bar_mm) / len(AXIAL_CUTS_MM) - gap) / width
    bottom, top = LINE_MM + 0.8, LINE_MM + 0.8 + height * zoom
    sheet = Sheet(top + 1.5 * LINE_MM)
    colours = mpl.colormaps["viridis"]
    for number, height_mm in enumerate(AXIAL_CUTS_MM):
        left = gap + number * (width * zoom + gap)
        scaled = zoom * sheet.pixels_per_mm
        values, anatomy, inside = (cut(volume, box, 2, height_mm, zoom=scaled) for volume in (counts, template, mask))
        grey = np.where(anatomy > LEAST_BRAIN, 0.55 + 0.4 * anatomy, 1.0)[..., None].repeat(3, axis=2)
        # At the border, interpolation lowers counts and mask by the same factor, so their quotient does not fade there.
        share = values / np.maximum(inside, 0.5) / n_images
        painted = np.where(inside[..., None] >= 0.5, colours(share)[..., :3], grey)
        sheet.place(np.round(255 * painted).astype(np.uint8), left, bottom)
        draw_sides(sheet, 2, (left, bottom), (width * zoom, height * zoom))
        draw_place(sheet, 2, height_mm, (left + width * zoom / 2, LINE_MM + 0.3))
    bar = np.round(255 * colours(np.linspace(0, 1, 256))[:, None, :3]).astype(np.uint8)
    left = WIDE_MM - bar_mm + 2
    sheet.picture(bar, left, bottom + 1, 3, height * zoom - 3)
    for part in (0, 0.5, 1):
        sheet.text(left + 4, bottom + 1 + part * (height * zoom - 3), f"{part * n_images:.0f}", va="center")
    sheet.text(left - 1, top + 0.7 * LINE_MM, "images", va="center", color=FAINT)
    return sheet


def draw_image_correlations(correlations: Real, collections: Sequence[tuple[Hashable, str]]) -> Figure:
    """Draw the correlations of images or of collections, with the names of all collections if there is room for them.

    Parameters
    ----------
    correlations : array of shape (n_rows, n_rows)
    collections : list of (id, str)
        Id and name of the collection of each row. The rows of a collection are adjacent.
    """
    starts = [0, *(at for at, (one, other) in enumerate(pairwise(collections), 1) if one != other), len(collections)]
    texts = [shown_text(collections[start][1], LONGEST_NAME) for start in starts[:-1]]
    for n_lines in range(LINES_OF_NAME, 0, -1):
        names = [wrap(text, NAME_MM, n_lines) for text in texts]
        tall = LINE_MM * sum(map(len, names))
        if tall <= TALLEST_MM - FOOT_MM:
            break
    is_named = tall <= TALLEST_MM - FOOT_MM
    height = max(MATRIX_MM, tall) if is_named else MATRIX_MM
    figure = new_figure(height + FOOT_MM)
    axes = add_axes(figure, WIDE_MM - MATRIX_MM - 1, FOOT_MM - 2 + (height - MATRIX_MM) / 2, MATRIX_MM, MATRIX_MM)
    picture = axes.imshow(correlations, cmap="RdBu_r", vmin=-1, vmax=1)
    borders = starts[1:-1]
    for start in borders if len(borders) <= MOST_LINES else ():
        axes.axhline(start - 0.5, color=INK, linewidth=0.3)
        axes.axvline(start - 0.5, color=INK, linewidth=0.3)
    axes.set(xticks=[], yticks=[])
    if is_named:
        # From the top of the figure, in mm.
        middles = [(start + end) / 2 / len(collections) * MATRIX_MM for start, end in pairwise(starts)]
        _name_collections(axes, middles, names)
    else:
        n_rows, n_collections = len(collections), len(names)
        axes.set_ylabel(f"{n_rows} rows of {n_collections} collections, in the order of correlation.tsv")
    add_bar(figure, picture, "correlation over voxels", left=WIDE_MM - 64, top=FOOT_MM - 3, length=60)
    return figure


def _name_collections(axes: Axes, middles: Sequence[float], names: Sequence[Sequence[str]]) -> None:
    """Write the names of all collections beside the matrix, with lines to the middle of their rows (mm from its top).

    Names have one or more lines. They are moved so that they do not overlap.
    """
    places = spread(middles, [LINE_MM * len(lines) for lines in names], MATRIX_MM / 2)
    transform = axes.transAxes
    for middle, place, name in zip(middles, places, names, strict=True):
        x, y = (0, -LEADER_MM / MATRIX_MM), (1 - middle / MATRIX_MM, 1 - place / MATRIX_MM)
        axes.plot(x, y, color=FAINT, linewidth=0.4, transform=transform, clip_on=False)
        style: dict[str, Any] = {
            "ha": "right",
            "va": "center",
            "color": INK,
            "parse_math": False,
            "transform": transform,
        }
        axes.text(-(LEADER_MM + 0.7) / MATRIX_MM, y[1], "\n".join(name), **style)


def spread(middles: Sequence[float], heights: Sequence[float], centre: float) -> list[float]:
    """Move places (ascending) as little as needed for names of these heights, and keep them around `centre`."""
    edges = np.asarray(heights) / 2
    offsets = np.concatenate([[0.0], np.cumsum(edges[:-1] + edges[1:])])
    # Least squares for ascending places: places without their minimal distances must not descend.
    moved = _ascending(np.asarray(middles) - offsets) + offsets
    half = max(float(np.sum(heights)) / 2, centre)
    lowest = centre - half + edges[0] + offsets
    highest = centre + half - edges[-1] - (offsets[-1] - offsets)
    return np.clip(moved, lowest, highest).tolist()


def _ascending(values: Real) -> Real:
    """Return the closest ascending values, by pooling of adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, size = value, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    return np.repeat([mean for mean, _ in pools], [size for _, size in pools])
