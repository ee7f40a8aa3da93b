"""Draw the loadings of collections and the similarity of components."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from neurovault_ica.figures.sheet import INK, shown_text
from neurovault_ica.naming.names import Names
from neurovault_ica.types import Real

# Largest number of collections drawn. More rows would be unreadable on one page.
MOST_COLLECTIONS = 60
# Names of rows and columns are cut to this number of characters, to leave room for the matrix.
LONGEST_NAME = 48


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
    figure = Figure(
        figsize=(5 + 0.3 * len(components), 2.4 + 0.2 * len(chosen)), facecolor="white", layout="constrained"
    )
    axes = figure.add_subplot()
    limit = float(np.abs(means).max()) or 1.0
    picture = axes.imshow(means[chosen], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    _write_labels(axes, rows=[collections[row] for row in chosen], columns=components)
    figure.colorbar(picture, ax=axes, shrink=0.5, label="mean correlation of its images with the component")
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
    side = 1.8 + 0.22 * len(names)
    figure = Figure(figsize=(3.2 + len(panels) * side, 2.2 + side), facecolor="white")
    # Without padding, matplotlib cuts off the text below a large colour bar.
    figure.set_layout_engine("constrained", h_pad=0.15)
    for axes, (values, colours, lowest, label) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        shown = values[np.ix_(order, order)].copy()
        # The diagonal is 1. If it were drawn, differences between the other values would be hard to see.
        np.fill_diagonal(shown, np.nan)
        highest = max(float(np.nanmax(shown, initial=0)), 0.01) if lowest == 0 else 1.0
        picture = axes.imshow(shown, cmap=colours, vmin=lowest, vmax=highest, interpolation="none")
        _write_labels(axes, rows=names if axes.get_subplotspec().is_first_col() else [], columns=names)
        figure.colorbar(picture, ax=axes, shrink=0.6, label=label, location="bottom")
    return figure


def _write_labels(axes: Axes, *, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Write the labels of rows and columns, without interpreting ``$`` or ``_``."""
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([shown_text(name, LONGEST_NAME) for name in rows], fontsize=8, parse_math=False, color=INK)
    axes.set_xticks(range(len(columns)))
    axes.set_xticklabels(
        [shown_text(name, LONGEST_NAME) for name in columns], fontsize=8, parse_math=False, color=INK, rotation=90
    )
    axes.tick_params(length=0)
