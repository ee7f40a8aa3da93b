"""Check that the metadata fields named in the configuration exist."""

import difflib
import logging
from collections.abc import Collection, Iterable

# Similarity (difflib) above which an unknown field is treated as a typo. No two fields of NeuroVault's images reach it.
MIN_NAME_SIMILARITY = 0.8


def refuse_typos(section: str, fields: Iterable[str], known: Collection[str]) -> None:
    """Refuse unknown fields whose names are similar to that of an existing field.

    An unknown field is missing in every record. A condition on it would drop all images or, if negated, none.

    Raises
    ------
    ValueError
        If there is such a field.
    """
    for field in fields:
        near = [] if field in known else difflib.get_close_matches(field.lower(), sorted(known), 1, MIN_NAME_SIMILARITY)
        if near:
            raise ValueError(
                f"fetch_metadata.{section}: no {_level(section)} has the metadata field {field!r}; did you mean"
                f" {near[0]}?"
            )


def check_fields(section: str, fields: Iterable[str], known: Collection[str], *, is_any_left: bool) -> None:
    """Report fields that the conditions name, but no record has.

    Parameters
    ----------
    section : str
        The key of the configuration that has the conditions.
    fields : iterable of str
        The fields that the conditions name.
    known : collection of str
        All fields of the records. If there were no records, it is empty and nothing is checked.
    is_any_left : bool
        Whether any record met all conditions.

    Raises
    ------
    ValueError
        If an unknown field is similar to an existing one, or no record met all conditions.
    """
    if not known:
        return
    fields = list(fields)
    refuse_typos(section, fields, known)
    for field in (field for field in fields if field not in known):
        if not is_any_left:
            raise ValueError(
                f"fetch_metadata.{section}: no {_level(section)} has the metadata field {field!r}, and no"
                f" {_level(section)} is left. Remove the condition, or use an existing field:"
                f" {', '.join(sorted(known))}"
            )
        logging.warning("no %s has the metadata field %r, so it counts as missing", _level(section), field)


def _level(section: str) -> str:
    return section.removesuffix("_terms")
