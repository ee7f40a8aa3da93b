"""Read the text of a table: its encoding, separators, quotes and empty lines. Each row keeps the number of its line."""

import codecs
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ENCODINGS = {
    # The mark of UTF-16 is the beginning of the mark of UTF-32.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
ADVICE = 'save it as UTF-8, in a spreadsheet as "Unicode text" or "CSV UTF-8" with tabs'
# A field in quotes may contain tabs and doubled quotes. In any other field quotes are part of the text.
FIELD = re.compile(r'(?:^|\t)(?:"((?:[^"]|"")*)"(?=\t|$)|([^\t]*))')
SEPARATORS = {"comma": ",", "semicolon": ";", "space": None}


class Line(NamedTuple):
    """A row of the table: the number of its line in the file, and its cells by column."""

    number: int
    cells: Mapping[str, str]


def decode(content: bytes, name: str, advice: str = "save it as UTF-8") -> str:
    """Decode a text file of the user: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Parameters
    ----------
    content : bytes
    name : str
        Name of the file, for messages.
    advice : str
        What to do if it cannot be decoded.

    Raises
    ------
    ValueError
        If the file has another encoding.
    """
    if content.startswith(b"PK\x03\x04"):
        raise ValueError(f"{name} is a workbook or a zip file, not text; {advice}")
    encoding = next((code for mark, code in ENCODINGS.items() if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        kind = encoding.removesuffix("-sig").upper()
        byte = error.object[error.start]
        raise ValueError(f"{name}, line {line}: the file is not {kind} (byte {byte:#04x}); {advice}") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f"{name}, line {line}: the file is not plain text, or is UTF-16 without a byte order mark (it has zero"
            f" bytes); {advice}"
        )
    return text


def read_lines(table: str, required: set[str]) -> list[Line]:
    """Read a table with tabs.

    Rows without any text are skipped, and so are columns without a name and without text, which spreadsheets write.

    Parameters
    ----------
    table : str
    required : set of str
        Columns that must be there.

    Raises
    ------
    ValueError
        If the table cannot be read, with the line.
    """
    lines = re.split(r"\r\n|\n|\r", decode(Path(table).read_bytes(), table, ADVICE))
    columns = [column.strip() for column in _split(table, 1, lines[0])]
    named = [name for name in columns if name]
    _check_columns(table, lines[0], named, required)
    rows = []
    for number, text in enumerate(lines[1:], start=2):
        cells = _split(table, number, text)
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise ValueError(
                f"{table}, line {number}: the row has more or fewer cells than the header ({len(cells)}, not"
                f" {len(columns)}); separate cells by single tabs, and write n/a where a value is missing"
            )
        nameless = next((cell for name, cell in zip(columns, cells, strict=True) if cell.strip() and not name), None)
        if nameless is not None:
            raise ValueError(
                f"{table}, line {number}: {nameless!r} is in a column without a name; name the column in the first line"
            )
        rows.append(Line(number, {name: cell for name, cell in zip(columns, cells, strict=True) if name}))
    return rows


def _split(table: str, number: int, line: str) -> list[str]:
    """Split a line at its tabs and remove the quotes around fields."""
    cells = []
    for field in FIELD.finditer(line):
        quoted, plain = field.groups()
        if quoted is None and plain.startswith('"') and plain.count('"') % 2:
            # Spreadsheets write a line break within a cell in this way, too.
            raise ValueError(
                f"{table}, line {number}: a quote is opened before {plain[1:31]!r} and not closed in the same field of"
                " this line; close or remove the quote, or remove the line break within the cell"
            )
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
    return cells


def _check_columns(table: str, header: str, columns: list[str], required: set[str]) -> None:
    missing = required - set(columns)
    if missing:
        for kind, separator in SEPARATORS.items():
            if required <= {name.strip(' "') for name in header.split(separator)}:
                raise ValueError(
                    f"{table}: this file looks {kind} separated; its columns must be separated by tabs. In a"
                    ' spreadsheet, save it as "Unicode text" or as "CSV UTF-8" with tabs'
                )
        raise ValueError(
            f"{table}: the column {', '.join(sorted(missing))} is missing; it needs file, image_id and"
            f" collection_id, separated by tabs, and has {', '.join(columns or ['nothing'])}"
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ValueError(
            f"{table}: more than one column is called {', '.join(repr(name) for name in twice)}; rename or remove them"
        )
