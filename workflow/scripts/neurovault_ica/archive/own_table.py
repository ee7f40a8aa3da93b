"""Read a table of the user's own maps."""

import csv
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurovault_ica.archive.cache import null_strings_to_none
from neurovault_ica.runtime.tables import MISSING
from neurovault_ica.types import Record

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_own_table(table: str) -> list[Record]:
    """Read a table of one's own maps; numbers, true and false are what they look like, empty and ``n/a`` are None.

    Raises
    ------
    ValueError
        If it is not UTF-8, a column is missing or there twice, an id is no whole number or there twice, or a file is
        outside of the table's folder by its absolute path.
    """
    try:
        with Path(table).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, dialect="excel-tab")
            _check_columns(table, list(reader.fieldnames or []))
            rows = [_own_record(table, number, row) for number, row in enumerate(reader, start=2)]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{table} is not UTF-8 (byte {error.object[error.start]:#04x}); save it as UTF-8, in a spreadsheet as"
            ' "Unicode text" or "CSV UTF-8" with tabs'
        ) from error
    except csv.Error as error:
        raise ValueError(f"{table} cannot be read as a table: {error}") from error
    seen: dict[int, str] = {}
    for row in rows:
        if row["id"] in seen:
            raise ValueError(f"{table}: image_id {row['id']} is given twice: {seen[row['id']]} and {row['file']}")
        seen[row["id"]] = row["file"]
    if not rows:
        raise ValueError(f"{table} has no rows")
    return rows


def _check_columns(table: str, columns: list[str]) -> None:
    missing = {"file", "image_id", "collection_id"} - set(columns)
    if missing:
        raise ValueError(
            f"{table}: the column {', '.join(sorted(missing))} is missing; it needs file, image_id and"
            f" collection_id, separated by tabs, and has {', '.join(columns or ['nothing'])}"
        )
    twice = sorted(name for name, number in Counter(columns).items() if number > 1)
    if twice:
        raise ValueError(
            f"{table}: more than one column is called {', '.join(repr(name) for name in twice)}; rename or remove them"
        )


def _own_record(table: str, line: int, row: Mapping[Any, Any]) -> Record:
    if None in row or None in row.values():
        raise ValueError(f"{table}, line {line}: not as many fields as there are columns")
    ids = {}
    for key in ("image_id", "collection_id"):
        if not re.fullmatch(r"\d{1,18}", row[key].strip()):
            raise ValueError(f"{table}, line {line}: {key} must be a whole number, not {row[key]!r}")
        ids[key] = int(row[key])
    if not row["file"].strip():
        raise ValueError(f"{table}, line {line}: there is no file")
    file = _relative_to_table(table, line, row["file"].strip())
    record = null_strings_to_none({key: _parse(value) for key, value in row.items()})
    return record | {"id": ids["image_id"], "collection_id": ids["collection_id"], "file": file}


def _relative_to_table(table: str, line: int, file: str) -> str:
    """Name a map relative to its table's folder: no absolute path of this machine goes into the results."""
    if not Path(file).is_absolute():
        return file
    folder = Path(table).absolute().parent
    # Normalised as text first: the maps inside the folder may be links to elsewhere.
    for start, path in ((folder, Path(os.path.normpath(file))), (folder.resolve(), Path(file).resolve())):
        if path.is_relative_to(start):
            return str(path.relative_to(start))
    relative = os.path.relpath(Path(file), folder)
    raise ValueError(
        f"{table}, line {line}: {file} is an absolute path to outside of the table's folder, which would go into the"
        f" results; write {relative}, or put the table beside the maps"
    )


def _parse(text: str) -> Any:
    text = text.strip()
    if text in ("", MISSING):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if NUMBER.fullmatch(text):
        return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)
    return text
