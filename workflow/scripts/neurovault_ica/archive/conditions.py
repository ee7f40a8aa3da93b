"""Compare metadata fields with the conditions of the configuration.

The comparisons are those of ``nilearn.datasets.neurovault``, with names in snake case. They treat missing values and
values of another type as nilearn does.
"""

import datetime
import importlib.util
import re
import traceback
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from neurovault_ica.archive.cells import AsWritten
from neurovault_ica.runtime.files import starting_folder
from neurovault_ica.runtime.yaml_text import as_configured

Metadata = Mapping[str, Any]
Predicate = Callable[[Any], bool]


def _compare(relation: Callable[[Any, Any], bool]) -> Callable[[Any], Predicate]:
    """Build an order comparison. It converts the value to the type of the bound and is False if that fails."""

    def bind(bound: Any) -> Predicate:
        def holds(value: Any) -> bool:
            try:
                return relation(type(bound)(value), bound)
            except (TypeError, ValueError, OverflowError):
                return False

        return holds

    return bind


def _contains(parts: list[Any]) -> Predicate:
    return lambda value: isinstance(value, Container) and all(part in value for part in parts)


def _not_contains(parts: list[Any]) -> Predicate:
    return lambda value: isinstance(value, Container) and not any(part in value for part in parts)


def _pattern(pattern: str) -> Predicate:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str | AsWritten) and compiled.match(str(value)) is not None


COMPARISONS: dict[str, Callable[[Any], Predicate]] = {
    "is_null": lambda wanted: lambda value: bool(value) is not wanted,
    "not_null": lambda wanted: lambda value: bool(value) is wanted,
    "not_equal": lambda other: lambda value: value != other,
    "greater_or_equal": _compare(lambda value, bound: value >= bound),
    "greater_than": _compare(lambda value, bound: value > bound),
    "less_or_equal": _compare(lambda value, bound: value <= bound),
    "less_than": _compare(lambda value, bound: value < bound),
    "is_in": lambda accepted: lambda value: value in accepted,
    "not_in": lambda refused: lambda value: value not in refused,
    "contains": _contains,
    "not_contains": _not_contains,
    "pattern": _pattern,
}
# Comparisons by the type of their argument: a list, a list of strings, true or false, a number or text.
LIST_COMPARISONS = {"is_in", "not_in", "contains", "not_contains"}
PART_COMPARISONS = {"contains", "not_contains"}
FLAG_COMPARISONS = {"is_null", "not_null"}
ORDER_COMPARISONS = {"greater_or_equal", "greater_than", "less_or_equal", "less_than"}


def compile_term(key: str, term: Any) -> Predicate:
    """Turn one entry of ``image_terms`` or ``collection_terms`` into a test of that metadata field.

    Parameters
    ----------
    key : str
        Name of the metadata field, for messages.
    term : object
        A plain value (equality) or a mapping of one comparison to its argument, such as ``{is_in: [Z map, T map]}``.

    Raises
    ------
    ValueError
        If the mapping is not one known comparison with an argument of the right type, or if the plain value is the name
        of a comparison.
    """
    if isinstance(term, list) and term:
        raise ValueError(
            f"{key}: {list(term)} is a list, not one value; write {{is_in: {list(term)}}} to accept any of these"
        )
    if not isinstance(term, Mapping):
        _refuse_date(key, term)
        if isinstance(term, str) and term in COMPARISONS:
            argument = "true" if term in FLAG_COMPARISONS else "..."
            raise ValueError(f"{key}: {term} is a comparison without its argument; write {{{term}: {argument}}}")
        return lambda value: value == term
    if len(term) != 1 or next(iter(term)) not in COMPARISONS:
        raise ValueError(
            f"{key}: {dict(term)} is not a comparison; write one of {', '.join(COMPARISONS)} with its argument"
        )
    ((name, argument),) = term.items()
    if name in LIST_COMPARISONS and not isinstance(argument, list):
        raise ValueError(f"{key}: {name} takes a list, not {argument!r}; write {name}: [{argument}]")
    if name == "is_in" and not argument:
        raise ValueError(f"{key}: is_in has an empty list, which accepts nothing; list at least one value")
    for part in argument if isinstance(argument, list) else [argument]:
        _refuse_date(key, part)
    if name in ORDER_COMPARISONS and (isinstance(argument, bool) or not isinstance(argument, int | float | str)):
        raise ValueError(f"{key}: {name} takes a number or text, not {as_configured(argument)}")
    if name == "pattern" and not isinstance(argument, str):
        raise ValueError(f"{key}: pattern takes text, not {argument!r}; write it in quotes")
    # Python raises TypeError if a number is searched in a text.
    if name in PART_COMPARISONS and not all(isinstance(part, str) for part in argument):
        raise ValueError(f"{key}: {name} takes a list of text, not {argument!r}; write each in quotes")
    if name in FLAG_COMPARISONS and not isinstance(argument, bool):
        raise ValueError(f"{key}: {name} takes true or false, not {argument!r}")
    try:
        return COMPARISONS[name](argument)
    except re.error as error:
        raise ValueError(f"{key}: {argument!r} is not a regular expression ({error}); correct it") from error


def _refuse_date(key: str, value: Any) -> None:
    """Refuse a date without quotes. YAML converts it, but dates in the metadata are texts, so none would match."""
    if isinstance(value, datetime.date):
        raise ValueError(f'{key}: the date {value} is not text; write it in quotes: "{value}"')


def describe_term(key: str, term: Any) -> str:
    """Write one term for selection.tsv, such as ``map_type is_in [Z map]``."""
    if isinstance(term, Mapping):
        ((name, argument),) = term.items()
        return f"{key} {name} {as_configured(argument)}"
    return f"{key} = {as_configured(term)}"


def load_function(reference: str) -> Callable[[Metadata], bool]:
    """Load the user's filter function.

    Parameters
    ----------
    reference : str
        ``file.py:function``.

    Raises
    ------
    ValueError
        If the reference has another form, the file or function does not exist, or the file cannot be run. The returned
        function also raises ValueError, for any error of the user's function.
    """
    file, separator, name = reference.rpartition(":")
    if not separator or not file.endswith(".py"):
        raise ValueError(f"{reference!r} does not name a filter; write file.py:function")
    if not Path(file).is_file():
        raise ValueError(f"the filter file {file} does not exist{starting_folder(file)}; correct the path")
    spec = importlib.util.spec_from_file_location("user_filter", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"the filter file {file} cannot be loaded as Python; give a file of Python code")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"the filter file {file} cannot be run: {_explain(error, file)}; correct it") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{file} has no function {name}; define it, or correct the name in the configuration")

    def holds(metadata: Metadata) -> bool:
        try:
            return bool(function(metadata))
        except Exception as error:
            raise ValueError(
                f"the filter {name} of {file} failed for the record with id {metadata.get('id')}:"
                f" {_explain(error, file)}"
            ) from error

    return holds


def _explain(error: Exception, file: str) -> str:
    """Describe an error and the line of the user's file that raised it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{place}"


def word_pattern(words: list[str]) -> re.Pattern[str]:
    r"""Compile a pattern that finds any of `words` as whole words.

    Parts of words do not match: "ica" is not found in "semantically". An underscore or a digit ends a word, because
    names such as ``seed_PCC`` and ``ICA12`` are common.
    """
    alternatives = "|".join(re.escape(word) for word in words)
    return re.compile(rf"(?<![^\W\d_])(?:{alternatives})(?![^\W\d_])", re.IGNORECASE)
