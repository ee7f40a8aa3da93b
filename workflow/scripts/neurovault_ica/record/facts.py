"""Collect the numbers of a run for run.json and the methods text."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from neurovault_ica.archive.doi import bare_doi
from neurovault_ica.images.map_types import known_type
from neurovault_ica.statistics.p_values import is_significant
from neurovault_ica.types import Row


def run_facts(
    *,
    selection: list[Row],
    images: list[Row],
    rejected: list[Row],
    collections: list[Row],
    decomposition: Mapping[str, Any],
    terms: list[Row],
    labels: list[Row],
    map_terms: list[Row],
    names: list[Row],
    stability: list[Row],
    networks: list[Row],
    mixtures: list[Row],
) -> dict[str, Any]:
    """Compute the numbers that run.json and the methods text report, from rows of the tables of the run."""
    n_used = Counter(row["collection_id"] for row in images)
    with_doi = {row["collection_id"] for row in collections if bare_doi(row["DOI"]) or bare_doi(row["preprint_DOI"])}
    without_doi = [row for row in selection if row["collection_id"] not in with_doi]
    tested = [row for row in terms if row["q"] is not None]
    significant = [row for row in tested if is_significant(row["q"])]
    return (
        {
            "images_selected": len(selection),
            "collections_selected": len({row["collection_id"] for row in selection}),
            "images_used": len(images),
            "collections_used": len(n_used),
            "images_rejected": dict(sorted(Counter(row["reason"] for row in rejected).items())),
            "images_with_terms": max((row["images"] for row in terms), default=0),
            "terms": len({row["term"] for row in terms}),
            "terms_tested": len(tested),
            "terms_significant": len(significant),
            "components_with_significant_terms": len({row["component"] for row in significant}),
            "term_maps": len({row["term"] for row in map_terms}),
            "term_map_pairs_tested": sum(row["q"] is not None for row in map_terms),
            "term_map_pairs_significant": sum(is_significant(row["q"]) for row in map_terms),
            "labels_tested": sum(row["q"] is not None for row in labels),
            "labels_significant": sum(is_significant(row["q"]) for row in labels),
            # Number of components with a significant name, by source of the name.
            "components_named": dict(
                sorted(Counter(row["source"] for row in names if row["source"] and not row["mark"]).items())
            ),
            # evidence_name is filled only where a person gave the name that is shown.
            "components_named_by_person": sum(row["evidence_name"] is not None for row in names),
            "map_types": dict(
                sorted(Counter(_plain_word(known_type(row["map_type"]) or row["map_type"]) for row in images).items())
            ),
            "largest_collection_images": max(n_used.values(), default=0),
            "locked_images_without_doi": len(without_doi),
            "locked_collections_without_doi": len({row["collection_id"] for row in without_doi}),
            "components": decomposition["n_components"],
            "voxels": decomposition["n_voxels"],
            "variance_explained": decomposition["variance_explained"],
            "components_without_activation": sum(
                row["positive_share"] + row["negative_share"] == 0 for row in mixtures
            ),
            "networks_tested": sum(row["best_q"] is not None for row in networks),
            "components_with_significant_network": sum(is_significant(row["best_q"]) for row in networks),
            "mean_best_network_r": sum(abs(row["best_r"]) for row in networks) / len(networks) if networks else None,
        }
        | _about_one_sign(networks)
        | _means_and_minima(stability)
    )


def _about_one_sign(networks: list[Row]) -> dict[str, float | int | None]:
    """Describe the components with a positive r whose best network has values of one sign."""
    rows = [row for row in networks if row["best_one_signed"] and row["best_r"] > 0]
    means = {
        name: sum(row[f"best_{name}"] for row in rows) / len(rows) if rows else None for name in ("r", "positive_r")
    }
    return {"components_with_one_signed_network": len(rows)} | {f"mean_one_signed_{k}": v for k, v in means.items()}


def _means_and_minima(stability: list[Row]) -> dict[str, float | None]:
    facts: dict[str, float | None] = {}
    measures = ("iq_restarts", "r_bootstraps", "chance_r_bootstraps", "r_split_half", "chance_r_split_half")
    for name in (*measures, "grey_matter_share"):
        values = [row[name] for row in stability if row[name] is not None]
        facts[f"mean_{name}"] = sum(values) / len(values) if values else None
        facts[f"min_{name}"] = min(values, default=None)
    return facts


def _plain_word(text: str | None) -> str:
    """Remove special characters, because map types are text from the archive and must not act as Markdown."""
    return re.sub(r"[^\w ()-]+", " ", text or "unknown", flags=re.ASCII).strip()[:40] or "unknown"
