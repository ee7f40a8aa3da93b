"""List the collections and images of a NeuroVault server, despite the server's faults.

Lists come in pages without a fixed order. A page may repeat rows of another page and omit others, so only the number of
distinct ids shows whether a list is complete. If the server cannot serialise a record, every page with that record is
an error 500, permanently. Such pages are halved until only that record is left. Pages that are too slow or not JSON are
halved as well. The server silently ignores filters, so none are used.
"""

import logging
from collections.abc import Generator
from contextlib import closing
from itertools import count as count_from
from itertools import groupby
from typing import Any, NamedTuple

from neurovault_ica.archive.cache import is_id
from neurovault_ica.archive.records import modified_at
from neurovault_ica.archive.server_faults import is_slow, may_be_one_record, may_be_own_fault, tries_of
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import Client
from neurovault_ica.net.retries import MostTries
from neurovault_ica.runtime.log import Meter
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Record

# A list is scanned until it is complete, each time with other pages: (rows per page, rows to the next page). The server
# needs about 25 ms per image, and its proxy gives up after 60 s, so the first pages are small (100 rows). The row order
# depends on the page size, so another scan or overlapping pages find a row that one scan missed. Most lists fit into
# one page of 1000 rows, the server's maximum. Such a page misses no row.
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
# Stop after this many consecutive scans without a new record, because more scans would not find one either.
MAX_FRUITLESS_SCANS = 3
# After this many consecutive unreadable records, check whether any later record is readable. A record that times out
# counts as SLOW_COUNTS_FOR records, because each timeout takes up to a minute.
MAX_UNREADABLE_IN_A_ROW = 30
SLOW_COUNTS_FOR = 10
# Approximate number of later records that are checked, spread evenly over the rest of the page.
LOOK_AHEAD = 8
# End a scan after this many consecutive pages without a new record, because a faulty list may be endless. The second
# limit is for pages beyond the stated end of the list.
MAX_STALE_PAGES = 20
MAX_STALE_PAGES_BEYOND = 3
# End a scan after this many rows, even if the server states more. All lists of NeuroVault are shorter.
MAX_ROWS = 1_000_000
# An offset beyond the end of any list. The page has no rows, but it states the length of the list.
FAR = 10_000_000
# A path that a working server answers quickly. It needs the database, so it fails if only the database is down, and all
# records fail with status 500. It shows no record, so no unreadable record can make it fail.
PROBE = f"/api/collections/?limit=1&offset={FAR}"
# Statuses of records that were deleted or made private.
GONE = (401, 403, 404, 410)


class Gap(NamedTuple):
    """Consecutive unreadable records of a list.

    Attributes
    ----------
    before, after : int or None
        Ids of the readable records before and after the gap; None at the start or end of the list.
    number : int
        Number of unreadable records.
    """

    before: int | None
    after: int | None
    number: int


class Listing(NamedTuple):
    """The records of one list.

    Attributes
    ----------
    records : list of dict
        Ordered by id, without duplicates.
    unreadable : int
        Number of records that the server cannot show or that have a wrong form.
    missing : int
        Number of records that the server counts but never showed.
    gaps : list of Gap
        Where the unreadable records are. If the scan ended early, some are not listed.
    """

    records: list[Record]
    unreadable: int
    missing: int
    gaps: list[Gap]


class Page(NamedTuple):
    """Some consecutive rows of a list.

    Attributes
    ----------
    rows : list
        Parsed JSON, not checked yet. None for each row that the server cannot show.
    n_stated : int
        Length of the list, as the server states it.
    is_last : bool
        Whether the list ends with this page.
    """

    rows: list[Any]
    n_stated: int
    is_last: bool


def list_collections(client: Client) -> Listing:
    """List all public collections.

    Raises
    ------
    FetchError
        If the list cannot be read.
    """
    return _List(client, "/api/collections/").read()


def list_images(client: Client, collection_id: int) -> Listing | None:
    """List all images of a collection: statistic maps, atlases and maps of NIDM packs.

    The result is None if the collection was deleted, is no longer public or cannot be listed.

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
        logging.warning("%s: %s", path, error)
        return None


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

    def read(self) -> Listing:
        """Scan the list until it is complete or scans find nothing new."""
        found: dict[int, Record] = {}
        n_stated = unreadable = missing = fruitless = 0
        gaps: list[Gap] = []
        for size, step in SCANS:
            n_found = len(found)
            n_stated, n_bad, found_gaps = self._scan_into(found, size, step)
            # Overlapping pages count a record more than once.
            unreadable, gaps = (n_bad, found_gaps) if step == size else (unreadable, gaps)
            missing = max(0, n_stated - len(found) - unreadable)
            fruitless = fruitless + 1 if len(found) == n_found else 0
            if not missing or fruitless == MAX_FRUITLESS_SCANS:
                break
            text = "%s: pages repeat rows of other pages, so %d of %s are missing; reading the list again"
            logging.info(text, self.path, missing, counted(n_stated, "row"))
        if missing:
            logging.warning(
                "%s: the server counts %s but shows only %d", self.path, counted(n_stated, "row"), len(found)
            )
        if unreadable:
            logging.warning("%s: %d of %s unreadable", self.path, unreadable, counted(n_stated, "record"))
        return Listing([found[number] for number in sorted(found)], unreadable, missing, gaps)

    def _scan_into(self, found: dict[int, Record], size: int, step: int) -> tuple[int, int, list[Gap]]:
        """Read the list once and add to `found`. Return its stated length, the number of unreadable records, gaps."""
        n_stated = unreadable = n_rows = stale = 0
        seen: set[int] = set()
        ids: list[int | None] = []
        meter = Meter(unit="row", name=f"{self.path}: ")
        with closing(self._pages(size, step)) as pages:
            for number, page in enumerate(pages, start=1):
                n_stated = max(n_stated, page.n_stated)
                n_seen, n_rows = len(seen), n_rows + len(page.rows)
                ids += _add_rows(page.rows, found, seen)
                meter.add(len(page.rows), total=n_stated)
                stale = stale + 1 if len(seen) == n_seen else 0
                is_beyond = number * step > n_stated
                if stale >= (MAX_STALE_PAGES_BEYOND if is_beyond else MAX_STALE_PAGES) or n_rows > MAX_ROWS:
                    logging.warning("%s: stopped, because pages after row %d have no new records", self.path, n_rows)
                    unreadable += max(0, n_stated - number * step) if not seen else 0
                    break
        return n_stated, unreadable + ids.count(None), _find_gaps(ids)

    def _pages(self, size: int, step: int) -> Generator[Page, None, None]:
        """Read pages until the server says that the list ends, or a page is empty. The stated length may be wrong."""
        first = self._window(0, size)
        yield first
        if first.is_last:
            return
        offsets = count_from(step, step)
        # A short list is read without threads, because the lists of several collections are already read in parallel.
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
        """Read `size` rows from `offset`, in smaller pages if the server cannot send them in one."""
        try:
            return self._ask(offset, size, tries_of)
        except FetchError as error:
            if not may_be_one_record(error):
                raise
        if self._n_stated is None:
            self._n_stated = self._ask(FAR, 1, tries_of).n_stated
        end = min(offset + size, self._n_stated)
        return Page(self._divide(offset, end), self._n_stated, is_last=end == self._n_stated or end <= offset)

    def _divide(self, start: int, end: int) -> list[Any]:
        """Read the rows from `start` to `end` by halving. Unreadable rows are None."""
        rows: list[Any] = []
        in_a_row = 0
        parts = _halves(start, end)
        while parts:
            first, last = parts.pop()
            try:
                rows += self._ask(first, last - first, tries_of).rows
                in_a_row = 0
            except FetchError as error:
                if not may_be_one_record(error):
                    raise
                if last - first > 1:
                    parts += _halves(first, last)
                    continue
                logging.info("%s: the record at offset %d is unreadable: %s", self.path, first, error)
                rows.append(None)
                in_a_row += SLOW_COUNTS_FOR if is_slow(error) else 1
            if in_a_row >= MAX_UNREADABLE_IN_A_ROW:
                if not self._is_any_readable(last, end):
                    return rows + [None] * (end - last)
                in_a_row = 0
        return rows

    def _is_any_readable(self, start: int, end: int) -> bool:
        """Return whether any row is readable in a sample of the rows from `start` to `end`, including the last."""
        step = max(1, (end - start) // LOOK_AHEAD)
        for offset in range(end - 1, start - 1, -step):
            try:
                self._ask(offset, 1, lambda error: 1 if may_be_own_fault(error) else None)
            except FetchError as error:
                if not may_be_one_record(error):
                    raise
            else:
                return True
        return False

    def _ask(self, offset: int, size: int, most_tries: MostTries) -> Page:
        body = self.client.get_json(
            self.path, params={"limit": size, "offset": offset}, check=_is_page, most_tries=most_tries
        )
        return Page(body["results"], body["count"], is_last=not body["results"] or body.get("next") is None)


def _halves(start: int, end: int) -> list[tuple[int, int]]:
    """Split rows into two halves, the second half first. A single row is not split."""
    middle = (start + end + 1) // 2
    return [(first, last) for first, last in ((middle, end), (start, middle)) if first < last]


def _add_rows(rows: list[Any], found: dict[int, Record], seen: set[int]) -> list[int | None]:
    """Add the rows of a page to `found` and their ids to `seen`. Return the ids, None for rows that are not records."""
    ids: list[int | None] = []
    for row in rows:
        if not _is_record(row):
            ids.append(None)
            continue
        ids.append(row["id"])
        seen.add(row["id"])
        if row["id"] not in found or modified_at(row) > modified_at(found[row["id"]]):
            found[row["id"]] = row
    return ids


def _find_gaps(ids: list[int | None]) -> list[Gap]:
    """Group consecutive unreadable records, and name their neighbours."""
    gaps: list[Gap] = []
    before = None
    for is_readable, group in groupby(ids, key=lambda number: number is not None):
        members = list(group)
        if is_readable:
            if gaps and gaps[-1].after is None:
                gaps[-1] = gaps[-1]._replace(after=members[0])
            before = members[-1]
        else:
            gaps.append(Gap(before, None, len(members)))
    return gaps


def _get_record(client: Client, path: str) -> Record | None:
    try:
        return client.get_json(path, check=_is_record)
    except FetchError as error:
        if error.transient and not may_be_own_fault(error):
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
    return isinstance(document, dict) and is_id(document.get("id"))
