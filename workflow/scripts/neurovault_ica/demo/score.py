"""Score a demo run against the planted networks and faults."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from neurovault_ica.demo.networks import GENERIC_TERMS
from neurovault_ica.naming.networks import correlate_maps, match_components
from neurovault_ica.runtime.tables import component_labels
from neurovault_ica.statistics.p_values import is_significant
from neurovault_ica.types import Row

# A network is recovered if |r| with its component is at least this.
MIN_ABS_R = 0.9
# A component has the right terms if at least MIN_PLANTED_TERMS of its N_TOP_TERMS strongest terms were planted with the
# network. The same number of its significant terms must be planted ones.
N_TOP_TERMS = 3
MIN_PLANTED_TERMS = 2


def match_planted(planted: NDArray, components: NDArray) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Match planted networks and components one to one, with the largest sum of |r|.

    Parameters
    ----------
    planted : array of shape (n_networks, n_voxels)
    components : array of shape (n_components, n_voxels)

    Returns
    -------
    partner : int array of shape (n_networks,)
        Index of each network's component; -1 without a component, if there are fewer components than networks.
    abs_r : array of shape (n_networks,)
        Absolute Pearson correlation of network and component; 0 without a component.
    """
    r = np.abs(correlate_maps(planted, components))
    partner = match_components(r).matched
    abs_r = np.where(partner >= 0, r[np.arange(len(r)), partner], 0)
    return partner, abs_r


def strongest_terms(rows: list[Row]) -> dict[str, list[str]]:
    """Return the strongest terms of each component in descending order, given the rows of desc-ICA_terms.tsv."""
    strongest = sorted((row for row in rows if row["rank"] <= N_TOP_TERMS), key=lambda row: row["rank"])
    terms: dict[str, list[str]] = {}
    for row in strongest:
        terms.setdefault(row["component"], []).append(row["term"])
    return terms


def significant_terms(rows: list[Row]) -> dict[str, set[str]] | None:
    """List each component's significant terms; None if no term was tested."""
    if all(row["q"] is None for row in rows):
        return None
    significant: dict[str, set[str]] = {row["component"]: set() for row in rows}
    for row in rows:
        if is_significant(row["q"]):
            significant[row["component"]].add(row["term"])
    return significant


def score_networks(
    networks: list[Row],
    found: list[str | None],
    abs_r: NDArray[np.float64],
    terms: Mapping[str, list[str]],
    significant: Mapping[str, set[str]] | None,
) -> list[Row]:
    """Score each planted network. It passes if it is recovered and its component has the right terms.

    Parameters
    ----------
    networks : list of dict
        The planted networks.
    found : list of str
        Label of each network's component; None for a network without one.
    abs_r : array of shape (n_networks,)
        Absolute correlation of each network with its component.
    terms : mapping
        Strongest terms by component label.
    significant : mapping or None
        Significant terms by component label. None if no term was tested; significance is then not required.
    """
    rows = []
    for network, label, r in zip(networks, found, abs_r, strict=True):
        planted = network["terms"].split(", ")
        named = terms.get(label, []) if label else []
        n_significant = None if significant is None else len(significant.get(label or "", set()) & set(planted))
        rows.append(
            {
                "kind": "network",
                "id": network["network"],
                "expected": network["terms"],
                "found": label,
                "abs_r": round(float(r), 4),
                "top_terms": ", ".join(named),
                "significant": n_significant,
                "detail": None,
                "passed": bool(
                    r >= MIN_ABS_R
                    and sum(term in planted for term in named) >= MIN_PLANTED_TERMS
                    and (n_significant is None or n_significant >= MIN_PLANTED_TERMS)
                ),
            }
        )
    return rows


def score_names(networks: list[Row], found: list[str | None], names: list[Row]) -> list[Row]:
    """Score the name of each planted network's component. It passes if its first term is a term of the network.

    Parameters
    ----------
    networks : list of dict
        The planted networks.
    found : list of str
        Label of each network's component; None for a network without one.
    names : list of dict
        Rows of desc-ICA_names.tsv.
    """
    name_of = {row["component"]: row["name"] or "" for row in names}
    return [
        _named_row("name", network, label, name_of.get(label or "", ""))
        for network, label in zip(networks, found, strict=True)
    ]


def score_term_maps(networks: list[Row], found: list[str | None], map_terms: list[Row]) -> list[Row]:
    """Score the term map with the largest r for each planted network's component. Without term maps, return no rows.

    Parameters
    ----------
    networks, found
        As for `score_names`.
    map_terms : list of dict
        Rows of desc-ICA_termmaps.tsv.
    """
    closest = {row["component"]: row["term"] for row in map_terms if row["rank"] == 1}
    rows = zip(networks, found, strict=True) if closest else ()
    return [_named_row("term map", network, label, closest.get(label or "", "")) for network, label in rows]


def _named_row(kind: str, network: Row, label: str | None, name: str) -> Row:
    # A name may end with a region or a side in parentheses, to distinguish components with the same terms.
    first = name.partition("; ")[0].partition(" (")[0]
    return {
        "kind": kind,
        "id": network["network"],
        "expected": network["terms"],
        "found": name or None,
        "abs_r": None,
        "top_terms": None,
        "significant": None,
        "detail": label,
        "passed": first in network["terms"].split(", "),
    }


def labels_of(partner: NDArray[np.intp], n_components: int) -> list[str | None]:
    """Return the label of each network's component; None for -1."""
    labels = component_labels(n_components)
    return [labels[component] if component >= 0 else None for component in partner]


def fates(truth: list[Row], used: list[Row], rejected: list[Row]) -> dict[str, str]:
    """Return the fate of each planted image: ``used``, the reason for its rejection, or ``not_selected``."""
    known = {row["image_id"]: "used" for row in used} | {row["image_id"]: row["reason"] for row in rejected}
    return {image["image_id"]: known.get(image["image_id"], "not_selected") for image in truth}


def score_images(truth: list[Row], fate: Mapping[str, str]) -> list[Row]:
    """Score each image. It passes if its fate is one of the expected ones."""
    expected = {image["image_id"]: image["expected_fate"] for image in truth}
    for image in truth:
        original = image["copy_of"]
        # Either the original or its copy must be rejected. The order of the selection decides which one.
        if original is not None and fate[image["image_id"]] == "used" and fate[original] != "used":
            expected[original], expected[image["image_id"]] = image["expected_fate"], expected[original]
    return [
        {
            "kind": "image",
            "id": str(image["image_id"]),
            "expected": expected[image["image_id"]],
            "found": fate[image["image_id"]],
            "abs_r": None,
            "top_terms": None,
            "significant": None,
            "detail": None if image["dirt"] == "none" else image["dirt"],
            "passed": fate[image["image_id"]] in expected[image["image_id"]].split(" or "),
        }
        for image in truth
    ]


def score_generic_terms(significant: Mapping[str, set[str]] | None) -> list[Row]:
    """Score each generic term. Its weights are high for all images, so it must be significant for no component."""
    if significant is None:
        return []
    named = {term: [label for label, terms in significant.items() if term in terms] for term in GENERIC_TERMS}
    return [
        {
            "kind": "term",
            "id": term,
            "expected": "not significant",
            "found": ", ".join(labels) or "not significant",
            "abs_r": None,
            "top_terms": None,
            "significant": len(labels),
            "detail": None,
            "passed": not labels,
        }
        for term, labels in named.items()
    ]


def summarise(rows: list[Row]) -> str:
    """Summarise the scores and list the failed checks, in one line."""
    networks = [row for row in rows if row["kind"] == "network"]
    images = [row for row in rows if row["kind"] == "image"]
    abs_r = np.array([row["abs_r"] for row in networks])
    found = int((abs_r >= MIN_ABS_R).sum())
    named = sum(row["passed"] for row in networks)
    line = (
        f"{found} of {len(networks)} networks recovered, mean |r| {abs_r.mean():.3f}, lowest {abs_r.min():.3f};"
        f" {named} recovered and named by their own terms; {sum(row['passed'] for row in images)} of {len(images)}"
        " images as expected"
    )
    if generic := [row for row in rows if row["kind"] == "term"]:
        line += f"; {sum(row['passed'] for row in generic)} of {len(generic)} generic terms not significant"
    for kind, what in (("name", "names"), ("term map", "closest term maps")):
        if rated := [row for row in rows if row["kind"] == kind]:
            line += f"; {sum(row['passed'] for row in rated)} of {len(rated)} {what} are terms of the network"
    failures = [f"{row['id']}: expected {row['expected']}, found {_found(row)}" for row in rows if not row["passed"]]
    return "; ".join([line, *failures])


def in_common_mask(planted_img: Any, components_img: Any) -> tuple[NDArray, NDArray]:
    """Read both 4-D images in the voxels where any component is not zero, which are the mask of the run.

    Returns
    -------
    planted, components : arrays of shape (n_volumes, n_voxels)
        The planted networks are interpolated linearly to the grid of the components.
    """
    components = np.asarray(components_img.dataobj, dtype=np.float32)
    mask = (components != 0).any(axis=-1)
    to_planted = np.linalg.inv(planted_img.affine) @ components_img.affine
    positions = apply_affine(to_planted, np.argwhere(mask)).T
    volumes = np.moveaxis(np.asarray(planted_img.dataobj, dtype=np.float32), -1, 0)
    planted = np.stack([map_coordinates(volume, positions, order=1) for volume in volumes])
    return planted, components[mask].T


def _found(row: Row) -> str:
    if row["found"] is None:
        return "nothing"
    if row["kind"] != "network":
        return row["found"]
    significant = "" if row["significant"] is None else f", {row['significant']} of its own terms significant"
    return f"{row['found']} with |r| {row['abs_r']:.3f} and terms {row['top_terms'] or 'n/a'}{significant}"
