"""Draw components beside reference networks, and the matrix of their correlations."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.patches import Rectangle

from neurovault_ica.figures.sheet import FAINT, INK, Sheet, shown_text, with_minus
from neurovault_ica.figures.shown import Shown
from neurovault_ica.figures.slices import Box, draw_panel
from neurovault_ica.images.maps import Volume
from neurovault_ica.images.peaks import peak_of
from neurovault_ica.naming.networks import Matches
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q, is_significant
from neurovault_ica.types import Array, Row

# A matrix with more columns cannot be read. If there are more networks, only matches are shown.
MOST_NETWORKS_SHOWN = 30
MATRIX_COLOURS = mpl.colormaps["Blues"]
# Titles above maps, and names of networks above the matrix, are cut to these numbers of characters.
LONGEST_TITLE, LONGEST_NAME = 40, 30


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
    gap, caption = 8, 62
    widths = [box.shape(axis)[0] for axis in range(3)]
    group, tallest = sum(widths) + 6 * gap, box.shape(2)[1]
    sheet = Sheet(len(maps) * group, tallest + caption + gap, inches=4.4 * len(maps))
    peak = peak_of(maps[0].volume)
    for number, (shown, (title, facts)) in enumerate(zip(maps, headings, strict=True)):
        left = float(gap + number * group)
        sheet.text(left, tallest + 46, shown_text(title, LONGEST_TITLE), fontsize=11, fontweight="bold", va="center")
        sheet.text(left, tallest + 22, facts, fontsize=8.5, color=FAINT, va="center")
        for axis in range(3):
            width, height = box.shape(axis)
            corner = (left, gap + (tallest - height) / 2)
            draw_panel(sheet, shown.volume, template, box, shown.scale, axis=axis, at_mm=peak[axis], corner=corner)
            left += width + gap
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
    cell, left, bottom = 24, 70, 44
    top = 12 + 5.6 * min(LONGEST_NAME, max(len(names[network]) for network in shown))
    width, height = max(len(shown), 16) * cell, len(rows) * cell
    sheet = Sheet(left + width + 30, bottom + height + top, inches=(left + width + 30) / 75)
    sheet.text(left, 24, "|r| over the common mask.   Frame: matched one to one.", fontsize=9, color=FAINT, va="center")
    sheet.text(
        left, 8, f"Bold: best network of the component, q < {SIGNIFICANT_Q}.", fontsize=9, color=FAINT, va="center"
    )
    for column, network in enumerate(shown):
        x = left + (column + 0.5) * cell
        name = shown_text(names[network], LONGEST_NAME)
        sheet.text(x, bottom + height + 5, name, fontsize=8.5, rotation=90, ha="center", va="bottom")
    for number, row in enumerate(rows):
        y = bottom + height - (number + 1) * cell
        sheet.text(left - 5, y + cell / 2, row["component"], fontsize=8.5, ha="right", va="center")
        for column, network in enumerate(shown):
            size = float(abs(r[number, network]))
            x = left + column * cell
            sheet.axes.add_patch(Rectangle((x, y), cell, cell, facecolor=MATRIX_COLOURS(size), edgecolor="white"))
            if matches.matched[number] == network:
                frame = Rectangle((x + 1, y + 1), cell - 2, cell - 2, fill=False, edgecolor=INK, linewidth=1.4)
                sheet.axes.add_patch(frame)
            bold = "bold" if is_significant(row["best_q"]) and matches.best[number] == network else "normal"
            ink = "white" if size > 0.55 else INK
            style = {"fontsize": 7, "ha": "center", "va": "center", "color": ink, "fontweight": bold}
            sheet.text(x + cell / 2, y + cell / 2, f"{size:.2f}", **style)
    return sheet
