"""Read the lines of a table with a header, with their line numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from neurovault_ica.runtime.text_tables import decode, split_line, split_lines

ENCODING_ADVICE = 'save it as UTF-8, in a spreadsheet as "Unicode text" or "CSV UTF-8" with tabs'
SEPARATORS = {"comma": ",", "semicolon": ";", "space": None}


class Line(NamedTuple):
    """A row of the table: the number of its line in the file, and its cells by column."""

    number: int
    cells: Mapping[str, str]


def read_lines(table: str, required: set[str]) -> list[Line]:
    """Read a tab-separated table.

    Empty rows are skipped, and so are empty columns without a name, which spreadsheets write.

    Parameters
    ----------
    table : str
    required : set of str
        Columns that must be there.

    Raises
    ------
    ValueError
        If the table cannot be read; with the number of the line.
    """
    lines = split_lines(decode(Path(table).read_bytes(), table, ENCODING_ADVICE))
    columns = [column.strip() for column in split_line(table, 1, lines[0])]
    named = [name for name in columns if name]
    _check_columns(table, lines[0], named, required)
    rows = []
    for number, text in enumerate(lines[1:], start=2):
        cells = split_line(table, number, text)
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise ValueError(
                f"{table}, line {number}: the row has {len(cells)} cells, but the header has {len(columns)}; separate"
                " cells by single tabs, and write n/a where a value is missing"
            )
        nameless = next((cell for name, cell in zip(columns, cells, strict=True) if cell.strip() and not name), None)
        if nameless is not None:
            raise ValueError(
                f"{table}, line {number}: {nameless!r} is in a column without a name; name the column in the first line"
            )
        rows.append(Line(number, {name: cell for name, cell in zip(columns, cells, strict=True) if name}))
    return rows


def _check_columns(table: str, header: str, columns: list[str], required: set[str]) -> None:
    missing = required - set(columns)
    if missing:
        for kind, separator in SEPARATORS.items():
            if required <= {name.strip(' "') for name in header.split(separator)}:
                raise ValueError(
                    f"{table}: the columns seem to be separated by {kind}s, but must be separated by tabs. In a"
                    ' spreadsheet, save it as "Unicode text" or as "CSV UTF-8" with tabs'
                )
        lacking = "the column {} is missing" if len(missing) == 1 else "the columns {} are missing"
        raise ValueError(
            f"{table}: {lacking.format(', '.join(sorted(missing)))}; it needs file, image_id and"
            f" collection_id, separated by tabs, and has {', '.join(columns or ['nothing'])}"
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ValueError(
            f"{table}: more than one column is called {', '.join(repr(name) for name in twice)}; rename or remove them"
        )
