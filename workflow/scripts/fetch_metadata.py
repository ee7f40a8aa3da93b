"""Choose the images of a run: read the metadata, filter, balance over collections, cap."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurovault_ica.archive.cache import write_collection, write_description, write_record
from neurovault_ica.archive.lock import locked_collection, locked_image, read_lock
from neurovault_ica.archive.selection import (
    READ,
    READABLE,
    Step,
    check_fields,
    choose,
    collection_criteria,
    count_damaged,
    explicit_collections,
    image_criteria,
    select_images,
    step,
    to_integer,
)
from neurovault_ica.archive.server import PROBE
from neurovault_ica.archive.sources import CacheSource, ServerSource, Source, TableSource
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import connect
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import column_formats, write_table
from neurovault_ica.types import Record

# A server that is down from the start is more often a wrong address or a line that is not there.
FIRST_PATIENCE_S = 120.0


def main(
    *,
    collections: str,
    images: str,
    selection: str,
    batches: int,
    archive: Mapping[str, Any],
    network: Mapping[str, Any],
    max_images: int | None,
    max_images_per_collection: int | None,
    random_state: int,
    collection_terms: Mapping[str, Any],
    collection_filter: str | None,
    collection_ids: list[int] | None,
    image_terms: Mapping[str, Any],
    image_filter: str | None,
    image_ids: list[int] | None,
    exclude_words: list[str],
    min_subjects: int | None,
    lock: str | None = None,
    table: str | None = None,
    demo: str | None = None,  # noqa: ARG001 - the demo's archive must be there, that is all
) -> None:
    """Read the archive's metadata and write the selection.

    Raises
    ------
    RuntimeError
        If the archive has no cache, or no image passes the criteria, or the server does not answer.
    ValueError
        If a criterion names a field that no record has and nothing is left, or nearly the name of another field.
    """
    if lock:
        selected, by_id, steps = _locked(lock)
    else:
        wanted_of = collection_criteria(
            collection_terms=collection_terms,
            collection_filter=collection_filter,
            # Images asked for by id may lie in any collection.
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
        ids = explicit_collections(collection_ids, image_ids, collection_terms, image_terms)
        with _source(archive, network, table, collection_ids=ids, image_ids=image_ids) as source:
            found, damaged = source.collections()
            if damaged and not found:
                raise RuntimeError(f"{_place(archive)} has no collection that can be read: {'; '.join(damaged)}")
            wanted, steps = choose(found, wanted_of, level="collection")
            check_fields("collection_terms", collection_terms, set().union(*found), is_any_left=bool(wanted))
            steps.insert(0, count_damaged("collection", found, damaged))
            selected, more_steps = select_images(
                source,
                wanted,
                criteria,
                max_images=max_images,
                max_images_per_collection=max_images_per_collection,
                random_state=random_state,
                fields=image_terms,
            )
        steps += more_steps
        by_id = {collection["id"]: collection for collection in wanted}
    _require_images(selected, steps, archive)
    if _is_online(archive) and not lock:
        for collection_id in {image["collection_id"] for image in selected}:
            write_collection(archive["data_dir"], by_id[collection_id])
        for image in selected:
            write_record(archive["data_dir"], image)

    formats = column_formats(images)
    write_table(
        images,
        (
            _image_row(image, by_id[image["collection_id"]], number % batches, formats)
            for number, image in enumerate(selected)
        ),
    )
    counts = Counter(image["collection_id"] for image in selected)
    formats = column_formats(collections)
    write_table(collections, (_collection_row(by_id[number], counts[number], formats) for number in sorted(counts)))
    write_table(selection, ({"step": number, **row} for number, row in enumerate(steps)))
    for row in steps:
        if row["dropped"]:
            logging.info("%s: %d of %d %ss dropped", row["criterion"], row["dropped"], row["tested"], row["level"])
    logging.info("%d images of %d collections selected", len(selected), len(counts))


@contextmanager
def _source(
    archive: Mapping[str, Any],
    network: Mapping[str, Any],
    table: str | None,
    *,
    collection_ids: list[int] | None,
    image_ids: list[int] | None,
) -> Iterator[Source]:
    if table:
        yield TableSource(table)
    elif not _is_online(archive):
        yield CacheSource(archive["data_dir"])
    else:
        write_description(archive["data_dir"], archive["url"])
        with connect(archive["url"], network, probe=PROBE, first_patience_s=FIRST_PATIENCE_S) as client:
            try:
                yield ServerSource(
                    client,
                    archive["data_dir"],
                    refresh=archive["mode"] == "overwrite",
                    collection_ids=collection_ids,
                    image_ids=image_ids,
                )
            except FetchError as error:
                raise RuntimeError(
                    f"{archive['url']} did not give the metadata: {error}. Nothing is lost: run again, what was read so"
                    " far is in the cache"
                ) from error


def _is_online(archive: Mapping[str, Any]) -> bool:
    return archive["source"] == "neurovault" and archive["mode"] != "offline"


def _locked(lock: str) -> tuple[list[Record], dict[int, Record], list[Step]]:
    """Take the selection of an earlier run from its lock."""
    rows = sorted(read_lock(lock), key=lambda row: (row["collection_id"], row["image_id"]))
    images = [locked_image(row) for row in rows]
    steps = [step("image", f"in the lock {Path(lock).name}", images, images)]
    return images, {row["collection_id"]: locked_collection(row) for row in rows}, steps


def _place(archive: Mapping[str, Any]) -> str:
    if archive["source"] == "table":
        return "the table"
    return archive["url"] if _is_online(archive) else f"the cache {archive['data_dir']}"


def _require_images(selected: list[Record], steps: list[Step], archive: Mapping[str, Any]) -> None:
    if selected:
        return
    place = _place(archive)
    if not any(row["tested"] for row in steps):
        raise RuntimeError(f"{place} has no collections")
    emptied = next((row for row in steps if row["tested"] and not row["kept"]), None)
    if emptied is None:
        read = next(row["kept"] for row in steps if row["criterion"] == READ)
        raise RuntimeError(
            f"{place} has no images in the {read} collections that meet the collection criteria of fetch_metadata;"
            " loosen those"
        )
    if emptied["criterion"] == READABLE:
        raise RuntimeError(
            f"{place}: none of {emptied['tested']} {emptied['level']}s can be read; the log has the reasons"
        )
    raise RuntimeError(
        f'no image is left: "{emptied["criterion"]}" dropped the last {emptied["dropped"]} of'
        f" {emptied['tested']} {emptied['level']}s; loosen that key of fetch_metadata in the configuration"
    )


def _image_row(image: Record, collection: Record, batch: int, formats: Mapping[str, str]) -> dict[str, Any]:
    row = {column: _typed(image.get(column), kind) for column, kind in formats.items()}
    return row | {
        "image_id": image["id"],
        "collection_id": image["collection_id"],
        "batch": batch,
        "collection_name": collection.get("name"),
        "collection_DOI": collection.get("DOI"),
    }


def _collection_row(collection: Record, selected: int, formats: Mapping[str, str]) -> dict[str, Any]:
    row = {column: _typed(collection.get(column), kind) for column, kind in formats.items()}
    return row | {"collection_id": collection["id"], "selected": selected}


def _typed(value: Any, kind: str) -> Any:
    """Keep a value only if it is what the table's column says: anything can stand in a record."""
    if kind == "integer":
        return to_integer(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "number":
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return None
    return value


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params, network=snakemake.config["download_images"])
