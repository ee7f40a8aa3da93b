"""Get images into the cache, or find them there, and check them."""

import gzip
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurovault_ica.archive.cache import (
    has_collection,
    image_file,
    read_modify_date,
    read_record,
    write_collection,
    write_image,
)
from neurovault_ica.archive.server import PROBE
from neurovault_ica.images.nifti import find_fault, is_packed
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import Client, connect
from neurovault_ica.runtime.files import replacing, sha256_of, temporary_path
from neurovault_ica.runtime.log import Meter
from neurovault_ica.runtime.tables import to_text
from neurovault_ica.types import Record, Row


def check_file(path: Path, *, expected_bytes: int | None, sha256: str | None = None) -> Row:
    """Check one cached image file and hash it.

    Parameters
    ----------
    path : Path
    expected_bytes : int or None
        The size that NeuroVault states; not looked at where there is a hash.
    sha256 : str, optional
        Its hash in the lock. A file with this hash is right; any other is ok here, if it is whole.

    Returns
    -------
    dict
        status, reason, bytes, sha256 as in status-{batch}.tsv.
    """
    if not path.is_file():
        return _failed("missing_file", None)
    size = path.stat().st_size
    found = sha256_of(path)
    if found != sha256:
        is_size_known = bool(expected_bytes) and sha256 is None
        if (is_size_known and expected_bytes != size) or find_fault(path, whole=not is_size_known):
            return _failed("damaged_file", size)
    return {"status": "ok", "reason": None, "bytes": size, "sha256": found}


def require_enough(rows: list[Row], *, selected: int, max_failed_fraction: float) -> None:
    """Stop when the failures of this batch alone exceed `max_failed_fraction` of the whole selection.

    Measured against the selection, not the batch, because the outcome must not depend on the number of batches;
    stack_images adds the batches up.

    Raises
    ------
    RuntimeError
        With the list of failed images.
    """
    failed = [row for row in rows if row["status"] == "failed"]
    if len(failed) > max_failed_fraction * selected:
        listing = ", ".join(f"{row['image_id']} ({row['reason']})" for row in failed)
        raise RuntimeError(
            f"{len(failed)} of {selected} images could not be had, more than download_images.max_failed_fraction"
            f" {max_failed_fraction} allows: {listing}"
        )


@contextmanager
def walk_images(
    wanted: list[Row], archive: Mapping[str, Any], network: Mapping[str, Any], locked: Mapping[int, Row]
) -> Iterator[Iterator[Row]]:
    """Give the rows of the wanted images, in their order, as they are checked or downloaded."""
    meter = Meter(len(wanted), unit="image")
    if archive["source"] != "neurovault" or archive["mode"] == "offline":

        def check(image: Row) -> Row:
            row = _local(image, archive["data_dir"], locked.get(image["image_id"]), archive["source"] == "table")
            meter.add(failed=row["status"] == "failed")
            return row

        yield map(check, wanted)
        return
    _write_collections(archive["data_dir"], wanted)
    with connect(archive["url"], network, probe=PROBE) as client:
        get = _downloader(client, archive, locked, meter)
        try:
            yield client.in_order(get, wanted, ahead=len(wanted) + 1)
        except FetchError as error:
            raise RuntimeError(
                f"{archive['url']} does not answer any more ({error}). What was downloaded is in the cache; run again"
                " to go on from there"
            ) from error


def _local(image: Row, data_dir: str, expected: Row | None, is_table: bool) -> Row:
    """Check an image of a cache or of a table of own maps; nothing is written."""
    if is_table:
        file = image["file"]
    else:
        packed, unpacked = _names(image)
        file = unpacked if (Path(data_dir) / unpacked).is_file() else packed
    checked = check_file(
        Path(data_dir) / file, expected_bytes=image["file_size"], sha256=expected["sha256"] if expected else None
    )
    return _row(image, checked, file, expected)


def _downloader(
    client: Client, archive: Mapping[str, Any], locked: Mapping[int, Row], meter: Meter
) -> Callable[[Row], Row]:
    """Make the function that gets one image: from the cache if it is there and sound, else from the server."""
    data_dir, refresh = archive["data_dir"], archive["mode"] == "overwrite"

    def get(image: Row) -> Row:
        expected = locked.get(image["image_id"])
        cached = None
        if expected is not None and expected["status"] == "failed":
            row = _row(image, _failed(expected["reason"], expected["bytes"]), expected["path"], expected)
        else:
            cached = None if refresh else _find_cached(image, data_dir, expected)
            row = cached or _fetch(client, image, data_dir, expected, meter)
        meter.add(failed=row["status"] == "failed", cached=cached is not None)
        return row

    return get


def _fetch(client: Client, image: Row, data_dir: str, expected: Row | None, meter: Meter) -> Row:
    """Get one image from the server; what cannot be had is a row with its reason."""
    if image["file_size"] == 0:
        logging.warning("image %d: NeuroVault states 0 bytes: it has lost the file", image["image_id"])
        return _row(image, _failed("missing_file", None), _names(image)[0], expected, is_told=True)
    try:
        return _row(image, *_download(client, image, data_dir, meter), expected)
    except FetchError as error:
        if error.reason in ("server_down", "stopped"):
            raise
        logging.warning("image %d: %s (%s)", image["image_id"], error, image["file"])
        # A verdict is of a file that came whole.
        reason = "changed" if expected is not None and error.verdict else error.reason
        return _row(image, _failed(reason, None), _names(image)[0], expected, is_told=True)


def _find_cached(image: Row, data_dir: str, expected: Row | None) -> Row | None:
    """Find an image in the cache; None if it is not there, damaged, of another version, or not as in the lock."""
    version = read_modify_date(data_dir, image["collection_id"], image["image_id"])
    if expected is None and version != to_text(image["modify_date"]):
        return None
    sha256 = expected["sha256"] if expected else None
    packed, unpacked = _names(image)
    for name in (unpacked, packed):
        path = Path(data_dir) / name
        checked = check_file(path, expected_bytes=image["file_size"], sha256=sha256)
        # nilearn calls unpacked files packed too, and then cannot read them.
        if checked["status"] == "ok" and is_packed(path) == (name == packed) and sha256 in (None, checked["sha256"]):
            if version is None:
                _complete(image, data_dir)
            return _row(image, checked, name, expected)
    return None


def _download(client: Client, image: Row, data_dir: str, meter: Meter) -> tuple[Row, str]:
    """Download one image under a temporary name, check it, and put it into its place."""
    packed, unpacked = (Path(data_dir) / name for name in _names(image))

    def check(path: Path) -> str | None:
        return find_fault(path, whole=not image["file_size"])

    temporary = temporary_path(packed)
    try:
        saved = client.save(
            image["file"],
            temporary,
            expected_bytes=image["file_size"],
            check=check,
            count=lambda n_bytes: meter.add(0, n_bytes=n_bytes),
        )
        packs = is_packed(temporary)
        place, other = (packed, unpacked) if packs else (unpacked, packed)
        temporary.replace(place)
        other.unlink(missing_ok=True)
    finally:
        temporary.unlink(missing_ok=True)
    _complete(image, data_dir)
    checked = {"status": "ok", "reason": None, "bytes": saved.n_bytes, "sha256": saved.sha256}
    return checked, _names(image)[0 if packs else 1]


def _complete(image: Row, data_dir: str) -> None:
    """Put beside an image's file what belongs there: a packed copy, if it is unpacked, and its metadata."""
    packed, unpacked = (Path(data_dir) / name for name in _names(image))
    if unpacked.is_file():
        # nilearn looks for packed files only.
        with (
            unpacked.open("rb") as content,
            replacing(packed) as temporary,
            temporary.open("wb") as stream,
            gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as packing,
        ):
            shutil.copyfileobj(content, packing)
    write_image(data_dir, _record(image, data_dir))


def _write_collections(data_dir: str, wanted: list[Row]) -> None:
    """Make sure that each collection's folder has its metadata: nilearn stumbles over one without."""
    for image in {image["collection_id"]: image for image in wanted}.values():
        if not has_collection(data_dir, image["collection_id"]):
            known = {key.removeprefix("collection_"): value for key, value in image.items() if key.startswith("coll")}
            write_collection(data_dir, known | {"id": image["collection_id"]})


def _record(image: Row, data_dir: str) -> Record:
    """Find the metadata that go with an image: what the server said or, from a lock, what is known of it."""
    known = {key: value for key, value in image.items() if key not in ("image_id", "batch")}
    return read_record(data_dir, image["image_id"]) or known | {"id": image["image_id"]}


def _names(image: Row) -> tuple[str, str]:
    """Name the file of an image in the cache, packed and unpacked."""
    name = image_file(image["collection_id"], image["image_id"])
    return name, name.removesuffix(".gz")


def _row(image: Row, checked: Row, file: str, expected: Row | None, *, is_told: bool = False) -> Row:
    """Make the row of the status table; with a lock, what is not as in the lock has failed."""
    if expected is not None and (checked["status"], checked["sha256"]) != (expected["status"], expected["sha256"]):
        if not is_told:
            found = checked["reason"] or f"sha256 {checked['sha256']} instead of {expected['sha256']}"
            logging.warning("image %d: not as in the lock: %s", image["image_id"], found)
        checked = _failed("changed" if checked["status"] == "ok" else checked["reason"], checked["bytes"])
        return {"image_id": image["image_id"], **checked, "file": file, "is_changed": True}
    # What the lock says has failed is what was asked for.
    if checked["status"] == "failed" and not is_told and expected is None:
        logging.warning("image %d: %s", image["image_id"], checked["reason"])
    return {"image_id": image["image_id"], **checked, "file": file}


def take_changed(rows: list[Row]) -> list[str]:
    """List the images that are not as in the lock, and take the mark off their rows."""
    return [f"image {row['image_id']} ({row['reason']})" for row in rows if row.pop("is_changed", False)]


def _failed(reason: str, size: int | None) -> Row:
    return {"status": "failed", "reason": reason, "bytes": size, "sha256": None}
