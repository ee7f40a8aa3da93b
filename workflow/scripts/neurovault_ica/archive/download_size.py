"""Say how much is still to be downloaded, and stop if the disk is too small for it."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurovault_ica.archive.cache import image_files, read_modify_date
from neurovault_ica.archive.disk_space import existing_folder
from neurovault_ica.net.client import MAX_FILE_BYTES
from neurovault_ica.runtime.tables import to_text
from neurovault_ica.types import Row


def announce(
    images: Sequence[Row], batch: int, data_dir: str, url: str, locked: Mapping[Any, Row], *, refresh: bool
) -> None:
    """Log the number and size of the files that are not in the cache, for one batch and for all.

    Parameters
    ----------
    images : sequence of mappings
        Rows of images.tsv, of all batches.
    batch : int
    data_dir, url : str
    locked : mapping
        Rows of the lock by image; empty without a lock.
    refresh : bool
        Whether every image is downloaded again.

    Raises
    ------
    RuntimeError
        If the disk of the cache has less space than that.
    """
    # With `refresh`, the cache does not show which of the other batches are finished.
    asked = [image for image in images if image["batch"] == batch] if refresh else images
    missing = [image for image in asked if _is_missing(image, data_dir, locked, refresh=refresh)]
    if not missing:
        return
    free = shutil.disk_usage(existing_folder(data_dir)).free
    here = [image for image in missing if image["batch"] == batch]
    rest = "" if len(here) == len(missing) else f"; with all other batches {_size(missing)}"
    logging.info("to download from %s: %s%s; %.0f MB are free", url, _size(here), rest, free / 1e6)
    if _growth(missing, data_dir) > free:
        raise RuntimeError(
            f"the disk of {Path(data_dir).absolute()} has {free / 1e6:.1f} MB free, but {_size(missing)} are still to"
            " be downloaded; make space, move archive.data_dir to a larger disk, or select fewer images"
        )


def bytes_to_download(images: Sequence[Row], data_dir: str, locked: Mapping[Any, Row], *, refresh: bool) -> int:
    """Return how many bytes the cache will grow by; parameters as in `announce`."""
    return _growth([image for image in images if _is_missing(image, data_dir, locked, refresh=refresh)], data_dir)


def _growth(missing: Sequence[Row], data_dir: str) -> int:
    """Return the bytes that the missing files add to the cache. A new file replaces an older one of the same image."""
    return sum(max(0, (image["file_size"] or 0) - sum(_sizes(image, data_dir))) for image in missing)


def _is_missing(image: Row, data_dir: str, locked: Mapping[Any, Row], *, refresh: bool) -> bool:
    """Return whether an image must be downloaded. The file is not read, because that takes long for many images."""
    expected = locked.get(image["image_id"])
    # NeuroVault has lost files of 0 bytes, the client refuses too large ones, and a rerun from a lock repeats failures.
    if (
        image["file_size"] == 0
        or (image["file_size"] or 0) > MAX_FILE_BYTES
        or (expected is not None and expected["status"] == "failed")
    ):
        return False
    version = read_modify_date(data_dir, image["collection_id"], image["image_id"])
    if refresh or (expected is None and version != to_text(image["modify_date"])):
        return True
    sizes = _sizes(image, data_dir)
    n_bytes = expected["bytes"] if expected is not None else image["file_size"]
    return n_bytes not in sizes if n_bytes else not sizes


def _sizes(image: Row, data_dir: str) -> list[int]:
    """Return the size of each file of an image in the cache."""
    files = [Path(data_dir) / name for name in image_files(image["collection_id"], image["image_id"])]
    return [file.stat().st_size for file in files if file.is_file()]


def _size(images: Sequence[Row]) -> str:
    """Describe a number of files and their size."""
    sizes = [image["file_size"] for image in images if image["file_size"]]
    unknown = len(images) - len(sizes)
    return f"{len(images)} files, {sum(sizes) / 1e6:.1f} MB" + (f" and {unknown} of unknown size" if unknown else "")
