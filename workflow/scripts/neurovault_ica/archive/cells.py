"""Give the cells of a table of own maps their types, column by column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from neurovault_ica.archive.field_types import type_of
from neurovault_ica.runtime.tables import MISSING

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# A number that cannot be a code. 007 and 1e5 may be codes; a spreadsheet writes the number 1E+05. Numbers with more
# digits do not fit into a float.
PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?([eE][+-][0-9]{1,2})?")
TRUTH_VALUES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
# Largest number of examples in a warning.
MAX_EXAMPLES = 5


class AsWritten(float):
    """A number that keeps the text of its cell. True and false are 1 and 0.

    It equals both the number and the text, so a condition can name either.
    """

    text: str

    # The text has a default because copying calls this without the text, and adds it afterwards.
    def __new__(cls, value: float, text: str = "") -> AsWritten:
        """Make the number and keep `text`."""
        number = super().__new__(cls, value)
        number.text = text
        return number

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def __repr__(self) -> str:
        """Return the text."""
        return self.text

    def __eq__(self, other: object) -> bool:
        """Compare with a text as text, with anything else as a number."""
        return self.text == other if isinstance(other, str) else float(self) == other

    def __ne__(self, other: object) -> bool:
        """Return the opposite of ``==``."""
        return not self == other

    def __hash__(self) -> int:
        """Return the hash of the number. So ``in`` finds the text in a list, but not in a set."""
        return super().__hash__()

    def __contains__(self, part: str) -> bool:
        """Tell whether the text contains `part`."""
        return part in self.text


def read_column(column: str, cells: Sequence[str]) -> tuple[list[Any], list[int]]:
    """Give the cells of one column their type.

    A field of NeuroVault has NeuroVault's type. Any other column holds numbers if every filled cell is a plain number.
    It holds flags if every filled cell is true or false, and otherwise texts.

    Parameters
    ----------
    column : str
    cells : sequence of str

    Returns
    -------
    values : list
        None for an empty cell, ``n/a``, and a cell that does not fit the type of its field.
    unfit : list of int
        Positions of the cells that do not fit.
    """
    texts = [None if cell.strip() in ("", MISSING) else cell.strip() for cell in cells]
    read = _READERS[type_of(column) or _guess([text for text in texts if text is not None])]
    values = [None if text is None else read(text) for text in texts]
    unfit = [n for n, (text, value) in enumerate(zip(texts, values, strict=True)) if value is None is not text]
    return values, unfit


def describe_unfit(table: str, column: str, found: Sequence[tuple[int, str]]) -> str:
    """Write the warning for cells that do not fit the type of their field.

    Parameters
    ----------
    table : str
    column : str
    found : sequence of (line, text)
    """
    wanted = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}[str(type_of(column))]
    return (
        f"{table}: {column} must be {wanted}, so these cells count as unknown: {_list_cells(found)}. Write {wanted} or"
        f" {MISSING}"
    )


def describe_mixed(table: str, column: str, cells: Sequence[tuple[int, str]]) -> str | None:
    """Write a warning if most, but not all, cells of a column are numbers; otherwise return None.

    Fields of NeuroVault are left to `describe_unfit`.

    Parameters
    ----------
    table : str
    column : str
    cells : sequence of (line, text)
    """
    filled = [(line, text.strip()) for line, text in cells if text.strip() not in ("", MISSING)]
    others = [(line, text) for line, text in filled if not NUMBER.fullmatch(text)]
    if type_of(column) is not None or not 0 < len(others) < len(filled) / 2:
        return None
    return (
        f"{table}: {column} holds texts, because it has cells that are no numbers: {_list_cells(others)}. The other"
        f" {len(filled) - len(others)} are numbers. Comparisons such as greater_than need numbers; write a number or"
        f" {MISSING}"
    )


def list_examples(found: Sequence[str], most: int = MAX_EXAMPLES) -> str:
    """List at most `most` texts, and count the others: ``a, b and 3 more``."""
    listed = ", ".join(found[:most])
    return f"{listed} and {len(found) - most} more" if len(found) > most else listed


def _list_cells(found: Sequence[tuple[int, str]]) -> str:
    return list_examples([f"{text.strip()!r} (line {line})" for line, text in found])


def _guess(texts: Sequence[str]) -> str:
    if texts and all(PLAIN_NUMBER.fullmatch(text) for text in texts):
        return "plain number"
    return "plain flag" if texts and all(text.lower() in ("true", "false") for text in texts) else "string"


def _number(text: str) -> float | None:
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def _integer(text: str) -> int | None:
    value = _number(text)
    return int(value) if value is not None and value.is_integer() else None


_READERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "number": _number,
    "integer": _integer,
    "boolean": lambda text: TRUTH_VALUES.get(text.lower()),
    "plain number": lambda text: AsWritten(float(text), text),
    "plain flag": lambda text: AsWritten(text.lower() == "true", text),
}
