"""Decide what each component is called.

project_terms writes the decision to desc-ICA_names.tsv. Figures and report read that table and decide nothing.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from neurovault_ica.naming.own_names import OwnName
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.statistics.p_values import is_significant, written_q
from neurovault_ica.types import Row

# Largest number of words in a name, which must fit into a title. The first term may have more.
MOST_WORDS = 3
# Two words are forms of one word if their first SAME_LETTERS letters are equal: categories and categorization. The same
# holds if one has at least SHORTEST_STEM letters, and the other begins with it: pain and painful.
SAME_LETTERS = 5
SHORTEST_STEM = 4
# Number of other candidates of each source that are listed beside the name. The sources' tables have all candidates.
RUNNERS_UP_PER_SOURCE = 2
# Largest number of characters of a term in a name, and of a runner-up. Longer ones are cut, and some figures cut more.
MAX_TERM_LENGTH, MAX_RUNNER_UP_LENGTH = 200, 60
# A term map may name a component only if its r is at least NEAR_BEST_SHARE of the largest r, and its rank is at most
# NEAR_BEST_RANK. Otherwise, a term far behind the best one could give the name, if its q is small by chance.
NEAR_BEST_SHARE = 0.9
NEAR_BEST_RANK = 10
# Largest rank of a term, by weight, that may name a component. Terms of a higher rank may be significant, too, but
# describe the component less well.
NAMING_RANK = 10
# Separator of the terms of a name. It is not a comma, because NeuroVault's labels often contain commas.
SEPARATOR = "; "
NOT_SIGNIFICANT, UNTESTED = "n.s.", "untested"
# Beginning of the name of a component without a significant candidate.
UNNAMED = "unnamed"


class Candidate(NamedTuple):
    """A possible name of a component, with the evidence for it."""

    component: str
    name: str
    value: float  # strength, in the measure of its source
    q: float | None  # false discovery rate; None if not tested
    may_name: bool = True  # False: only listed as a runner-up, even if it is significant


class ComponentName(NamedTuple):
    """The name of a component and the evidence for it: a row of desc-ICA_names.tsv."""

    name: str  # as in titles; empty if no source has a candidate
    words: list[str]  # its terms, as in the table of their source
    mark: str  # empty if all terms are significant, otherwise why the component is unnamed
    source: str  # source of the terms; empty if no source has a candidate
    runners_up: list[str]  # each with its source and q
    negative_side: str  # terms of the negative side, with r and q; empty if none is significant
    evidence_name: str = ""  # name by the evidence, if a person gave another one; otherwise empty
    verdict: str = ""  # of a person: accept, reject, unsure or empty
    remark: str = ""  # of a person

    @property
    def is_certain(self) -> bool:
        """Whether the name is a person's, or the evidence for it is significant."""
        return bool(self.evidence_name or (self.source and not self.mark))


class Decision(NamedTuple):
    """The candidates that name a component, all of one source."""

    chosen: list[Candidate]
    source: str | None
    mark: str


def decide(candidates: Mapping[str, Sequence[Candidate]]) -> Decision:
    """Choose the name of one component.

    The name comes from the first source that has a significant candidate that may name. If there is none, it comes from
    the strongest candidates of the first source that has any, and is marked as not significant or untested.

    Parameters
    ----------
    candidates : mapping of str to sequence of Candidate
        Candidates of the component by source, sources in order of precedence, the strongest candidate first.
    """
    for source, found in candidates.items():
        significant = [candidate for candidate in found if candidate.may_name and is_significant(candidate.q)]
        if significant:
            return Decision(_fitting(significant), source, "")
    first = next((source for source, found in candidates.items() if found), None)
    if first is None:
        return Decision([], None, "")
    tested = any(candidate.q is not None for found in candidates.values() for candidate in found)
    return Decision(_fitting(candidates[first]), first, NOT_SIGNIFICANT if tested else UNTESTED)


def _fitting(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Take the first candidates that fit into a name, without candidates that repeat a word."""
    chosen: list[Candidate] = []
    words: list[str] = []
    for candidate in candidates[: 4 * MOST_WORDS]:
        added = candidate.name.casefold().split()
        if any(_is_same_word(one, other) for one in added for other in words):
            continue
        if chosen and len(words) + len(added) > MOST_WORDS:
            break
        chosen.append(candidate)
        words += added
    return chosen


def _is_same_word(one: str, other: str) -> bool:
    """Return whether two words are forms of one word, by their first letters."""
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    shorter = min(len(one), len(other))
    return one == other or alike >= SAME_LETTERS or alike == shorter >= SHORTEST_STEM


def name_components(
    components: Sequence[str],
    found: Mapping[str, Sequence[Candidate]],
    naming_sources: Iterable[str],
    negative: Sequence[Candidate] = (),
) -> list[Row]:
    """Decide the name of each component, and tabulate the names for desc-ICA_names.tsv.

    Parameters
    ----------
    components : sequence of str
    found : mapping of str to sequence of Candidate
        Candidates of all components by source.
    naming_sources : iterable of str
        Sources that may give a name, in order of precedence. Other sources only give runners-up.
    negative : sequence of Candidate
        Candidates for the negative side of the components. They are listed, but give no name.
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
        words = SEPARATOR.join(_as_word(candidate.name, MAX_TERM_LENGTH) for candidate in chosen)
        rows.append(
            {
                "component": label,
                "name": f"{UNNAMED} (closest: {words})" if mark else words or UNNAMED,
                "words": words,
                "mark": mark,
                "source": winner,
                "value": chosen[0].value if chosen else None,
                "q": chosen[0].q if chosen else None,
                "runners_up": SEPARATOR.join(_runners_up(candidates_of, chosen)),
                "negative_side": _negative_side([one for one in negative if one.component == label]),
                **dict.fromkeys(("evidence_name", "verdict", "remark")),
            }
        )
    return rows


def apply_own_names(rows: Sequence[Row], own: Mapping[str, OwnName]) -> list[Row]:
    """Replace names by those that a person gave, and add the person's verdicts and remarks.

    The replaced name stays in the column evidence_name, because a person's name is no evidence.
    """
    renamed = []
    for row in rows:
        one = own.get(row["component"])
        if one:
            row = row | {"verdict": one.verdict, "remark": one.remark}
            if one.name:
                row |= {"name": one.name, "evidence_name": row["name"]}
        renamed.append(row)
    return renamed


def log_names(names: Sequence[Row]) -> None:
    """Log the name of each component with its source, and how many have a significant one."""
    for row in names:
        evidence = "" if row["value"] is None else f" ({row['source']}, {row['value']:.2f}"
        evidence += f", q {written_q(row['q'])})" if row["q"] is not None else ")" * bool(evidence)
        by_person = f"{row['name']} (plot_components.labels); evidence: " if row["evidence_name"] else ""
        logging.info("%s: %s%s%s", row["component"], by_person, row["evidence_name"] or row["name"], evidence)
    logging.info(
        "components with a significant name: %d of %d",
        sum(bool(row["source"]) and not row["mark"] for row in names),
        len(names),
    )


def _as_word(name: str, longest: int) -> str:
    """Prepare a candidate's name for a list: shorten it, and replace the separator."""
    word = name.replace(";", ",")
    return word if len(word) <= longest else word[: longest - 1].rstrip() + "…"


def _runners_up(candidates_of: Mapping[str, Sequence[Candidate]], chosen: Sequence[Candidate]) -> list[str]:
    """Describe the best candidates of each source that are not in the name, significant ones first."""
    texts = []
    for source, candidates in candidates_of.items():
        others = [candidate for candidate in candidates if candidate not in chosen]
        best: dict[str, Candidate] = {}
        for candidate in sorted(others, key=lambda candidate: not is_significant(candidate.q)):
            # Two metadata fields may have the same label.
            best.setdefault(candidate.name, candidate)
        for candidate in list(best.values())[:RUNNERS_UP_PER_SOURCE]:
            q = UNTESTED if candidate.q is None else f"q {written_q(candidate.q)}"
            texts.append(f"{_as_word(candidate.name, MAX_RUNNER_UP_LENGTH)} ({source}, {q})")
    return texts


def _negative_side(candidates: Sequence[Candidate]) -> str:
    """Describe the significant terms of the negative side: ``mode; default (r -0.31, q 0.002)``."""
    found = _fitting([candidate for candidate in candidates if candidate.may_name and is_significant(candidate.q)])
    words = SEPARATOR.join(_as_word(candidate.name, MAX_RUNNER_UP_LENGTH) for candidate in found)
    return f"{words} (r {found[0].value:.2f}, q {written_q(found[0].q)})" if found else ""


def read_names(path: str) -> dict[str, ComponentName]:
    """Read the names of the components from desc-ICA_names.tsv."""
    return {
        row["component"]: ComponentName(
            row["name"] or "",
            _split(row["words"]),
            row["mark"] or "",
            row["source"] or "",
            _split(row["runners_up"]),
            row["negative_side"] or "",
            *(row.get(column) or "" for column in ("evidence_name", "verdict", "remark")),
        )
        for row in read_table(path)
    }


def _split(cell: str | None) -> list[str]:
    return cell.split(SEPARATOR) if cell else []
