"""Find out what is new in the archive since the last run. Results that stay the same are not touched."""

import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurovault_ica.archive.base import Archive
from neurovault_ica.archive.selected_tables import write_selection
from neurovault_ica.archive.term_answers import read_answer
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.recovery import add_sizes, forget_sizes
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.types import Row


def update_selection(tables: Mapping[str, str], log: str | Path, **settings: Any) -> list[str]:
    """Select the images again, and replace the tables that differ. Snakemake then reruns what depends on them.

    Parameters
    ----------
    tables : mapping
        Path of each table of fetch_metadata, by its name.
    log : path
        The log of fetch_metadata. It gets the sizes of the replaced tables.
    **settings
        The other arguments of `write_selection`.

    Returns
    -------
    list of str
        Names of the tables that changed.
    """
    with tempfile.TemporaryDirectory() as folder:
        anew = {name: Path(folder, *Path(path).parts[-2:]) for name, path in tables.items()}
        write_selection(**settings | {name: str(path) for name, path in anew.items()})
        _log_difference(tables["images"], anew["images"])
        changed = [name for name, path in tables.items() if anew[name].read_bytes() != Path(path).read_bytes()]
        paths = [tables[name] for name in changed]
        forget_sizes(log, paths)
        for name in changed:
            with replacing(tables[name]) as temporary:
                shutil.copyfile(anew[name], temporary)
        add_sizes(log, paths)
    return changed


def retry_downloads(
    archive: Archive, images: Sequence[Row], statuses: Sequence[str], network: Mapping[str, Any]
) -> dict[Path, int]:
    """Try failed images again.

    Parameters
    ----------
    archive : Archive
    images : sequence of mappings
        Rows of images.tsv.
    statuses : sequence of str
        Path of each batch's status table, which may not exist.
    network : mapping
        The section ``download_images`` of the configuration.

    Returns
    -------
    dict
        For each status table with such images, the number of images that are available now.
    """
    found = {}
    for path, failed in _rows_of(images, statuses, lambda row: row["status"] == "failed"):
        with archive.get_images(failed, network, {}) as rows:
            found[path] = sum(row["status"] == "ok" for row in rows)
    return {path: number for path, number in found.items() if number}


def retry_terms(
    archive: Archive, images: Sequence[Row], statuses: Sequence[str], network: Mapping[str, Any]
) -> dict[Path, int]:
    """Request missing term weights again.

    Parameters and result are those of `retry_downloads`; `network` is the section ``fetch_terms``.
    """
    found = {}
    for path, without in _rows_of(images, statuses, lambda row: row["reason"] is not None):
        places = archive.term_files(without)
        archive.fetch_terms(without, places, network, {})
        found[path] = sum(bool(read_answer(place, is_own=archive.has_own_terms).weights) for place in places.values())
    return {path: number for path, number in found.items() if number}


def remove_outdated(statuses: Iterable[Path], last: Iterable[str]) -> None:
    """Remove status tables and the final results, so that Snakemake makes both again.

    Snakemake makes a missing table again only if a final result is missing, too. So the final results are removed
    first. If the run is killed in between, the next look finds the status tables, and the images in the cache.
    """
    for path in [*map(Path, last), *statuses]:
        path.unlink(missing_ok=True)


def find_incomplete(tables: Sequence[str]) -> list[Path]:
    """List tables of downloaded databases that lack files."""
    return [
        path for path in map(Path, tables) if path.is_file() and any(row["status"] != "ok" for row in read_table(path))
    ]


def _rows_of(images: Sequence[Row], statuses: Sequence[str], is_wanted: Any) -> Iterator[tuple[Path, list[Row]]]:
    """Yield each status table that has wanted rows, with the rows of images.tsv of these images."""
    by_id = {image["image_id"]: image for image in images}
    for path in map(Path, statuses):
        rows = read_table(path) if path.is_file() else []
        wanted = [by_id[row["image_id"]] for row in rows if is_wanted(row) and row["image_id"] in by_id]
        if wanted:
            yield path, wanted


def _log_difference(before: str, after: Path) -> None:
    """Log how many images are new, changed and gone."""
    old, new = ({row["image_id"]: row for row in read_table(path)} for path in (before, after))
    changed = [number for number in new if number in old and new[number]["modify_date"] != old[number]["modify_date"]]
    logging.info(
        "images in the selection: %d new, %d modified, %d no longer in it",
        len(new.keys() - old.keys()), len(changed), len(old.keys() - new.keys()),
    )  # fmt: skip
