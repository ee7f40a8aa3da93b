"""List what a NeuroVault server has, as the server really behaves.

Its lists come in pages without a fixed order, so that a page may repeat rows of another and leave out as many: only
the number of distinct ids shows whether a list is complete. A record that the server cannot serialise turns every page
that contains it into an error 500, for good: such pages are halved down to that record, and so are pages that are too
slow or no JSON. Filters are ignored silently, so there are none here.
"""

import logging
from collections.abc import Generator
from contextlib import closing
from itertools import count as count_from
from typing import Any, NamedTuple

from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import Client, MostTries
from neurovault_ica.runtime.log import Meter
from neurovault_ica.types import Record

# How a list is read again and again, until it is complete: rows a page, and rows from one page to the next. With about
# 25 ms an image and 60 s of patience of the proxy in front, more than 100 rows are asking for 504, so that comes late.
# Another size is another query plan and so another order; pages that overlap show what lies between two orders; and a
# page of 1000, the server's most, is in one order. It has all of most lists.
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
MAX_FRUITLESS_SCANS = 3
# So many single records in a row that cannot be had, and we look ahead whether there is anything behind them. Slow ones
# count for several.
MAX_UNREADABLE_IN_A_ROW = 30
SLOW_COUNTS_FOR = 10
LOOK_AHEAD = 8
# Pages in a row that bring nothing new, before and after the stated end, and the list is one that never ends.
MAX_STALE_PAGES = 20
MAX_STALE_PAGES_BEYOND = 3
MAX_ROWS = 1_000_000
# Behind the end of any list: such a page has no rows, but the number of all.
FAR = 10_000_000
TRIES_AT_500 = 2
PROBE = "/api/"
# Statuses of what was deleted or made private.
GONE = (401, 403, 404, 410)


class Listing(NamedTuple):
    """Records of one list.

    Attributes
    ----------
    records : list of dict
        By id, without repetitions.
    unreadable : int
        Records that the server cannot show, or that are no records; 1 for a list of which nothing is known.
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

    A collection that is gone, not public any more, or cannot be listed has none, and 1 that is unreadable.

    Raises
    ------
    FetchError
        If the server does not answer any more.
    """
    path = f"/api/collections/{collection_id:d}/images/"
    try:
        return _List(client, path).read()
    except FetchError as error:
        if error.reason in ("server_down", "stopped") or not (error.status in GONE or client.is_alive()):
            raise
        logging.warning("%s: %s; the collection is left out", path, error)
        return Listing([], 1, 0)


def get_collection(client: Client, collection_id: int) -> Record | None:
    """Get one collection; None if the server has none under this id, or cannot show it."""
    return _get_record(client, f"/api/collections/{collection_id:d}/")


def get_image(client: Client, image_id: int) -> Record | None:
    """Get one image's record; None if the server has none under this id, or cannot show it."""
    return _get_record(client, f"/api/images/{image_id:d}/")


class _List:
    """One list of the server."""

    def __init__(self, client: Client, path: str) -> None:
        self.client, self.path = client, path
        self._n_stated: int | None = None
        self._told: set[int] = set()

    def read(self) -> Listing:
        """Scan the list until it is complete, or does not get more so."""
        found: dict[int, Record] = {}
        n_stated = unreadable = missing = fruitless = 0
        for size, step in SCANS:
            n_found = len(found)
            n_stated, n_bad = self._scan_into(found, size, step)
            # Where pages overlap, a record is counted more than once.
            unreadable = n_bad if step == size else unreadable
            missing = max(0, n_stated - len(found) - unreadable)
            fruitless = fruitless + 1 if len(found) == n_found else 0
            if not missing or fruitless == MAX_FRUITLESS_SCANS:
                break
            logging.info("%s: %d of %d rows repeat others; reading the list again", self.path, missing, n_stated)
        if missing:
            logging.warning("%s: the server counts %d rows but shows only %d", self.path, n_stated, len(found))
        if unreadable:
            logging.warning("%s: %d of %d records cannot be had", self.path, unreadable, n_stated)
        return Listing([found[number] for number in sorted(found)], unreadable, missing)

    def _scan_into(self, found: dict[int, Record], size: int, step: int) -> tuple[int, int]:
        """Read the list once; add to `found`, and return the number of rows stated and of records not readable."""
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
                    logging.warning("%s: given up after %d rows: it brings nothing new", self.path, n_rows)
                    unreadable += max(0, n_stated - number * step) if not seen else 0
                    break
        return n_stated, unreadable

    def _pages(self, size: int, step: int) -> Generator[Page, None, None]:
        """Read page after page, to where the server says it ends, or an empty page; the stated number may be wrong."""
        first = self._window(0, size)
        yield first
        if first.is_last:
            return
        offsets = count_from(step, step)
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
        """Read `size` rows from `offset`, in parts where the server cannot give them at once."""
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
        """Read the rows from `start` to `end` by halving; return them and the number of those that cannot be had."""
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
                    logging.warning("%s: the record at offset %d cannot be shown: %s", self.path, first, error)
                unreadable += 1
                in_a_row += SLOW_COUNTS_FOR if _is_slow(error) else 1
            if in_a_row >= MAX_UNREADABLE_IN_A_ROW:
                if not self._is_any_readable(last, end):
                    return rows, unreadable + end - last
                in_a_row = 0
        return rows, unreadable

    def _is_any_readable(self, start: int, end: int) -> bool:
        """Ask for the last of the rows from `start` to `end` and for some that are spread over the rest."""
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
    """Cut a window in two, the second half first; what is a single row stays as it is."""
    middle = (start + end + 1) // 2
    return [(first, last) for first, last in ((middle, end), (start, middle)) if first < last]


def _tries(error: FetchError) -> int | None:
    """Try a page that is too long or has a bad record in it less often: it will be divided."""
    return TRIES_AT_500 if error.status == 500 or _is_slow(error) else None


def _few_tries(_: FetchError) -> int:
    return TRIES_AT_500


def _is_slow(error: FetchError) -> bool:
    return error.status == 504 or error.reason == "timeout"


def _may_be_one_record(error: FetchError) -> bool:
    """Say whether a part of the page may be had where the page is not."""
    return error.transient and error.status != 429 and error.reason in ("server_error", "timeout", "bad_answer")


def _add_rows(rows: list[Any], found: dict[int, Record], seen: set[int]) -> int:
    """Add the rows of a page to those found, and return how many are no records."""
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
