"""Draw one component with slices and colour bar, and its thumbnail."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from neurovault_ica.figures.brain_bar import draw_brain_bar, ends_of, extent_of
from neurovault_ica.figures.mixture import draw_mixture, mixture_row
from neurovault_ica.figures.png import write_png
from neurovault_ica.figures.sheet import Place, Sheet, is_drawn, save_figure, shown_text, with_minus
from neurovault_ica.figures.shown import Display, Shown, show
from neurovault_ica.figures.slices import AXIAL_CUTS_MM, Box, Scale, cut, draw_panel, in_plane, paint
from neurovault_ica.figures.style import FAINT, LINE_MM, TITLE, WIDE_MM, shorten, text_mm
from neurovault_ica.images.maps import Maps, Volume
from neurovault_ica.images.peaks import Point, find_peaks, peak_of
from neurovault_ica.naming.names import ComponentName
from neurovault_ica.naming.regions import Regions, region_at
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.wording import ordinal
from neurovault_ica.statistics.thresholds import Thresholds

# Largest number of characters of a name in a title. A longer name is shortened.
LONGEST_NAME = 120
LINE = "#2f9e44"
# mm of the page: between slices, and at the right for the colour bar.
GAP, BAR = 1.2, 18.0
# Space between the facts below a title.
BETWEEN = "   ·   "


def title_of(label: str, name: ComponentName) -> str:
    """Write a component's title: ``ICA_03  motor; hand``."""
    return f"{label}  {shown_text(name.name, LONGEST_NAME)}" if name.name else label


def draw_component(shown: Shown, template: Volume, box: Box, *, title: str, facts: str) -> Sheet:
    """Draw one component: three slices through its peak, eight axial slices, and the colour bar.

    The axial slices have the same heights in all figures, so that components can be compared.
    """
    widths = [box.shape(axis)[0] for axis in range(3)]
    tallest = box.shape(2)[1]
    zoom = (WIDE_MM - BAR - 4 * GAP) / sum(widths)
    small = (WIDE_MM - (len(AXIAL_CUTS_MM) + 1) * GAP) / len(AXIAL_CUTS_MM) / widths[2]
    lines = break_facts(facts, WIDE_MM - 2 * GAP)
    upper = tallest * small + 2 * (LINE_MM + 1)
    top = upper + tallest * zoom
    sheet = Sheet(top + LINE_MM * len(lines) + 8)
    sheet.text(GAP, top + LINE_MM * len(lines) + 4.5, shorten(title, WIDE_MM - 2 * GAP, TITLE, bold=True),
               fontsize=TITLE, fontweight="bold", va="center")  # fmt: skip
    for number, line in enumerate(reversed(lines)):
        sheet.text(GAP, top + 1.5 + LINE_MM * number, line, color=FAINT, va="center")

    peak = peak_of(shown.volume)
    left = GAP
    for axis in range(3):
        width = box.shape(axis)[0] * zoom
        corner = (left, upper)
        _draw_cut(sheet, shown, template, box, axis=axis, at_mm=peak[axis], corner=corner, zoom=zoom)
        _draw_crosshair(sheet, box, axis, peak, corner, zoom)
        draw_place(sheet, axis, peak[axis], (left + width / 2, upper - 0.6))
        left += width + GAP
    height = 0.6 * tallest * zoom
    draw_brain_bar(
        sheet,
        shown.scale,
        ends_of(shown.volume.data, shown.scale),
        left=left + 2.5,
        bottom=upper + 0.16 * tallest * zoom,
        height=height,
    )

    for number, height_mm in enumerate(AXIAL_CUTS_MM):
        corner = (GAP + number * (widths[2] * small + GAP), LINE_MM + 0.8)
        _draw_cut(sheet, shown, template, box, axis=2, at_mm=height_mm, corner=corner, zoom=small)
        draw_place(sheet, 2, height_mm, (corner[0] + widths[2] * small / 2, LINE_MM + 0.3))
    return sheet


def break_facts(facts: str, width_mm: float) -> list[str]:
    """Break the facts below a title into lines, between facts."""
    lines = [""]
    for fact in facts.split(BETWEEN):
        longer = f"{lines[-1]}{BETWEEN}{fact}" if lines[-1] else fact
        if lines[-1] and text_mm(longer) > width_mm:
            lines.append(fact)
        else:
            lines[-1] = longer
    return lines


def _draw_cut(
    sheet: Sheet, shown: Shown, template: Volume, box: Box, *, axis: int, at_mm: float, corner: Place, zoom: float
) -> None:
    """Draw a slice, with L and R if it is coronal or axial."""
    draw_panel(
        sheet, shown.volume, template, box, shown.scale, axis=axis, at_mm=at_mm, corner=corner, magnification=zoom
    )
    draw_sides(sheet, axis, corner, [length * zoom for length in box.shape(axis)])


def draw_sides(sheet: Sheet, axis: int, corner: Place, size: Sequence[float]) -> None:
    """Write L and R in the upper corners of a coronal or axial slice."""
    if axis == 0:
        return
    style = {"va": "top", "color": FAINT}
    sheet.text(corner[0], corner[1] + size[1], "L", **style)
    sheet.text(corner[0] + size[0], corner[1] + size[1], "R", ha="right", **style)


def draw_place(sheet: Sheet, axis: int, at_mm: float, top: Place) -> None:
    """Write where a slice is, such as ``x = 56``, below its middle."""
    sheet.text(*top, f"{'xyz'[axis]} = {with_minus(f'{at_mm:.0f}')}", ha="center", va="top")


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
    sheet.lines(ends, color=LINE, linewidth=0.6, alpha=0.9, zorder=2)


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
        alpha = np.where(is_drawn(painted), 255, 0).astype(np.uint8)
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


def facts_of(stability: Mapping[str, Any], limits: Thresholds, display: Display, *, is_empty: bool = False) -> str:
    """Write the line below the title: variance, stability if measured, grey matter, flags and threshold.

    `is_empty` tells that no voxel is shown.
    """
    facts = [f"{100 * stability['variance_explained']:.1f} % of variance"]
    if stability["iq_restarts"] is not None:
        facts.append(f"Iq across restarts {stability['iq_restarts']:.2f}")
    if stability["r_bootstraps"] is not None:
        facts.append(f"|r| across bootstraps of collections {stability['r_bootstraps']:.2f}")
    facts.append(f"{100 * stability['grey_matter_share']:.0f} % in grey matter")
    if stability["flags"]:
        facts.append(f"flagged: {stability['flags'].replace(',', ', ')}")
    shown = shown_values(limits, display.threshold)
    extent = "; no voxel reaches this" if is_empty else extent_of(display.min_cluster_mm3)
    facts.append(f"shown: {shown}{extent}")
    return BETWEEN.join(facts)


def shown_values(limits: Thresholds, threshold: Mapping[str, float]) -> str:
    """Write which values are shown: ``|value| ≥ 1.54 SD (90th percentile)``."""
    if "mixture" not in threshold:
        how = f" ({ordinal(threshold['percentile'])} percentile)" if "percentile" in threshold else ""
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
    peak: Point  # where the slices are
    peaks: list[dict[str, Any]]
    mixture: dict[str, Any] | None
    is_empty: bool  # no voxel reaches the threshold


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
    shown = show(study.maps, number, study.display)
    scale, limits, mixture = shown.scale, shown.limits, shown.fit
    if mixture and not mixture.converged:
        logging.warning("%s: the mixture model did not converge; check the fit in its figure", label)
    is_empty = "mixture" not in study.display.threshold and ends_of(shown.volume.data, scale) == (0, 0)
    facts = facts_of(stability, limits, study.display, is_empty=is_empty)
    draw_component(shown, study.brain, study.box, title=title, facts=facts).save(paths.figure, title=title)
    save_thumbnail(paths.thumbnail, draw_thumbnail(shown.volume, study.brain, study.box, scale))
    if mixture and paths.mixture:
        drawn = draw_mixture(mixture, limits, values, f"{label}: {shown_values(limits, study.display.threshold)}")
        save_figure(drawn, paths.mixture, title=f"Mixture of {label}")
    peaks = [
        {"component": label, **row, "region": region_at(study.regions, (row["x"], row["y"], row["z"]))}
        for row in find_peaks(shown.volume, scale.threshold, scale.negative_threshold)
    ]
    return Drawn(
        scale,
        peak_of(shown.volume),
        peaks,
        {"component": label, **mixture_row(mixture, limits, values)} if mixture else None,
        is_empty,
    )
