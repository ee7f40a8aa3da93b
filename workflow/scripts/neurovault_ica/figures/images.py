"""Draw the images: quality measures, coverage and correlations."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurovault_ica.figures.sheet import FAINT, INK, Sheet, shown_text
from neurovault_ica.figures.slices import LEAST_BRAIN, Box, cut
from neurovault_ica.images.criteria import CHECKS, Check
from neurovault_ica.images.maps import Volume
from neurovault_ica.types import Real, Row

# Okabe and Ito's blue and vermilion, and other marks for refused images: nobody has to tell the colours apart.
USED, REFUSED, OTHERS = "#0072b2", "#d55e00", "#9aa3ad"
AXIAL_CUTS_MM = (-40, -26, -12, 2, 16, 30, 44, 58)
LONGEST_NAME = 44
# Dots of more images are smaller, or they would be one patch.
WHOLE_DOTS = 1500
# More would hide what they separate.
MOST_LINES = 100


def draw_quality(quality: Sequence[Row], reasons: Mapping[int, str], criteria: Mapping[str, float | None]) -> Figure:
    """Draw what was measured of every image, one panel a criterion, with the limits.

    Parameters
    ----------
    quality : list of dict
        Rows of quality.tsv.
    reasons : mapping
        Why an image was refused, by its id.
    criteria : mapping
        Section ``stack_images.quality`` of the configuration.
    """
    figure = Figure(figsize=(13.5, 8.2), facecolor="white", layout="constrained")
    for axes, check in zip(figure.subplots(3, 3).flat, CHECKS, strict=True):
        _draw_check(axes, check, [row for row in quality if row[check.column] is not None], reasons)
        for key in check.limits:
            if criteria.get(key) is not None:
                axes.axvline(criteria[key], color=INK, linewidth=1.2, linestyle="--")
        # Nothing that is measured can be negative; so far below 0, dots at 0 are whole.
        left, right = axes.get_xlim()
        axes.set_xlim(left=max(left, -0.03 * right))
        axes.set_title(check.label, fontsize=9, color=INK)
        limits = [text for key in check.limits if (text := _limit(key, criteria))]
        axes.set_xlabel(", ".join(limits) or "no limit", fontsize=8.5, color=FAINT)
    return figure


def _limit(key: str, criteria: Mapping[str, float | None]) -> str:
    return "" if criteria.get(key) is None else f"{key} {criteria[key]:g}"


def _draw_check(axes: Axes, check: Check, rows: Sequence[Row], reasons: Mapping[int, str]) -> None:
    """Draw a dot for each image: used ones below, refused ones above, a cross for those that this check refused."""
    kinds = [
        (1, OTHERS, "x", [row for row in rows if reasons.get(row["image_id"]) not in (None, check.reason)]),
        (1, REFUSED, "X", [row for row in rows if reasons.get(row["image_id"]) == check.reason]),
        (0, USED, "o", [row for row in rows if row["used"]]),
    ]
    for level, colour, marker, shown in kinds:
        values = [row[check.column] for row in shown]
        # Spread like this, dots lie beside each other however many there are, and the same in each run.
        heights = [level + 0.15 + 0.7 * (0.618034 * number % 1) for number in range(len(shown))]
        size = (26 if marker == "X" else 14) * min(1, WHOLE_DOTS / max(1, len(rows)))
        axes.scatter(values, heights, size, color=colour, marker=marker, alpha=0.75, linewidths=0.8, rasterized=True)
    if check.column in ("max_abs", "rms"):
        axes.set_xscale("log")
    axes.set(ylim=(0, 2), yticks=(0.5, 1.5))
    n_used = len(kinds[2][3])
    axes.set_yticklabels([f"used\n{n_used}", f"refused\n{len(rows) - n_used}"], fontsize=8.5)
    axes.tick_params(labelsize=8)
    axes.axhline(1, color="#d8dde3", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_coverage(counts: Volume, mask: Volume, template: Volume, box: Box, n_images: int) -> Sheet:
    """Draw how many images have data at each voxel of the mask, on axial cuts."""
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
        # Over the mask's own interpolation: at its border counts do not fade.
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


def draw_correlations(correlations: Real, collections: Sequence[tuple[int, str]]) -> Figure:
    """Draw the correlations of images, or of collections, in the order of the collections, whose names stand beside.

    Parameters
    ----------
    correlations : array of shape (n_rows, n_rows)
    collections : list of (int, str)
        Id and name of each row's collection; rows of a collection are neighbours.
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
    """Write the collections' names beside the rows, leaving out those for which there is no room."""
    line = len(names) / 60
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
