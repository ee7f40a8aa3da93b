"""Make the tables of project_images: loadings, maps, rejected maps and similar images."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from neurovault_ica.archive.own_maps import printable
from neurovault_ica.images.matrix import standardize
from neurovault_ica.naming.component_files import Components
from neurovault_ica.naming.own_images import Judged, describe_rejection, name_of
from neurovault_ica.naming.projection import Projected, percentiles
from neurovault_ica.runtime.tables import column_names
from neurovault_ica.statistics.p_values import false_discovery_rate
from neurovault_ica.types import Array, Real, Row

# Number of similar images of the run that are listed for each map.
N_SIMILAR = 5
# Two maps with a larger |r| count as the same, as by default in stack_images.quality.max_duplicate_correlation.
SAME_MAP = 0.99
# Largest number of rejected maps in an error.
MAX_REJECTED_EXAMPLES = 10


def loading_rows(
    kept: Sequence[Judged], found: Sequence[Projected], components: Components, of_images: Array | None
) -> list[Row]:
    """Make the rows of loadings.tsv: each map with each component. q is corrected over all of them.

    Parameters
    ----------
    kept : sequence of Judged
    found : sequence of Projected
        One for each of `kept`.
    components : Components
    of_images : array of shape (n_images, n_components) or None
        Loadings of the images of the decomposition; without them, percentiles are unknown. With split signs, activation
        is compared with activation, and deactivation with deactivation.
    """
    q = false_discovery_rate(np.array([one.p for one in found]))
    ranks = [
        [None] * len(components.labels)
        if of_images is None
        else percentiles(one.loadings, comparable(judged.sign, of_images, components.images)).tolist()
        for judged, one in zip(kept, found, strict=True)
    ]
    return [
        {
            **identity(judged),
            "component": label,
            "name": components.names[k],
            "loading": one.loadings[k],
            "se": one.se[k],
            "p": one.p[k],
            "percentile": ranks[number][k],
            "r": one.r[k],
            "q": q[number, k],
        }
        for number, (judged, one) in enumerate(zip(kept, found, strict=True))
        for k, label in enumerate(components.labels)
    ]


def similar_rows(kept: Sequence[Judged], r: Array | None, images: Sequence[Row]) -> list[Row]:
    """Make the rows of similar.tsv: the images of the run with the largest r with each map, the largest first.

    Parameters
    ----------
    kept : sequence of Judged
    r : array of shape (n_images, n_maps) or None
    images : sequence of dict
        Rows of images.tsv; with split signs, each image twice with its sign.
    """
    if r is None:
        return []
    return [
        identity(judged)
        | {"rank": rank, "r": r[row, number]}
        | ({"image_sign": images[row]["sign"]} if judged.sign else {})
        | {key: images[row][key] for key in ("image_id", "name", "collection_id", "collection_name", "url")}
        for number, judged in enumerate(kept)
        for rank, row in enumerate(np.argsort(-r[:, number], kind="stable")[:N_SIMILAR].tolist(), start=1)
    ]


def map_rows(
    kept: Sequence[Judged], found: Sequence[Projected], X: Real, similar: Sequence[Row], source: str
) -> list[Row]:
    """Make the rows of maps.tsv: the file of each map, the variance that the components explain, and notes.

    Parameters
    ----------
    kept : sequence of Judged
    found : sequence of Projected
    X : array of shape (n_maps, n_voxels)
    similar : sequence of dict
        Rows of similar.tsv.
    source : path
        The folder, table or file of the maps.
    """
    unit = standardize(X)
    nearest = {name_of(row["map"], row.get("sign")): row for row in similar if row["rank"] == 1}
    figures = _figure_names([judged.title for judged in kept])
    rows = []
    for number, (judged, one) in enumerate(zip(kept, found, strict=True)):
        notes = [judged.note] if judged.note else []
        others = unit[:number] @ unit[number] if number else np.zeros(0)
        notes += [
            f"almost the same as the map {kept[other].title} (r = {others[other]:.4f})"
            for other in np.flatnonzero(np.abs(others) > SAME_MAP)[:1]
        ]
        image = nearest.get(judged.title)
        if image and image["r"] > SAME_MAP:
            notes.append(f"almost the same as the image {image['image_id']} of the run (r = {image['r']:.4f})")
        rows.append(
            {
                **identity(judged),
                "file": shown_path(judged.own.file, source),
                "variance_explained": one.explained,
                "sd": judged.sd,
                "figure": figures[number],
                "note": "; ".join(notes) or None,
            }
        )
    return rows


def rejected_rows(judged: Sequence[Judged], source: str) -> list[Row]:
    """Make the rows of rejected.tsv for maps: each map that cannot be projected, and why."""
    return [
        {"map": one.own.name, "component": None, "file": shown_path(one.own.file, source)}
        | {key: one.rejection[key] for key in ("reason", "value", "threshold")}
        for one in judged
        if one.rejection is not None
    ]


def explain_nothing_left(rejected: Sequence[Row], source: str) -> str:
    """Write the error for maps that are all rejected."""
    counts = Counter(row["reason"] for row in rejected)
    summary = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    examples = "; ".join(f"{row['file']}: {describe_rejection(row)}" for row in rejected[:MAX_REJECTED_EXAMPLES])
    n_more = len(rejected) - MAX_REJECTED_EXAMPLES
    more = f"; and {n_more} more" if n_more > 0 else ""
    return (
        f"none of the {len(rejected)} maps of project_images.maps {source} can be projected ({summary}): {examples}"
        f"{more}. See docs/methods.md for the reasons; correct the maps, or relax stack_images.quality"
    )


def identity(judged: Judged) -> Row:
    """Return the columns that name a map, and its half if signs are split."""
    return {"map": judged.own.name} | ({"sign": judged.sign} if judged.sign else {})


def comparable(sign: str | None, of_images: Array, images: Sequence[Row]) -> Array:
    """Return the loadings of the images that a map is compared with. With split signs, they have the same sign."""
    return of_images if sign is None else of_images[[image["sign"] == sign for image in images]]


def columns_of(path: str, *, is_split: bool) -> list[str]:
    """List the columns of a table. Those about signs exist only if signs are split."""
    return [column for column in column_names(path) if is_split or column not in ("sign", "image_sign")]


def group_by_map(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group the rows of a table by the titles of their maps."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(name_of(row["map"], row.get("sign")), []).append(row)
    return groups


def shown_path(file: str, source: str) -> str:
    """Return the path of a map relative to its folder or table, so that no absolute path of this machine is stored."""
    return os.path.relpath(printable(file), source if Path(source).is_dir() else Path(source).parent)


def _figure_names(names: Sequence[str]) -> list[str]:
    """Name the figure of each map, without characters that file names must not have. Long names lose their middle."""
    allowed = (re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._-") or "map" for name in names)
    return list(_unique(name if len(name) <= 80 else f"{name[:55]}{name[-25:]}" for name in allowed))


def _unique(names: Iterator[str]) -> Iterator[str]:
    taken: set[str] = set()
    for name in names:
        number, chosen = 1, name
        # File systems of macOS and Windows do not distinguish upper and lower case.
        while chosen.lower() in taken:
            number += 1
            chosen = f"{name}_{number}"
        taken.add(chosen.lower())
        yield f"figures/{chosen}.png"
