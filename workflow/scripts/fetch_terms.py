"""Get the Neurosynth term weights of the images of one batch. What cannot be had stays missing."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from neurovault_ica.archive.lock import list_changed, locked_images
from neurovault_ica.archive.term_answers import Found, answer_files, fetch_missing, find_answer
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table
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
    table: str | None = None,
) -> None:
    """Collect the batch's weights in long form, and say for each image whether it has any.

    Raises
    ------
    RuntimeError
        If the terms of an image are not what they were when the lock was written.
    """
    selection = read_table(images)
    locked = locked_images(lock)
    hashes = {number: row["terms_sha256"] for number, row in locked.items()}

    def get(wanted: list[Row]) -> Iterator[Found]:
        places = answer_files(wanted, archive["data_dir"], table)
        reasons = fetch_missing(wanted, places, archive, network, hashes)
        for image in wanted:
            number = image["image_id"]
            yield find_answer(number, places[number], reasons.get(number), locked.get(number))

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
        # The jobs of the other batches would stop one after the other, each with its part of the list.
        for found in get([image for image in selection if image["batch"] != batch]):
            changed += found.changed
        raise RuntimeError(list_changed(changed, lock))
    if incomplete:
        logging.warning(
            "%d terms of %d images have no name, or a weight that is no correlation; they are left out",
            sum(incomplete),
            len(incomplete),
        )
    without = Counter(row["reason"] for row in statuses if row["reason"])
    missing = "; ".join(f"{count} {reason}" for reason, count in sorted(without.items())) or "none missing"
    logging.info("%d of %d images have term weights (%s)", len(statuses) - without.total(), len(statuses), missing)


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params, network=snakemake.config["fetch_terms"])
