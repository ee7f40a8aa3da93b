"""Get the term weights of the images of one batch. An image without weights is listed with the reason.

Weights come from Neurosynth's server, from the user's files, or from the term maps of build_term_maps.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.base import Archive
from neurovault_ica.archive.lock import list_changed, locked_images
from neurovault_ica.archive.term_answers import CheckedTerms, find_answer
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Row


def main(
    *,
    images: str,
    terms: str,
    status: str,
    batch: int,
    archive: Mapping[str, Any],
    network: Mapping[str, Any],
    lock: str | None = None,
    source: str | None = "server",
    voxels: str | Sequence[str] = (),
    quality: str | Sequence[str] = (),
    mask: str | Sequence[str] = (),
    term_maps: str | Sequence[str] = (),
) -> None:
    """Write the weights of the batch in long form, and a table that shows which images have any.

    `voxels`, `quality`, `mask` and `term_maps` are used only if `source` is database.

    Raises
    ------
    RuntimeError
        If the terms of an image differ from the lock.
    """
    selection = read_table(images)
    locked = locked_images(lock)
    opened = open_archive(archive)

    def get(wanted: list[Row]) -> Iterator[CheckedTerms]:
        if source == "database":
            from neurovault_ica.naming.image_terms import decode_images

            maps = str(Path(str(term_maps)).parent)
            return decode_images(wanted, read_table(str(quality)), str(voxels), str(mask), maps)
        if source is None:
            return (CheckedTerms({}, not_requested(image["image_id"]), [], 0) for image in wanted)
        return find_answers(wanted, opened, network, locked)

    statuses: list[Row] = []
    changed: list[str] = []
    incomplete: list[int] = []

    def rows() -> Iterator[Row]:
        for found in get([image for image in selection if image["batch"] == batch]):
            statuses.append(found.status)
            changed.extend(found.changed)
            incomplete.extend([found.dropped] if found.dropped else [])
            for term, weight in sorted(found.weights.items()):
                yield {"image_id": found.status["image_id"], "term": term, "weight": weight}

    write_table(terms, rows())
    write_table(status, statuses)
    if lock and changed and archive["on_changed"] == "stop":
        # Check the other batches too. Otherwise each of their jobs would stop with its own part of the list.
        for found in get([image for image in selection if image["batch"] != batch]):
            changed += found.changed
        raise RuntimeError(list_changed(changed, lock))
    if incomplete:
        logging.warning(
            "ignored %s of %s, because they have no name or no weight between -1 and 1",
            counted(sum(incomplete), "term"),
            counted(len(incomplete), "image"),
        )
    without = Counter(row["reason"] for row in statuses if row["reason"])
    missing = ", ".join(f"{count:,} ({reason})" for reason, count in without.most_common())
    n_images = counted(len(statuses), "image")
    none = f"; none for {missing}" if missing else ""
    logging.info("term weights found for %d of %s%s", len(statuses) - without.total(), n_images, none)


def find_answers(
    wanted: Sequence[Row], archive: Archive, network: Mapping[str, Any], locked: Mapping[Any, Row]
) -> Iterator[CheckedTerms]:
    """Request the missing answers, and yield the term weights of each image, compared with the lock."""
    places = archive.term_files(wanted)
    hashes = {image_id: row["terms_sha256"] for image_id, row in locked.items()}
    reasons = archive.fetch_terms(wanted, places, network, hashes)
    for image_id in (image["image_id"] for image in wanted):
        place, reason, expected = places[image_id], reasons.get(image_id), locked.get(image_id)
        yield find_answer(image_id, place, reason, expected, is_own=archive.has_own_terms)


def not_requested(image_id: Any) -> Row:
    """Return the row of the status table for an image whose terms are not requested."""
    return {"image_id": image_id, "terms": 0, "reason": "not_asked", "sha256": None}


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params, network=snakemake.config["fetch_terms"])
