"""Look at the archive again: select again, and retry images and terms that were missing. Unchanged tables are kept."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.looking_again import (
    find_incomplete,
    remove_outdated,
    retry_downloads,
    retry_terms,
    update_selection,
)
from neurovault_ica.runtime.files import write_json
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.runtime.wording import counted


def main(
    *,
    collections: str,
    images: str,
    selection: str,
    looked: str,
    downloads: Sequence[str],
    terms: Sequence[str],
    databases: Sequence[str],
    last: Sequence[str],
    archive: Mapping[str, Any],
    network: Mapping[str, Any],
    terms_network: Mapping[str, Any],
    metadata_log: str | Path,
    lock: str | None = None,
    requested: float | None = None,
    **settings: Any,
) -> None:
    """Update the tables of fetch_metadata, and remove status tables of batches for which more can be downloaded now.

    Raises
    ------
    RuntimeError
        If the archive cannot be read.
    """
    del requested
    opened = open_archive(archive)
    changed: list[str] = []
    found_images: dict[Path, int] = {}
    found_terms: dict[Path, int] = {}
    incomplete: list[Path] = []
    if lock:
        logging.info("the images come from the lock %s, so there is nothing to update", lock)
    else:
        tables = {"collections": collections, "images": images, "selection": selection}
        changed = update_selection(tables, metadata_log, archive=archive, network=network, **settings)
        rows = read_table(images)
        # If the selection has changed, the next rules request all of its images and terms anyway.
        if "images" not in changed:
            found_images = retry_downloads(opened, rows, downloads, network)
            found_terms = retry_terms(opened, rows, terms, terms_network)
        incomplete = find_incomplete(databases)
        if found_images or found_terms or incomplete:
            remove_outdated([*found_images, *found_terms, *incomplete], last)
        logging.info(
            "missing before and available now: %s, and the terms of %s",
            counted(sum(found_images.values()), "image"), counted(sum(found_terms.values()), "image"),
        )  # fmt: skip
        if not (changed or found_images or found_terms or incomplete):
            logging.info("%s has nothing new", opened.label)
    write_json(
        looked,
        {
            "archive": opened.label,
            "changed_tables": changed,
            "found_images": sum(found_images.values()),
            "found_terms": sum(found_terms.values()),
            "looked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(
        **snakemake.input,
        **snakemake.output,
        **snakemake.params,
        network=snakemake.config["download_images"],
        terms_network=snakemake.config["fetch_terms"],
        metadata_log=Path(snakemake.log[0]).with_name("fetch_metadata.log"),
    )
