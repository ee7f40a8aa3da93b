"""List the texts by which the page's search finds a component, with the strength of the evidence."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from neurovault_ica.report.text import format_number, percent, shorten_text
from neurovault_ica.statistics.p_values import is_significant, written_q
from neurovault_ica.types import Row

# Tiers of evidence, strongest first. The page sorts components by the tier of their best match.
NAME, SIGNIFICANT, CANDIDATE, PLACE, STUDY, UNLIKELY = range(6)
# A candidate with a larger q goes to the last tier, because it is no evidence.
LARGEST_Q = 0.5
# Longest text of a match, in characters.
LONGEST_MATCH = 120
# Largest number of collections of a component that the search covers. The others have small shares.
MOST_COLLECTIONS = 20


class Finding(NamedTuple):
    """A text about a component, by which the search can find it."""

    tier: int
    strength: float  # within the tier, 0 to 1
    kind: str
    text: str
    evidence: str  # as the page shows it beside the text; may be empty


def list_findings(component: Row, collections: Iterable[Row]) -> list[Finding]:
    """List the texts about a component, strongest evidence first and each text of a kind only once.

    Parameters
    ----------
    component : dict
        From `tables.describe_components`.
    collections : iterable of dict
        Its rows of desc-ICA_collections.tsv, the largest share first.
    """
    found: dict[tuple[str, str], Finding] = {}
    texts = filter(lambda one: one.text, _findings(component, list(collections)))
    for finding in sorted(texts, key=lambda one: (one.tier, -one.strength)):
        found.setdefault((finding.kind, finding.text.casefold()), finding)
    return list(found.values())


def _findings(component: Row, collections: Sequence[Row]) -> Iterator[Finding]:
    certain = component["is_certain"]
    yield _finding(NAME, 1.0, "component", component["component"])
    yield _finding(NAME if certain else CANDIDATE, 0.9, "name", component["name"])
    yield _finding(CANDIDATE, 0.8, "name by evidence", component["evidence_name"])
    for row in component["maps"]:
        yield _tested("term map", row["term"], row["q"], row["r"], f"r {format_number(row['r'])}")
    for term in component["terms"]:
        yield _tested("term", term["term"], term["q"], term["length"] / 100)
    for label in component["labels"]:
        yield _tested("metadata", label["label"], label["q"], label["difference"])
    if network := component["network"]:
        for kind in ("best", "matched"):
            r = network[f"{kind}_r"]
            evidence = f"r {format_number(r)}"
            yield _tested("reference network", network[f"{kind}_network"], network[f"{kind}_q"], r, evidence)
    peaks = max((abs(peak["value"]) for peak in component["peaks"]), default=1.0)
    for peak in component["peaks"]:
        evidence = f"peak of {format_number(peak['value'], 1)} SD"
        yield _finding(PLACE, abs(peak["value"]) / peaks, "region", peak.get("region"), evidence)
    for region in component["regions"]:
        yield _finding(PLACE, 0.0, "region", region)
    for study in collections[:MOST_COLLECTIONS]:
        evidence = f"{percent(study['share'])} of the squared loadings"
        yield _finding(STUDY, study["share"], "collection", study["name"], evidence)
    for image in component["images"]:
        evidence = f"loading {format_number(image['loading'])}"
        yield _finding(STUDY, abs(image["loading"]), "image", image["name"], evidence)
        yield _finding(STUDY, abs(image["loading"]), "collection of an image", image.get("collection_name"), evidence)


def _tested(kind: str, text: str | None, q: float | None, value: float | None, measure: str = "") -> Finding:
    """Describe a candidate. Its strength is 1 - q, or its value if it was not tested."""
    tier = SIGNIFICANT if is_significant(q) else UNLIKELY if q is not None and q > LARGEST_Q else CANDIDATE
    evidence = ", ".join(filter(None, (measure, "" if q is None else f"q\u00a0{written_q(q)}")))
    strength = abs(value or 0.0) if q is None else 1 - q
    return _finding(tier, strength, kind, text, evidence)


def _finding(tier: int, strength: float, kind: str, text: str | None, evidence: str = "") -> Finding:
    return Finding(tier, round(min(strength, 1.0), 3), kind, shorten_text(text or "", LONGEST_MATCH), evidence)
