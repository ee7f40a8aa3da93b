"""List the collections and images of a NeuroVault server, in spite of the server's faults.

Lists come in pages without a fixed order. A page may repeat rows of another page and omit as many, so only the number
of distinct ids shows whether a list is complete. A record that the server cannot serialise turns every page that
contains it into an error 500, permanently. Such pages are halved until only that record is left. Pages that are too
slow or no JSON are halved as well. The server silently ignores filters, so none are used.
"""

import logging
from collections.abc import Generator
from contextlib import closing
from itertools import count as count_from
from typing import Any, NamedTuple

from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import Client
from neurovault_ica.net.retries import MostTries
from neurovault_ica.runtime.log import Meter
from neurovault_ica.types import Record

# A list is scanned again until it is complete, each time with other pages: (rows per page, rows to the next page).
# The server needs about 25 ms per image and its proxy gives up after 60 s, so 100 rows are safe and larger pages come
# later. Another page size leads to another order of the rows. Overlapping pages find rows that fall between two orders.
# A page of 1000 rows, the server's maximum, has a single order, and most lists fit into it.
SCANS = (
    (100, 100),
    (75, 50),
    (1000, 1000),
    (50, 35),
    (250, 170),
    (60, 40),
    (500, 330),
    (90, 55),
    (40, 25),
    (1000, 600),
)
# Stop scanning after this many scans without a new record.
MAX_FRUITLESS_SCANS = 3
# After this many consecutive unreadable records, check whether any later record is readable. A record that timed out
# counts as SLOW_COUNTS_FOR records, because each takes up to a minute.
MAX_UNREADABLE_IN_A_ROW = 30
SLOW_COUNTS_FOR = 10
# Number of later records that are checked, spread over the rest of the window.
LOOK_AHEAD = 8
# A list never ends if this many consecutive pages have no new record, before and after its stated end.
MAX_STALE_PAGES = 20
MAX_STALE_PAGES_BEYOND = 3
# A scan ends after this many rows, whatever the server states. No list of NeuroVault is as long.
MAX_ROWS = 1_000_000
# An offset beyond the end of any list. The page has no rows, but it states the length of the list.
FAR = 10_000_000
# Tries of a page that fails with 500 or times out. More would only delay the halving.
TRIES_AT_500 = 2
# A path that a working server answers quickly.
PROBE = "/api/"
# Statuses of records that were deleted or made private.
GONE = (401, 403, 404, 410)


class Listing(NamedTuple):
    """The records of one list.

    Attributes
    ----------
    records : list of dict
        Ordered by id, without duplicates.
    unreadable : int
        Number of records that the server cannot show or that have a wrong form; 1 if the whole list is unreadable.
    missing : int
        Number of records that the server counts but never showed.
    """

    records: list[Record]
    unreadable: int
    missing: int


class Page(NamedTuple):
    """Some consecutive rows of a list."""

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

    If the collection was deleted, is no longer public or cannot be listed, the result has no records and counts one
    unreadable record.

    Raises
    ------
    FetchError
        If the server no longer answers.
    """
    path = f"/api/collections/{collection_id:d}/images/"
    try:
        return _List(client, path).read()
    except FetchError as error:
        if error.reason in ("server_down", "stopped") or not (error.status in GONE or client.is_alive()):
            raise
        logging.warning("%s: %s; the collection is skipped", path, error)
        return Listing([], 1, 0)


def get_collection(client: Client, collection_id: int) -> Record | None:
    """Get one collection; None if the server does not have it or cannot show it."""
    return _get_record(client, f"/api/collections/{collection_id:d}/")


def get_image(client: Client, image_id: int) -> Record | None:
    """Get one image's record; None if the server does not have it or cannot show it."""
    return _get_record(client, f"/api/images/{image_id:d}/")


class _List:
    """One list of the server, such as all collections."""

    def __init__(self, client: Client, path: str) -> None:
        self.client, self.path = client, path
        self._n_stated: int | None = None
        self._told: set[int] = set()

    def read(self) -> Listing:
        """Scan the list until it is complete, or more scans find nothing new."""
        found: dict[int, Record] = {}
        n_stated = unreadable = missing = fruitless = 0
        for size, step in SCANS:
            n_found = len(found)
            n_stated, n_bad = self._scan_into(found, size, step)
            # Overlapping pages count a record more than once.
            unreadable = n_bad if step == size else unreadable
            missing = max(0, n_stated - len(found) - unreadable)
            fruitless = fruitless + 1 if len(found) == n_found else 0
            if not missing or fruitless == MAX_FRUITLESS_SCANS:
                break
            logging.info(
                "%s: %d of %d rows are missing, because pages repeat others; reading the list again",
                self.path,
                missing,
                n_stated,
            )
        if missing:
            logging.warning("%s: the server counts %d rows but shows only %d", self.path, n_stated, len(found))
        if unreadable:
            logging.warning("%s: %d of %d records are unreadable", self.path, unreadable, n_stated)
        return Listing([found[number] for number in sorted(found)], unreadable, missing)

    def _scan_into(self, found: dict[int, Record], size: int, step: int) -> tuple[int, int]:
        """Read the list once and add to `found`; return the stated length and the number of unreadable records."""
        n_stated = unreadable = n_rows = stale = 0
        seen: set[int] = set()
        meter = Meter(unit="row", name=f"{self.path}: ")
        with closing(self._pages(size, step)) as pages:
            for number, page in enumerate(pages, start=1):
                n_stated = max(n_stated, page.n_stated)
                n_seen, n_rows = len(seen), n_rows + len(page.rows)
                unreadable += page.unreadable + _add_rows(page.rows, found, seen)
                meter.add(len(page.rows), total=n_stated)
                stale = stale + 1 if len(seen) == n_seen else 0
                is_beyond = number * step > n_stated
                if stale >= (MAX_STALE_PAGES_BEYOND if is_beyond else MAX_STALE_PAGES) or n_rows > MAX_ROWS:
                    logging.warning("%s: stopped after %d rows: further pages have no new records", self.path, n_rows)
                    unreadable += max(0, n_stated - number * step) if not seen else 0
                    break
        return n_stated, unreadable

    def _pages(self, size: int, step: int) -> Generator[Page, None, None]:
        """Read pages until the server says that the list ends, or a page is empty. The stated length may be wrong."""
        first = self._window(0, size)
        yield first
        if first.is_last:
            return
        offsets = count_from(step, step)
        # A short list needs no threads of its own, because the lists of several collections are read in parallel.
        is_short = first.n_stated <= 2 * size
        pages = (
            (self._window(offset, size) for offset in offsets)
            if is_short
            else self.client.map_in_order(lambda offset: self._window(offset, size), offsets)
        )
        for page in pages:
            yield page
            if page.is_last:
                break

    def _window(self, offset: int, size: int) -> Page:
        """Read `size` rows from `offset`, in parts if the server cannot give them in one page."""
        try:
            return self._ask(offset, size, _tries)
        except FetchError as error:
            if not _may_be_one_record(error):
                raise
        if self._n_stated is None:
            self._n_stated = self._ask(FAR, 1, _few_tries).n_stated
        end = min(offset + size, self._n_stated)
        rows, unreadable = self._divide(offset, end)
        return Page(rows, self._n_stated, unreadable, is_last=end == self._n_stated or end <= offset)

    def _divide(self, start: int, end: int) -> tuple[list[Any], int]:
        """Read the rows from `start` to `end` by halving; return them and the number of unreadable records."""
        rows: list[Any] = []
        unreadable = in_a_row = 0
        parts = _halves(start, end)
        while parts:
            first, last = parts.pop()
            try:
                rows += self._ask(first, last - first, _few_tries).rows
                in_a_row = 0
            except FetchError as error:
                if not _may_be_one_record(error):
                    raise
                if last - first > 1:
                    parts += _halves(first, last)
                    continue
                if first not in self._told:
                    self._told.add(first)
                    logging.warning("%s: the record at offset %d is unreadable: %s", self.path, first, error)
                unreadable += 1
                in_a_row += SLOW_COUNTS_FOR if _is_slow(error) else 1
            if in_a_row >= MAX_UNREADABLE_IN_A_ROW:
                if not self._is_any_readable(last, end):
                    return rows, unreadable + end - last
                in_a_row = 0
        return rows, unreadable

    def _is_any_readable(self, start: int, end: int) -> bool:
        """Tell whether a sample of the rows from `start` to `end`, with the last one, has a readable record."""
        step = max(1, (end - start) // LOOK_AHEAD)
        for offset in range(end - 1, start - 1, -step):
            try:
                self._ask(offset, 1, lambda _: 1)
            except FetchError as error:
                if not _may_be_one_record(error):
                    raise
            else:
                return True
        return False

    def _ask(self, offset: int, size: int, most_tries: MostTries) -> Page:
        body = self.client.get_json(
            self.path, params={"limit": size, "offset": offset}, check=_is_page, most_tries=most_tries
        )
        return Page(body["results"], body["count"], 0, is_last=not body["results"] or body.get("next") is None)


def _halves(start: int, end: int) -> list[tuple[int, int]]:
    """Cut a window in two, the second half first. A single row is not cut."""
    middle = (start + end + 1) // 2
    return [(first, last) for first, last in ((middle, end), (start, middle)) if first < last]


def _tries(error: FetchError) -> int | None:
    """Limit the tries of a page that is too slow or has a bad record, because it will be halved."""
    return TRIES_AT_500 if error.status == 500 or _is_slow(error) else None


def _few_tries(_: FetchError) -> int:
    return TRIES_AT_500


def _is_slow(error: FetchError) -> bool:
    return error.status == 504 or error.reason == "timeout"


def _may_be_one_record(error: FetchError) -> bool:
    """Tell whether parts of the page may be readable although the page is not."""
    return error.transient and error.status != 429 and error.reason in ("server_error", "timeout", "bad_answer")


def _add_rows(rows: list[Any], found: dict[int, Record], seen: set[int]) -> int:
    """Add the rows of a page to those found, and return the number of rows that are no records."""
    bad = 0
    for row in rows:
        if not _is_record(row):
            bad += 1
            continue
        seen.add(row["id"])
        if row["id"] not in found or _date(row) > _date(found[row["id"]]):
            found[row["id"]] = row
    return bad


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
