"""Draw the components for paper and report; write their thresholded maps and peaks."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import nibabel as nib
import numpy as np
import numpy.typing as npt
from drawing import (
    DPI,
    FAINT,
    INK,
    Box,
    Limits,
    Scale,
    Sheet,
    cut,
    draw_panel,
    in_plane,
    paint,
    read_template,
    save_figure,
    scale_of,
    shown_text,
    with_minus,
)
from matplotlib.figure import Figure
from mixture import Mixture, activation_thresholds, fit_mixture
from names import MARKS, choose_names, write_names
from outputs import read_table, remove_stale, replacing, write_table
from peaks import Point, Volume, find_peaks, peak_of
from PIL import Image
from regions import read_regions, region_at
from significance import SIGNIFICANT_Q
from smoothness import count_resels
from stage_log import log_to, progress
from threadpoolctl import threadpool_limits

Array = npt.NDArray[np.floating[Any]]

TERMS_IN_BARS = 6
LONGEST_TERM = 40
# Characters of a title at full size; a longer one is drawn smaller.
LONGEST_TITLE = 85
AXIAL_CUTS_MM = (-40, -26, -12, 2, 16, 30, 44, 58)
LINE, POSITIVE_LINE, NEGATIVE_LINE = "#2f9e44", "#d9480f", "#1f62cf"
HISTOGRAM_BINS = 200
# Kinds of bars in the terms figure, and what its legend says.
BARS = {
    "significant": f"filled, *: q < {SIGNIFICANT_Q}",
    "chance": f"hollow: q ≥ {SIGNIFICANT_Q}, may be chance",
    "untested": "grey: not tested",
}


class Term(NamedTuple):
    """A term of a component."""

    name: str
    weight: float
    q: float | None  # false discovery rate; None if not tested


def limits_of(values: Array, threshold: Mapping[str, float], fit: Mixture | None) -> Limits:
    """Turn the configured threshold into values.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        One component over the mask.
    threshold : mapping
        ``{"percentile": 90}`` of the absolute values, as nilearn's example; ``{"z": 3}``, in standard deviations: the
        maps have unit variance; or ``{"mixture": 0.5}``, the probability of activation by `fit`.
    fit : Mixture or None
        Only for the last.
    """
    if fit is not None:
        lowest, highest = float(values.min()), float(values.max())
        return Limits(*activation_thresholds(fit, threshold["mixture"], lowest=lowest, highest=highest))
    if "percentile" in threshold:
        limit = float(np.percentile(np.abs(values), threshold["percentile"]))
        return Limits(limit, limit)
    return Limits(float(threshold["z"]), float(threshold["z"]))


def fit_mixtures(components: Iterable[Array], inside: npt.NDArray[np.bool_]) -> list[Mixture]:
    """Fit each component's values (over the mask `inside`) with noise and activation."""
    fits = [fit_mixture(values, count_resels(values, inside)) for values in components]
    for number, fit in enumerate(fits):
        if not fit.converged:
            logging.warning("component %d: the fit of its mixture has not converged; see its figure", number)
    return fits


def mixture_row(fit: Mixture, limits: Limits, values: Array) -> dict[str, Any]:
    """Tabulate a fitted mixture without the component."""
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


def write_mixtures(
    table: str,
    figures: Sequence[str],
    labels: Sequence[str],
    fits: Sequence[Mixture],
    limits: Sequence[Limits],
    components: Sequence[Array],
    *,
    probability: float,
) -> None:
    """Write the table of fitted mixtures, and draw each."""
    rows = [mixture_row(*fitted) for fitted in zip(fits, limits, components, strict=True)]
    write_table(table, [{"component": label, **row} for label, row in zip(labels, rows, strict=True)])
    for figure, label, fit, limit, values in zip(figures, labels, fits, limits, components, strict=True):
        title = f"{label}: {shown_values(limit, {'mixture': probability})}"
        save_figure(draw_mixture(fit, limit, values, title), figure, title=f"Mixture of {label}")


def draw_mixture(fit: Mixture, limits: Limits, values: Array, title: str) -> Figure:
    """Draw the histogram of a component with the fitted densities, on a logarithmic scale: tails are rare."""
    figure = Figure(figsize=(7.2, 3.9), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    counts, edges = np.histogram(values, HISTOGRAM_BINS, density=True)
    axes.stairs(counts, edges, fill=True, color="#d5dae0", label="voxels of the mask")
    x = np.linspace(edges[0], edges[-1], 1200)
    noise, positive, negative = fit.densities(x)
    axes.plot(x, noise + positive + negative, color=INK, linewidth=0.9, linestyle=":", label="sum")
    mean = with_minus(f"{round(fit.mean, 2) + 0.0:.2f}")
    axes.plot(x, noise, color=FAINT, linewidth=1.6, label=f"noise: mean {mean}, SD {fit.sd:.2f}")
    for name, tail, density, colour in (
        ("positive", fit.positive, positive, POSITIVE_LINE),
        ("negative", fit.negative, negative, NEGATIVE_LINE),
    ):
        if tail.weight:
            label = f"{name}: {100 * tail.weight:.1f} %, shape {tail.shape:.2f}, scale {tail.scale:.2f}"
            axes.plot(x, density, color=colour, linewidth=1.6, label=label)
    for limit, colour in ((limits.positive, POSITIVE_LINE), (-limits.negative, NEGATIVE_LINE)):
        if np.isfinite(limit):
            axes.axvline(limit, color=colour, linewidth=1, linestyle="--")
    # One voxel in one bin is the lowest that a histogram can show.
    lowest = 0.5 / (len(values) * (edges[1] - edges[0]))
    axes.set(yscale="log", ylim=(lowest, 3 * max(counts.max(), noise.max())), xlim=(edges[0], edges[-1]))
    axes.set_xlabel("value of the component (SD)")
    axes.set_ylabel("density")
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def top_terms(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Term]]:
    """Collect the terms of each component by rank."""
    by_component: dict[str, list[Term]] = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        by_component.setdefault(row["component"], []).append(Term(row["term"] or "", row["weight"], row["q"]))
    return by_component


def title_of(label: str, terms: Sequence[Term]) -> str:
    """Write a component's title: ``ICA_03  motor, hand``, or ``ICA_03  n.s. (task)`` where no term is significant."""
    words, mark = choose_names([(term.name, term.q) for term in terms])
    named = write_names([shown_text(word, LONGEST_TERM) for word in words], mark)
    return f"{label}  {named}" if named else label


def draw_component(volume: Volume, template: Volume, box: Box, scale: Scale, *, title: str, facts: str) -> Sheet:
    """Draw one component: three cuts through its peak, eight axial cuts at fixed heights, the colour bar.

    The axial cuts are the same for all components, so that figures can be laid side by side.
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


def _draw_crosshair(sheet: Sheet, box: Box, axis: int, peak: Point, corner: tuple[float, float], zoom: float) -> None:
    across, up = in_plane(axis)
    width, height = box.shape(axis)
    x = corner[0] + (peak[across] - box.low[across] + 0.5) * zoom
    y = corner[1] + (peak[up] - box.low[up] + 0.5) * zoom
    style: dict[str, Any] = {"color": LINE, "linewidth": 0.8, "alpha": 0.9, "zorder": 2}
    hole = 9 * zoom
    for start, end in ((corner[0], x - hole), (x + hole, corner[0] + width * zoom)):
        if start < end:
            sheet.axes.plot([start, end], [y, y], **style)
    for start, end in ((corner[1], y - hole), (y + hole, corner[1] + height * zoom)):
        if start < end:
            sheet.axes.plot([x, x], [start, end], **style)


def _draw_sides(sheet: Sheet, box: Box, axis: int, corner: tuple[float, float], zoom: float) -> None:
    if axis == 0:
        return
    width, height = box.shape(axis)
    style = {"fontsize": 10, "va": "top", "color": FAINT}
    sheet.text(corner[0] + 4 * zoom, corner[1] + (height - 3) * zoom, "L", **style)
    sheet.text(corner[0] + (width - 4) * zoom, corner[1] + (height - 3) * zoom, "R", ha="right", **style)


def _draw_colour_bar(sheet: Sheet, scale: Scale, *, left: float, bottom: float, height: float) -> None:
    """Draw the colour bar over the full, symmetrical range; grey is what is below the threshold."""
    levels = np.linspace(-scale.brightest, scale.brightest, 401)
    painted = paint(levels[:, None], np.full((len(levels), 1), 0.75), scale)
    sheet.picture(painted, left, bottom, 16, height)
    for value in (-scale.brightest, -scale.negative_threshold, scale.threshold, scale.brightest):
        if abs(value) > scale.brightest:
            continue
        y = bottom + height * (value + scale.brightest) / (2 * scale.brightest)
        sheet.axes.plot([left + 16, left + 20], [y, y], color=INK, linewidth=0.8)
        sheet.text(left + 23, y, with_minus(f"{value:.1f}"), fontsize=9, va="center")
    sheet.text(left + 8, bottom + height + 10, "SD", fontsize=9, ha="center", va="bottom", color=FAINT)


def draw_thumbnail(volume: Volume, template: Volume, box: Box, scale: Scale) -> npt.NDArray[np.uint8]:
    """Draw three cuts through the peak side by side, one pixel a mm, transparent around the brain.

    Returns
    -------
    array of shape (height, width, 4)
        The first row is the lowest.
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
    with replacing(path) as temporary:
        Image.fromarray(pixels[::-1]).save(temporary)


def draw_overview(thumbnails: Sequence[npt.NDArray[np.uint8]], titles: Sequence[str]) -> Sheet:
    """Draw all components small, each cut through its peak."""
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
        colour = FAINT if terms.startswith(MARKS) else INK
        sheet.text(left + 100, bottom + tallest + 14, shown_text(terms, 38), fontsize=9, va="center", color=colour)
        sheet.picture(thumbnail, left, bottom, width, tallest)
    return sheet


def draw_terms(labels: Sequence[str], terms: Mapping[str, Sequence[Term]]) -> Sheet:
    """Draw the strongest terms of each component as bars, as long as their share of the component's strongest."""
    columns, cell_width, line, head, legend = 4, 300, 17, 30, 30
    cell_height = head + TERMS_IN_BARS * line + 16
    n_rows = -(-len(labels) // columns)
    width, height = columns * cell_width, n_rows * cell_height + 10 + legend
    sheet = Sheet(width, height, inches=13)
    drawn: set[str] = set()
    for number, label in enumerate(labels):
        row, column = divmod(number, columns)
        left, top = column * cell_width + 12, height - 8 - row * cell_height
        sheet.text(left, top - 12, label, fontsize=11, fontweight="bold", va="center")
        shown = terms.get(label, [])[:TERMS_IN_BARS]
        if not shown:
            sheet.text(left, top - head - 8, "no terms", fontsize=9.5, va="center", color=FAINT)
            continue
        longest = max(max(term.weight for term in shown), 0)
        middle, room = left + 140, cell_width - 24 - 140 - 34
        for order, term in enumerate(shown):
            y = top - head - 8 - order * line
            sheet.text(middle - 6, y, shown_text(term.name, 24), fontsize=9.5, va="center", ha="right")
            length = room * term.weight / longest if longest and term.weight > 0 else 0
            kind = kind_of(term.q)
            drawn.add(kind)
            _draw_bar(sheet, middle, y, length, kind)
            number_text = with_minus(f"{term.weight:.3g}") + (" *" if kind == "significant" else "")
            sheet.text(middle + length + 4, y, number_text, fontsize=8, va="center", color=FAINT)
    place = 12
    for kind, meaning in BARS.items():
        if kind in drawn:
            _draw_bar(sheet, place, legend / 2, 26, kind)
            sheet.text(place + 32, legend / 2, meaning, fontsize=9.5, va="center", color=FAINT)
            place += cell_width
    return sheet


def kind_of(q: float | None) -> str:
    """Tell how a term's bar is drawn, a key of `BARS`."""
    if q is None:
        return "untested"
    return "significant" if q < SIGNIFICANT_Q else "chance"


def _draw_bar(sheet: Sheet, left: float, middle: float, length: float, kind: str) -> None:
    """Draw a bar that is filled when significant, hollow when not, grey when not tested."""
    colour = "#aab2bb" if kind == "untested" else "#3b6fb6"
    fill = "none" if kind == "chance" else colour
    sheet.axes.barh(middle, length, left=left, height=11, color=fill, edgecolor=colour, linewidth=1)


def facts_of(stability: Mapping[str, Any], limits: Limits, threshold: Mapping[str, float]) -> str:
    """Say in a line what a reader of the figure must know."""
    facts = [f"{100 * stability['variance_explained']:.1f} % of variance"]
    if stability["iq_restarts"] is not None:
        facts.append(f"over restarts Iq {stability['iq_restarts']:.2f}")
    if stability["r_bootstraps"] is not None:
        facts.append(f"over collections |r| {stability['r_bootstraps']:.2f}")
    facts.append(f"shown: {shown_values(limits, threshold)}")
    return "   ·   ".join(facts)


def shown_values(limits: Limits, threshold: Mapping[str, float]) -> str:
    """Say which values are shown: ``|value| ≥ 1.54 SD (90th percentile)``."""
    if "mixture" not in threshold:
        how = f"{threshold['percentile']:g}th percentile" if "percentile" in threshold else "fixed"
        return f"|value| ≥ {limits.positive:.2f} SD ({how})"
    parts = [f"≥ {limits.positive:.2f}"] if np.isfinite(limits.positive) else []
    parts += [f"≤ \u2212{limits.negative:.2f}"] if np.isfinite(limits.negative) else []
    if not parts:
        return "nothing, as noise explains all values"
    return f"{' or '.join(parts)} SD (P(active) > {threshold['mixture']:g})"


def main(
    *,
    components: str,
    mask: str,
    template: str,
    stability: str,
    terms: str,
    figures: list[str],
    thumbnails: list[str],
    overview: str,
    terms_figure: str,
    thresholded: str,
    thresholds: str,
    peaks: str,
    mixture: str | Sequence[str],
    mixture_figures: Sequence[str],
    threshold: Mapping[str, float],
    atlas: str | None,
    atlas_names: str | None,
) -> None:
    """Draw every component, the overview and the terms; write thresholded maps, thresholds and peaks.

    `mixture` is empty, and there are no `mixture_figures`, where the threshold is not by a mixture.
    """
    # An earlier run may have had more components, another grid, or another kind of threshold.
    remove_stale(overview, "ICA_*.png", keep=[*figures, *thumbnails, *mixture_figures])
    pictures = [*figures, *mixture_figures]
    remove_stale(overview, "ICA_*.pdf", keep=[Path(picture).with_suffix(".pdf") for picture in pictures])
    if not isinstance(mixture, str):
        remove_stale(overview, "desc-ICA_mixture.*")
    remove_stale(thresholded, "space-*_thresholded.nii.gz")
    img = nib.load(components)
    maps = np.asarray(img.dataobj, dtype=np.float32)
    inside = np.asarray(nib.load(mask).dataobj) > 0
    stabilities = read_table(stability)
    if not maps.shape[-1] == len(figures) == len(stabilities):
        raise ValueError(
            f"{maps.shape[-1]} component maps, {len(stabilities)} rows in {stability}, {len(figures)} figures asked"
            " for; delete results/run_ica and run again"
        )
    mpl.rcdefaults()
    brain, box = read_template(template)
    labels = [row["component"] for row in stabilities]
    terms_of = top_terms(read_table(terms))
    titles = [title_of(label, terms_of.get(label, [])) for label in labels]
    volumes = [Volume(maps[..., number], img.affine) for number in range(len(labels))]
    values = [volume.data[inside] for volume in volumes]
    fits: Sequence[Mixture | None] = [None] * len(labels)
    if "mixture" in threshold:
        fits = fit_mixtures(values, inside)
    limits = [limits_of(component, threshold, fit) for component, fit in zip(values, fits, strict=True)]
    scales = [scale_of(component, limit) for component, limit in zip(values, limits, strict=True)]
    regions = read_regions(atlas, atlas_names) if atlas else None

    found, small = [], []
    for number in progress(range(len(labels)), total=len(labels), unit="component"):
        volume, scale = volumes[number], scales[number]
        for row in find_peaks(volume, scale.threshold, scale.negative_threshold):
            region = region_at(regions, (row["x"], row["y"], row["z"])) if regions else None
            found.append({"component": labels[number], **row, "region": region})
        facts = facts_of(stabilities[number], limits[number], threshold)
        sheet = draw_component(volume, brain, box, scale, title=titles[number], facts=facts)
        sheet.save(figures[number], title=titles[number])
        small.append(draw_thumbnail(volume, brain, box, scale))
        save_thumbnail(thumbnails[number], small[-1])
    if isinstance(mixture, str):
        fitted = [fit for fit in fits if fit is not None]
        write_mixtures(mixture, mixture_figures, labels, fitted, limits, values, probability=threshold["mixture"])
    write_table(peaks, found)
    write_table(
        thresholds,
        [{"component": label, **scale._asdict()} for label, scale in zip(labels, scales, strict=True)],
    )
    draw_overview(small, titles).save(overview, title="All components")
    draw_terms(labels, terms_of).save(terms_figure, title="Terms of all components")
    for volume, scale in zip(volumes, scales, strict=True):
        volume.data[(volume.data < scale.threshold) & (volume.data > -scale.negative_threshold)] = 0
    with replacing(thresholded) as temporary:
        nib.save(nib.Nifti1Image(maps, img.affine, img.header), temporary)
    logging.info("%d components drawn, %d peaks", len(labels), len(found))


if __name__ == "__main__":
    log_to(snakemake.log[0])
    # Small products: threads would only wait for each other, and the last bit must not depend on their number.
    with threadpool_limits(1):
        main(**snakemake.input, **snakemake.output, **snakemake.params)
