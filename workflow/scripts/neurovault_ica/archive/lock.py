"""Write and read the lock images.lock.tsv, from which a later run gets the same images.

The lock has one row for each selected image, with all columns of images.tsv and collections.tsv. So a rerun needs no
metadata from a server. ``datalad addurls`` uses the columns ``file``, ``path`` and ``sha256``.
"""

import csv
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from neurovault_ica.archive.cache import original_of
from neurovault_ica.runtime.ids import SAFE_ID, natural_key
from neurovault_ica.runtime.tables import column_names, read_table
from neurovault_ica.types import Record, Row

SOFTWARE_VERSION = "0.1.0"
LOCK_TABLE = "write_lock/images.lock.tsv"
IMAGES_TABLE = "fetch_metadata/images.tsv"
COLLECTIONS_TABLE = "fetch_metadata/collections.tsv"
# Columns that the lock leaves out, because they describe one run only.
_NOT_LOCKED = {"batch", "selected"}
_GIVE = "; give the file write_lock/images.lock.tsv of a finished run"
_REMEDY = "; the lock was edited or damaged, so use an unchanged copy"


def lock_rows(
    selection: Iterable[Row],
    collections: Iterable[Row],
    downloads: Iterable[Row],
    terms: Iterable[Row],
    used: Container[Any],
    *,
    resampled: bool = False,
) -> list[Row]:
    """Make the rows of the lock: everything that a rerun needs to know about each image, ordered by image id.

    Parameters
    ----------
    selection, collections : iterable of mappings
        Rows of images.tsv and collections.tsv.
    downloads, terms : iterable of mappings
        Rows of status-{batch}.tsv of download_images and of fetch_terms.
    used : container
        Ids of the images in the matrix.
    resampled : bool
        Whether download_images made resampled copies in the cache.
    """
    studies = {row["collection_id"]: row for row in collections}
    files = {row["image_id"]: row for row in downloads}
    terms_of = {row["image_id"]: row for row in terms}
    return [
        _lock_row(
            image,
            studies[image["collection_id"]],
            files[image["image_id"]],
            terms_of[image["image_id"]],
            used=image["image_id"] in used,
            resampled=resampled,
        )
        for image in sorted(selection, key=lambda row: natural_key(row["image_id"]))
    ]


def read_lock(path: str) -> list[Row]:
    """Read a lock. The file can have any name and be in any folder.

    Raises
    ------
    ValueError
        If the file is not a lock, or is damaged.
    """
    try:
        rows = read_table(path, described_as=LOCK_TABLE)
    except (KeyError, ValueError, StopIteration, csv.Error) as error:
        found = str(error) or "it is empty"
        raise ValueError(f"{path} is not an images.lock.tsv of this workflow: {found}{_GIVE}") from error
    missing = sorted(set(column_names(LOCK_TABLE)) - set(rows[0] if rows else []))
    if missing:
        raise ValueError(
            f"{path} is not an images.lock.tsv of this workflow: it lacks the columns {', '.join(missing)}{_GIVE}"
        )
    if not Path(path).read_bytes().endswith((b"\n", b"\r")):
        raise ValueError(f"{path} ends in the middle of a line{_REMEDY}")
    seen = set()
    for line, row in enumerate(rows, start=2):
        for key in ("image_id", "collection_id"):
            if row[key] is None or not SAFE_ID.fullmatch(row[key]):
                raise ValueError(f"{path}, line {line}: {key} {row[key] or 'n/a'!r} is not a valid id{_REMEDY}")
        hashes = [row[key] for key in ("sha256", "terms_sha256") if row[key] is not None]
        if not all(re.fullmatch("[0-9a-f]{64}", text) for text in hashes):
            raise ValueError(f"{path}, line {line}: a sha256 is not 64 lower-case hexadecimal digits{_REMEDY}")
        if row["status"] not in ("ok", "failed") or (row["status"] == "ok") == (row["sha256"] is None):
            raise ValueError(f"{path}, line {line}: status and sha256 contradict each other{_REMEDY}")
        if row["image_id"] in seen:
            raise ValueError(f"{path}, line {line}: image_id {row['image_id']} occurs twice{_REMEDY}")
        seen.add(row["image_id"])
    return rows


def locked_images(path: str | None) -> dict[Any, Row]:
    """Read the rows of a lock by image id; empty if `path` is None."""
    return {row["image_id"]: row for row in read_lock(path)} if path else {}


def locked_selection(path: str) -> tuple[list[Record], dict[Any, Record]]:
    """Read the selection of the run that wrote the lock.

    Returns
    -------
    images : list of dict
        Metadata of the images, ordered by collection and id.
    collections : dict
        Metadata of the collections by id.
    """
    rows = sorted(read_lock(path), key=lambda row: (natural_key(row["collection_id"]), natural_key(row["image_id"])))
    return [_locked_image(row) for row in rows], {row["collection_id"]: _locked_collection(row) for row in rows}


def list_changed(changed: Iterable[str], lock: str) -> str:
    """Write the error message about files that differ from the lock or could not be downloaded."""
    return (
        f"some files differ from the lock {Path(lock).name} or could not be downloaded: {'; '.join(changed)}. If a"
        " download failed, run again. To continue without these files, which changes the results, set"
        " archive.on_changed to skip"
    )


def _locked_image(row: Row) -> Record:
    return {key: row[key] for key in _locked_columns(IMAGES_TABLE)} | {"id": row["image_id"]}


def _locked_collection(row: Row) -> Record:
    names = [name for name in _locked_columns(COLLECTIONS_TABLE) if name != "collection_id"]
    return {name: row[f"collection_{name}"] for name in names} | {"id": row["collection_id"]}


def _lock_row(
    image: Mapping[str, Any],
    collection: Mapping[str, Any],
    download: Mapping[str, Any],
    terms: Mapping[str, Any],
    *,
    used: bool,
    resampled: bool,
) -> Row:
    """Join the rows of one image in images.tsv, collections.tsv and the two stages' status-{batch}.tsv."""
    row = {key: value for key, value in image.items() if key not in _NOT_LOCKED}
    row |= {
        f"collection_{key}": value for key, value in collection.items() if key not in _NOT_LOCKED | {"collection_id"}
    }
    return row | {
        "bytes": download["bytes"],
        "sha256": download["sha256"],
        "status": download["status"],
        "reason": download["reason"],
        "terms_sha256": terms["sha256"],
        "terms_reason": terms["reason"],
        "used": used,
        # Size and checksum are those of the original, so the path must not be that of its resampled copy.
        "path": original_of(download["file"]) if resampled else download["file"],
        "software_version": SOFTWARE_VERSION,
    }


def _locked_columns(table: str) -> list[str]:
    return [name for name in column_names(table) if name not in _NOT_LOCKED]
