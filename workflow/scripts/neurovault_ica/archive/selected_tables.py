"""Select the images of a run: read the metadata, apply the criteria, limit each collection, draw at random."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.base import Archive
from neurovault_ica.archive.fields import check_fields
from neurovault_ica.archive.filters import collection_criteria, explicit_collections, image_criteria
from neurovault_ica.archive.lock import locked_selection
from neurovault_ica.archive.metadata_tables import write_collections, write_images
from neurovault_ica.archive.seen_values import SeenValues, check_values
from neurovault_ica.archive.selection import choose, select_images
from neurovault_ica.archive.steps import Step, count_damaged, log_steps, require_images, step
from neurovault_ica.runtime.ids import SAFE_ID
from neurovault_ica.runtime.tables import write_table
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Record


def write_selection(
    *,
    collections: str,
    images: str,
    selection: str,
    batches: int,
    archive: Mapping[str, Any],
    network: Mapping[str, Any],
    lock: str | None = None,
    **criteria: Any,
) -> None:
    """Read the archive's metadata and write the selection. `criteria` is the section ``fetch_metadata``.

    Raises
    ------
    RuntimeError
        If there is no cache, the server does not answer, or no image meets the criteria.
    ValueError
        If the archive returns ids that are not valid.
        If a criterion names a field that looks like a typo of an existing one. Also if no record is left, and a
        criterion names an unknown field or value.
    """
    opened = open_archive(archive)
    if lock:
        selected, by_id = locked_selection(lock)
        steps = [step("image", f"in the lock {Path(lock).name}", selected, selected)]
    else:
        selected, by_id, steps = select(opened, network, **criteria)
    require_images(selected, steps, opened.label)
    _require_valid_ids(selected, opened.label)
    if not lock:
        opened.remember(selected, by_id)
    write_images(images, selected, by_id, batches=batches)
    n_collections = write_collections(collections, selected, by_id)
    write_table(selection, ({"step": number, **row} for number, row in enumerate(steps)))
    log_steps(steps)
    logging.info("selected %s of %s", counted(len(selected), "image"), counted(n_collections, "collection"))


def _require_valid_ids(selected: Iterable[Record], label: str) -> None:
    """Stop if an id cannot be part of a file name. The lock would not be readable."""
    for image in selected:
        for key in ("id", "collection_id"):
            if not SAFE_ID.fullmatch(str(image[key])):
                raise ValueError(
                    f"{label} returns the {key} {image[key]!r}, but ids have only letters, digits, '_', '-' and '.';"
                    " in the class of the archive, make ids with safe_id of runtime/ids.py"
                )


def select(
    archive: Archive,
    network: Mapping[str, Any],
    *,
    max_images: int | None,
    max_images_per_collection: int | None,
    random_state: int,
    collection_terms: Mapping[str, Any],
    collection_filter: str | None,
    collection_ids: list[Any] | None,
    image_terms: Mapping[str, Any],
    image_filter: str | None,
    image_ids: list[Any] | None,
    exclude_words: list[str],
    min_subjects: int | None,
) -> tuple[list[Record], dict[Any, Record], list[Step]]:
    """Select images by their metadata.

    Returns
    -------
    selected : list of dict
        Metadata of the selected images.
    by_id : dict
        Metadata of the collections by id.
    steps : list of dict
        Rows of selection.tsv.
    """
    wanted_of = collection_criteria(
        collection_terms=collection_terms,
        collection_filter=collection_filter,
        # Images named by id may be in any collection.
        collection_ids=collection_ids if image_ids is None else None,
    )
    criteria = image_criteria(
        image_terms=image_terms,
        image_filter=image_filter,
        image_ids=image_ids,
        collection_ids=collection_ids,
        exclude_words=exclude_words,
        min_subjects=min_subjects,
    )
    named = explicit_collections(collection_ids, image_ids, collection_terms, image_terms)
    with archive.records(network, collection_ids=named, image_ids=image_ids) as records:
        found, damaged = records.collections()
        if damaged and not found:
            raise RuntimeError(
                f"{archive.label} has no collection with readable metadata: {'; '.join(damaged)}; check"
                " fetch_metadata.collection_ids and fetch_metadata.image_ids, or run again"
            )
        wanted, steps = choose(found, wanted_of, level="collection")
        check_fields("collection_terms", collection_terms, set().union(*found), is_any_left=bool(wanted))
        seen = SeenValues("collection_terms", collection_terms)
        seen.add(found)
        check_values(seen, is_any_left=bool(wanted))
        selected, more_steps = select_images(
            records,
            wanted,
            criteria,
            max_images=max_images,
            max_images_per_collection=max_images_per_collection,
            random_state=random_state,
            terms=image_terms,
        )
    steps = [count_damaged("collection", len(found), damaged), *steps, *more_steps]
    return selected, {collection["id"]: collection for collection in wanted}, steps
