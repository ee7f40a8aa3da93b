"""``source: table``: the user's own maps, listed in a table."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from neurovault_ica.archive.base import Archive
from neurovault_ica.archive.cache import null_strings_to_none
from neurovault_ica.archive.cells import describe_mixed, describe_unfit, list_examples, read_column
from neurovault_ica.archive.records import CollectionImages, Damage
from neurovault_ica.archive.table_text import Line, read_lines
from neurovault_ica.images.map_types import SPELLINGS, known_type
from neurovault_ica.runtime.ids import SAFE_ID, natural_key
from neurovault_ica.runtime.tables import MISSING

if TYPE_CHECKING:
    from neurovault_ica.types import Record, Row

REQUIRED_COLUMNS = {"file", "image_id", "collection_id"}


class OwnTable(Archive):
    """A table with the columns ``file``, ``image_id`` and ``collection_id``; further columns are metadata.

    Columns that begin with ``collection_`` describe the collection: ``collection_name``, ``collection_DOI``. The column
    ``terms`` names a file with the image's term weights.
    """

    name = "table"
    own_keys = ("table",)
    has_own_terms = True
    sentence = "were our own, listed in a table"
    rerun_note = "\nThe images are not in this folder. Name the folder of their table: add DATA=path/to/it.\n"

    @property
    def data_dir(self) -> str:
        """The table's folder, to which the paths in the table are relative."""
        return str(Path(self.settings["table"]).parent)

    @property
    def identity_keys(self) -> tuple[str, ...]:
        """Return the key of the table. Its rows may change."""
        return ("table",)

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
        """Group the rows of the table by collection, and warn about what looks wrong in the table."""
        for warning in self._content.warnings:
            logging.warning("%s", warning)
        return [
            _describe_collection(images) | {"id": number, "number_of_images": len(images)}
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
        named = {str(row["id"]): row.get("terms") for row in self._content.rows}
        return {
            image["image_id"]: Path(self.data_dir) / str(terms)
            if (terms := named.get(str(image["image_id"])))
            else None
            for image in images
        }

    @functools.cached_property
    def _content(self) -> Content:
        return read_content(self.settings["table"])

    def _by_collection(self) -> dict[Any, list[Record]]:
        groups: dict[Any, list[Record]] = {}
        for row in self._content.rows:
            groups.setdefault(row["collection_id"], []).append(row)
        return groups


class Content(NamedTuple):
    """The metadata in a table of images, and warnings about cells that look wrong."""

    rows: list[Record]
    warnings: list[str]


def read_content(table: str) -> Content:
    """Read a table of the user's own maps.

    See `read_column` for the types of values. An empty cell and ``n/a`` are None.

    Raises
    ------
    ValueError
        If the table cannot be read or has no rows, or a column is missing or duplicated. Also if a row has too many or
        too few cells, an invalid or duplicated id, or no file. A path outside the table's folder must be relative.
    """
    lines = read_lines(table, REQUIRED_COLUMNS)
    if not lines:
        raise ValueError(f"{table} has no rows; list one image in each row")
    rows = [_read_ids_and_files(table, line) for line in lines]
    _refuse_same_ids(table, lines, rows)
    warnings = []
    for column in sorted(lines[0].cells.keys() - REQUIRED_COLUMNS - {"terms"}):
        cells = [(line.number, line.cells[column]) for line in lines]
        values, unfit = read_column(column, [text for _, text in cells])
        for row, value in zip(rows, values, strict=True):
            row[column] = value
        if unfit:
            warnings.append(describe_unfit(table, column, [cells[n] for n in unfit]))
        if mixed := describe_mixed(table, column, cells):
            warnings.append(mixed)
    numbers = [line.number for line in lines]
    rows = [null_strings_to_none(row) | {"id": row["image_id"]} for row in rows]
    warnings += _find_contradictions(table, numbers, rows)
    warnings += _find_unknown_types(table, numbers, rows)
    for key in ("file", "terms"):
        warnings += _find_missing_files(table, key, numbers, rows)
    return Content(rows, warnings)


def _read_ids_and_files(table: str, line: Line) -> Record:
    """Read the ids and the paths of a row."""
    number, cells = line
    record: Record = {key: _read_id(table, number, key, cells[key].strip()) for key in ("image_id", "collection_id")}
    if not cells["file"].strip():
        raise ValueError(f"{table}, line {number}: the column file is empty; give the path of the map")
    record["file"] = _relative_to_table(table, number, _path(table, cells["file"].strip()))
    if "terms" in cells:
        terms = cells["terms"].strip()
        record["terms"] = None if terms in ("", MISSING) else _path(table, terms)
    return record


def _refuse_same_ids(table: str, lines: Sequence[Line], rows: Sequence[Record]) -> None:
    file_of: dict[Any, str] = {}
    for line, row in zip(lines, rows, strict=True):
        if row["image_id"] in file_of:
            raise ValueError(
                f"{table}, line {line.number}: image_id {row['image_id']} is given twice, for"
                f" {file_of[row['image_id']]} and {row['file']}; give each image its own id"
            )
        file_of[row["image_id"]] = row["file"]


def _describe_collection(images: Sequence[Record]) -> Record:
    """Take the metadata of a collection from its images: the first value in each column."""
    columns = [key for key in images[0] if key.startswith("collection_") and key != "collection_id"]
    return {
        key.removeprefix("collection_"): next((image[key] for image in images if image[key] is not None), None)
        for key in columns
    }


def _find_contradictions(table: str, numbers: Sequence[int], rows: Sequence[Record]) -> Iterator[str]:
    """Warn of collections whose images have different values of a property of the collection."""
    first: dict[tuple[Any, str], tuple[int, Any]] = {}
    reported = set()
    for number, row in zip(numbers, rows, strict=True):
        for column in row:
            if not column.startswith("collection_") or column == "collection_id" or row[column] is None:
                continue
            key = row["collection_id"], column
            line, value = first.setdefault(key, (number, row[column]))
            if row[column] != value and key not in reported:
                reported.add(key)
                yield (
                    f"{table}: in collection {row['collection_id']}, {column} is {str(value)!r} in line {line} and"
                    f" {str(row[column])!r} in line {number}; {str(value)!r} is used. Give each collection one"
                    f" {column}, or each study its own collection_id"
                )


def _find_unknown_types(table: str, numbers: Sequence[int], rows: Sequence[Record]) -> Iterator[str]:
    """Warn of unknown map types, because some criteria of quality control depend on the map type."""
    unknown: dict[str, int] = {}
    for number, row in zip(numbers, rows, strict=True):
        if row.get("map_type") and known_type(row["map_type"]) is None:
            unknown.setdefault(row["map_type"], number)
    if unknown:
        listing = list_examples([f"{name!r} (line {number})" for name, number in unknown.items()])
        yield (
            f"{table}: unknown map type: {listing}. Quality criteria for Z and T maps do not apply to it. Write one of"
            f" {', '.join(SPELLINGS)}, or a common spelling such as zstat or spmT"
        )


def _find_missing_files(table: str, key: str, numbers: Sequence[int], rows: Sequence[Record]) -> Iterator[str]:
    """Warn of files that do not exist, with their absolute paths."""
    folder = Path(table).parent.absolute()
    named = [(number, folder / row[key]) for number, row in zip(numbers, rows, strict=True) if row.get(key)]
    # Path.is_file raises an error for files in a folder without permission.
    missing = [(number, path) for number, path in named if not os.path.isfile(path)]  # noqa: PTH113
    if missing:
        listing = list_examples([f"{path} (line {number})" for number, path in missing])
        yield (
            f"{table}: {len(missing)} of {len(named)} files in the column {key} cannot be found: {listing}."
            " Correct the paths; relative paths start from the table's folder"
        )


def _path(table: str, text: str) -> str:
    """Read a path as typed: ``~/`` is the home folder, and a backslash may separate folders, as on Windows."""
    if text.startswith("~/"):
        text = os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises an error if there is no home folder
    if "\\" in text and not (Path(table).parent / text).exists():
        text = text.replace("\\", "/")
    return text


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
        f"{table}, line {line}: {file} is outside the table's folder, so its absolute path would be stored in the"
        f" results; write {relative}, or put the table beside the maps"
    )
