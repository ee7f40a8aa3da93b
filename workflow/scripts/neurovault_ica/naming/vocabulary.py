"""Name the terms and topics of a database, and leave out those that cannot name a component."""

import functools
import logging
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from neurovault_ica.runtime.files import package_file
from neurovault_ica.runtime.wording import counted

# Neurosynth labels a topic with its number and its most frequent words: 32_pain_somatosensory_stimulation.
TOPIC = re.compile(r"\d+_(.+)")
# Number of words in the title of a topic.
TOPIC_WORDS = 3
BARE_NUMBER = re.compile(r"[\d.,]+")
# Largest number of terms in a log line.
MOST_LISTED = 10


def titles_of(labels: Sequence[str]) -> list[str]:
    """Turn the labels of a vocabulary into names.

    The name of a topic is its first three words, without its number. If several labels give the same name, the position
    of the label is appended.
    """
    names = [_title_of(label) for label in labels]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name} ({place})" for place, name in enumerate(names)]


def has_content(name: str) -> bool:
    """Return whether a term can name a component, because it names a mental function or a place in the brain.

    Other terms are listed in empty_words.txt, or consist of listed words and numbers.
    """
    listed, exceptions = _listed()
    term = " ".join(name.lower().split())
    if term in exceptions:
        return True
    # A name that several terms share ends with a position in brackets: group (3).
    words = [word.strip("()") for word in term.split()]
    return term not in listed and not all(word in listed or BARE_NUMBER.fullmatch(word) for word in words)


def choose_terms(
    names: Sequence[str], n_having: npt.NDArray[np.integer], n_studies: int, min_studies: int
) -> list[int]:
    """Choose the terms that get a map. Log the number of the others, and why they get none.

    Parameters
    ----------
    names : sequence of str
    n_having : int array of shape (n_terms,)
        Number of studies that have each term.
    n_studies : int
        Number of all studies.
    min_studies : int
        Terms of fewer studies are left out.

    Returns
    -------
    list of int
        Positions of the chosen terms.

    Raises
    ------
    ValueError
        If no term is left.
    """
    reasons = [_reason_against(name, int(n), n_studies, min_studies) for name, n in zip(names, n_having, strict=True)]
    chosen = [place for place, reason in enumerate(reasons) if reason is None]
    counts = Counter(reason for reason in reasons if reason)
    for reason, count in counts.items():
        examples = [name for name, other in zip(names, reasons, strict=True) if other == reason][:MOST_LISTED]
        n_terms = counted(len(names), "term")
        logging.info("left out %s of %s, because %s: %s", f"{count:,}", n_terms, reason, _listing(examples, count))
    if not chosen:
        found = "; ".join(f"{count} because {reason}" for reason, count in counts.items())
        is_rare = any("min_studies" in reason for reason in counts)
        lower = f"lower build_term_maps.min_studies ({min_studies}), or " if is_rare else ""
        raise ValueError(
            f"none of {counted(len(names), 'term')} can get a map: {found}; {lower}give another vocabulary or database"
        )
    return chosen


def _reason_against(name: str, n_having: int, n_studies: int, min_studies: int) -> str | None:
    if n_having == 0:
        return "no study has them"
    if n_having == n_studies:
        return "every study has them"
    if not has_content(name):
        return "they name no mental function and no place in the brain (docs/methods.md)"
    return f"fewer than {min_studies} studies have them (min_studies)" if n_having < min_studies else None


def _title_of(label: str) -> str:
    topic = TOPIC.fullmatch(label)
    words = (topic[1] if topic else label).replace("_", " ").split()
    return " ".join(words[:TOPIC_WORDS] if topic else words)


def _listing(examples: Sequence[str], count: int) -> str:
    listed = ", ".join(name or "(empty line)" for name in examples)
    return f"{listed} and others" if count > len(examples) else listed


@functools.cache
def _listed() -> tuple[frozenset[str], frozenset[str]]:
    """Read the words and terms that are left out, and the exceptions, which are not."""
    lines = package_file("naming/empty_words.txt").read_text("utf-8").splitlines()
    entries = [line for line in lines if not line.startswith("#")]
    exceptions = frozenset(line.removeprefix("+") for line in entries if line.startswith("+"))
    return frozenset(line for line in entries if not line.startswith("+")), exceptions
