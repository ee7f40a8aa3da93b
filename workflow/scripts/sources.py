"""Where metadata come from: a cache on disk, a NeuroVault server, or a table of one's own maps.

Each source lists collections, and then reads the images of those that are wanted one collection after the other, as far
as the selection asks for them.
"""

import csv
import logging
import os
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import neurovault
from neurovault import Record, is_id, null_strings_to_none
from neurovault_api import Listing, get_collection, get_image, list_collections, list_images
from outputs import MISSING
from web import Client

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

# What could not be read, and how often.
Damage = dict[str, int]
Collections = tuple[list[Record], Damage]


class CollectionImages(NamedTuple):
    """The images of one collection, and what of it could not be read."""

    collection: Record
    images: list[Record]
    damaged: Damage


class Source(Protocol):
    """What gives metadata."""

    def collections(self) -> Collections:
        """List the collections, and what could not be read."""
        ...

    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Read the images of `collections`, in that order."""
        ...


class CacheSource:
    """A cache in nilearn's layout, only read."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir

    def collections(self) -> Collections:
        """List the collections of the cache."""
        records, damaged = neurovault.read_collections(self._data_dir)
        return records, Counter(damaged)

    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Read the images' metadata of each collection."""
        for collection in collections:
            images, damaged = neurovault.read_images(self._data_dir, collection["id"])
            yield CollectionImages(collection, _belonging(images, collection), Counter(damaged))


class ServerSource:
    """A NeuroVault server; what it lists is stored in the cache, and used again while the collection is unchanged.

    Parameters
    ----------
    client : Client
    data_dir : str
    refresh : bool
        Whether to ask for everything anew.
    collection_ids, image_ids : list of int or None
        If any are given, nothing else is asked for.
    """

    def __init__(
        self,
        client: Client,
        data_dir: str,
        *,
        refresh: bool,
        collection_ids: list[int] | None,
        image_ids: list[int] | None,
    ) -> None:
        self._client, self._data_dir, self._refresh = client, data_dir, refresh
        self._collection_ids, self._image_ids = collection_ids, image_ids
        self._single: dict[int, list[Record]] = {}

    def collections(self) -> Collections:
        """List all collections of the server, or get those that are asked for by id."""
        if self._collection_ids is None and self._image_ids is None:
            listing = list_collections(self._client)
            return [null_strings_to_none(record) for record in listing.records], _not_read(listing, "collection")
        wanted = set(self._collection_ids or [])
        damaged: Damage = {}
        for image_id, image in self._get_all(get_image, self._image_ids or []):
            if image is None or not is_id(image.get("collection_id")):
                damaged[f"image {image_id}: not on the server"] = 1
            elif image["collection_id"] not in wanted:
                self._single.setdefault(image["collection_id"], []).append(image)
        records = []
        for collection_id, record in self._get_all(get_collection, wanted | set(self._single)):
            if record is None:
                damaged[f"collection {collection_id}: not on the server"] = 1
            else:
                records.append(null_strings_to_none(record))
        return records, damaged

    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Read the collections' images, several collections at the same time."""
        return self._client.in_order(self._images_of, collections)

    def _images_of(self, collection: Record) -> CollectionImages:
        if collection["id"] in self._single:
            return CollectionImages(collection, _belonging(self._single[collection["id"]], collection), {})
        if collection.get("number_of_images") == 0:
            return CollectionImages(collection, [], {})
        stored = None if self._refresh else neurovault.read_listing(self._data_dir, self._client.url, collection)
        if stored is not None:
            return CollectionImages(collection, _belonging(stored, collection), {})
        listing = list_images(self._client, collection["id"])
        damaged = _not_read(listing, f"image of collection {collection['id']}")
        # What could not be read today may be readable tomorrow.
        if not damaged:
            neurovault.write_listing(self._data_dir, self._client.url, collection, listing.records)
        return CollectionImages(collection, _belonging(listing.records, collection), damaged)

    def _get_all(self, get: Any, ids: Iterable[int]) -> Iterator[tuple[int, Record | None]]:
        def get_one(number: int) -> Record | None:
            record = get(self._client, number)
            if record is not None and record["id"] != number:
                logging.warning("asked for the record with id %d, the server answered with %d", number, record["id"])
                return None
            return record

        wanted = sorted(set(ids))
        return zip(wanted, self._client.in_order(get_one, wanted), strict=True)


class TableSource:
    """A table of one's own maps: ``file``, ``image_id``, ``collection_id`` and any further columns as metadata.

    Columns that begin with ``collection_`` describe the collection: ``collection_name``, ``collection_DOI``.
    """

    def __init__(self, table: str) -> None:
        self._table = table

    def collections(self) -> Collections:
        """Put the rows of the table together to collections."""
        self._images: dict[int, list[Record]] = {}
        for row in read_own_table(self._table):
            self._images.setdefault(row["collection_id"], []).append(row)
        return [
            {
                key.removeprefix("collection_"): value
                for key, value in images[0].items()
                if key.startswith("collection_") and key != "collection_id"
            }
            | {"id": number, "number_of_images": len(images)}
            for number, images in sorted(self._images.items())
        ], {}

    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Give the rows of each collection."""
        for collection in collections:
            yield CollectionImages(collection, self._images[collection["id"]], {})


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


def _belonging(images: list[Record], collection: Record) -> list[Record]:
    """Say of each image that it is of this collection, whatever its record says."""
    return [null_strings_to_none(image) | {"collection_id": collection["id"]} for image in images]


def _not_read(listing: Listing, what: str) -> Damage:
    lines = {
        f"{what}: cannot be had from the server": listing.unreadable,
        f"{what}: counted by the server, but not in its list": listing.missing,
    }
    return {line: number for line, number in lines.items() if number}
