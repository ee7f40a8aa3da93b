"""Select collections and images by their metadata: criteria, a limit for each collection, a seeded random draw."""

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import chain
from types import MappingProxyType
from typing import Any

from neurovault_ica.archive.fields import check_fields, refuse_typos
from neurovault_ica.archive.filters import Condition
from neurovault_ica.archive.records import Records, modified_at
from neurovault_ica.archive.seen_values import SeenValues, check_values
from neurovault_ica.archive.steps import LISTED_TWICE, READ, Step, count_damaged, step, step_of_counts
from neurovault_ica.runtime.ids import natural_key
from neurovault_ica.runtime.log import Meter
from neurovault_ica.types import Record


def choose(records: Iterable[Record], criteria: Iterable[Condition], *, level: str) -> tuple[list[Record], list[Step]]:
    """Keep the records that meet every criterion and count what each criterion dropped.

    Parameters
    ----------
    records : iterable of dict
        Metadata of images or collections.
    criteria : iterable of (name, function)
        They are applied in this order.
    level : {"collection", "image"}

    Returns
    -------
    kept : list of dict
    steps : list of dict
        Rows of selection.tsv.
    """
    kept = list(records)
    steps = []
    for name, holds in criteria:
        remaining = [record for record in kept if holds(record)]
        steps.append(step(level, name, kept, remaining))
        kept = remaining
    return kept, steps


def draw(records: Iterable[Record], random_state: int) -> list[Record]:
    """Shuffle collections, or the images of one collection, by a hash of seed and id.

    Neither the order of the records nor other records change the relative order of two records. So a new collection
    can replace another one in the selection, but does not reshuffle the rest.
    """
    return sorted(records, key=lambda record: (_hash(random_state, record["id"]), record["id"]))


def select_images(
    source: Records,
    collections: list[Record],
    criteria: list[Condition],
    *,
    max_images: int | None,
    max_images_per_collection: int | None,
    random_state: int,
    terms: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[list[Record], list[Step]]:
    """Read the collections in a random order, select images of each, and stop when there are enough.

    Parameters
    ----------
    source : Records
    collections : list of dict
    criteria : list of (name, function)
        The tests that an image must pass.
    max_images, max_images_per_collection : int or None
        Limits of the selection; None for no limit.
    random_state : int
        Seed of the draw of collections and of images.
    terms : mapping
        The conditions ``image_terms`` by metadata field, for messages.

    Returns
    -------
    selected : list of dict
        Metadata of the selected images, ordered by collection and id.
    steps : list of dict
        Rows of selection.tsv. Images of collections that were not needed are not counted.

    Raises
    ------
    ValueError
        If a condition names an unknown field (see `check_fields`). Also if no image is left, and a condition names a
        value that no image has.
    """
    drawn = draw(collections, random_state)
    found = _Found(criteria, max_images_per_collection)
    seen = SeenValues("image_terms", terms)
    damage: Counter[str] = Counter()
    read: list[Record] = []
    # With a limit, the number of collections to read is not known in advance, so the meter counts images.
    meter = Meter(len(drawn), unit="collection") if max_images is None else Meter(max_images, unit="wanted image")
    n_taken = 0
    # The source reads ahead, but only the collections that are used here affect the result.
    with closing(source.images(drawn)) as walk:
        for collection, images, damaged in walk:
            read.append(collection)
            damage.update(damaged)
            found.add(images)
            seen.add(images)
            # Check after each collection: a typo can exclude all images, and then the whole archive would be read.
            refuse_typos("image_terms", terms, found.fields)
            before, n_taken = n_taken, found.n_taken
            meter.add(1 if max_images is None else n_taken - before)
            if max_images is not None and n_taken >= max_images:
                break
    passing = [found.passing(collection["id"]) for collection in read]
    kept = [image for images in passing for image in draw(images, random_state)[:max_images_per_collection]]
    selected = kept[:max_images]
    if len(read) == len(drawn):
        _warn_of_one_collection(passing, max_images_per_collection)
    limits = [
        step("image", f"{key} {limit}", before, after)
        for key, limit, before, after in (
            ("max_images_per_collection", max_images_per_collection, list(chain(*passing)), kept),
            ("max_images", max_images, kept, selected),
        )
        if limit is not None
    ]
    check_fields("image_terms", terms, found.fields, is_any_left=bool(selected))
    check_values(seen, is_any_left=bool(selected))
    return (
        sorted(selected, key=lambda image: (natural_key(image["collection_id"]), natural_key(image["id"]))),
        [
            step("collection", READ, drawn, read),
            count_damaged("image", found.n_listed, damage),
            *found.steps(),
            *limits,
        ],
    )


def _warn_of_one_collection(passing: list[list[Record]], max_images_per_collection: int | None) -> None:
    """Warn if all images are in one collection, because the limit per collection then limits the whole selection."""
    filled = [images for images in passing if images]
    if len(filled) == 1 and max_images_per_collection is not None and len(filled[0]) > max_images_per_collection:
        logging.warning(
            "all %d images that meet the criteria are in one collection (%s), so"
            " fetch_metadata.max_images_per_collection takes %d of %d. Set it to null to take all; in a table of your"
            " own maps, give each study its own collection_id",
            len(filled[0]),
            filled[0][0]["collection_id"],
            max_images_per_collection,
            len(filled[0]),
        )


class _Found:
    """The images of the collections read so far, each counted once.

    Several collections can list the same image: NeuroVault does so after a move, and a cache keeps outdated records.
    The record that was modified last is used. If dates are equal, it is the one in the collection with the lowest id.
    So the order of reading does not matter. Criteria are applied only to that record. Images that fail a criterion are
    counted but not kept in memory, because an archive may have hundreds of thousands.

    Attributes
    ----------
    n_listed : int
        Number of records, with duplicates.
    n_taken : int
        Number of images that are selected if no more collections are read.
    fields : set of str
        All metadata fields of the records.
    """

    def __init__(self, criteria: list[Condition], max_images_per_collection: int | None) -> None:
        self._criteria = criteria
        self._limit = math.inf if max_images_per_collection is None else max_images_per_collection
        # By image: the date of its record, the collection, and the number of criteria met before the first failure.
        self._best: dict[Any, tuple[float, Any, int]] = {}
        self._passing: dict[Any, dict[Any, Record]] = {}
        self.n_listed = self.n_taken = 0
        self.fields: set[str] = set()

    def add(self, images: list[Record]) -> None:
        """Test the images of one more collection."""
        self.n_listed += len(images)
        for image in images:
            self.fields.update(image)
            image_id, collection_id = image["id"], image["collection_id"]
            date = modified_at(image)
            if image_id in self._best:
                other_date, other, _ = self._best[image_id]
                if date < other_date or (date == other_date and natural_key(collection_id) >= natural_key(other)):
                    continue
                self._drop(image_id, other)
            n_met = next((n for n, (_, holds) in enumerate(self._criteria) if not holds(image)), len(self._criteria))
            self._best[image_id] = date, collection_id, n_met
            if n_met == len(self._criteria):
                passing = self._passing.setdefault(collection_id, {})
                self.n_taken += len(passing) < self._limit
                passing[image_id] = image

    def _drop(self, image_id: Any, collection_id: Any) -> None:
        """Remove an image from the images of a collection that meet all criteria, if it is one of them."""
        passing = self._passing.get(collection_id, {})
        if passing.pop(image_id, None) is not None:
            self.n_taken -= len(passing) < self._limit

    def passing(self, collection_id: Any) -> list[Record]:
        """List the images of a collection that meet all criteria."""
        return list(self._passing.get(collection_id, {}).values())

    def steps(self) -> list[Step]:
        """Count the duplicates and what each criterion dropped: rows of selection.tsv."""
        dropped = Counter(n_met for _, _, n_met in self._best.values())
        kept = len(self._best)
        rows = [step_of_counts("image", LISTED_TWICE, self.n_listed, kept)]
        for number, (name, _) in enumerate(self._criteria):
            rows.append(step_of_counts("image", name, kept, kept - dropped[number]))
            kept -= dropped[number]
        return rows


def _hash(random_state: int, record_id: Any) -> bytes:
    return hashlib.sha256(f"{random_state}:{record_id}".encode()).digest()
