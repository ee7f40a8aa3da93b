"""Decide what each component is called.

project_terms writes the decision to desc-ICA_names.tsv. Figures and report read that table and decide nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from neurovault_ica.runtime.tables import read_table
from neurovault_ica.statistics.p_values import is_significant
from neurovault_ica.types import Row

# Words in a name. More do not fit into a title.
MOST_WORDS = 3
# Number of other candidates of each source that are listed beside the name. The sources' tables have all candidates.
RUNNERS_UP_PER_SOURCE = 2
# Longer words of a name, and longer runners-up, are cut to this number of characters. Figures and report cut more.
LONGEST_WORD, LONGEST_RUNNER_UP = 200, 60
# Separates the words of a name. Not a comma, because labels of NeuroVault often contain commas.
SEPARATOR = "; "
NOT_SIGNIFICANT, UNTESTED = "n.s.", "untested"
MARKS = (NOT_SIGNIFICANT, UNTESTED)


class Candidate(NamedTuple):
    """A possible name of a component, with the evidence for it."""

    component: str
    name: str
    value: float  # strength, in the measure of its source
    q: float | None  # false discovery rate; None if not tested


class Names(NamedTuple):
    """The name of a component."""

    words: list[str]  # empty if no source has a candidate
    mark: str  # empty if all words are significant, otherwise one of `MARKS`
    runners_up: list[str]  # each with its source and q


class Decision(NamedTuple):
    """The candidates that name a component, all of one source."""

    chosen: list[Candidate]
    source: str | None
    mark: str


def decide(candidates: Mapping[str, Sequence[Candidate]]) -> Decision:
    """Choose the name of one component.

    The first source with a significant candidate gives the name: its first significant candidates. If no candidate
    is significant, the strongest ones of the first source are taken and marked as not significant or untested.

    Parameters
    ----------
    candidates : mapping of str to sequence of Candidate
        Candidates of the component by source, sources in order of precedence, the strongest candidate first.
    """
    for source, found in candidates.items():
        significant = [candidate for candidate in found if is_significant(candidate.q)]
        if significant:
            return Decision(significant[:MOST_WORDS], source, "")
    first = next((source for source, found in candidates.items() if found), None)
    if first is None:
        return Decision([], None, "")
    tested = any(candidate.q is not None for candidate in candidates[first])
    return Decision(list(candidates[first][:MOST_WORDS]), first, NOT_SIGNIFICANT if tested else UNTESTED)


def name_components(
    components: Sequence[str], found: Mapping[str, Sequence[Candidate]], naming_sources: Iterable[str]
) -> list[Row]:
    """Decide the name of each component, and tabulate the names for desc-ICA_names.tsv.

    Parameters
    ----------
    components : sequence of str
    found : mapping of str to sequence of Candidate
        Candidates of all components by source.
    naming_sources : iterable of str
        Sources that may give a name, in order of precedence. Other sources only give runners-up.
    """
    by_component: dict[str, dict[str, list[Candidate]]] = {
        label: {source: [] for source in found} for label in components
    }
    for source, candidates in found.items():
        for candidate in candidates:
            by_component[candidate.component][source].append(candidate)
    naming = list(naming_sources)
    rows = []
    for label, candidates_of in by_component.items():
        chosen, winner, mark = decide({source: candidates_of[source] for source in naming})
        rows.append(
            {
                "component": label,
                "name": SEPARATOR.join(_as_word(candidate.name, LONGEST_WORD) for candidate in chosen),
                "mark": mark,
                "source": winner,
                "value": chosen[0].value if chosen else None,
                "q": chosen[0].q if chosen else None,
                "runners_up": SEPARATOR.join(_runners_up(candidates_of, chosen)),
            }
        )
    return rows


def _as_word(name: str | None, longest: int) -> str:
    """Prepare a candidate's name for a list: shorten it, and replace the separator."""
    word = (name or "").replace(";", ",")
    return word if len(word) <= longest else word[: longest - 1].rstrip() + "…"


def _runners_up(candidates_of: Mapping[str, Sequence[Candidate]], chosen: Sequence[Candidate]) -> list[str]:
    """Describe the best candidates of each source that are not in the name, significant ones first."""
    texts = []
    for source, candidates in candidates_of.items():
        others = [candidate for candidate in candidates if candidate not in chosen]
        best: dict[str, Candidate] = {}
        for candidate in sorted(others, key=lambda candidate: not is_significant(candidate.q)):
            # The same label may come from two metadata fields.
            best.setdefault(candidate.name, candidate)
        for candidate in list(best.values())[:RUNNERS_UP_PER_SOURCE]:
            q = UNTESTED if candidate.q is None else f"q {candidate.q:.2g}"
            texts.append(f"{_as_word(candidate.name, LONGEST_RUNNER_UP)} ({source}, {q})")
    return texts


def read_names(path: str) -> dict[str, Names]:
    """Read the names of the components from desc-ICA_names.tsv."""
    return {
        row["component"]: Names(_split(row["name"]), row["mark"] or "", _split(row["runners_up"]))
        for row in read_table(path)
    }


def _split(cell: str | None) -> list[str]:
    return cell.split(SEPARATOR) if cell else []


def write_names(words: Sequence[str], mark: str) -> str:
    """Format words and mark for a text: ``motor, hand``, or ``n.s. (task, memory)``."""
    listed = ", ".join(words)
    return f"{mark} ({listed})" if mark else listed
