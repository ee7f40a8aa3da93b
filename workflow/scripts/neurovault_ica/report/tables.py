"""Gather the rows of the page from the tables of the run."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from neurovault_ica.archive.download_reasons import REASON_WORDS, REASONS
from neurovault_ica.archive.steps import LISTED_TWICE, READ
from neurovault_ica.naming.labels import DEACTIVATION, label_with_sign
from neurovault_ica.naming.names import ComponentName
from neurovault_ica.report.search import list_findings
from neurovault_ica.runtime.ids import natural_key
from neurovault_ica.runtime.tables import read_optional
from neurovault_ica.runtime.wording import list_counts
from neurovault_ica.statistics.p_values import is_significant
from neurovault_ica.types import Row

# Largest number of rows of each table of a component on the page. The files have all rows.
TERMS_SHOWN = 10
COLLECTIONS_SHOWN = 6
LABELS_SHOWN = 8
PEAKS_SHOWN = 15
# Largest number of significant labels, and of significant term maps, that a component's card names.
LABELS_ON_CARD = 3
# Largest number of used images, and of rejected images, in the table of images. With more, the page would open slowly.
LONGEST_TABLE = 2000
N_BINS = 40  # number of bars of the histogram of loadings; the SVG of the template has room for 40
# Why an image has no terms, by the reason that fetch_terms gives.
NO_TERMS = {
    "missing_file": "no term file in the archive",
    "not_asked": "not requested (neurosynth_url or fetch_terms.source: null)",
    "no_database": "the database of coordinates could not be fetched",
    "unusable_image": "the image could not be read",
    "not_given": "no term file given",
    "malformed": "unreadable answer",
    "no_values": "empty answer",
    "image_too_large": "image too large for Neurosynth",
    "refused": "access denied by Neurosynth",
    "not_found": "unknown to Neurosynth",
    "server_error": "server error",
    "timeout": "no answer in time",
    "no_connection": "connection lost",
    "bad_address": "invalid URL",
    "private_address": "URL points into a private network",
    "bad_answer": "unreadable answer",
    "server_down": "server down",
    "changed": "differs from the lock",
}
# Names on the page of the rules that reject images, and of some criteria of selection.tsv.
STAGES = {"download_images": "download", "mask_images": "reading and masking", "stack_images": "quality control"}
STEP_LABELS = {READ: "collections read", LISTED_TWICE: "duplicates across collections"}


def count_significant(rows: Sequence[Row]) -> int | None:
    """Count the significant rows; None if nothing was tested."""
    tested = [row["q"] for row in rows if row["q"] is not None]
    return sum(is_significant(q) for q in tested) if tested else None


def read_by_component(**files: str | Sequence[str]) -> dict[str, dict[str, list[Row]]]:
    """Read tables, and group the rows of each by component, in their order."""
    found: dict[str, dict[str, list[Row]]] = {}
    for name, file in files.items():
        groups = found.setdefault(name, {})
        for row in read_optional(file):
            groups.setdefault(row["component"], []).append(row)
    return found


def describe_components(
    *,
    stability: Sequence[Row],
    thresholds: Mapping[str, list[Row]],
    mixing: Sequence[Row],
    collection_of: Mapping[str, str],
    images: Mapping[str, list[Row]],
    collections: Mapping[str, list[Row]],
    terms: Mapping[str, list[Row]],
    enrichment: Mapping[str, list[Row]],
    map_terms: Mapping[str, list[Row]],
    names: Mapping[str, ComponentName],
    peaks: Mapping[str, list[Row]],
    networks: Mapping[str, list[Row]],
) -> list[Row]:
    """Gather what the page shows about each component. `collection_of` gives the collection id of an image id."""
    described = []
    for row in stability:
        label = row["component"]
        strongest = sorted(peaks.get(label, []), key=lambda peak: -abs(peak["value"]))
        # With split signs, activation is on the right of the histogram and deactivation on the left.
        loadings = [
            (-entry[label] if entry.get("sign") == DEACTIVATION else entry[label], collection_of[entry["image_id"]])
            for entry in mixing
        ]
        component = row | {
            **{key: thresholds[label][0][key] for key in ("threshold", "negative_threshold", "brightest")},
            "terms": scaled_terms(terms.get(label, [])),
            "n_significant_terms": count_significant(terms.get(label, [])),
            "maps": shown_rows(map_terms.get(label, []), "term", names[label].words, TERMS_SHOWN),
            "n_significant_maps": count_significant(map_terms.get(label, [])),
            "labels": shown_rows(
                [
                    entry | {"label": label_with_sign(entry)}
                    for entry in enrichment.get(label, [])
                    if entry["difference"] > 0
                ],
                "label",
                names[label].words if names[label].source == "metadata" else [],
                LABELS_SHOWN,
            ),
            "n_significant_labels": count_significant(enrichment.get(label, [])),
            "images": images.get(label, []),
            "collections": collections.get(label, [])[:COLLECTIONS_SHOWN],
            "histogram": histogram(loadings, row["largest_collection_id"]),
            "peaks": strongest[:PEAKS_SHOWN],
            "n_peaks": len(strongest),
            "regions": list(dict.fromkeys(peak["region"] for peak in strongest if peak.get("region"))),
            "network": next(iter(networks.get(label, [])), None),
            "place": [strongest[0][axis] for axis in "xyz"] if strongest else [0.0, 0.0, 0.0],
        }
        component |= names[label]._asdict()
        component |= _significant_names(terms.get(label, []), enrichment.get(label, []), map_terms.get(label, []))
        component["significant_maps"] = [row for row in component["maps"] if is_significant(row["q"])][:LABELS_ON_CARD]
        component["is_certain"] = names[label].is_certain
        component["findings"] = list_findings(component, collections.get(label, []))
        described.append(component)
    return described


def _significant_names(terms: Sequence[Row], labels: Sequence[Row], map_terms: Sequence[Row]) -> Row:
    """Return the significant terms and labels of a component, and the words they share."""
    ranked = sorted(terms, key=lambda term: term["rank"])
    significant = [term["term"] for term in ranked if is_significant(term["q"])]
    activating = [
        row["label"]
        for row in labels
        if row["difference"] > 0 and is_significant(row["q"]) and row.get("sign") != DEACTIVATION
    ]
    mapped = [row["term"] for row in map_terms if is_significant(row["q"])]
    return {
        "significant_terms": significant[:LABELS_ON_CARD],
        "significant_labels": significant_labels(labels),
        "shared_words": shared_words(significant, activating, mapped),
    }


def shown_rows(rows: Sequence[Row], column: str, words: Sequence[str], most: int) -> list[Row]:
    """Return the first `most` rows, and later rows from which the name comes.

    Parameters
    ----------
    rows : sequence of dict
        Candidates of one source, strongest first.
    column : str
        The column with the candidate's name.
    words : sequence of str
        The words of the component's name.
    most : int
    """
    return [row for place, row in enumerate(rows) if place < most or row[column] in words]


def histogram(loadings: Sequence[tuple[float, str]], collection_id: str | None) -> Row:
    """Make a histogram of the loadings, symmetric around 0, with one collection counted separately.

    Parameters
    ----------
    loadings : list of (float, str)
        Loading and collection of each image.
    collection_id : str or None
        The collection to count separately.

    Returns
    -------
    dict
        ``limit``, the largest |loading|; ``most``, the height of the highest bar; ``bins``, each with both counts.
    """
    limit = max((abs(loading) for loading, _ in loadings), default=0.0) or 1.0
    bins = [{"others": 0, "largest": 0} for _ in range(N_BINS)]
    for loading, collection in loadings:
        place = min(int((loading / limit + 1) / 2 * N_BINS), N_BINS - 1)
        bins[place]["largest" if collection == collection_id else "others"] += 1
    return {"limit": limit, "most": max(entry["others"] + entry["largest"] for entry in bins), "bins": bins}


def scaled_terms(terms: Iterable[Row]) -> list[Row]:
    """Return the strongest terms, each with the length of its bar in percent of the largest weight."""
    named = sorted(terms, key=lambda term: term["rank"])[:TERMS_SHOWN]
    strongest = max((term["weight"] for term in named), default=0)
    return [term | {"length": max(0.0, 100 * term["weight"] / strongest) if strongest > 0 else 0.0} for term in named]


def significant_labels(rows: Iterable[Row]) -> list[str]:
    """Return the strongest significant labels and words, each once."""
    found = [label_with_sign(row) for row in rows if row["difference"] > 0 and is_significant(row["q"])]
    return list(dict.fromkeys(found))[:LABELS_ON_CARD]


def shared_words(*sources: Sequence[str | None]) -> list[str]:
    """List the words that occur in significant names from more than one source."""
    words = [dict.fromkeys(re.findall(r"\w{3,}", " ".join(map(str, source)).lower())) for source in sources]
    counts = Counter(word for source in words for word in source)
    return [word for word, count in counts.items() if count > 1]


def describe_selection(
    selection: Sequence[Row], used: Sequence[Row], refused: Sequence[Row], studies: Mapping[str, Row]
) -> dict[str, Any]:
    """Return what the page shows about the selected images, by the names of the templates' variables.

    Parameters
    ----------
    selection, used, refused : sequence of mappings
        Rows of selection.tsv, images.tsv and rejected.tsv.
    studies : mapping
        Rows of collections.tsv by collection id.
    """
    return {
        "images": describe_images(used, refused),
        "n_images": len(used),
        "n_rejected": len(refused),
        "collections": used_collections(used, studies),
        "studies": studies,
        "reasons": explain_rejections(refused),
        "steps": funnel(selection, refused),
    }


def used_collections(used: Sequence[Row], collections: Mapping[str, Row]) -> list[Row]:
    """List the collections of the used images. ``used`` is the number of their used images.

    Parameters
    ----------
    used : sequence of mappings
        Rows of stack_images/images.tsv.
    collections : mapping
        Rows of collections.tsv by collection id.
    """
    n_used = Counter(row["collection_id"] for row in used)
    return [collections[number] | {"used": n_used[number]} for number in sorted(n_used, key=natural_key)]


def describe_images(used: Iterable[Row], refused: Iterable[Row]) -> list[Row]:
    """List used images, then rejected ones, with the same keys; at most `LONGEST_TABLE` of each."""
    used, refused = islice(used, LONGEST_TABLE), islice(refused, LONGEST_TABLE)
    rows = [row | {"reason": None, "value": None, "threshold": None, "stage": None} for row in used]
    return rows + [
        dict.fromkeys(("map_type", "number_of_subjects", "cognitive_paradigm_cogatlas")) | row for row in refused
    ]


def funnel(selection: Sequence[Row], rejected: Sequence[Row]) -> list[Row]:
    """Append the rejections of later stages to the steps of the selection. ``share`` is the length of a step's bar."""
    steps = [
        step | {"criterion": STEP_LABELS.get(step["criterion"], step["criterion"]), "reasons": []} for step in selection
    ]
    remaining = steps[-1]["kept"] if steps else len(rejected)
    reasons = explain_rejections(rejected)
    for stage in [*STAGES, *sorted({row["stage"] for row in reasons} - set(STAGES))]:
        of_stage = [row for row in reasons if row["stage"] == stage]
        dropped = sum(row["count"] for row in of_stage)
        steps.append(
            {
                "level": "image",
                "criterion": STAGES.get(stage, stage),
                "tested": remaining,
                "dropped": dropped,
                "kept": remaining - dropped,
                "reasons": [list_counts({row["reason"]: row["count"]}, REASON_WORDS) for row in of_stage],
            }
        )
        remaining -= dropped
    for step in steps:
        largest = max(other["tested"] for other in steps if other["level"] == step["level"])
        step["share"] = step["kept"] / largest if largest else 0.0
    return steps


def count_missing_terms(status: Iterable[Row], used: Iterable[str]) -> tuple[int, list[tuple[str, int]]]:
    """Count the used images with terms, and the reasons why the others have none."""
    by_image = {row["image_id"]: row for row in status}
    found = [by_image.get(image_id, {"terms": 0, "reason": "missing_file"}) for image_id in used]
    reasons = Counter(str(row["reason"]) for row in found if not row["terms"])
    return sum(bool(row["terms"]) for row in found), sorted(
        (NO_TERMS.get(reason, reason), count) for reason, count in reasons.items()
    )


def explain_rejections(rejected: Iterable[Row]) -> list[Row]:
    """Count the reasons for rejection, most frequent first, each with an explanation."""
    counts = Counter((row["reason"], row["stage"]) for row in rejected)
    return [
        {"reason": reason, "stage": stage, "count": count, "explanation": REASONS.get(reason, "")}
        for (reason, stage), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
