"""The interface by which the selection reads metadata: first the collections, then the images of some of them."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from neurovault_ica.archive.cache import null_strings_to_none

if TYPE_CHECKING:
    from neurovault_ica.types import Record

# Description of a problem -> number of records that cannot be read because of it.
Damage = dict[str, int]


class CollectionImages(NamedTuple):
    """One collection, its images, and its records that could not be read."""

    collection: Record
    images: list[Record]
    damaged: Damage


class Records(Protocol):
    """A reader of metadata."""

    def collections(self) -> tuple[list[Record], Damage]:
        """List the collections, and count what could not be read."""
        ...

    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Read the images of `collections`, in that order."""
        ...


def modified_at(record: Record) -> float:
    """Return the modification date in seconds since 1970, because dates have different time zones.

    Without a valid date, return minus infinity.
    """
    try:
        date = datetime.fromisoformat(record["modify_date"])
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return -math.inf


def belonging(images: list[Record], collection: Record) -> list[Record]:
    """Set the collection of each image to the one that lists it, even if its record names another."""
    return [null_strings_to_none(image) | {"collection_id": collection["id"]} for image in images]
