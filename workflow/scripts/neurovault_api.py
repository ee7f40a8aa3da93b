"""List what a NeuroVault server has, as the server really behaves.

Its lists come in pages without a fixed order, so that a page may repeat rows of another and leave out as many: only
the number of distinct ids shows whether a list is complete. A record that the server cannot serialise turns every page
that contains it into an error 500, for good: such pages are halved down to that record. Filters are ignored silently,
so there are none here.
"""

import logging
from collections.abc import Iterator
from itertools import count as count_from
from typing import Any, NamedTuple

from answers import FetchError
from neurovault import Record
from stage_log import Meter
from web import Client

# About 25 ms an image and 60 s of patience of the proxy in front: more than 100 rows a page is asking for 504.
PAGE_SIZES = (100, 75, 50)
# Another page size is another query plan and so another order: rows left out by one scan turn up in the next.
MAX_SCANS = 10
MAX_FRUITLESS_SCANS = 3
# So many single records in a row that answer 500, and the list is given up, or the server.
MAX_UNREADABLE_IN_A_ROW = 50
TRIES_AT_500 = 2
PROBE = "/api/"


class Listing(NamedTuple):
    """Records of one list.

    Attributes
    ----------
    records : list of dict
        By id, without repetitions.
    unreadable : int
        Records that the server answers 500 for, or that are no records.
    missing : int
        Records that the server counts but never showed.
    """

    records: list[Record]
    unreadable: int
    missing: int


class Page(NamedTuple):
    """A window of a list."""

    rows: list[Any]
    n_stated: int
    unreadable: int
    is_last: bool


def list_collections(client: Client) -> Listing:
    """List all public collections.

    Raises
    ------
    FetchError
    """
    return _List(client, "/api/collections/").read()


def list_images(client: Client, collection_id: int) -> Listing:
    """List all images of a collection: statistic maps, atlases and maps of NIDM packs.

    Raises
    ------
    FetchError
    """
    collection = f"/api/collections/{collection_id:d}/"
    return _List(client, f"{collection}images/", parent=collection).read()


def get_collection(client: Client, collection_id: int) -> Record | None:
    """Get one collection; None if the server has none under this id, or cannot show it."""
    return _get_record(client, f"/api/collections/{collection_id:d}/")


def get_image(client: Client, image_id: int) -> Record | None:
    """Get one image's record; None if the server has none under this id, or cannot show it."""
    return _get_record(client, f"/api/images/{image_id:d}/")


class _List:
    """One list of the server; `parent` is the record that it belongs to, if any."""

    def __init__(self, client: Client, path: str, parent: str | None = None) -> None:
        self.client, self.path, self.parent = client, path, parent
        self.failed_in_a_row = 0

    def read(self) -> Listing:
        """Scan the list until it is complete, or does not get more so."""
        found: dict[int, Record] = {}
        n_stated = unreadable = missing = fruitless = 0
        for number in range(MAX_SCANS):
            n_found = len(found)
            n_stated, unreadable = self._scan_into(found, PAGE_SIZES[number % len(PAGE_SIZES)])
            missing = max(0, n_stated - len(found) - unreadable)
            fruitless = fruitless + 1 if len(found) == n_found else 0
            if not missing or fruitless == MAX_FRUITLESS_SCANS:
                break
            logging.info("%s: %d of %d rows repeat others; reading the list again", self.path, missing, n_stated)
        if missing:
            logging.warning("%s: the server counts %d rows but shows only %d", self.path, n_stated, len(found))
        if unreadable:
            logging.warning("%s: %d of %d records cannot be had (error 500)", self.path, unreadable, n_stated)
        return Listing([found[number] for number in sorted(found)], unreadable, missing)

    def _scan_into(self, found: dict[int, Record], size: int) -> tuple[int, int]:
        """Read the list once; add to `found`, and return the number of rows stated and of records not readable."""
        n_stated = unreadable = 0
        meter = Meter(unit="row")
        for page in self._pages(size):
            n_stated = max(n_stated, page.n_stated)
            unreadable += page.unreadable
            for row in page.rows:
                if not _is_record(row):
                    unreadable += 1
                elif row["id"] not in found or _date(row) > _date(found[row["id"]]):
                    found[row["id"]] = row
            meter.add(len(page.rows), total=n_stated)
        return n_stated, unreadable

    def _pages(self, size: int) -> Iterator[Page]:
        """Read page after page, to where the server says it ends, or an empty page; the stated number may be wrong."""
        first = self._window(0, size)
        yield first
        if first.is_last:
            return
        offsets = count_from(size, size)
        # A short list needs no threads of its own: lists of several collections are read at the same time.
        is_short = first.n_stated <= 2 * size
        pages = (
            (self._window(offset, size) for offset in offsets)
            if is_short
            else self.client.in_order(lambda offset: self._window(offset, size), offsets)
        )
        for page in pages:
            yield page
            if page.is_last:
                break

    def _window(self, offset: int, size: int) -> Page:
        """Read `size` rows from `offset`, halving where the server answers 500."""
        try:
            body = self.client.get_json(
                self.path,
                params={"limit": size, "offset": offset},
                check=_is_page,
                most_tries=lambda error: TRIES_AT_500 if error.status == 500 and size > 1 else None,
            )
        except FetchError as error:
            if error.status != 500:
                raise
            self.failed_in_a_row += 1
            if self.failed_in_a_row > MAX_UNREADABLE_IN_A_ROW:
                if self.parent is None or _get_record(self.client, self.parent) is None:
                    raise
                return Page([], 0, size, is_last=True)
            return self._halves(offset, size)
        self.failed_in_a_row = 0
        return Page(body["results"], body["count"], 0, is_last=not body["results"] or body.get("next") is None)

    def _halves(self, offset: int, size: int) -> Page:
        if size == 1:
            logging.debug("%s: the record at offset %d cannot be shown", self.path, offset)
            return Page([], 0, 1, is_last=False)
        first = self._window(offset, size // 2)
        if first.is_last:
            return first
        second = self._window(offset + size // 2, size - size // 2)
        return Page(
            first.rows + second.rows,
            max(first.n_stated, second.n_stated),
            first.unreadable + second.unreadable,
            second.is_last,
        )


def _get_record(client: Client, path: str) -> Record | None:
    try:
        return client.get_json(path, check=_is_record)
    except FetchError as error:
        if error.transient and error.status != 500:
            raise
        logging.warning("%s: %s", path, error)
        return None


def _is_page(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and isinstance(document.get("results"), list)
        and isinstance(document.get("count"), int)
        and document["count"] >= 0
    )


def _is_record(document: Any) -> bool:
    return isinstance(document, dict) and type(document.get("id")) is int and 0 <= document["id"] < 2**63


def _date(record: Record) -> str:
    date = record.get("modify_date")
    return date if isinstance(date, str) else ""
