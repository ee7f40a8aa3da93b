"""Read the metadata of a NeuroVault server. Lists of images are cached and reused until their collection changes."""

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator

from neurovault_ica.archive.cache import is_id, null_strings_to_none, read_listing, write_listing
from neurovault_ica.archive.records import CollectionImages, Damage, belonging
from neurovault_ica.archive.server import Listing, get_collection, get_image, list_collections, list_images
from neurovault_ica.net.client import Client
from neurovault_ica.types import Record


class ServerRecords:
    """Reads the metadata of a server.

    Parameters
    ----------
    client : Client
    data_dir : str
    refresh : bool
        Whether to ignore the listings in the cache.
    collection_ids, image_ids : list of int or None
        If any are given, only these are requested.
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
        # Images that were requested by id, grouped by collection id.
        self._single: dict[int, list[Record]] = {}

    def collections(self) -> tuple[list[Record], Damage]:
        """List all collections of the server, or get only those that the configuration names by id."""
        if self._collection_ids is None and self._image_ids is None:
            listing = list_collections(self._client)
            lost = _name_lost(listing, "collection", "")
            return [null_strings_to_none(record) for record in listing.records], lost
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
        """Read the images of several collections in parallel. The results are in the order of `collections`."""
        return self._client.map_in_order(self._images_of, collections)

    def _images_of(self, collection: Record) -> CollectionImages:
        if collection["id"] in self._single:
            return CollectionImages(collection, belonging(self._single[collection["id"]], collection), {})
        if collection.get("number_of_images") == 0:
            return CollectionImages(collection, [], {})
        stored = None if self._refresh else read_listing(self._data_dir, self._client.url, collection)
        if stored is not None:
            return CollectionImages(collection, belonging(stored, collection), {})
        listing = list_images(self._client, collection["id"])
        name = f" of collection {collection['id']} ({str(collection.get('name'))[:80]})"
        if listing is None:
            earlier = self._earlier(collection)
            if earlier is not None:
                return CollectionImages(collection, belonging(earlier, collection), {})
            number = collection.get("number_of_images")
            lost = {f"images{name}: the server cannot list them": int(number) if number and is_id(number) else 1}
            return CollectionImages(collection, [], lost)
        damaged = _name_lost(listing, "image", name)
        # An incomplete listing is not stored, because the next run may get the rest.
        if not damaged:
            write_listing(self._data_dir, self._client.url, collection, listing.records)
        return CollectionImages(collection, belonging(listing.records, collection), damaged)

    def _earlier(self, collection: Record) -> list[Record] | None:
        """Read an earlier list of a collection that the server cannot list now, so that an update loses no study.

        None if there is none, or if the server no longer shows the collection.
        """
        stored = read_listing(self._data_dir, self._client.url, collection, any_version=True)
        if stored is None or get_collection(self._client, collection["id"]) is None:
            return None
        logging.warning(
            "collection %s: the server cannot list its images now, so the list of an earlier run is used; run update"
            " again later",
            collection["id"],
        )
        return stored

    def _get_all(
        self, get: Callable[[Client, int], Record | None], ids: Iterable[int]
    ) -> Iterator[tuple[int, Record | None]]:
        def get_one(number: int) -> Record | None:
            record = get(self._client, number)
            if record is not None and record["id"] != number:
                logging.warning("the server answered the request for id %d with id %d", number, record["id"])
                return None
            return record

        wanted = sorted(set(ids))
        # Request all of them ahead, so that a slow answer leaves no connection idle.
        return zip(wanted, self._client.map_in_order(get_one, wanted, ahead=len(wanted) + 1), strict=True)


def _name_lost(listing: Listing, level: str, name: str) -> Damage:
    """Describe the unreadable records of a list by the readable records before and after them.

    Parameters
    ----------
    listing : Listing
    level : str
        collection or image.
    name : str
        The list that they belong to, such as `` of collection 3``; empty for the list of collections.
    """
    damaged: Counter[str] = Counter()
    for before, after, number in listing.gaps:
        found = {"after": before, "before": after}
        where = " and ".join(f"{side} {level} {number}" for side, number in found.items() if number is not None)
        damaged[f"{level}{name}{where and f', listed {where}'}: the server cannot show it"] += number
    damaged[f"{level}{name}: the server cannot show it"] += listing.unreadable - damaged.total()
    damaged[f"{level}{name}: counted by the server, but not in its list"] += listing.missing
    return {line: number for line, number in damaged.items() if number > 0}
