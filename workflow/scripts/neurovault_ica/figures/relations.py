"""Draw the loadings of collections and the similarity of components."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from neurovault_ica.figures.matrix import (
    BAR_MM,
    COMPONENT_MM,
    LARGEST_CELL,
    LEAST_CELL,
    MARGIN,
    TERM_MM,
    Labels,
    fit_labels,
    lay_out,
    write_columns,
    write_rows,
)
from neurovault_ica.figures.short_names import explain_names, label_of
from neurovault_ica.figures.style import LINE_MM, TALLEST_MM, WIDE_MM, add_axes, add_bar, add_note, new_figure
from neurovault_ica.naming.names import ComponentName
from neurovault_ica.types import Real

# Notes in the lower left corner.
IDS_FOR_NAMES = "ids: long names, in loadings.tsv"
CUT_NAMES = "…: whole names in desc-ICA_names.tsv"
# Largest number of collections drawn. More rows would be unreadable on one page.
MOST_COLLECTIONS = 60


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


def axis_labels(labels: Sequence[str], names: Mapping[str, ComponentName]) -> list[str]:
    """Write each component's label and name: ``ICA_03 motor; hand``."""
    return [f"{label} {names[label].name}".rstrip() for label in labels]


def draw_loadings(
    means: Real, collections: Sequence[str], components: Sequence[str], ids: Sequence[Any] | None = None
) -> Figure:
    """Draw the mean correlations of collections with components, similar collections next to each other.

    Parameters
    ----------
    means : array of shape (n_collections, n_components)
    collections, components : list of str
    ids : sequence, optional
        Ids of the collections, which replace names that have no room. If not given, they are the numbers of the rows.
    """
    # If there are too many collections, those with the weakest correlations are left out.
    strongest = np.sort(np.argsort(-np.abs(means).max(axis=1), kind="stable")[:MOST_COLLECTIONS])
    chosen = strongest[order_rows(means[strongest])]
    names = [collections[row] for row in chosen]
    short = [f"collection {row if ids is None else ids[row]}" for row in chosen]
    label = "mean correlation of its images with the component"
    return draw_named(means[chosen], names, components, label=label, shorter=[(IDS_FOR_NAMES, short)])


def draw_named(
    values: Real,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    label: str,
    square: bool = False,
    shorter: Sequence[tuple[str, Sequence[str]]] = (),
    note: str = "",
) -> Figure:
    """Draw a matrix with the names of its rows and of its columns, which are components.

    Parameters
    ----------
    values : array of shape (n_rows, n_columns)
        The colours of both signs end at the largest absolute value.
    rows, columns : sequence of str
    label : str
        Of the colour bar.
    square : bool
        Whether rows are as high as columns are wide, if the page has room. Otherwise, they are as high as their names.
    shorter : sequence of (str, sequence of str)
        For rows whose names are too long: a note, and the shorter names that it explains. Without these, names are cut.
    note : str
        In the lower left corner.
    """
    layout = lay_out(rows, columns, [names for _, names in shorter])
    notes = [note] if note else []
    notes += _explain(columns if layout.cell >= LEAST_CELL else (), layout.columns)
    notes += [about for about, names in shorter if (set(names) - set(rows)) & set(layout.names)]
    # More than three lines of notes are higher than the colour bar.
    bottom = max(BAR_MM, 2.5 + LINE_MM * len("\n".join(notes).split("\n")))
    height = min(layout.cell, (TALLEST_MM - layout.columns.depth_mm - bottom - MARGIN) / len(rows))
    line = max(layout.line, height) if square else layout.line
    limit = float(np.abs(values).max()) or 1.0
    tall = line * len(rows)
    figure = new_figure(layout.columns.depth_mm + tall + bottom + MARGIN)
    axes = add_axes(figure, layout.left, bottom, layout.cell * len(columns), tall)
    picture = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    write_rows(axes, layout.rows)
    write_columns(axes, layout.columns, len(columns))
    add_bar(figure, picture, label, left=layout.left, top=bottom, length=min(60.0, WIDE_MM - layout.left - MARGIN))
    add_note(figure, "\n".join(notes), room=layout.left)
    return figure


def _explain(titles: Sequence[str], labels: Labels) -> list[str]:
    """Return the notes that explain the names of components as they are drawn."""
    is_cut = any(text.endswith("…") for text in labels.texts)
    return [note for note in (explain_names(titles), CUT_NAMES if is_cut else "") if note]


def draw_similarity(overlap: Real, likeness: Real | None, components: Sequence[str]) -> Figure:
    """Draw the similarity of components in space and in terms, similar components next to each other.

    Many components share one matrix: similarity in space above the diagonal, and in terms below it.

    Parameters
    ----------
    overlap : array of shape (n_components, n_components)
        Dice's coefficients.
    likeness : array of shape (n_components, n_components) or None
        Correlations of the components' term weights. None if there are no terms.
    components : list of str
    """
    order = order_by_similarity(overlap if likeness is None else (overlap + likeness) / 2)
    names, n = [components[number] for number in order], len(order)
    panels = [(overlap, "Greens", 0.0, "overlap in space (Dice)")]
    if likeness is not None:
        panels.append((likeness, "RdBu_r", -1.0, "correlation of term weights"))
    # Try in turn, until the cells are large enough: panels side by side, one matrix, one matrix with shorter names, and
    # one matrix with labels only.
    short = [label_of(name) for name in names]
    tries = ((len(panels), names, TERM_MM), (1, names, TERM_MM), (1, names, COMPONENT_MM), (1, short, COMPONENT_MM))
    for n_columns, titles, term_mm in tries:
        rows = fit_labels(titles, LEAST_CELL, term_mm)
        room = (WIDE_MM - rows.depth_mm - MARGIN) / n_columns - 2 * MARGIN * (n_columns - 1)
        cell = min(LARGEST_CELL, room / n)
        if cell >= LEAST_CELL:
            break
    rows, columns = fit_labels(titles, cell, term_mm), fit_labels(short, cell)
    left = rows.depth_mm
    cell = min(cell, (WIDE_MM - left - MARGIN) / n)
    side = cell * n
    is_shared = len(panels) > n_columns
    # The bars of a shared matrix have labels of two lines.
    bar = BAR_MM + is_shared * 1.5 * LINE_MM
    figure = new_figure(columns.depth_mm + side + bar + MARGIN)
    for number, (values, colours, lowest, label) in enumerate(panels):
        corner = left if is_shared else left + number * (room + 2 * MARGIN)
        # The diagonal is 1. If it were drawn, differences between the other values would be hard to see.
        hidden = np.eye(n, dtype=bool)
        if is_shared:
            hidden |= np.tri(n, dtype=bool) if number == 0 else ~np.tri(n, dtype=bool)
            label = f"{('above', 'below')[number]} the diagonal:\n{label}"
        shown = np.where(hidden, np.nan, values[np.ix_(order, order)])
        highest = max(float(np.max(shown, initial=0, where=~hidden)), 0.01) if lowest == 0 else 1.0
        axes = figure.axes[0] if is_shared and number else add_axes(figure, corner, bar, side, side)
        picture = axes.imshow(shown, cmap=colours, vmin=lowest, vmax=highest, interpolation="none")
        if not (is_shared and number):
            write_columns(axes, columns, n)
            if not number:
                write_rows(axes, rows)
        place = corner + number * side / 2 if is_shared else corner
        add_bar(figure, picture, label, left=place + 2, top=bar, length=min(60.0, side / (1 + is_shared) - 4))
    add_note(figure, "\n".join(_explain(titles, rows)), room=left)
    return figure
