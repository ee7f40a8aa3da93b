"""Read and write tables: tab separated, ``n/a`` for missing values, as in BIDS.

Every table is described once, in ``workflow/schemas/tables.json`` under ``<folder>/<name>``. `write_table` checks the
columns against that description and writes it beside the table as a JSON sidecar. `read_table` uses its types.
"""

import csv
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurovault_ica.runtime.files import package_file, replacing, write_json

TABLES_FILE = package_file("../../schemas/tables.json")
MISSING = "n/a"
# Largest number of characters of a cell; longer texts are cut. NeuroVault's descriptions can be arbitrarily long.
MAX_CELL = 2000
# Tables of users can have longer cells. By default, Python's csv module refuses cells over 131,072 characters.
csv.field_size_limit(2**31 - 1)
# Control characters, tabs, line breaks and line separators, which could split a cell or a row.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Marks that change the writing direction of the text around them.
DIRECTIONS = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
# A spreadsheet runs text as a formula if it begins with one of these signs.
FORMULA = re.compile(r"[=+\-@]")
# Signs alone, numbers, and coordinates such as "-10 -94 2 (+1)" are harmless: they contain no function and no cell.
NO_FORMULA = re.compile(r"[=+\-@]+|[+\-][\d\s.,;()+\-]*([eE][+\-]?\d+)?", re.ASCII)
# Text that looks as if `write_table` had put its apostrophe before a formula.
GUARDED = re.compile("'+[=+\\-@]")


def write_table(
    path: str | Path,
    rows: Iterable[Mapping[str, Any]],
    columns: Iterable[str] = (),
    *,
    described_as: str | None = None,
) -> None:
    """Write `rows` as a TSV file and its description as a JSON sidecar.

    Parameters
    ----------
    path : path
        ``.../<folder>/<name>.tsv``. A batch number at the end (``quality-3.tsv``) does not belong to the name.
    rows : iterable of mappings
        Each has exactly the columns of the table. None, NaN and the empty string become ``n/a``. Text is cut to
        `MAX_CELL` characters. Text that a spreadsheet would run as a formula is written with an apostrophe before it.
    columns : iterable of str, optional
        Names of the columns; by default, those of the description. Required if the description has a pattern such as
        ``ICA_*``.
    described_as : str, optional
        ``<folder>/<name>.tsv`` under which the table is described, if it is written elsewhere.

    Raises
    ------
    KeyError
        If the table or a column has no description, or if the columns of a row are different.
    """
    path = Path(path)
    description = _describe(Path(described_as or path))
    names = list(columns) or list(description)
    specs = {name: _column(description, name, path) for name in names}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, dialect="excel-tab", lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            if len(row) != len(names):
                raise KeyError(f"{path.name}: a row has the columns {sorted(row)}, expected {sorted(names)}")
            writer.writerow([_to_cell(row[name]) for name in names])
    write_json(sidecar_of(path), specs)


def restore_sidecar(path: str | Path) -> None:
    """Write the description of an existing table again."""
    path = Path(path)
    with path.open(encoding="utf-8", newline="") as stream:
        names = next(csv.reader(stream, dialect="excel-tab"))
    description = _describe(path)
    write_json(sidecar_of(path), {name: _column(description, name, path) for name in names})


def read_table(path: str | Path, *, described_as: str | None = None) -> list[dict[str, Any]]:
    """Read a table written by `write_table`.

    Parameters
    ----------
    path : path
    described_as : str, optional
        ``<folder>/<name>.tsv`` under which the table is described, for a table that was moved or renamed.

    Returns
    -------
    list of dict
        One for each row. ``n/a`` becomes None. Other values get the type of the description. The apostrophe that
        `write_table` put before a text is removed.

    Raises
    ------
    ValueError
        If a row has another number of cells than the first line, or a cell has not the type of its column.
    """
    path = Path(path)
    description = _describe(Path(described_as or path))
    # A lock edited on Windows may begin with a byte order mark.
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, dialect="excel-tab")
        names = next(reader)
        parsers = [_PARSERS[_column(description, name, path)["Format"]] for name in names]
        rows = []
        for row in reader:
            try:
                rows.append(
                    {
                        name: None if text == MISSING else parse(text)
                        for name, parse, text in zip(names, parsers, row, strict=True)
                    }
                )
            except ValueError as error:
                raise ValueError(f"line {reader.line_num} {_fault_of(row, names, parsers)}") from error
        return rows


def _fault_of(row: Sequence[str], names: Sequence[str], parsers: Sequence[Callable[[str], Any]]) -> str:
    """Explain why a row cannot be read."""
    if len(row) != len(names):
        return f"has {len(row)} cells, but the first line has {len(names)}"
    for name, parse, text in zip(names, parsers, row, strict=True):
        try:
            _ = None if text == MISSING else parse(text)
        except ValueError as error:
            return f"has an unusable {name}: {error}"
    return "cannot be read"


def read_optional(file: str | Sequence[str]) -> list[dict[str, Any]]:
    """Read a table. If its rule did not run, `file` is an empty list, and there are no rows."""
    return read_table(file) if isinstance(file, str) else []


def component_labels(n_components: int) -> list[str]:
    """Return the labels of components: ``ICA_00``, ``ICA_01`` and so on; with more than 100, ``ICA_000``."""
    digits = max(2, len(str(n_components - 1)))
    return [f"ICA_{number:0{digits}d}" for number in range(n_components)]


def column_formats(path: str | Path) -> dict[str, str]:
    """Return the type of each described column of a table: integer, number, boolean or string."""
    return {name: column["Format"] for name, column in _describe(Path(path)).items()}


def column_names(path: str | Path) -> list[str]:
    """List the described columns of a table."""
    return list(_describe(Path(path)))


def without_guard(text: str) -> str:
    """Remove the apostrophe that `write_table` put before a text so that a spreadsheet does not run it."""
    return text[1:] if text.startswith("'") and GUARDED.match(text) else text


def _to_cell(value: Any) -> str:
    """Write a value as a cell, with an apostrophe before text that a spreadsheet would run as a formula."""
    text = to_text(value)
    if not isinstance(value, str):
        return text
    is_formula = FORMULA.match(text) and not NO_FORMULA.fullmatch(text)
    # Text that looks like guarded text gets an apostrophe too, so that `read_table` returns it unchanged.
    return f"'{text}" if is_formula or GUARDED.match(text) else text


def _parse_boolean(text: str) -> bool:
    """Read a boolean. Spreadsheets write it in capitals."""
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text[:80]!r} is neither true nor false")
    return text.lower() == "true"


_PARSERS: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "number": float,
    "boolean": _parse_boolean,
    "string": without_guard,
}


@functools.cache
def _descriptions() -> dict[str, dict[str, dict[str, str]]]:
    return json.loads(TABLES_FILE.read_text(encoding="utf-8"))


def _stem(path: Path) -> str:
    return re.sub(r"-\d+$", "", path.stem)


def sidecar_of(path: Path) -> Path:
    """Return the path of the description beside a table. Tables of batches share one."""
    return path.with_name(_stem(path) + ".json")


def _describe(path: Path) -> dict[str, dict[str, str]]:
    key = f"{path.parent.name}/{_stem(path)}"
    if key not in _descriptions():
        raise KeyError(f"{key} is not described in {TABLES_FILE.name}")
    return _descriptions()[key]


def _column(description: Mapping[str, dict[str, str]], name: str, path: Path) -> dict[str, str]:
    if name in description:
        return description[name]
    for pattern, column in description.items():
        if pattern.endswith("*") and name.startswith(pattern[:-1]):
            return column
    raise KeyError(f"{path.name}: the column {name} is not described in {TABLES_FILE.name}")


def to_text(value: Any) -> str:
    """Convert a Python or numpy value to the text of a table cell."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    # Text can come from the network. Half a surrogate pair, which JSON allows, cannot be encoded as UTF-8.
    text = re.sub(r"[\ud800-\udfff]", "\ufffd", str(value))
    text = CONTROLS.sub(" ", DIRECTIONS.sub("", text))
    return _cut(text) if len(text) > MAX_CELL else text or MISSING


def _cut(text: str) -> str:
    """Shorten a text. A hash at its end keeps different texts different, so that, for example, terms stay unique."""
    end = f"… {hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text[: MAX_CELL - len(end)] + end
