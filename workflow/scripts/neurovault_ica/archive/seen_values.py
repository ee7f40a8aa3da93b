"""Explain conditions that name a value that no record has, by listing the values that the records have."""

import difflib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from neurovault_ica.archive.cells import list_examples
from neurovault_ica.archive.filters import COMPARABLE
from neurovault_ica.runtime.yaml_text import as_configured
from neurovault_ica.types import Record

# A field with more different values, such as names, is not explained, because a list of them would not help.
MAX_VALUES = 200
# Largest number of values in a message.
MAX_LISTED = 12
# Similarity (difflib) above which a value that no record has is treated as a typo.
MIN_VALUE_SIMILARITY = 0.8


class SeenValues:
    """The values of the fields that conditions compare by equality, ``is_in``, ``not_equal`` or ``not_in``.

    Parameters
    ----------
    section : {"collection_terms", "image_terms"}
        The key of the configuration that has the conditions.
    terms : mapping
        The conditions by field.
    """

    def __init__(self, section: str, terms: Mapping[str, Any]) -> None:
        self._section = section
        # DOIs and ids are different in each record, so a list of them would not help.
        compared = {key: _values_in(term) for key, term in terms.items() if key not in ("DOI", "id", "collection_id")}
        self._wanted = {key: values for key, values in compared.items() if values}
        # By field and text: a value, and its number of records.
        self._seen: dict[str, dict[str, tuple[Any, int]]] = {key: {} for key in self._wanted}

    def add(self, records: Iterable[Record]) -> None:
        """Count the values of more records."""
        for record in records:
            for key, seen in self._seen.items():
                value = record.get(key)
                _, number = seen.get(str(value), (value, 0))
                if number or len(seen) <= MAX_VALUES:
                    seen[str(value)] = value, number + 1

    def explain(self, *, is_any_left: bool) -> Iterator[str]:
        """Describe the values that no record has: all if no record is left, otherwise only probable typos."""
        for key, wanted in self._wanted.items():
            seen, comparable = self._seen[key], COMPARABLE.get(key, _unchanged)
            # Without records, no value is known. With too many values, the list is incomplete.
            if not seen or len(seen) > MAX_VALUES:
                continue
            for value in wanted:
                if any(comparable(value) == comparable(other) for other, _ in seen.values()):
                    continue
                near = _nearest(value, seen)
                if near or not is_any_left:
                    advice = f"did you mean {near}? " if near else ""
                    yield (
                        f"fetch_metadata.{self._section}.{key}: no {self._section.removesuffix('_terms')} has the value"
                        f" {as_configured(value)}; {advice}existing values: {_list(seen)}"
                    )


def check_values(seen: SeenValues, *, is_any_left: bool) -> None:
    """Report values that conditions name, but no record has.

    Raises
    ------
    ValueError
        If no record is left and there is such a value.
    """
    lines = list(seen.explain(is_any_left=is_any_left))
    if lines and not is_any_left:
        raise ValueError("; ".join(lines))
    for line in lines:
        logging.warning("%s", line)


def _unchanged(value: Any) -> Any:
    return value


def _values_in(term: Any) -> list[Any]:
    if not isinstance(term, Mapping):
        return [term]
    ((name, argument),) = term.items()
    if name in ("is_in", "not_in"):
        return list(argument)
    return [argument] if name == "not_equal" else []


def _nearest(value: Any, seen: Mapping[str, tuple[Any, int]]) -> str | None:
    """Find the most similar value. Case, spaces and punctuation do not count."""
    texts = {_bare(text): text for text, (other, _) in seen.items() if other is not None}
    near = difflib.get_close_matches(_bare(str(value)), texts, 1, MIN_VALUE_SIMILARITY)
    return texts[near[0]] if near else None


def _bare(text: str) -> str:
    return "".join(sign for sign in text.lower() if sign.isalnum())


def _written(value: Any) -> str:
    if value is None:
        return "no value"
    # A number from a table of own maps keeps its text, such as 1.10.
    return as_configured(value) if isinstance(value, str | bool | int) else str(value)


def _list(seen: Mapping[str, tuple[Any, int]]) -> str:
    frequent = sorted(seen.items(), key=lambda entry: (-entry[1][1], entry[0]))
    return list_examples([f"{_written(value)} ({number})" for _, (value, number) in frequent], MAX_LISTED)
