"""``source: table``: the user's own maps, listed in a table."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurovault_ica.archive.base import Archive
from neurovault_ica.archive.cache import null_strings_to_none
from neurovault_ica.archive.records import CollectionImages, Damage
from neurovault_ica.runtime.ids import SAFE_ID, natural_key
from neurovault_ica.runtime.tables import MISSING

if TYPE_CHECKING:
    from neurovault_ica.types import Record, Row

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class OwnTable(Archive):
    """A table with the columns ``file``, ``image_id`` and ``collection_id``; further columns are metadata.

    Columns that begin with ``collection_`` describe the collection: ``collection_name``, ``collection_DOI``. The column
    ``terms`` names a file with the image's term weights.
    """

    name = "table"
    own_keys = ("table",)
    sentence = "were our own"
    rerun_note = "\nThe images are not in this folder. Name the folder of their table: add DATA=path/to/it.\n"

    @property
    def data_dir(self) -> str:
        """The table's folder, to which the paths in the table are relative."""
        return str(Path(self.settings["table"]).parent)

    @property
    def label(self) -> str:
        """Name of the archive in the report and in messages."""
        return f"the table {self.settings['table']}"

    @property
    def files(self) -> dict[str, str]:
        """The table, if it is configured."""
        return {"table": self.settings["table"]} if self.settings["table"] else {}

    def moved(self, base: Path, data: Path | None) -> dict[str, Any]:
        """Return the absolute path of the table."""
        table = base / self.settings["table"]
        return {"table": str(((data or table.parent) / table.name).absolute())}

    def collections(self) -> tuple[list[Record], Damage]:
        """Group the rows of the table by collection."""
        return [
            {
                key.removeprefix("collection_"): value
                for key, value in images[0].items()
                if key.startswith("collection_") and key != "collection_id"
            }
            | {"id": number, "number_of_images": len(images)}
            for number, images in sorted(self._by_collection().items(), key=lambda group: natural_key(group[0]))
        ], {}

    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Yield the rows of each collection."""
        rows = self._by_collection()
        for collection in collections:
            yield CollectionImages(collection, rows[collection["id"]], {})

    def file_of(self, image: Row) -> str:
        """Return the path of an image as the table gives it."""
        return str(image["file"])

    def term_files(self, images: Sequence[Row]) -> dict[Any, Path | None]:
        """Return the path of each image's term file; None if the table names none."""
        named = {str(row["id"]): row.get("terms") for row in read_own_table(self.settings["table"])}
        return {
            image["image_id"]: Path(self.data_dir) / str(terms)
            if (terms := named.get(str(image["image_id"])))
            else None
            for image in images
        }

    def _by_collection(self) -> dict[Any, list[Record]]:
        groups: dict[Any, list[Record]] = {}
        for row in read_own_table(self.settings["table"]):
            groups.setdefault(row["collection_id"], []).append(row)
        return groups


def read_own_table(table: str) -> list[Record]:
    """Read a table of the user's own maps.

    Cells that look like a number, true or false get that type. An empty cell and ``n/a`` become None.

    Raises
    ------
    ValueError
        If the table is not UTF-8 or has no rows, or a column is missing or duplicated. Also if a row has too many or
        too few cells, an invalid or duplicated id, no file, or an absolute path outside of the table's folder.
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
    file_of: dict[Any, str] = {}
    for row in rows:
        if row["id"] in file_of:
            raise ValueError(
                f"{table}: image_id {row['id']} is given twice, for {file_of[row['id']]} and {row['file']}; give each"
                " image its own id"
            )
        file_of[row["id"]] = row["file"]
    if not rows:
        raise ValueError(f"{table} has no rows; list one image in each row")
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
    """Turn a row of the table into the metadata of an image."""
    if None in row or None in row.values():
        raise ValueError(
            f"{table}, line {line}: the row has more or fewer cells than the header; separate cells by single tabs"
        )
    ids = {key: _read_id(table, line, key, row[key].strip()) for key in ("image_id", "collection_id")}
    if not row["file"].strip():
        raise ValueError(f"{table}, line {line}: the column file is empty; give the path of the map")
    file = _relative_to_table(table, line, row["file"].strip())
    record = null_strings_to_none({key: _parse(value) for key, value in row.items()})
    return record | {"id": ids["image_id"], "collection_id": ids["collection_id"], "file": file}


def _read_id(table: str, line: int, key: str, text: str) -> int | str:
    """Read an id. Whole numbers become int, like NeuroVault's ids, so that conditions can compare them."""
    if not SAFE_ID.fullmatch(text):
        raise ValueError(
            f"{table}, line {line}: {key} {text!r} is not valid; use up to 100 letters, digits, '_', '-' and '.', and"
            " begin with a letter, a digit or '_'"
        )
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else text


def _relative_to_table(table: str, line: int, file: str) -> str:
    """Make a path relative to the table's folder, so that the results contain no absolute path of this machine."""
    if not Path(file).is_absolute():
        return file
    folder = Path(table).absolute().parent
    # Compare the paths before links are resolved: maps inside the folder may be links to files elsewhere.
    for start, path in ((folder, Path(os.path.normpath(file))), (folder.resolve(), Path(file).resolve())):
        if path.is_relative_to(start):
            return str(path.relative_to(start))
    relative = os.path.relpath(Path(file), folder)
    raise ValueError(
        f"{table}, line {line}: {file} lies outside of the table's folder, and its absolute path would be stored in the"
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
