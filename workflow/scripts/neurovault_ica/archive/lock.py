"""The lock: what images.lock.tsv holds of a run, and how a later run reads it.

One row per image of the selection, with everything that metadata tables of the run say of it and of its collection, so
that a rerun asks no server for metadata. The columns ``file``, ``path`` and ``sha256`` are what ``datalad addurls``
needs.
"""

import csv
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from neurovault_ica.runtime.tables import column_names, read_table
from neurovault_ica.types import Record

SOFTWARE_VERSION = "0.1.0"
LOCK_TABLE = "write_lock/images.lock.tsv"
IMAGES_TABLE = "fetch_metadata/images.tsv"
COLLECTIONS_TABLE = "fetch_metadata/collections.tsv"
# Of the tables that go into the lock, what is of one run only.
_NOT_LOCKED = {"batch", "selected"}


def lock_rows(
    selection: Iterable[Mapping[str, Any]],
    collections: Iterable[Mapping[str, Any]],
    downloads: Iterable[Mapping[str, Any]],
    terms: Iterable[Mapping[str, Any]],
    used: Container[int],
) -> list[dict[str, Any]]:
    """Join what a rerun must know of each selected image, by id."""
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
        )
        for image in sorted(selection, key=lambda row: row["image_id"])
    ]


def read_lock(path: str) -> list[dict[str, Any]]:
    """Read a lock, wherever it lies.

    Raises
    ------
    ValueError
        If it is no lock, or damaged.
    """
    try:
        rows = read_table(path, described_as=LOCK_TABLE)
    except (KeyError, ValueError, StopIteration, csv.Error) as error:
        raise ValueError(f"{path} is no images.lock.tsv of this workflow: {error}") from error
    missing = sorted(set(column_names(LOCK_TABLE)) - set(rows[0] if rows else []))
    if missing:
        raise ValueError(f"{path} is no images.lock.tsv of this workflow: it has no {', '.join(missing)}")
    seen = set()
    for line, row in enumerate(rows, start=2):
        if row["image_id"] is None or row["collection_id"] is None:
            raise ValueError(f"{path}, line {line}: image_id and collection_id must be whole numbers, not n/a")
        hashes = [row[key] for key in ("sha256", "terms_sha256") if row[key] is not None]
        if not all(re.fullmatch("[0-9a-f]{64}", text) for text in hashes):
            raise ValueError(f"{path}, line {line}: a sha256 is not 64 hexadecimal digits")
        if row["status"] not in ("ok", "failed") or (row["status"] == "ok") == (row["sha256"] is None):
            raise ValueError(f"{path}, line {line}: status and sha256 contradict each other")
        if row["image_id"] in seen or min(row["image_id"], row["collection_id"]) < 0:
            raise ValueError(f"{path}, line {line}: image_id {row['image_id']} is not possible, or there twice")
        seen.add(row["image_id"])
    return rows


def locked_images(path: str | None) -> dict[int, dict[str, Any]]:
    """Read the rows of a lock by image; nothing without a lock."""
    return {row["image_id"]: row for row in read_lock(path)} if path else {}


def locked_image(row: Mapping[str, Any]) -> Record:
    """Take an image's metadata from its row."""
    return {key: row[key] for key in _locked_columns(IMAGES_TABLE)} | {"id": row["image_id"]}


def locked_collection(row: Mapping[str, Any]) -> Record:
    """Take a collection's metadata from the row of one of its images."""
    names = [name for name in _locked_columns(COLLECTIONS_TABLE) if name != "collection_id"]
    return {name: row[f"collection_{name}"] for name in names} | {"id": row["collection_id"]}


def list_changed(changed: Iterable[str], lock: str) -> str:
    """Say which files are not what they were when the lock was written."""
    listing = "; ".join(changed)
    return (
        f"not as in the lock {Path(lock).name}: {listing}. Set archive.on_changed to skip to go on without them, which"
        " gives other results"
    )


def _lock_row(
    image: Mapping[str, Any],
    collection: Mapping[str, Any],
    download: Mapping[str, Any],
    terms: Mapping[str, Any],
    *,
    used: bool,
) -> dict[str, Any]:
    """Put together the row of one image.

    Parameters
    ----------
    image, collection, download, terms : mapping
        Its rows in images.tsv, collections.tsv and the two stages' status-{batch}.tsv.
    used : bool
        Whether it is in the matrix.
    """
    # With resample the copy was used, but what a rerun can verify is what it was made from.
    path = download["file"].replace("_resampled.nii.gz", ".nii.gz")
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
        "path": path,
        "software_version": SOFTWARE_VERSION,
    }


def _locked_columns(table: str) -> list[str]:
    return [name for name in column_names(table) if name not in _NOT_LOCKED]
