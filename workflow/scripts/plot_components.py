"""Draw the components for paper and report; write their thresholded maps and peaks.

All pictures of a sheet lie in one matplotlib axes whose unit is the millimetre (of brain, times the panel's
magnification) and are coloured here: a figure takes a third of a second instead of two. No template is resampled: both
it and the map are read at the points of the cut.
"""

import logging
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_lowercase
from typing import Any, NamedTuple

import matplotlib as mpl
import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_template
from outputs import read_table, replacing, write_table
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy import ndimage
from stage_log import log_to, progress

Array = npt.NDArray[np.floating[Any]]
Point = tuple[float, float, float]

TERMS_IN_TITLE = 3
TERMS_IN_BARS = 6
LONGEST_TERM = 40
# Characters of a title at full size; a longer one is drawn smaller.
LONGEST_TITLE = 85
AXIAL_CUTS_MM = (-40, -26, -12, 2, 16, 30, 44, 58)
# Beyond this percentile of |map| the colours no longer change: one bright voxel must not pale all others.
BRIGHTEST_PERCENTILE = 99.98
MIN_CLUSTER_MM3 = 80.0
MIN_PEAK_DISTANCE_MM = 8.0
MOST_SUBPEAKS = 3
DPI = 150
# Less than half the time of zlib's usual 6, for files a tenth larger.
COMPRESSION = 3

# Yellow-red against cyan-blue differ for the colour-blind too, and in print by their names in the caption.
POSITIVE = LinearSegmentedColormap.from_list("positive", ["#a3000d", "#e3331a", "#fb8c26", "#ffe14d"])
NEGATIVE = LinearSegmentedColormap.from_list("negative", ["#0b2a86", "#1f62cf", "#3fa7ea", "#b4f0f5"])
INK, FAINT, LINE = "#1b1f24", "#5b6570", "#2f9e44"


class Volume(NamedTuple):
    """A 3-D map and where it is."""

    data: npt.NDArray[np.float32]  # (nx, ny, nz)
    affine: npt.NDArray[np.float64]  # (4, 4), voxel to mm


class Box(NamedTuple):
    """The part of MNI space that is shown: lowest and highest coordinate of the brain."""

    low: tuple[int, int, int]  # mm
    high: tuple[int, int, int]  # mm

    def shape(self, axis: int) -> tuple[int, int]:
        """Return width and height in mm of a cut across `axis`."""
        across, up = in_plane(axis)
        return self.high[across] - self.low[across] + 1, self.high[up] - self.low[up] + 1


class Scale(NamedTuple):
    """What is shown of a map, and where the colours end; both absolute values."""

    threshold: float
    brightest: float


def threshold_of(values: Array, threshold: Mapping[str, float]) -> float:
    """Turn the configured threshold into a value.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        One component over the mask.
    threshold : mapping
        ``{"percentile": 90}`` of the absolute values, as nilearn's example, or ``{"z": 3}``, in standard deviations:
        the maps have unit variance.
    """
    if "percentile" in threshold:
        return float(np.percentile(np.abs(values), threshold["percentile"]))
    return float(threshold["z"])


def find_peaks(volume: Volume, threshold: float) -> list[dict[str, Any]]:
    """List clusters and the peaks in them, as nilearn's ``get_clusters_table(two_sided=True)`` does.

    nilearn's own passes over the volume once for each cluster: 15 s for a component with 250 of them. Clusters
    (voxels that share a face) are numbered by their peaks, positive ones first; peaks in one cluster are at least
    8 mm apart, at most three beside the highest. Clusters under 80 mm3 are left out, except that of the highest peak.

    Returns
    -------
    list of dict
        Rows of peaks.tsv without the component.
    """
    voxel_mm3 = abs(np.linalg.det(volume.affine[:3, :3]))
    rows: list[dict[str, Any]] = []
    number = 0
    for sign in (1, -1):
        for voxels, peaks in _clusters(sign * volume.data, volume.affine, threshold):
            volume_mm3 = round(voxels * voxel_mm3, 3)
            if volume_mm3 < MIN_CLUSTER_MM3 and rows:
                continue
            number += 1
            for order, (value, point) in enumerate(peaks):
                rows.append(
                    {
                        "peak": f"{number}{ascii_lowercase[order - 1] if order else ''}",
                        **dict(zip("xyz", point, strict=True)),
                        "value": round(sign * value, 4),
                        "volume_mm3": None if order else volume_mm3,
                    }
                )
    return rows


def _clusters(data: Array, affine: Array, threshold: float) -> list[tuple[int, list[tuple[float, Point]]]]:
    """Return size in voxels and peaks of each cluster of positive values, highest peak first."""
    above = (data >= threshold) & (data > 0)
    if not above.any():
        return []
    # Nothing outside this box reaches the threshold, so no maximum in it has a higher neighbour outside.
    box = ndimage.find_objects(above.astype(np.int8))[0]
    data, above = data[box], above[box]
    labels, n_clusters = ndimage.label(above)
    sizes = np.bincount(labels.ravel(), minlength=n_clusters + 1)
    is_maximum = above & (data == ndimage.maximum_filter(data, 3))
    # A cluster's highest voxel counts even where it touches, edge to edge, a higher one of another cluster.
    voxels = np.argwhere(above)
    by_label = np.lexsort((-data[above], labels[above]))
    _, first = np.unique(labels[above][by_label], return_index=True)
    is_maximum[tuple(voxels[by_label[first]].T)] = True
    maxima = np.argwhere(is_maximum)
    values = data[tuple(maxima.T)]
    points = apply_affine(affine, maxima + [side.start for side in box])
    order = np.lexsort((*maxima.T, -values))
    peaks: dict[int, list[tuple[float, Point]]] = {}
    for index in order:
        found = peaks.setdefault(int(labels[tuple(maxima[index])]), [])
        point = points[index]
        if len(found) > MOST_SUBPEAKS:
            continue
        if all(np.linalg.norm(point - other) > MIN_PEAK_DISTANCE_MM for _, other in found):
            x, y, z = (round(float(mm), 3) + 0.0 for mm in point)
            found.append((float(values[index]), (x, y, z)))
    return [(int(sizes[label]), found) for label, found in peaks.items()]


def peak_of(volume: Volume) -> Point:
    """Find the largest value's place in mm; the sign rule of run_ica makes it the largest absolute value too."""
    index = np.unravel_index(volume.data.argmax(), volume.data.shape)
    x, y, z = apply_affine(volume.affine, index)
    return float(x), float(y), float(z)


def top_terms(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[str, float]]]:
    """Collect term and weight of each component by rank."""
    by_component: dict[str, list[tuple[str, float]]] = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        by_component.setdefault(row["component"], []).append((row["term"] or "", row["weight"]))
    return by_component


def title_of(label: str, terms: Iterable[str]) -> str:
    """Write a component's title: ``ICA_03  motor, hand, finger``."""
    named = ", ".join(shown_text(term, LONGEST_TERM) for term in list(terms)[:TERMS_IN_TITLE])
    return f"{label}  {named}" if named else label


def shown_text(text: str, longest: int) -> str:
    """Make text from the network fit to be drawn: no control characters, nothing the font lacks, not too long."""
    known = _font_characters()
    kept = "".join(
        (character if ord(character) in known else "\ufffd")
        for character in " ".join(text.split())
        if not unicodedata.category(character).startswith("C")
    )
    return kept if len(kept) <= longest else kept[: longest - 1].rstrip() + "…"


def with_minus(number: str) -> str:
    """Write a number with a true minus sign."""
    return number.replace("-", "\u2212")


def _font_characters() -> Mapping[int, int]:
    return get_font(findfont("DejaVu Sans")).get_charmap()


def in_plane(axis: int) -> tuple[int, int]:
    """Return the axes that run across and up in a cut across `axis` (0 sagittal, 1 coronal, 2 axial)."""
    return ((1, 2), (0, 2), (0, 1))[axis]


def cut(volume: Volume, box: Box, axis: int, at_mm: float) -> npt.NDArray[np.float32]:
    """Read a plane of the volume by linear interpolation, whatever its affine.

    Returns
    -------
    array of shape (height, width)
        One value for each mm; the first row is the lowest.
    """
    across, up = in_plane(axis)
    mm: list[Any] = [at_mm, at_mm, at_mm]
    mm[across] = np.arange(box.low[across], box.high[across] + 1)[None, :]
    mm[up] = np.arange(box.low[up], box.high[up] + 1)[:, None]
    inverse = np.linalg.inv(volume.affine)
    # Written out, because a matrix product may differ in its last bit with the number of threads.
    voxel = [row[0] * mm[0] + row[1] * mm[1] + row[2] * mm[2] + row[3] for row in inverse[:3]]
    return ndimage.map_coordinates(volume.data, np.broadcast_arrays(*voxel), order=1, mode="constant", cval=0.0)


def paint(values: Array, anatomy: Array, scale: Scale) -> npt.NDArray[np.uint8]:
    """Colour a cut: the map where it reaches the threshold, the brain in grey elsewhere, white around it.

    Parameters
    ----------
    values, anatomy : array of shape (height, width)
        The map; the template from 0 (none) to 1.

    Returns
    -------
    array of shape (height, width, 3)
    """
    grey = np.where(anatomy > 0, 0.12 + 0.8 * anatomy, 1.0)
    painted = np.repeat(grey[..., None], 3, axis=2)
    strength = Normalize(scale.threshold, scale.brightest, clip=True)
    for shown, colours in ((values >= scale.threshold, POSITIVE), (values <= -scale.threshold, NEGATIVE)):
        shown &= values != 0
        painted[shown] = colours(strength(np.abs(values[shown])))[:, :3]
    return np.round(255 * painted).astype(np.uint8)


def scale_of(values: Array, threshold: float) -> Scale:
    """Decide where the colours end; always above the threshold, so that the colour bar has a length."""
    brightest = float(np.percentile(np.abs(values), BRIGHTEST_PERCENTILE))
    return Scale(threshold, max(brightest, threshold * 1.25, threshold + 0.1))


class Sheet:
    """A figure with one axes in mm, upward from the lower left corner, on which panels are placed."""

    def __init__(self, width_mm: float, height_mm: float, *, inches: float) -> None:
        self.figure = Figure(figsize=(inches, inches * height_mm / width_mm), dpi=DPI, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width_mm), ylim=(0, height_mm))
        self.axes.axis("off")

    def picture(self, painted: npt.NDArray[np.uint8], left: float, bottom: float, width: float, height: float) -> None:
        """Place a painted cut."""
        self.axes.imshow(
            painted,
            origin="lower",
            extent=(left, left + width, bottom, bottom + height),
            interpolation="bilinear",
            aspect="auto",
            zorder=1,
        )

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text as it is: terms may contain ``$`` and ``_``."""
        self.axes.text(x, y, text, parse_math=False, **{"color": INK, "zorder": 4, **style})

    def save(self, path: str, *, title: str) -> None:
        """Write a PNG without version and time, so that the same maps give the same bytes; without alpha, too."""
        self.canvas.draw()
        pixels = np.asarray(self.canvas.buffer_rgba())[..., :3]
        text = PngInfo()
        text.add_itxt("Title", title)
        with replacing(path) as temporary:
            Image.fromarray(pixels).save(temporary, dpi=(DPI, DPI), pnginfo=text, compress_level=COMPRESSION)


def draw_panel(
    sheet: Sheet,
    volume: Volume,
    template: Volume,
    box: Box,
    scale: Scale,
    *,
    axis: int,
    at_mm: float,
    corner: tuple[float, float],
    magnification: float = 1,
) -> None:
    """Draw one cut with its lower left corner at `corner`."""
    width, height = box.shape(axis)
    painted = paint(cut(volume, box, axis, at_mm), cut(template, box, axis, at_mm), scale)
    sheet.picture(painted, *corner, width * magnification, height * magnification)


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
    for value in (-scale.brightest, -scale.threshold, scale.threshold, scale.brightest):
        y = bottom + height * (value + scale.brightest) / (2 * scale.brightest)
        sheet.axes.plot([left + 16, left + 20], [y, y], color=INK, linewidth=0.8)
        sheet.text(left + 23, y, with_minus(f"{value:.1f}"), fontsize=9, va="center")
    sheet.text(left + 8, bottom + height + 10, "SD", fontsize=9, ha="center", va="bottom", color=FAINT)


def draw_overview(
    volumes: Sequence[Volume], scales: Sequence[Scale], titles: Sequence[str], template: Volume, box: Box
) -> Sheet:
    """Draw all components small, each cut through its peak."""
    columns = 4
    gap, caption = 22, 52
    widths = [box.shape(axis)[0] for axis in range(3)]
    tallest = box.shape(2)[1]
    cell_width, cell_height = sum(widths) + gap, tallest + caption
    n_rows = -(-len(volumes) // columns)
    sheet = Sheet(columns * cell_width + gap, n_rows * cell_height + gap, inches=13)
    for number, (volume, scale, title) in enumerate(zip(volumes, scales, titles, strict=True)):
        row, column = divmod(number, columns)
        left = float(gap + column * cell_width)
        bottom = gap / 2 + (n_rows - 1 - row) * cell_height
        label, _, terms = title.partition("  ")
        sheet.text(left, bottom + tallest + 14, label, fontsize=10.5, fontweight="bold", va="center")
        sheet.text(left + 100, bottom + tallest + 14, shown_text(terms, 38), fontsize=9, va="center", color=FAINT)
        peak = peak_of(volume)
        for axis in range(3):
            width, height = box.shape(axis)
            corner = (left, bottom + (tallest - height) / 2)
            draw_panel(sheet, volume, template, box, scale, axis=axis, at_mm=peak[axis], corner=corner)
            left += width
    return sheet


def draw_terms(labels: Sequence[str], terms: Mapping[str, Sequence[tuple[str, float]]]) -> Sheet:
    """Draw the strongest terms of each component as bars, as long as their share of the component's strongest."""
    columns, cell_width, line, head = 4, 300, 17, 30
    cell_height = head + TERMS_IN_BARS * line + 16
    n_rows = -(-len(labels) // columns)
    width, height = columns * cell_width, n_rows * cell_height + 10
    sheet = Sheet(width, height, inches=13)
    for number, label in enumerate(labels):
        row, column = divmod(number, columns)
        left, top = column * cell_width + 12, height - 8 - row * cell_height
        sheet.text(left, top - 12, label, fontsize=11, fontweight="bold", va="center")
        shown = terms.get(label, [])[:TERMS_IN_BARS]
        if not shown:
            sheet.text(left, top - head - 8, "no terms", fontsize=9.5, va="center", color=FAINT)
            continue
        longest = max(max(weight for _, weight in shown), 0)
        middle, room = left + 140, cell_width - 24 - 140 - 34
        for order, (term, weight) in enumerate(shown):
            y = top - head - 8 - order * line
            sheet.text(middle - 6, y, shown_text(term, 24), fontsize=9.5, va="center", ha="right")
            length = room * weight / longest if longest and weight > 0 else 0
            sheet.axes.barh(y, length, left=middle, height=11, color="#3b6fb6")
            sheet.text(middle + length + 4, y, with_minus(f"{weight:.3g}"), fontsize=8, va="center", color=FAINT)
    return sheet


def facts_of(stability: Mapping[str, Any], scale: Scale, threshold: Mapping[str, float]) -> str:
    """Say in a line what a reader of the figure must know."""
    how = f"{threshold['percentile']:g}th percentile" if "percentile" in threshold else "fixed"
    facts = [f"{100 * stability['variance_explained']:.1f} % of variance"]
    if stability["iq_restarts"] is not None:
        facts.append(f"over restarts Iq {stability['iq_restarts']:.2f}")
    if stability["r_bootstraps"] is not None:
        facts.append(f"over collections |r| {stability['r_bootstraps']:.2f}")
    facts.append(f"shown: |value| ≥ {scale.threshold:.2f} SD ({how})")
    return "   ·   ".join(facts)


def read_template() -> tuple[Volume, Box]:
    """Read nilearn's MNI152 template at 1 mm and the box around its brain."""
    img = load_mni152_template(resolution=1)
    data = np.asarray(img.dataobj, dtype=np.float32)
    inside = np.argwhere(data > 0)
    corners = apply_affine(img.affine, [inside.min(axis=0), inside.max(axis=0)])
    low, high = corners.min(axis=0) - 2, corners.max(axis=0) + 2
    return Volume(data / data.max(), img.affine), Box(tuple(map(int, low)), tuple(map(int, high)))  # type: ignore[arg-type]


def main(
    *,
    components: str,
    mask: str,
    stability: str,
    terms: str,
    figures: list[str],
    overview: str,
    terms_figure: str,
    thresholded: str,
    peaks: str,
    threshold: Mapping[str, float],
) -> None:
    """Draw every component, the overview and the terms; write thresholded maps and peaks."""
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
    template, box = read_template()
    labels = [row["component"] for row in stabilities]
    terms_of = top_terms(read_table(terms))
    titles = [title_of(label, [term for term, _ in terms_of.get(label, [])]) for label in labels]
    volumes = [Volume(maps[..., number], img.affine) for number in range(len(labels))]
    scales = [scale_of(volume.data[inside], threshold_of(volume.data[inside], threshold)) for volume in volumes]

    found = []
    for number in progress(range(len(labels)), total=len(labels), unit="component"):
        volume, scale = volumes[number], scales[number]
        found += [{"component": labels[number], **row} for row in find_peaks(volume, scale.threshold)]
        facts = facts_of(stabilities[number], scale, threshold)
        sheet = draw_component(volume, template, box, scale, title=titles[number], facts=facts)
        sheet.save(figures[number], title=titles[number])
    write_table(peaks, found)
    draw_overview(volumes, scales, titles, template, box).save(overview, title="All components")
    draw_terms(labels, terms_of).save(terms_figure, title="Terms of all components")
    for volume, scale in zip(volumes, scales, strict=True):
        volume.data[np.abs(volume.data) < scale.threshold] = 0
    with replacing(thresholded) as temporary:
        nib.save(nib.Nifti1Image(maps, img.affine, img.header), temporary)
    logging.info("%d components drawn, %d peaks", len(labels), len(found))


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
