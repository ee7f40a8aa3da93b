"""Download images into the cache, or find them there."""

import gzip
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from neurovault_ica.archive.cache import (
    has_collection,
    image_files,
    read_modify_date,
    read_record,
    to_number,
    write_collection,
    write_image,
)
from neurovault_ica.archive.cache_lock import CacheLock
from neurovault_ica.archive.image_status import check_file, failed, status_row
from neurovault_ica.archive.server import PROBE
from neurovault_ica.images.nifti_file import find_fault, is_packed
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import Client, connect
from neurovault_ica.runtime.files import naming_full_disk, replacing, temporary_path
from neurovault_ica.runtime.log import Meter
from neurovault_ica.runtime.tables import to_text
from neurovault_ica.types import Record, Row


@contextmanager
def download_images(
    wanted: Sequence[Row],
    url: str,
    data_dir: str,
    network: Mapping[str, Any],
    locked: Mapping[Any, Row],
    *,
    refresh: bool,
) -> Iterator[Iterator[Row]]:
    """Download the wanted images that are not in the cache.

    Parameters
    ----------
    wanted : sequence of mappings
        Rows of images.tsv.
    url : str
        The server.
    data_dir : str
    network : mapping
        The section ``download_images`` of the configuration.
    locked : mapping
        Rows of the lock by image; empty without a lock.
    refresh : bool
        Whether to download every image again.

    Yields
    ------
    iterator of mappings
        Rows of status-{batch}.tsv, in the order of `wanted`. Reading a row waits for its image.

    Raises
    ------
    RuntimeError
        If the server stops answering. The code inside the ``with`` block can also get this error.
    """
    meter = Meter(len(wanted), unit="image")
    _write_collections(data_dir, wanted)
    with (
        closing(CacheLock(Path(data_dir) / "neurovault", "images")) as lock,
        connect(url, network, probe=PROBE, request=lock.requests(network["connections"])) as client,
    ):
        get = _getter(client, data_dir, locked, lock, meter, refresh=refresh)
        try:
            yield client.map_in_order(get, wanted, ahead=len(wanted) + 1)
        except FetchError as error:
            raise RuntimeError(
                f"{url} no longer answers ({error}). The images downloaded so far are in the cache; run again to"
                " continue"
            ) from error


def _getter(
    client: Client, data_dir: str, locked: Mapping[Any, Row], lock: CacheLock, meter: Meter, *, refresh: bool
) -> Callable[[Row], Row]:
    """Make the function that gets one image: from the cache if an intact file is there, otherwise from the server."""

    def get(image: Row) -> Row:
        expected = locked.get(image["image_id"])
        cached = None
        if expected is not None and expected["status"] == "failed":
            row = status_row(image, failed(expected["reason"], expected["bytes"]), expected["path"], expected)
        else:
            with lock.held(to_number(image["image_id"])) as has_waited:
                # If another run held the lock, it has just downloaded the image.
                cached = None if refresh and not has_waited else _find_cached(image, data_dir, expected)
                row = cached or _fetch(client, image, data_dir, expected, meter)
        meter.add(failed=row["status"] == "failed", cached=cached is not None)
        return row

    return get


def _fetch(client: Client, image: Row, data_dir: str, expected: Row | None, meter: Meter) -> Row:
    """Get one image from the server. A failed download is a row with its reason."""
    if image["file_size"] == 0:
        logging.warning("image %s: NeuroVault states a size of 0 bytes, so it has lost the file", image["image_id"])
        return status_row(image, failed("missing_file", None), _names(image)[0], expected, is_logged=True)
    try:
        return status_row(image, *_download(client, image, data_dir, meter), expected)
    except FetchError as error:
        if error.reason in ("server_down", "stopped"):
            raise
        logging.warning("image %s: %s (%s)", image["image_id"], error, image["file"])
        # An error with a verdict means that a complete file came, so the server's file differs from the locked one.
        reason = "changed" if expected is not None and error.verdict else error.reason
        return status_row(image, failed(reason, None), _names(image)[0], expected, is_logged=True)


def _find_cached(image: Row, data_dir: str, expected: Row | None) -> Row | None:
    """Find an image in the cache. None if it is missing, damaged, of another version, or differs from the lock."""
    version = read_modify_date(data_dir, image["collection_id"], image["image_id"])
    if expected is None and version != to_text(image["modify_date"]):
        return None
    sha256 = expected["sha256"] if expected else None
    packed, unpacked = _names(image)
    for name in (unpacked, packed):
        path = Path(data_dir) / name
        checked = check_file(path, expected_bytes=image["file_size"], sha256=sha256)
        # nilearn saves an uncompressed file under the name .nii.gz and then cannot read it, so the name must fit.
        if checked["status"] == "ok" and is_packed(path) == (name == packed) and sha256 in (None, checked["sha256"]):
            if version is None:
                _complete(image, data_dir)
            return status_row(image, checked, name, expected)
    return None


def _download(client: Client, image: Row, data_dir: str, meter: Meter) -> tuple[Row, str]:
    """Download one image under a temporary name, check it, and rename it."""
    packed, unpacked = (Path(data_dir) / name for name in _names(image))

    temporary = temporary_path(packed)
    with naming_full_disk(packed, temporary):
        saved = client.save(
            image["file"],
            temporary,
            expected_bytes=image["file_size"],
            check=partial(find_fault, whole=True),
            count=lambda n_bytes: meter.add(0, n_bytes=n_bytes),
        )
        packs = is_packed(temporary)
        place, other = (packed, unpacked) if packs else (unpacked, packed)
        temporary.replace(place)
        other.unlink(missing_ok=True)
    _complete(image, data_dir)
    checked = {"status": "ok", "reason": None, "bytes": saved.n_bytes, "sha256": saved.sha256}
    return checked, _names(image)[0 if packs else 1]


def _complete(image: Row, data_dir: str) -> None:
    """Write what nilearn needs: the image's metadata and, of an uncompressed image, a compressed copy."""
    packed, unpacked = (Path(data_dir) / name for name in _names(image))
    if unpacked.is_file():
        with (
            unpacked.open("rb") as content,
            replacing(packed) as temporary,
            temporary.open("wb") as stream,
            gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as packing,
        ):
            shutil.copyfileobj(content, packing)
    write_image(data_dir, _record(image, data_dir))


def _write_collections(data_dir: str, wanted: Sequence[Row]) -> None:
    """Write the metadata of each collection, because nilearn cannot read a folder without them."""
    for image in {image["collection_id"]: image for image in wanted}.values():
        if not has_collection(data_dir, image["collection_id"]):
            known = {
                key.removeprefix("collection_"): value for key, value in image.items() if key.startswith("collection_")
            }
            write_collection(data_dir, known | {"id": image["collection_id"]})


def _record(image: Row, data_dir: str) -> Record:
    """Find the metadata of an image: the server's record or, in a run from a lock, the columns of the table."""
    known = {key: value for key, value in image.items() if key not in ("image_id", "batch")}
    return read_record(data_dir, image["image_id"]) or known | {"id": image["image_id"]}


def _names(image: Row) -> tuple[str, str]:
    return image_files(image["collection_id"], image["image_id"])
