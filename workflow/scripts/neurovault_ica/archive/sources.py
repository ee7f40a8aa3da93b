"""Where metadata come from: a cache on disk, a NeuroVault server, or a table of one's own maps.

Each source lists collections, and then reads the images of those that are wanted one collection after the other, as far
as the selection asks for them.
"""

import logging
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from neurovault_ica.archive.cache import (
    is_id,
    null_strings_to_none,
    read_collections,
    read_images,
    read_listing,
    write_listing,
)
from neurovault_ica.archive.own_table import read_own_table
from neurovault_ica.archive.server import Listing, get_collection, get_image, list_collections, list_images
from neurovault_ica.net.client import Client
from neurovault_ica.types import Record

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
        records, damaged = read_collections(self._data_dir)
        return records, Counter(damaged)

    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Read the images' metadata of each collection."""
        for collection in collections:
            images, damaged = read_images(self._data_dir, collection["id"])
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
        stored = None if self._refresh else read_listing(self._data_dir, self._client.url, collection)
        if stored is not None:
            return CollectionImages(collection, _belonging(stored, collection), {})
        listing = list_images(self._client, collection["id"])
        damaged = _not_read(listing, f"image of collection {collection['id']}")
        # What could not be read today may be readable tomorrow.
        if not damaged:
            write_listing(self._data_dir, self._client.url, collection, listing.records)
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


def _belonging(images: list[Record], collection: Record) -> list[Record]:
    """Say of each image that it is of this collection, whatever its record says."""
    return [null_strings_to_none(image) | {"collection_id": collection["id"]} for image in images]


def _not_read(listing: Listing, what: str) -> Damage:
    lines = {
        f"{what}: cannot be had from the server": listing.unreadable,
        f"{what}: counted by the server, but not in its list": listing.missing,
    }
    return {line: number for line, number in lines.items() if number}
