"""Draw what goes with what: collections with components, components with each other in space and in terms."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from drawing import INK, save_figure, shown_text
from maps import read_maps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from names import choose_names, write_names
from outputs import read_table, write_table
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from stage_log import log_to

Array = npt.NDArray[np.floating[Any]]
Row = dict[str, Any]

# More rows than this cannot be read on a page.
MOST_COLLECTIONS = 60
LONGEST_NAME = 48
NAMES_SHOWN = 2


def mean_correlations(loadings: Array, sd: Array, collections: Sequence[int]) -> tuple[list[int], Array]:
    """Average the images' correlations with the components over each collection.

    Parameters
    ----------
    loadings : array of shape (n_images, n_components)
        The components have variance 1 and are uncorrelated, so that loading over sd is a correlation.
    sd : array of shape (n_images,)
        Of the images in the matrix.
    collections : sequence of int
        Each image's collection.

    Returns
    -------
    (list of int, array of shape (n_collections, n_components))
        The collections, in the order in which they come, and their means.
    """
    ids = list(dict.fromkeys(collections))
    member = np.equal.outer(ids, np.asarray(collections)).astype(float)
    return ids, member @ (loadings / sd[:, None]) / member.sum(axis=1)[:, None]


def order_rows(rows: Array) -> list[int]:
    """Put rows that are alike beside each other."""
    if len(rows) < 3:
        return list(range(len(rows)))
    return leaves_list(linkage(rows, "average", optimal_ordering=True)).tolist()


def order_by_similarity(similarity: Array) -> list[int]:
    """Put what is alike beside each other, given how alike each is to each, at most 1."""
    if len(similarity) < 3:
        return list(range(len(similarity)))
    distance = np.clip(1 - (similarity + similarity.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True)).tolist()


def overlaps(shown: npt.NDArray[np.bool_]) -> Array:
    """Compute Dice's coefficient of the voxels that two components show.

    The components themselves are uncorrelated over voxels, because ICA makes them so; where they are strong may well
    be the same place.

    Parameters
    ----------
    shown : array of shape (n_components, n_voxels)

    Returns
    -------
    array of shape (n_components, n_components)
    """
    sets = shown.astype(np.float32)
    sizes = sets.sum(axis=1)
    return 2 * (sets @ sets.T) / np.maximum(sizes[:, None] + sizes, 1)


def term_profiles(rows: Iterable[Row], labels: Sequence[str]) -> Array | None:
    """Arrange the weights of all terms as components x terms; None where there are none."""
    by_term: dict[str, dict[str, float]] = {}
    for row in rows:
        by_term.setdefault(row["term"] or "", {})[row["component"]] = row["weight"]
    if not by_term:
        return None
    profiles = np.array([[weights.get(label, 0.0) for weights in by_term.values()] for label in labels])
    return profiles if (profiles.std(axis=1) > 0).all() else None


def pairs_of(labels: Sequence[str], overlap: Array, likeness: Array | None) -> list[Row]:
    """Tabulate each pair of components once, with what `draw_similarity` shows of it."""
    return [
        {
            "component": labels[one],
            "other": labels[other],
            "overlap": float(overlap[one, other]),
            "r_terms": None if likeness is None else float(likeness[one, other]),
        }
        for one, other in combinations(range(len(labels)), 2)
    ]


def names_of(labels: Sequence[str], terms: Iterable[Row]) -> list[str]:
    """Write beside each component's label its significant terms, or its strongest, marked as not significant."""
    strongest: dict[str, list[tuple[str | None, float | None]]] = {}
    for row in sorted(terms, key=lambda row: row["rank"]):
        strongest.setdefault(row["component"], []).append((row["term"], row["q"]))
    chosen = [choose_names(strongest.get(label, [])) for label in labels]
    return [
        shown_text(f"{label} {write_names(words[:NAMES_SHOWN], mark)}", LONGEST_NAME)
        for label, (words, mark) in zip(labels, chosen, strict=True)
    ]


def draw_loadings(means: Array, collections: Sequence[str], components: Sequence[str]) -> Figure:
    """Draw the collections' mean correlations with the components; like collections stand together.

    Parameters
    ----------
    means : array of shape (n_collections, n_components)
    collections, components : list of str
        Their names.
    """
    # Those that load on nothing tell nothing.
    strongest = np.sort(np.argsort(-np.abs(means).max(axis=1), kind="stable")[:MOST_COLLECTIONS])
    chosen = strongest[order_rows(means[strongest])]
    figure = Figure(
        figsize=(5 + 0.3 * len(components), 2.4 + 0.2 * len(chosen)), facecolor="white", layout="constrained"
    )
    axes = figure.add_subplot()
    limit = float(np.abs(means).max()) or 1.0
    picture = axes.imshow(means[chosen], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    _name(axes, rows=[collections[row] for row in chosen], columns=components)
    figure.colorbar(picture, ax=axes, shrink=0.5, label="mean correlation of its images with the component")
    return figure


def draw_similarity(overlap: Array, likeness: Array | None, components: Sequence[str]) -> Figure:
    """Draw how alike components are in space and, where there are terms, in terms; like ones stand together.

    Parameters
    ----------
    overlap, likeness : array of shape (n_components, n_components)
        Dice's coefficients; correlations of the terms' weights, or None.
    components : list of str
        Their names.
    """
    order = order_by_similarity(overlap if likeness is None else (overlap + likeness) / 2)
    names = [components[number] for number in order]
    panels = [(overlap, "viridis", 0.0, "overlap in space (Dice)")]
    if likeness is not None:
        panels.append((likeness, "RdBu_r", -1.0, "correlation of the terms' weights"))
    side = 1.8 + 0.22 * len(names)
    figure = Figure(figsize=(3.2 + len(panels) * side, 2.2 + side), facecolor="white")
    # matplotlib leaves too little room for the text below a large colour bar.
    figure.set_layout_engine("constrained", h_pad=0.15)
    for axes, (values, colours, lowest, label) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        shown = values[np.ix_(order, order)].copy()
        # Each with itself is 1 and would be the only thing to be seen.
        np.fill_diagonal(shown, np.nan)
        highest = max(float(np.nanmax(shown, initial=0)), 0.01) if lowest == 0 else 1.0
        picture = axes.imshow(shown, cmap=colours, vmin=lowest, vmax=highest, interpolation="none")
        _name(axes, rows=names if axes.get_subplotspec().is_first_col() else [], columns=names)
        figure.colorbar(picture, ax=axes, shrink=0.6, label=label, location="bottom")
    return figure


def _name(axes: Axes, *, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Write the names of rows and columns, as they are."""
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([shown_text(name, LONGEST_NAME) for name in rows], fontsize=8, parse_math=False, color=INK)
    axes.set_xticks(range(len(columns)))
    axes.set_xticklabels(
        [shown_text(name, LONGEST_NAME) for name in columns], fontsize=8, parse_math=False, color=INK, rotation=90
    )
    axes.tick_params(length=0)


def main(
    *,
    thresholded: str,
    mask: str,
    mixing: str,
    reduction: str,
    images: str,
    terms: str,
    loadings_figure: str,
    loadings: str,
    similarity_figure: str,
    similarity: str,
) -> None:
    """Draw the relations of collections and components, and write what is drawn as tables."""
    mpl.rcdefaults()
    used: Mapping[int, Row] = {row["image_id"]: row for row in read_table(images)}
    mixed = read_table(mixing)
    labels = [name for name in mixed[0] if name != "image_id"]
    A = np.array([[row[label] for label in labels] for row in mixed])
    of_images = [used[row["image_id"]] for row in mixed]
    named = read_table(terms)
    names = names_of(labels, named)

    sd = np.sqrt(np.load(reduction)["image_variance"])
    ids, means = mean_correlations(A, sd, [row["collection_id"] for row in of_images])
    known = {row["collection_id"]: row["collection_name"] for row in of_images}
    n_images = Counter(row["collection_id"] for row in of_images)
    write_table(
        loadings,
        [
            {"collection_id": number, "name": known[number], "images": n_images[number]}
            | dict(zip(labels, row.tolist(), strict=True))
            for number, row in zip(ids, means, strict=True)
        ],
        ["collection_id", "name", "images", *labels],
    )
    figure = draw_loadings(means, [known[number] or str(number) for number in ids], names)
    save_figure(figure, loadings_figure, title="Loadings of the collections")

    profiles = term_profiles(named, labels)
    likeness = None if profiles is None else np.atleast_2d(np.corrcoef(profiles))
    overlap = overlaps(read_maps(thresholded, mask).values != 0)
    write_table(similarity, pairs_of(labels, overlap, likeness))
    save_figure(draw_similarity(overlap, likeness, names), similarity_figure, title="Similarity of components")
    logging.info("relations of %d collections and %d components drawn", len(ids), len(labels))


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
