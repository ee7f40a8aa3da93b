"""Give the cells of a table of own maps their types, column by column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from neurovault_ica.archive.field_types import type_of
from neurovault_ica.runtime.tables import MISSING

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# Codes such as 007 and 1e5 are no plain numbers; a spreadsheet writes 1E+05. More digits do not fit into a float.
PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?([eE][+-][0-9]{1,2})?")
TRUTH_VALUES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
# A warning names no more cells than these.
MAX_EXAMPLES = 5


class AsWritten(float):
    """A number, or true or false as 1 or 0, that keeps its text.

    It equals the number and the text, so that conditions can ask for either.
    """

    text: str

    # A copy is first made without the text.
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
        """Return the hash of the number. Sets of texts do not find it, lists do."""
        return super().__hash__()

    def __contains__(self, part: str) -> bool:
        """Tell whether the text contains `part`."""
        return part in self.text


def read_column(column: str, cells: Sequence[str]) -> tuple[list[Any], list[int]]:
    """Give the cells of one column their type.

    A field that NeuroVault has is read with NeuroVault's type. Any other column holds numbers if every filled cell is a
    plain number, and flags if every filled cell is true or false; otherwise it holds texts.

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
        f"{table}: {column} must be {wanted}, but is {_list_cells(found)}; these count as unknown. Write {wanted} or"
        f" {MISSING}"
    )


def describe_mixed(table: str, column: str, cells: Sequence[tuple[int, str]]) -> str | None:
    """Write a warning if most cells of a column that NeuroVault lacks are numbers, but not all; else None.

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
        f"{table}: {column} holds texts, because {_list_cells(others)} is no number, as the other"
        f" {len(filled) - len(others)} are; comparisons such as greater_than need numbers. Write a number or {MISSING}"
    )


def _list_cells(found: Sequence[tuple[int, str]]) -> str:
    cells = ", ".join(f"{text.strip()!r} (line {line})" for line, text in found[:MAX_EXAMPLES])
    return f"{cells} and {len(found) - MAX_EXAMPLES} more" if len(found) > MAX_EXAMPLES else cells


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
