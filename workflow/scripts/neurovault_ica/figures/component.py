"""Draw one component with slices and colour bar, its thumbnail, and the overview of all components."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from neurovault_ica.figures.mixture import draw_mixture, mixture_row
from neurovault_ica.figures.png import write_png
from neurovault_ica.figures.sheet import FAINT, INK, Place, Sheet, save_figure, shown_text, with_minus
from neurovault_ica.figures.shown import Display, show
from neurovault_ica.figures.slices import AXIAL_CUTS_MM, Box, Scale, cut, draw_panel, in_plane, paint
from neurovault_ica.images.maps import Maps, Volume
from neurovault_ica.images.peaks import Point, find_peaks, peak_of
from neurovault_ica.naming.names import UNNAMED, Names
from neurovault_ica.naming.regions import Regions, region_at
from neurovault_ica.runtime.files import replacing
from neurovault_ica.statistics.thresholds import Thresholds

# Number of characters of a title that fits at full size. A longer title is drawn smaller.
LONGEST_TITLE = 85
# A longer name is cut to this number of characters in the title.
LONGEST_NAME = 120
# The same for names in the overview: a name that fits at full size, and the longest one that is not cut.
OVERVIEW_NAME, LONGEST_OVERVIEW_NAME = 35, 52
LINE = "#2f9e44"


def title_of(label: str, names: Names) -> str:
    """Write a component's title: ``ICA_03  motor; hand``."""
    return f"{label}  {shown_text(names.name, LONGEST_NAME)}" if names.name else label


def draw_component(volume: Volume, template: Volume, box: Box, scale: Scale, *, title: str, facts: str) -> Sheet:
    """Draw one component: three slices through its peak, eight axial slices, and the colour bar.

    The axial slices have the same heights in all figures, so that components can be compared.
    """
    gap, bar_mm = 6, 110
    widths = [box.shape(axis)[0] for axis in range(3)]
    tallest = box.shape(2)[1]
    sheet_mm = len(AXIAL_CUTS_MM) * (widths[2] + gap) + gap
    zoom = (sheet_mm - bar_mm - 4 * gap) / sum(widths)
    upper = tallest + 46
    top = upper + tallest * zoom
    sheet = Sheet(sheet_mm, top + 70, inches=11)
    sheet.text(gap, top + 50, title, fontsize=min(15, 15 * LONGEST_TITLE / len(title)), fontweight="bold", va="center")
    sheet.text(gap, top + 22, facts, fontsize=9.5, color=FAINT, va="center")

    peak = peak_of(volume)
    left = float(gap)
    for axis, name in enumerate("xyz"):
        width = box.shape(axis)[0]
        corner = (left, float(upper))
        draw_panel(sheet, volume, template, box, scale, axis=axis, at_mm=peak[axis], corner=corner, magnification=zoom)
        _draw_crosshair(sheet, box, axis, peak, corner, zoom)
        _draw_sides(sheet, box, axis, corner, zoom)
        place = f"{name} = {with_minus(f'{peak[axis]:.0f}')}"
        sheet.text(left + width * zoom / 2, upper - 4, place, fontsize=10, ha="center", va="top")
        left += width * zoom + gap
    _draw_colour_bar(sheet, scale, left=left + 26, bottom=upper + 0.16 * tallest * zoom, height=0.62 * tallest * zoom)

    for number, height_mm in enumerate(AXIAL_CUTS_MM):
        corner = (gap + number * (widths[2] + gap), 16)
        draw_panel(sheet, volume, template, box, scale, axis=2, at_mm=height_mm, corner=corner)
        place = f"z = {with_minus(str(height_mm))}"
        sheet.text(corner[0] + widths[2] / 2, 13, place, fontsize=9, ha="center", va="top")
    return sheet


def _draw_crosshair(sheet: Sheet, box: Box, axis: int, peak: Point, corner: Place, zoom: float) -> None:
    """Draw a crosshair at the peak, with a gap around it."""
    across, up = in_plane(axis)
    width, height = box.shape(axis)
    x = corner[0] + (peak[across] - box.low[across] + 0.5) * zoom
    y = corner[1] + (peak[up] - box.low[up] + 0.5) * zoom
    hole = 9 * zoom
    level = [(corner[0], x - hole), (x + hole, corner[0] + width * zoom)]
    upright = [(corner[1], y - hole), (y + hole, corner[1] + height * zoom)]
    ends = [((start, y), (end, y)) for start, end in level if start < end]
    ends += [((x, start), (x, end)) for start, end in upright if start < end]
    sheet.lines(ends, color=LINE, linewidth=0.8, alpha=0.9, zorder=2)


def _draw_sides(sheet: Sheet, box: Box, axis: int, corner: Place, zoom: float) -> None:
    """Write L and R on coronal and axial slices."""
    if axis == 0:
        return
    width, height = box.shape(axis)
    style = {"fontsize": 10, "va": "top", "color": FAINT}
    sheet.text(corner[0] + 4 * zoom, corner[1] + (height - 3) * zoom, "L", **style)
    sheet.text(corner[0] + (width - 4) * zoom, corner[1] + (height - 3) * zoom, "R", ha="right", **style)


def _draw_colour_bar(sheet: Sheet, scale: Scale, *, left: float, bottom: float, height: float) -> None:
    """Draw the colour bar over the full symmetric range. Values below the threshold are grey."""
    levels = np.linspace(-scale.brightest, scale.brightest, 401)
    painted = paint(levels[:, None], np.full((len(levels), 1), 0.75), scale)
    sheet.picture(painted, left, bottom, 16, height)
    marked = (-scale.brightest, -scale.negative_threshold, scale.threshold, scale.brightest)
    values = [value for value in marked if abs(value) <= scale.brightest]
    heights = [bottom + height * (value + scale.brightest) / (2 * scale.brightest) for value in values]
    sheet.lines([((left + 16, y), (left + 20, y)) for y in heights], color=INK, linewidth=0.8)
    for value, y in zip(values, heights, strict=True):
        sheet.text(left + 23, y, with_minus(f"{value:.1f}"), fontsize=9, va="center")
    sheet.text(left + 8, bottom + height + 10, "SD", fontsize=9, ha="center", va="bottom", color=FAINT)


def draw_thumbnail(volume: Volume, template: Volume, box: Box, scale: Scale) -> npt.NDArray[np.uint8]:
    """Draw three slices through the peak side by side, one pixel per mm, transparent outside the brain.

    Returns
    -------
    array of shape (height, width, 4)
        The first row is the bottom of the picture.
    """
    peak = peak_of(volume)
    tallest = box.shape(2)[1]
    cuts = []
    for axis in range(3):
        anatomy = cut(template, box, axis, peak[axis])
        painted = paint(cut(volume, box, axis, peak[axis]), anatomy, scale)
        alpha = np.where((painted != 255).any(axis=2), 255, 0).astype(np.uint8)
        below = (tallest - anatomy.shape[0]) // 2
        above = tallest - anatomy.shape[0] - below
        cuts.append(np.pad(np.dstack([painted, alpha]), ((below, above), (0, 0), (0, 0))))
    return np.hstack(cuts)


def save_thumbnail(path: str, pixels: npt.NDArray[np.uint8]) -> None:
    """Write a thumbnail as a PNG."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        write_png(stream, pixels[::-1])


def read_thumbnail(path: str) -> npt.NDArray[np.uint8]:
    """Read a thumbnail; the first row is the bottom, as in `draw_thumbnail`."""
    return np.asarray(Image.open(path))[::-1]


def draw_overview(thumbnails: Sequence[npt.NDArray[np.uint8]], titles: Sequence[str]) -> Sheet:
    """Draw the thumbnails of all components with their titles."""
    columns = 4
    gap, caption = 22, 52
    tallest, width = thumbnails[0].shape[:2]
    cell_width, cell_height = width + gap, tallest + caption
    n_rows = -(-len(thumbnails) // columns)
    sheet = Sheet(columns * cell_width + gap, n_rows * cell_height + gap, inches=13)
    for number, (thumbnail, title) in enumerate(zip(thumbnails, titles, strict=True)):
        row, column = divmod(number, columns)
        left = float(gap + column * cell_width)
        bottom = gap / 2 + (n_rows - 1 - row) * cell_height
        label, _, terms = title.partition("  ")
        sheet.text(left, bottom + tallest + 14, label, fontsize=10.5, fontweight="bold", va="center")
        colour = FAINT if terms.startswith(UNNAMED) else INK
        size = 9 * min(1, OVERVIEW_NAME / max(len(terms), 1))
        name = shown_text(terms, LONGEST_OVERVIEW_NAME)
        sheet.text(left + 100, bottom + tallest + 14, name, fontsize=max(size, 6), va="center", color=colour)
        sheet.picture(thumbnail, left, bottom, width, tallest)
    return sheet


def facts_of(stability: Mapping[str, Any], limits: Thresholds, display: Display) -> str:
    """Write the line below the title: variance, grey matter, threshold and, if measured, stability."""
    facts = [f"{100 * stability['variance_explained']:.1f} % of variance"]
    if stability["iq_restarts"] is not None:
        facts.append(f"over restarts Iq {stability['iq_restarts']:.2f}")
    if stability["r_bootstraps"] is not None:
        facts.append(f"over collections |r| {stability['r_bootstraps']:.2f}")
    facts.append(f"in grey matter {100 * stability['grey_matter_share']:.0f} %")
    shown = f"shown: {shown_values(limits, display.threshold)}"
    facts.append(f"{shown}, clusters ≥ {display.min_cluster_mm3:g} mm³" if display.min_cluster_mm3 else shown)
    return "   ·   ".join(facts)


def shown_values(limits: Thresholds, threshold: Mapping[str, float]) -> str:
    """Write which values are shown: ``|value| ≥ 1.54 SD (90th percentile)``."""
    if "mixture" not in threshold:
        how = f" ({threshold['percentile']:g}th percentile)" if "percentile" in threshold else ""
        return f"|value| ≥ {limits.positive:.2f} SD{how}"
    parts = [f"≥ {limits.positive:.2f}"] if np.isfinite(limits.positive) else []
    parts += [f"≤ \u2212{limits.negative:.2f}"] if np.isfinite(limits.negative) else []
    if not parts:
        return "nothing, as noise explains all values"
    return f"{' or '.join(parts)} SD (P(active) > {threshold['mixture']:g})"


class SharedInputs(NamedTuple):
    """Inputs shared by the figures of all components."""

    maps: Maps
    brain: Volume
    box: Box
    display: Display
    regions: Regions | None


class Paths(NamedTuple):
    """Where to write the figures of one component."""

    figure: str
    thumbnail: str
    mixture: str | None  # None unless the threshold comes from a mixture model


class Drawn(NamedTuple):
    """Results of `plot_component`, in addition to the figures."""

    scale: Scale
    peaks: list[dict[str, Any]]
    mixture: dict[str, Any] | None


def plot_component(study: SharedInputs, number: int, stability: Mapping[str, Any], title: str, paths: Paths) -> Drawn:
    """Draw one component and find its peaks.

    Parameters
    ----------
    study : SharedInputs
    number : int
        Index of the component in `study.maps`.
    stability : mapping
        Row of the component in desc-ICA_stability.tsv.
    title : str
    paths : Paths
    """
    label, values = stability["component"], study.maps.values[number]
    shown, scale, limits, fit = show(study.maps, number, study.display)
    if fit and not fit.converged:
        logging.warning("%s: the mixture model did not converge; check the fit in its figure", label)
    facts = facts_of(stability, limits, study.display)
    draw_component(shown, study.brain, study.box, scale, title=title, facts=facts).save(paths.figure, title=title)
    save_thumbnail(paths.thumbnail, draw_thumbnail(shown, study.brain, study.box, scale))
    if fit and paths.mixture:
        drawn = draw_mixture(fit, limits, values, f"{label}: {shown_values(limits, study.display.threshold)}")
        save_figure(drawn, paths.mixture, title=f"Mixture of {label}")
    peaks = [
        {"component": label, **row, "region": region_at(study.regions, (row["x"], row["y"], row["z"]))}
        for row in find_peaks(shown, scale.threshold, scale.negative_threshold)
    ]
    return Drawn(scale, peaks, {"component": label, **mixture_row(fit, limits, values)} if fit else None)
