"""Choose the images of a run: read the metadata, filter, balance over collections, cap."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from filters import compile_term, describe_term, load_function, word_pattern
from neurovault import Record, read_collections, read_images
from outputs import column_names, write_table
from stage_log import log_to

Step = dict[str, Any]
Criterion = tuple[str, Callable[[Record], bool]]


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
        steps.append(_step(level, name, kept, remaining))
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
    exclude_words: list[str],
    min_subjects: int | None,
) -> list[Criterion]:
    """List the tests that an image must pass, from the configuration."""
    criteria: list[Criterion] = []
    if image_ids is not None:
        criteria.append(("image_ids", _field_is_in("id", image_ids)))
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


def balance(
    images: list[Record], *, max_images: int | None, max_images_per_collection: int | None, random_state: int
) -> tuple[list[Record], list[Step]]:
    """Take at most so many images of each collection, and so many in all, by a seeded draw.

    Collections and the images in them are drawn in the order of a hash of seed and id. So the draw depends on
    neither the order of the records nor on which others there are: an image more in the archive can push one out,
    but does not reshuffle the rest.
    """
    drawn = sorted(
        images,
        key=lambda image: (
            _draw(random_state, image["collection_id"]),
            image["collection_id"],
            _draw(random_state, image["id"]),
        ),
    )
    capped: list[Record] = []
    taken: dict[int, int] = {}
    for image in drawn:
        taken[image["collection_id"]] = taken.get(image["collection_id"], 0) + 1
        if max_images_per_collection is None or taken[image["collection_id"]] <= max_images_per_collection:
            capped.append(image)
    selected = capped[:max_images]
    return (
        sorted(selected, key=lambda image: (image["collection_id"], image["id"])),
        [
            _step("image", f"max_images_per_collection {max_images_per_collection}", drawn, capped),
            _step("image", f"max_images {max_images}", capped, selected),
        ],
    )


def main(
    *,
    collections: str,
    images: str,
    selection: str,
    data_dir: str,
    batches: int,
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
    archive: object = None,  # noqa: ARG001 an input of the rule, for its time stamp
) -> None:
    """Read the archive's metadata and write the selection.

    Raises
    ------
    RuntimeError
        If the archive has no cache, or no image passes the criteria.
    """
    found, damaged = read_collections(data_dir)
    steps = [_count_damaged("collection", found, damaged)]
    wanted, more_steps = choose(
        found,
        collection_criteria(
            collection_terms=collection_terms, collection_filter=collection_filter, collection_ids=collection_ids
        ),
        level="collection",
    )
    steps += more_steps

    records: list[Record] = []
    damaged = []
    for collection in wanted:
        of_collection, unreadable = read_images(data_dir, collection["id"])
        records += [image | {"collection_id": collection["id"]} for image in of_collection]
        damaged += unreadable
    steps.append(_count_damaged("image", records, damaged))
    passing, more_steps = choose(
        records,
        image_criteria(
            image_terms=image_terms,
            image_filter=image_filter,
            image_ids=image_ids,
            exclude_words=exclude_words,
            min_subjects=min_subjects,
        ),
        level="image",
    )
    steps += more_steps
    selected, more_steps = balance(
        passing,
        max_images=max_images,
        max_images_per_collection=max_images_per_collection,
        random_state=random_state,
    )
    steps += more_steps
    _require_images(selected, steps, data_dir)

    by_id = {collection["id"]: collection for collection in wanted}
    columns = column_names(images)
    write_table(
        images,
        (
            _image_row(image, by_id[image["collection_id"]], number % batches, columns)
            for number, image in enumerate(selected)
        ),
    )
    counts = dict.fromkeys(by_id, 0)
    for image in selected:
        counts[image["collection_id"]] += 1
    columns = column_names(collections)
    write_table(
        collections,
        (_collection_row(by_id[number], count, columns) for number, count in counts.items() if count),
    )
    write_table(selection, ({"step": number, **step} for number, step in enumerate(steps)))
    for step in steps:
        if step["dropped"]:
            logging.info("%s: %d of %d %ss dropped", step["criterion"], step["dropped"], step["tested"], step["level"])
    logging.info("%d images of %d collections selected", len(selected), sum(count > 0 for count in counts.values()))


def _draw(random_state: int, number: int) -> bytes:
    return hashlib.sha256(f"{random_state}:{number}".encode()).digest()


def _field_is_in(field: str, accepted: list[int]) -> Callable[[Record], bool]:
    return lambda record: record.get(field) in accepted


def _term_criterion(key: str, term: Any) -> Criterion:
    holds = compile_term(key, term)
    return describe_term(key, term), lambda record: holds(record.get(key))


def _has_subjects(minimum: int) -> Callable[[Record], bool]:
    def holds(image: Record) -> bool:
        subjects = _to_integer(image.get("number_of_subjects"))
        # NeuroVault writes 0 for maps of NIDM packs, whose number of subjects it does not know.
        return not subjects or subjects >= minimum

    return holds


def _step(level: str, criterion: str, before: list[Record], after: list[Record]) -> Step:
    return {
        "level": level,
        "criterion": criterion,
        "tested": len(before),
        "dropped": len(before) - len(after),
        "kept": len(after),
    }


def _count_damaged(level: str, records: list[Record], damaged: list[str]) -> Step:
    for line in damaged:
        logging.warning("metadata that cannot be read: %s", line)
    return {
        "level": level,
        "criterion": "readable metadata",
        "tested": len(records) + len(damaged),
        "dropped": len(damaged),
        "kept": len(records),
    }


def _require_images(selected: list[Record], steps: list[Step], data_dir: str) -> None:
    if selected:
        return
    emptied = next((step for step in steps if step["kept"] == 0), None)
    if emptied is None or emptied["tested"] == 0:
        raise RuntimeError(f"the cache {data_dir} has no images")
    raise RuntimeError(
        f'no image is left: "{emptied["criterion"]}" dropped the last {emptied["dropped"]} of'
        f" {emptied['tested']} {emptied['level']}s; loosen that key of fetch_metadata in the configuration"
    )


def _to_integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _image_row(image: Record, collection: Record, batch: int, columns: list[str]) -> dict[str, Any]:
    row = {column: image.get(column) for column in columns}
    return row | {
        "image_id": image["id"],
        "collection_id": image["collection_id"],
        "batch": batch,
        "collection_name": collection.get("name"),
        "collection_DOI": collection.get("DOI"),
        "number_of_subjects": _to_integer(image.get("number_of_subjects")),
        "file_size": _to_integer(image.get("file_size")),
    }


def _collection_row(collection: Record, selected: int, columns: list[str]) -> dict[str, Any]:
    row = {column: collection.get(column) for column in columns}
    return row | {
        "collection_id": collection["id"],
        "number_of_images": _to_integer(collection.get("number_of_images")),
        "selected": selected,
    }


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
