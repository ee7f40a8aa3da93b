"""Draw components beside reference networks, and the matrix of their correlations."""

import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from neurovault_ica.figures.brain_bar import draw_flat_bar, ends_of
from neurovault_ica.figures.component import draw_place, draw_sides
from neurovault_ica.figures.matrix import Labels
from neurovault_ica.figures.sheet import Sheet, shown_text, with_minus
from neurovault_ica.figures.short_names import fit_name
from neurovault_ica.figures.shown import Shown
from neurovault_ica.figures.slices import Box, draw_panel
from neurovault_ica.figures.style import FAINT, INK, LINE_MM, NARROW_MM, TITLE, WIDE_MM, wrap
from neurovault_ica.images.maps import Volume
from neurovault_ica.images.peaks import peak_of
from neurovault_ica.naming.networks import Matches
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q, is_significant
from neurovault_ica.types import Array, Row

# A matrix with more columns cannot be read. If there are more networks, only matches are shown.
MOST_NETWORKS_SHOWN = 30
MATRIX_COLOURS = mpl.colormaps["Blues"]
# Names are cut to this number of characters, or to the width of their place.
LONGEST = 80
# mm: longest name above the matrix, labels at its left, between slices, and below slices for places and a colour bar.
NAME_MM, LABEL_MM, GAP, BELOW = 42.0, 12.0, 1.2, 10.5
# mm: largest cell of the matrix, and the smallest one that has room for a number.
LARGEST_CELL, CELL_OF_NUMBER = 8.0, 5.6


def evidence_of(row: Row, kind: str) -> str:
    """Write the correlation of a component with its best or matched network.

    An example: ``r 0.62, of the positive side 0.66; p 0.001, q 0.004``.

    Parameters
    ----------
    row : dict
        Row of desc-ICA_networks.tsv.
    kind : {"best", "matched"}
    """
    r, positive_r = (with_minus(format(row[f"{kind}_{name}"], ".2f")) for name in ("r", "positive_r"))
    text = f"r {r}, of the positive side {positive_r}"
    if row[f"{kind}_p"] is None:
        return f"{text}; not tested"
    return f"{text}; p {row[f'{kind}_p']:.2g}, q {row[f'{kind}_q']:.2g}"


def draw_match(
    maps: Sequence[Shown],
    headings: Sequence[tuple[str, str]],
    template: Volume,
    box: Box,
) -> Sheet:
    """Draw maps side by side, all sliced through the peak of the first map.

    Parameters
    ----------
    maps : sequence of Shown
        The component, its best network, and its matched network if that differs.
    headings : sequence of (str, str)
        Title and second line of each map.
    template : Volume
    box : Box
        The part of the brain to show.
    """
    group = WIDE_MM / max(len(maps), 2)
    room = group - 2 * GAP
    names_of = [fit_name(title, room, 2, TITLE, bold=True) for title, _ in headings]
    facts_of = [wrap(re.sub(r"\b([pqr]) ", "\\1\u00a0", facts), room, 2) for _, facts in headings]
    widths = [box.shape(axis)[0] for axis in range(3)]
    zoom = (group - 4 * GAP) / sum(widths)
    tallest = box.shape(2)[1] * zoom
    title_mm, facts_mm = (max(map(len, lines)) * step for lines, step in ((names_of, 3.8), (facts_of, LINE_MM)))
    sheet = Sheet(BELOW + tallest + facts_mm + title_mm + 2.5)
    peak = peak_of(maps[0].volume)
    for number, (shown, names, facts) in enumerate(zip(maps, names_of, facts_of, strict=True)):
        left, top = GAP + number * group, BELOW + tallest + facts_mm + title_mm + 1.5
        for order, line in enumerate(names):
            sheet.text(left, top - 3.8 * (order + 0.5), line, fontsize=TITLE, fontweight="bold", va="center")
        for order, line in enumerate(facts):
            sheet.text(left, top - title_mm - LINE_MM * (order + 0.5), line, color=FAINT, va="center")
        # A network may have any unit.
        unit = "" if number else "SD"
        ends = ends_of(shown.volume.data, shown.scale)
        draw_flat_bar(sheet, shown.scale, ends, left=left + 4, top=BELOW - 4.5, length=room - 12, unit=unit)
        for axis in range(3):
            width, height = (length * zoom for length in box.shape(axis))
            corner = (left, BELOW + (tallest - height) / 2)
            options: dict[str, Any] = {"axis": axis, "at_mm": peak[axis], "corner": corner, "magnification": zoom}
            draw_panel(sheet, shown.volume, template, box, shown.scale, **options)
            draw_sides(sheet, axis, corner, (width, height))
            draw_place(sheet, axis, peak[axis], (left + width / 2, BELOW - 0.6))
            left += width + GAP
    return sheet


def networks_shown(matches: Matches, n_networks: int) -> list[int]:
    """Order networks for the matrix: matched networks in the order of their components, then the others.

    With more than `MOST_NETWORKS_SHOWN` networks, only those that are the best for some component follow.
    """
    first = [int(network) for network in matches.matched if network >= 0]
    others = range(n_networks) if n_networks <= MOST_NETWORKS_SHOWN else sorted(set(matches.best.tolist()))
    return first + [network for network in others if network not in first]


def draw_network_correlations(r: Array, rows: Sequence[Row], matches: Matches, names: Sequence[str]) -> Sheet:
    """Draw |r| of components and networks as a matrix. Matched pairs have a frame, significant best pairs are bold."""
    shown = networks_shown(matches, r.shape[1])
    fits = (NARROW_MM - LABEL_MM - 1) / len(shown) >= CELL_OF_NUMBER
    width = NARROW_MM if fits else WIDE_MM
    cell = min(LARGEST_CELL, (width - LABEL_MM - 1) / len(shown))
    tall = max(cell if cell < CELL_OF_NUMBER else 4.0, LINE_MM)
    lines = max(1, min(int(cell / LINE_MM), 2))
    texts = ["\n".join(wrap(shown_text(names[network], LONGEST), NAME_MM, lines)) for network in shown]
    # Narrow columns have their names on two levels, and very narrow ones have none.
    labels = Labels(texts, 1 if cell >= LINE_MM else 2) if cell >= LINE_MM / 2 else Labels([], 0)
    has_numbers = cell >= CELL_OF_NUMBER
    best = "Bold" if has_numbers else "Dot"
    foot, top = 3 * LINE_MM, 0.5 + labels.depth_mm
    height = len(rows) * tall
    sheet = Sheet(foot + height + top, width_mm=width)
    sheet.text(1, 1.6 * LINE_MM, "|r| over the common mask. Frame: matched one to one.", color=FAINT, va="center")
    is_tested = any(row["best_q"] is not None for row in rows)
    meaning = f"{best}: best network of the component, q < {SIGNIFICANT_Q}." if is_tested else "Not tested."
    sheet.text(1, 0.6 * LINE_MM, meaning, color=FAINT, va="center")
    for column, label in enumerate(labels.texts):
        x, up = LABEL_MM + (column + 0.5) * cell, column % labels.n_levels * labels.level_mm
        sheet.text(x, foot + height + 0.8 + up, label, rotation=90, ha="center", va="bottom")
        if up:
            sheet.lines([((x, foot + height), (x, foot + height + up))], color=FAINT, linewidth=0.4)
    if not labels.texts:
        sheet.text(LABEL_MM, foot + height + 1, f"{len(shown)} networks", color=FAINT)
    for number, row in enumerate(rows):
        y = foot + height - (number + 1) * tall
        sheet.text(LABEL_MM - 1, y + tall / 2, row["component"], ha="right", va="center")
        for column, network in enumerate(shown):
            size = float(abs(r[number, network]))
            x = LABEL_MM + column * cell
            sheet.bar(x, y, cell, tall, facecolor=MATRIX_COLOURS(size), edgecolor="white", linewidth=0.3)
            if matches.matched[number] == network:
                sheet.bar(x + 0.2, y + 0.2, cell - 0.4, tall - 0.4, fill=False, edgecolor=INK, linewidth=0.8)
            is_best = is_significant(row["best_q"]) and matches.best[number] == network
            ink = "white" if size > 0.55 else INK
            style = {"ha": "center", "va": "center", "color": ink, "fontweight": "bold" if is_best else "normal"}
            if has_numbers:
                sheet.text(x + cell / 2, y + tall / 2, f"{size:.2f}", **style)
            elif is_best:
                sheet.bar(x + cell / 2 - 0.4, y + tall / 2 - 0.4, 0.8, 0.8, facecolor=ink)
    if not has_numbers:
        _draw_bar(sheet, float(np.abs(r).max()), right=WIDE_MM - 8, bottom=LINE_MM)
    return sheet


def _draw_bar(sheet: Sheet, highest: float, *, right: float, bottom: float) -> None:
    """Draw the colour bar of the matrix, from 0 to the largest |r|."""
    length = 40.0
    colours = MATRIX_COLOURS(np.linspace(0, highest, 200), bytes=True)[None, :, :3]
    sheet.picture(colours, right - length, bottom, length, 2.5)
    sheet.text(right - length - 1, bottom + 1.2, "|r| 0", ha="right", va="center", color=FAINT)
    sheet.text(right + 1, bottom + 1.2, f"{highest:.2f}", va="center", color=FAINT)
