"""Choose the terms that a component is called by: those that go with it beyond chance, others only marked as such."""

from collections.abc import Iterable
from typing import NamedTuple

from neurovault_ica.statistics.p_values import is_significant

MOST_WORDS = 3
NOT_SIGNIFICANT, UNTESTED = "n.s.", "untested"
MARKS = (NOT_SIGNIFICANT, UNTESTED)


class Names(NamedTuple):
    """Terms of a component, and what must be said of them."""

    words: list[str]
    mark: str  # empty where all are significant, otherwise one of `MARKS`


def choose_names(terms: Iterable[tuple[str | None, float | None]]) -> Names:
    """Take the first significant terms; where there is none, the first of all, marked.

    Parameters
    ----------
    terms : iterable of (str or None, float or None)
        Terms of a component, strongest first, each with its false discovery rate, or None where it was not tested.
    """
    known = [(term or "", q) for term, q in terms]
    significant = [term for term, q in known if is_significant(q)]
    if significant:
        return Names(significant[:MOST_WORDS], "")
    if not known:
        return Names([], "")
    tested = any(q is not None for _, q in known)
    return Names([term for term, _ in known[:MOST_WORDS]], NOT_SIGNIFICANT if tested else UNTESTED)


def write_names(words: list[str], mark: str) -> str:
    """Write names as they stand in figures: ``motor, hand``, or ``n.s. (task, memory)``."""
    listed = ", ".join(words)
    return f"{mark} ({listed})" if mark else listed
