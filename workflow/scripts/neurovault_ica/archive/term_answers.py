"""Read files with the term weights of images, in the JSON format of Neurosynth's server."""

import functools
import json
import logging
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from neurovault_ica.archive.cells import NUMBER
from neurovault_ica.runtime.files import sha256_of
from neurovault_ica.runtime.text_tables import decode
from neurovault_ica.types import Row

Weights = dict[str, float]
# Rounding may make a correlation slightly larger than 1.
MAX_WEIGHT = 1 + 1e-6
# Errors that unexpected JSON can raise while it is read.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class Answer(NamedTuple):
    """The content of one file.

    Attributes
    ----------
    weights : dict
        Term to Pearson correlation; empty if no weights are known.
    reason : str or None
        Why no weights are known: ``missing_file``, ``malformed``, ``no_values``, or ``not_given`` if the user's table
        names no term file.
    dropped : int
        Number of terms without a name, or without a weight between -1 and 1.
    """

    weights: Weights
    reason: str | None
    dropped: int = 0


class CheckedTerms(NamedTuple):
    """The term weights of one image, after the comparison with the lock.

    Attributes
    ----------
    weights : dict
    status : dict
        Row of status-{batch}.tsv.
    changed : list of str
        Differences from the lock.
    dropped : int
        As in `Answer`.
    """

    weights: Weights
    status: Row
    changed: list[str]
    dropped: int


def read_answer(path: Path | None, *, is_own: bool = False) -> Answer:
    """Read one answer of Neurosynth's decode endpoint, or a file of the same form that the user made.

    Parameters
    ----------
    path : Path or None
        None if the user's table names no file.
    is_own : bool
        Whether the user made the file. If so, spellings may vary: see `parse_own_weights`.
    """
    if path is None:
        return Answer({}, "not_given")
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return Answer({}, "missing_file")
    except OSError as error:
        logging.warning("%s cannot be read: %s", path, error.strerror or error)
        return Answer({}, "malformed")
    try:
        if is_own:
            weights, dropped = parse_own_weights(json.loads(decode(content, path.name)), path)
        else:
            weights, dropped = parse_weights(json.loads(content.decode()))
    except MALFORMED as error:
        if is_own:
            reason = error if isinstance(error, ValueError) else "its structure is wrong"
            logging.warning('%s cannot be read: %s. Write {"data": {"values": {"faces": 0.42}}}', path, reason)
        return Answer({}, "malformed")
    return Answer(weights, None if weights else "no_values", dropped)


def find_answer(
    image_id: Any,
    path: Path | None,
    refusal: str | None,
    locked: Mapping[str, Any] | None,
    *,
    is_own: bool = False,
) -> CheckedTerms:
    """Read the term weights of an image and compare them with the lock.

    Parameters
    ----------
    image_id : int or str
    path : Path or None
        File of the answer; None if the user's table names none.
    refusal : str or None
        Why the server sent no terms in this run.
    locked : mapping or None
        The image's row in the lock.
    is_own : bool
        As in `read_answer`.
    """
    weights, fault, dropped = read_answer(path, is_own=is_own)
    sha256, changed = hash_of(path, weights), []
    reason = fault and (refusal or fault)
    if locked is not None and locked["terms_sha256"] is None:
        # The image had no terms in the locked run, so newer terms are not used.
        weights, reason, sha256, dropped = {}, locked["terms_reason"], None, 0
    elif locked is not None and locked["terms_sha256"] != sha256:
        reason = refusal or fault or "changed"
        changed.append(f"terms of image {image_id} ({reason})")
        weights, sha256, dropped = {}, None, 0
    status = {"image_id": image_id, "terms": len(weights), "reason": reason, "sha256": sha256}
    return CheckedTerms(weights, status, changed, dropped)


def parse_weights(answer: Any) -> tuple[Weights, int]:
    """Extract the weights from a parsed answer.

    Returns
    -------
    weights : dict
    dropped : int
        Number of terms without a name, or without a weight between -1 and 1.

    Raises
    ------
    One of `MALFORMED`
        If the answer has another form.
    """
    weights: Weights = {}
    values = answer["data"]["values"]
    for term, weight in values.items():
        name = _clean(term)
        if name and name not in weights and _is_correlation(weight):
            weights[name] = float(weight)
    return weights, len(values) - len(weights)


def parse_own_weights(answer: Any, path: Path) -> tuple[Weights, int]:
    """Extract the weights from a file of the user.

    Spellings that differ only in case or Unicode form are one term. If they have different weights, the first is used.
    A weight may be a number in quotes.

    Parameters
    ----------
    answer : object
        The content of the file.
    path : Path
        For messages.

    Returns
    -------
    weights, dropped
        As from `parse_weights`. A second spelling does not count as dropped.

    Raises
    ------
    One of `MALFORMED`
        If the file has another form.
    """
    weights: Weights = {}
    dropped = 0
    for term, typed in answer["data"]["values"].items():
        name = _fold(term)
        weight = float(typed) if isinstance(typed, str) and NUMBER.fullmatch(typed.strip()) else typed
        if not name or not _is_correlation(weight):
            dropped += 1
        elif weights.setdefault(name, float(weight)) != weight:
            logging.warning(
                "%s: the weight %s of %r is not used, because the term %r already has the weight %s",
                path, weight, term, name, weights[name],
            )  # fmt: skip
    return weights, dropped


def hash_of(path: Path | None, weights: Weights) -> str | None:
    """Compute the SHA-256 checksum of an answer; None if it has no weights."""
    return sha256_of(path) if path and weights else None


def _clean(term: str) -> str:
    """Turn a term into one line of printable text."""
    text = term if term.isprintable() else "".join(sign if sign.isprintable() else " " for sign in term)
    return " ".join(text.split())


@functools.lru_cache(maxsize=100_000)
def _fold(term: str) -> str:
    """Return the form that all spellings of a term share: lower case, and one Unicode form (NFKC).

    Characters of zero width, which word processors insert, are removed.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", term).lower())
    return _clean(text if text.isprintable() else "".join(sign for sign in text if unicodedata.category(sign) != "Cf"))


def _is_correlation(weight: Any) -> bool:
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    # A comparison needs no special case for NaN (False) or for integers that are too large for a float.
    return is_number and -MAX_WEIGHT <= weight <= MAX_WEIGHT
