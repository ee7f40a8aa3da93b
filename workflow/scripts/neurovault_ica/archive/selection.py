"""Select collections and images by their metadata: criteria, balance over collections, a seeded draw."""

import difflib
import hashlib
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from neurovault_ica.archive.conditions import compile_term, describe_term, load_function, word_pattern
from neurovault_ica.archive.sources import Source
from neurovault_ica.runtime.log import Meter
from neurovault_ica.types import Record

Step = dict[str, Any]
Criterion = tuple[str, Callable[[Record], bool]]
READABLE = "readable metadata"
READ = "read until there were enough images"
# How alike two names are when the one is a slip of the other; no two fields of NeuroVault's images are.
SLIP = 0.8


def choose(records: Iterable[Record], criteria: Iterable[Criterion], *, level: str) -> tuple[list[Record], list[Step]]:
    """Keep the records that meet every criterion and count what each criterion dropped.

    Parameters
    ----------
    records : iterable of dict
        Metadata of images or collections.
    criteria : iterable of (name, function)
        In the order in which they are tried.
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


def collection_criteria(
    *, collection_terms: Mapping[str, Any], collection_filter: str | None, collection_ids: list[int] | None
) -> list[Criterion]:
    """List the tests that a collection must pass, from the configuration."""
    criteria: list[Criterion] = []
    if collection_ids is not None:
        criteria.append(("collection_ids", _field_is_in("id", collection_ids)))
    criteria += [_term_criterion(key, term) for key, term in collection_terms.items()]
    if collection_filter is not None:
        criteria.append((f"collection_filter {collection_filter}", load_function(collection_filter)))
    return criteria


def image_criteria(
    *,
    image_terms: Mapping[str, Any],
    image_filter: str | None,
    image_ids: list[int] | None,
    collection_ids: list[int] | None,
    exclude_words: list[str],
    min_subjects: int | None,
) -> list[Criterion]:
    """List the tests that an image must pass, from the configuration."""
    criteria: list[Criterion] = []
    if image_ids is not None:
        of_image, of_collection = _field_is_in("id", image_ids), _field_is_in("collection_id", collection_ids or [])
        name = "image_ids" if collection_ids is None else "image_ids or collection_ids"
        criteria.append((name, lambda image: of_image(image) or of_collection(image)))
    criteria += [_term_criterion(key, term) for key, term in image_terms.items()]
    if exclude_words:
        pattern = word_pattern(exclude_words)
        criteria.append(
            (f"name without {', '.join(exclude_words)}", lambda image: not pattern.search(str(image.get("name") or "")))
        )
    if min_subjects is not None:
        criteria.append((f"number_of_subjects >= {min_subjects} where known", _has_subjects(min_subjects)))
    if image_filter is not None:
        criteria.append((f"image_filter {image_filter}", load_function(image_filter)))
    return criteria


def draw_collections(collections: Iterable[Record], random_state: int) -> list[Record]:
    """Put collections in the order in which they are asked for images: that of a hash of seed and id.

    So the draw depends on neither the order of the records nor on which others there are: a collection more in the
    archive can push another out, but does not reshuffle the rest.
    """
    return sorted(collections, key=lambda collection: (_draw(random_state, collection["id"]), collection["id"]))


def draw_images(images: Iterable[Record], random_state: int) -> list[Record]:
    """Put the images of a collection in the order in which they are taken, by a hash of seed and id too."""
    return sorted(images, key=lambda image: (_draw(random_state, image["id"]), image["id"]))


def select_images(
    source: Source,
    collections: list[Record],
    criteria: list[Criterion],
    *,
    max_images: int | None,
    max_images_per_collection: int | None,
    random_state: int,
    fields: Collection[str] = (),
) -> tuple[list[Record], list[Step]]:
    """Walk through the collections in the drawn order, keep what is wanted of each, and stop when there is enough.

    Parameters
    ----------
    fields : collection of str
        The metadata fields that ``image_terms`` names.

    Returns
    -------
    selected : list of dict
        Metadata of at most so many images of each collection, and so many in all; by collection and id.
    steps : list of dict
        Rows of selection.tsv; what lies behind the last collection needed is not counted as images.

    Raises
    ------
    ValueError
        As `check_fields`.
    """
    drawn = draw_collections(collections, random_state)
    found = _Found(criteria, max_images_per_collection)
    damage: Counter[str] = Counter()
    read: list[Record] = []
    # How many collections it takes is known at the end.
    meter = Meter(len(drawn), unit="collection") if max_images is None else Meter(max_images, unit="wanted image")
    taken = 0
    # The source reads ahead. Whatever it has read beyond what is needed plays no part.
    with closing(source.images(drawn)) as walk:
        for collection, images, damaged in walk:
            read.append(collection)
            damage.update(damaged)
            found.add(images)
            # At once: a condition that nothing meets would have all of the archive read first.
            refuse_slips("image_terms", fields, found.fields)
            before, taken = taken, found.count_taken()
            meter.add(1 if max_images is None else taken - before)
            if max_images is not None and taken >= max_images:
                break
    passing = [found.passing(collection["id"]) for collection in read]
    kept = [image for images in passing for image in draw_images(images, random_state)[:max_images_per_collection]]
    selected = kept[:max_images]
    limits = [
        step("image", f"{key} {limit}", before, after)
        for key, limit, before, after in (
            ("max_images_per_collection", max_images_per_collection, list(chain(*passing)), kept),
            ("max_images", max_images, kept, selected),
        )
        if limit is not None
    ]
    check_fields("image_terms", fields, found.fields, is_any_left=bool(selected))
    return (
        sorted(selected, key=lambda image: (image["collection_id"], image["id"])),
        [
            step("collection", READ, drawn, read),
            count_damaged("image", range(found.n_listed), damage),
            *found.steps(),
            *limits,
        ],
    )


class _Found:
    """The images of the collections read so far, each once, whatever the order in which they were read.

    NeuroVault lists an image that was moved or shared in more than one collection, and a cache keeps what it was. The
    record that was modified last counts, before any criterion; of equally old ones that of the lower collection id.
    Of an image that was refused only its fate is kept, since a walk may see hundreds of thousands.
    """

    def __init__(self, criteria: list[Criterion], max_images_per_collection: int | None) -> None:
        self._criteria, self._limit = criteria, max_images_per_collection
        self._fates: dict[int, tuple[tuple[float, int], int]] = {}
        self._passing: dict[int, dict[int, Record]] = {}
        self.n_listed = 0
        self.fields: set[str] = set()

    def add(self, images: list[Record]) -> None:
        """Test the images of one more collection."""
        self.n_listed += len(images)
        for image in images:
            self.fields.update(image)
            number, rank = image["id"], (_modified(image), -image["collection_id"])
            if number in self._fates:
                older = self._fates[number][0]
                if rank <= older:
                    continue
                self._passing.get(-older[1], {}).pop(number, None)
            n_met = next((n for n, (_, holds) in enumerate(self._criteria) if not holds(image)), len(self._criteria))
            self._fates[number] = rank, n_met
            if n_met == len(self._criteria):
                self._passing.setdefault(image["collection_id"], {})[number] = image

    def passing(self, collection_id: int) -> list[Record]:
        """List the images of a collection that meet all criteria."""
        return list(self._passing.get(collection_id, {}).values())

    def count_taken(self) -> int:
        """Count the images that would be taken if no more collections were read."""
        return sum(
            len(images) if self._limit is None else min(len(images), self._limit) for images in self._passing.values()
        )

    def steps(self) -> list[Step]:
        """Count what was there twice and what each criterion dropped: rows of selection.tsv."""
        dropped = Counter(n_met for _, n_met in self._fates.values())
        kept = len(self._fates)
        rows = [_row("image", "listed in another collection too", self.n_listed, kept)]
        for number, (name, _) in enumerate(self._criteria):
            rows.append(_row("image", name, kept, kept - dropped[number]))
            kept -= dropped[number]
        return rows


def explicit_collections(
    collection_ids: list[int] | None,
    image_ids: list[int] | None,
    collection_terms: Mapping[str, Any],
    image_terms: Mapping[str, Any],
) -> list[int] | None:
    """Find out whether the configuration names the collections, so that no list of all is needed; None if not."""
    if collection_ids is not None or image_ids is not None:
        return collection_ids
    for term in (collection_terms.get("id"), image_terms.get("collection_id")):
        if type(term) is int:
            return [term]
        if isinstance(term, Mapping) and all(type(number) is int for number in term.get("is_in", [None])):
            return list(term["is_in"])
    return None


def refuse_slips(section: str, fields: Iterable[str], known: Collection[str]) -> None:
    """Raise ValueError for a field that no record has and whose name is nearly that of one that there is.

    A value that is always missing would drop all images or, with a negation, none; neither is what was meant.
    """
    for field in fields:
        near = [] if field in known else difflib.get_close_matches(field.lower(), sorted(known), 1, SLIP)
        if near:
            raise ValueError(f"fetch_metadata.{section}: no record has the field {field!r}; did you mean {near[0]}?")


def check_fields(section: str, fields: Iterable[str], known: Collection[str], *, is_any_left: bool) -> None:
    """Say which fields of the conditions no record has.

    Parameters
    ----------
    section : str
        The key of the configuration that has the conditions.
    fields : iterable of str
        What they name.
    known : collection of str
        The fields that any record has; if there are none, there were no records.
    is_any_left : bool
        Whether any record met all conditions.

    Raises
    ------
    ValueError
        If the name is nearly that of a field that there is, or no record is left.
    """
    if not known:
        return
    refuse_slips(section, fields, known)
    for field in (field for field in fields if field not in known):
        if not is_any_left:
            raise ValueError(
                f"fetch_metadata.{section}: no record has the field {field!r}, and no record is left. Remove the"
                f" condition, or use one of the fields that there are: {', '.join(sorted(known))}"
            )
        logging.warning("%s: no record that was read has the field %r: it counts as missing", section, field)


def _modified(image: Record) -> float:
    """Make modification dates comparable: those of NeuroVault have the offset of summer or of winter."""
    try:
        date = datetime.fromisoformat(image["modify_date"])
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return -math.inf


def _draw(random_state: int, number: int) -> bytes:
    return hashlib.sha256(f"{random_state}:{number}".encode()).digest()


def _field_is_in(field: str, accepted: list[int]) -> Callable[[Record], bool]:
    return lambda record: record.get(field) in accepted


def _term_criterion(key: str, term: Any) -> Criterion:
    if key == "DOI":
        if not isinstance(term, Mapping):
            wanted: Any = _bare_doi(term)
        elif term.keys() & {"is_in", "not_in"}:
            wanted = {name: [_bare_doi(doi) for doi in dois] for name, dois in term.items()}
        elif "not_equal" in term:
            wanted = {"not_equal": _bare_doi(term["not_equal"])}
        else:
            # Patterns and parts are compared with the text as it was typed.
            wanted = None
        if wanted is not None:
            is_wanted = compile_term(key, wanted)
            return describe_term(key, term), lambda record: is_wanted(_bare_doi(record.get(key)))
    holds = compile_term(key, term)
    return describe_term(key, term), lambda record: holds(record.get(key))


def _bare_doi(value: Any) -> Any:
    """Make DOIs comparable: NeuroVault keeps them as they were typed, and case means nothing in them."""
    if not isinstance(value, str):
        return value
    return re.sub(r"^(https?://(dx\.)?doi\.org/|doi:\s*)", "", value.strip().lower())


def _has_subjects(minimum: int) -> Callable[[Record], bool]:
    def holds(image: Record) -> bool:
        subjects = to_integer(image.get("number_of_subjects"))
        # NeuroVault writes 0 for maps of NIDM packs, whose number of subjects it does not know.
        return not subjects or subjects >= minimum

    return holds


def step(level: str, criterion: str, before: list[Record], after: list[Record]) -> Step:
    """Count what a criterion dropped: a row of selection.tsv."""
    return _row(level, criterion, len(before), len(after))


def _row(level: str, criterion: str, tested: int, kept: int) -> Step:
    return {"level": level, "criterion": criterion, "tested": tested, "dropped": tested - kept, "kept": kept}


def count_damaged(level: str, records: Sized, damaged: Mapping[str, int]) -> Step:
    """Count what could not be read, and say it."""
    for line, number in damaged.items():
        logging.warning("metadata that cannot be read: %s%s", line, f" ({number} times)" if number > 1 else "")
    return _row(level, READABLE, len(records) + sum(damaged.values()), len(records))


def to_integer(value: Any) -> int | None:
    """Read a whole number; None if it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None
