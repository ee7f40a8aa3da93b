"""Draw the images: quality measures, coverage and correlations."""

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from neurovault_ica.figures.sheet import FAINT, INK, Sheet, shown_text
from neurovault_ica.figures.slices import AXIAL_CUTS_MM, LEAST_BRAIN, Box, cut
from neurovault_ica.images.criteria import Criterion, Limits, broken_limit, panels
from neurovault_ica.images.maps import Volume
from neurovault_ica.types import Real, Row

# Okabe and Ito's blue and vermilion, and grey. Markers differ too, for readers who cannot tell the colours apart.
USED, REJECTED, OTHERS = "#0072b2", "#d55e00", "#9aa3ad"
PANEL_INCHES = (13.5 / 3, 8.2 / 3)  # width and height
# If the ends of a logarithmic axis have a smaller ratio than this, we set its minor ticks. matplotlib would label nine
# ticks per decade, and the labels would overlap.
NARROW = 100
# Names of collections are cut to this number of characters, to leave room for the matrix.
LONGEST_NAME = 44
# With more images than this, dots are drawn smaller, so that they do not merge.
FULL_SIZE_DOTS = 1500
# With more collections than this, no lines are drawn between them, because lines would hide the correlations.
MOST_LINES = 100
# Largest number of names that fit beside the matrix.
NAMES_SHOWN = 60


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
    n_columns = math.ceil(math.sqrt(len(shown)))
    n_rows = math.ceil(len(shown) / n_columns)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(n_columns * width, n_rows * height), facecolor="white", layout="constrained")
    grid = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for axes in grid[len(shown) :]:
        axes.remove()
    for axes, criterion in zip(grid, shown, strict=False):
        _draw_criterion(axes, criterion, quality, reasons, limits)
        for key in criterion.keys:
            if (limit := limits.get(key)) is not None:
                axes.axvline(limit, color=INK, linewidth=1.2, linestyle="--")
        # No measure is negative. A small margin below 0 keeps dots at 0 from being cut in half.
        left, right = axes.get_xlim()
        axes.set_xlim(left=max(left, -0.03 * right))
        if criterion.is_log and right < NARROW * left:
            axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.set_title(criterion.label, fontsize=9, color=INK)
        texts = [f"{key} {limits[key]:g}" for key in criterion.keys if limits.get(key) is not None]
        axes.set_xlabel(", ".join(texts) or "no limit", fontsize=8.5, color=FAINT)
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
        size = (26 if marker == "X" else 14) * min(1, FULL_SIZE_DOTS / max(1, len(rows)))
        axes.scatter(values, heights, size, color=colour, marker=marker, alpha=0.75, linewidths=0.8, rasterized=True)
    if criterion.is_log:
        axes.set_xscale("log")
    axes.set(ylim=(0, 2), yticks=(0.5, 1.5))
    n_used = len(kinds[2][3])
    axes.set_yticklabels([f"used\n{n_used}", f"rejected\n{len(rows) - n_used}"], fontsize=8.5)
    axes.tick_params(labelsize=8)
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
    gap, bar_mm = 6, 60
    sheet_mm = len(AXIAL_CUTS_MM) * (width + gap) + gap + bar_mm
    sheet = Sheet(sheet_mm, height + 46, inches=13)
    colours = mpl.colormaps["viridis"]
    for number, height_mm in enumerate(AXIAL_CUTS_MM):
        left = gap + number * (width + gap)
        values, anatomy = cut(counts, box, 2, height_mm), cut(template, box, 2, height_mm)
        inside = cut(mask, box, 2, height_mm)
        grey = np.where(anatomy > LEAST_BRAIN, 0.55 + 0.4 * anatomy, 1.0)[..., None].repeat(3, axis=2)
        # At the border, interpolation lowers counts and mask by the same factor, so their quotient does not fade there.
        share = values / np.maximum(inside, 0.5) / n_images
        painted = np.where(inside[..., None] >= 0.5, colours(share)[..., :3], grey)
        sheet.picture(np.round(255 * painted).astype(np.uint8), left, 22, width, height)
        place = f"z = {height_mm}".replace("-", "\u2212")
        sheet.text(left + width / 2, 17, place, fontsize=9, ha="center", va="top")
    bar = np.round(255 * colours(np.linspace(0, 1, 256))[:, None, :3]).astype(np.uint8)
    left = sheet_mm - bar_mm + 4
    sheet.picture(bar, left, 32, 12, height - 24)
    for part in (0, 0.5, 1):
        sheet.text(left + 16, 32 + part * (height - 24), f"{part * n_images:.0f}", fontsize=9, va="center")
    sheet.text(left, height + 22, "images", fontsize=9, va="center", color=FAINT)
    return sheet


def draw_image_correlations(correlations: Real, collections: Sequence[tuple[Hashable, str]]) -> Figure:
    """Draw the correlations of images or of collections, with the names of the collections.

    Parameters
    ----------
    correlations : array of shape (n_rows, n_rows)
    collections : list of (id, str)
        Id and name of the collection of each row. The rows of a collection are adjacent.
    """
    starts = [0, *(at for at, (one, other) in enumerate(pairwise(collections), 1) if one != other), len(collections)]
    figure = Figure(figsize=(12.4, 7.6), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(correlations, cmap="RdBu_r", vmin=-1, vmax=1)
    borders = starts[1:-1]
    for start in borders if len(borders) <= MOST_LINES else ():
        axes.axhline(start - 0.5, color=INK, linewidth=0.4)
        axes.axvline(start - 0.5, color=INK, linewidth=0.4)
    _name_collections(axes, starts, [name for _, name in collections])
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, label="correlation over voxels")
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def _name_collections(axes: Axes, starts: Sequence[int], names: Sequence[str]) -> None:
    """Write the names of the collections next to their rows. Names that do not fit are left out."""
    line = len(names) / NAMES_SHOWN
    ticks, free = [], -line
    for start, end in pairwise(starts):
        middle = (start + end - 1) / 2
        if middle - free >= line:
            ticks.append((middle, shown_text(names[start], LONGEST_NAME)))
            free = middle
    axes.set_yticks([middle for middle, _ in ticks])
    axes.set_yticklabels([text for _, text in ticks], fontsize=7.5, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
