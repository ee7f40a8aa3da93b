"""Draw the loadings of collections and the similarity of components."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from neurovault_ica.figures.sheet import shown_text
from neurovault_ica.figures.style import INK, LINE_MM, WIDE_MM, add_axes, add_bar, new_figure, shorten, text_mm
from neurovault_ica.naming.names import Names
from neurovault_ica.types import Real

# Largest number of collections drawn. More rows would be unreadable on one page.
MOST_COLLECTIONS = 60
# Names of rows and columns are cut to this number of characters, or to the width of their place.
LONGEST_NAME = 200
# mm: longest names of collections and of components, largest cell, margin, and a colour bar with its labels.
COLLECTION_MM, COMPONENT_MM, LARGEST_CELL, MARGIN, BAR_MM = 64.0, 56.0, 7.0, 1.5, 12.0
# mm: rows and columns have names from this size on, so that lines of text do not overlap.
LEAST_CELL = 2.6


def order_rows(rows: Real) -> list[int]:
    """Order rows so that similar ones are neighbours."""
    if len(rows) < 3:
        return list(range(len(rows)))
    return leaves_list(linkage(rows, "average", optimal_ordering=True)).tolist()


def order_by_similarity(similarity: Real) -> list[int]:
    """Order items so that similar ones are neighbours, given the matrix of their similarities (at most 1)."""
    if len(similarity) < 3:
        return list(range(len(similarity)))
    distance = np.clip(1 - (similarity + similarity.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True)).tolist()


def axis_labels(labels: Sequence[str], names: Mapping[str, Names]) -> list[str]:
    """Write each component's label and name: ``ICA_03 motor; hand``."""
    return [shown_text(f"{label} {names[label].name}".rstrip(), LONGEST_NAME) for label in labels]


def draw_loadings(means: Real, collections: Sequence[str], components: Sequence[str]) -> Figure:
    """Draw the mean correlations of collections with components, similar collections next to each other.

    Parameters
    ----------
    means : array of shape (n_collections, n_components)
    collections, components : list of str
    """
    # If there are too many collections, those with the weakest correlations are left out.
    strongest = np.sort(np.argsort(-np.abs(means).max(axis=1), kind="stable")[:MOST_COLLECTIONS])
    chosen = strongest[order_rows(means[strongest])]
    limit = float(np.abs(means).max()) or 1.0
    rows = names_of([collections[row] for row in chosen], COLLECTION_MM)
    columns = names_of(components, COMPONENT_MM)
    left = 2 * MARGIN + max(map(text_mm, rows))
    cell = min(LARGEST_CELL, (WIDE_MM - left - MARGIN) / len(columns))
    above, tall = label_mm(columns, cell), LINE_MM * len(rows)
    figure = new_figure(above + tall + BAR_MM + MARGIN)
    axes = add_axes(figure, left, BAR_MM, cell * len(columns), tall)
    picture = axes.imshow(means[chosen], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    write_labels(axes, rows=rows, columns=columns, cell=cell, line=LINE_MM)
    length = min(60.0, WIDE_MM - left)
    label = "mean correlation of its images with the component"
    add_bar(figure, picture, label, left=left, top=BAR_MM, length=length)
    return figure


def draw_similarity(overlap: Real, likeness: Real | None, components: Sequence[str]) -> Figure:
    """Draw the similarity of components in space and in terms, similar components next to each other.

    Parameters
    ----------
    overlap : array of shape (n_components, n_components)
        Dice's coefficients.
    likeness : array of shape (n_components, n_components) or None
        Correlations of the components' term weights. None if there are no terms.
    components : list of str
    """
    order = order_by_similarity(overlap if likeness is None else (overlap + likeness) / 2)
    names = [components[number] for number in order]
    panels = [(overlap, "Greens", 0.0, "overlap in space (Dice)")]
    if likeness is not None:
        panels.append((likeness, "RdBu_r", -1.0, "correlation of the terms' weights"))
    columns, names = [name.partition(" ")[0] for name in names], names_of(names, COMPONENT_MM)
    left = 2 * MARGIN + max(map(text_mm, names))
    # Side by side, or one below the other if the names would not fit.
    is_wide = len(panels) > 1 and (WIDE_MM - left - 3 * MARGIN) / 2 >= LEAST_CELL * len(names)
    n_columns = len(panels) if is_wide else 1
    room = WIDE_MM - left - MARGIN if n_columns == 1 else (WIDE_MM - left - 3 * MARGIN) / 2
    cell = min(LARGEST_CELL, room / len(names))
    side = cell * len(names)
    row_mm = label_mm(columns, cell) + side + BAR_MM + MARGIN
    n_rows = len(panels) // n_columns
    figure = new_figure(n_rows * row_mm)
    for number, (values, colours, lowest, label) in enumerate(panels):
        row, column = divmod(number, n_columns)
        corner = left + column * (room + 2 * MARGIN), (n_rows - 1 - row) * row_mm + BAR_MM
        shown = values[np.ix_(order, order)].copy()
        # The diagonal is 1. If it were drawn, differences between the other values would be hard to see.
        np.fill_diagonal(shown, np.nan)
        highest = max(float(np.nanmax(shown, initial=0)), 0.01) if lowest == 0 else 1.0
        axes = add_axes(figure, *corner, side, side)
        picture = axes.imshow(shown, cmap=colours, vmin=lowest, vmax=highest, interpolation="none")
        write_labels(axes, rows=[] if column else names, columns=columns, cell=cell, line=cell)
        add_bar(figure, picture, label, left=corner[0] + 2, top=corner[1], length=min(60.0, side - 4))
    return figure


def names_of(names: Sequence[str], longest_mm: float) -> list[str]:
    """Shorten names to a width."""
    return [shorten(shown_text(name, LONGEST_NAME), longest_mm) for name in names]


def label_mm(columns: Sequence[str], cell: float) -> float:
    """Return the height of the names above columns of a width: room for all names, or for none."""
    return 2 * MARGIN + (max(map(text_mm, columns)) if cell >= LEAST_CELL else LINE_MM)


def write_labels(axes: Axes, *, rows: Sequence[str], columns: Sequence[str], cell: float, line: float) -> None:
    """Write the names of all rows and all columns if they have this width and height (mm), or say their number."""
    style: dict[str, Any] = {"parse_math": False, "color": INK}
    axes.set(xticks=[], yticks=[])
    axes.xaxis.set_label_position("top")
    if line >= LEAST_CELL:
        axes.set_yticks(range(len(rows)), rows, **style)
    if cell >= LEAST_CELL:
        axes.set_xticks(range(len(columns)), columns, rotation=90, **style)
    else:
        axes.set_xlabel(f"{len(columns)} components, in the order of the table")
    axes.tick_params(length=0, labeltop=True, labelbottom=False, pad=2)
