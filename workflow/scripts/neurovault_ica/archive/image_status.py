"""Check image files and make the rows of status-{batch}.tsv."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurovault_ica.images.nifti_file import find_fault
from neurovault_ica.images.other_formats import describe_format
from neurovault_ica.runtime.files import sha256_of
from neurovault_ica.runtime.log import Meter
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Row


def check_file(path: Path, *, expected_bytes: int | None, sha256: str | None = None) -> Row:
    """Check one image file and compute its checksum.

    Parameters
    ----------
    path : Path
    expected_bytes : int or None
        The size that the archive states. It is not compared if the lock has a checksum.
    sha256 : str, optional
        The checksum in the lock. A file with this checksum is not checked further. Any other complete file is ok here
        too, but `status_row` then reports that it differs from the lock.

    Returns
    -------
    dict
        status, reason, bytes and sha256 as in status-{batch}.tsv. For a file that cannot be used, also found.
    """
    try:
        return _check_file(path, expected_bytes, sha256)
    except OSError as error:
        # No permission, or a fault of the disk or of the network behind it.
        return failed("unreadable", None, error.strerror or str(error))


def _check_file(path: Path, expected_bytes: int | None, sha256: str | None) -> Row:
    if not path.is_file():
        return failed("missing_file", None)
    size, found = path.stat().st_size, sha256_of(path)
    if found != sha256:
        is_size_known = bool(expected_bytes) and sha256 is None
        has_wrong_size = is_size_known and expected_bytes != size
        faults = [f"{size} bytes, but the archive states {expected_bytes}"] if has_wrong_size else []
        if fault := find_fault(path, whole=True):
            faults.append(fault)
        if faults and not has_wrong_size and (other := describe_format(path)):
            return failed("other_format", size, other)
        if faults:
            return failed("damaged_file", size, "; ".join(faults))
    return {"status": "ok", "reason": None, "bytes": size, "sha256": found}


def check_local(
    wanted: Sequence[Row], data_dir: str, file_of: Callable[[Row], str], locked: Mapping[Any, Row]
) -> Iterator[Row]:
    """Check images on disk. Nothing is written.

    Parameters
    ----------
    wanted : sequence of mappings
        Rows of images.tsv.
    data_dir : str
    file_of : function
        Returns the path of an image from its row, relative to `data_dir`.
    locked : mapping
        Rows of the lock by image; empty without a lock.

    Yields
    ------
    mapping
        Row of status-{batch}.tsv, for each of `wanted`.
    """
    meter = Meter(len(wanted), unit="image")
    for image in wanted:
        expected = locked.get(image["image_id"])
        file = file_of(image)
        path = Path(data_dir) / file
        checked = check_file(path, expected_bytes=image["file_size"], sha256=expected["sha256"] if expected else None)
        is_missing = checked["reason"] == "missing_file" and expected is None
        if is_missing:
            logging.warning("image %s: missing_file, there is no %s", image["image_id"], path.absolute())
        row = status_row(image, checked, file, expected, is_logged=is_missing)
        meter.add(failed=row["status"] == "failed")
        yield row


def status_row(image: Row, checked: Row, file: str, expected: Row | None, *, is_logged: bool = False) -> Row:
    """Make the row of an image in status-{batch}.tsv. An image that differs from the lock counts as failed.

    Parameters
    ----------
    image : mapping
        Row of images.tsv.
    checked : mapping
        From `check_file`.
    file : str
    expected : mapping or None
        Row of the lock; None without a lock.
    is_logged : bool
        Whether the failure is already in the log.
    """
    if expected is not None and (checked["status"], checked["sha256"]) != (expected["status"], expected["sha256"]):
        if not is_logged:
            found = checked["reason"] or f"sha256 {checked['sha256']} instead of {expected['sha256']}"
            logging.warning("image %s: differs from the lock: %s", image["image_id"], found)
        if checked["status"] == "ok":
            checked = failed("changed", checked["bytes"])
        return _row(image, checked, file) | {"is_changed": True}
    # If the image also failed in the locked run, do not warn again.
    if checked["status"] == "failed" and not is_logged and expected is None:
        found = f": {checked['found']}" if checked["found"] else ""
        logging.warning("image %s cannot be used: %s (%s)%s", image["image_id"], checked["reason"], file, found)
    return _row(image, checked, file)


def _row(image: Row, checked: Row, file: str) -> Row:
    known = {key: checked[key] for key in ("status", "reason", "bytes", "sha256")}
    return {"image_id": image["image_id"], **known, "file": file, "found": checked.get("found")}


def take_changed(rows: list[Row]) -> list[str]:
    """List the images that differ from the lock, and remove the mark from their rows."""
    return [f"image {row['image_id']} ({row['reason']})" for row in rows if row.pop("is_changed", False)]


def failed(reason: str, size: int | None, found: str | None = None) -> Row:
    """Return the result of a failed check. `found` says what is wrong with the file, and what to do."""
    return {"status": "failed", "reason": reason, "bytes": size, "sha256": None, "found": found}


def stop_at_failures(rows: Iterable[Row], *, selected: int, max_failed_fraction: float) -> Iterator[Row]:
    """Yield the rows, and stop when the failures of this batch exceed `max_failed_fraction` of the selection.

    The limit is a share of the whole selection, so the outcome does not depend on the number of batches. stack_images
    compares the failures of all batches with it.

    Raises
    ------
    RuntimeError
        With the failed images and their reasons.
    """
    failures: list[Row] = []
    for row in rows:
        if row["status"] == "failed":
            failures.append(row)
            require_enough(failures, selected=selected, max_failed_fraction=max_failed_fraction)
        yield row


def require_enough(failures: Sequence[Row], *, selected: int, max_failed_fraction: float) -> None:
    """Stop if more than `max_failed_fraction` of the selected images failed.

    Raises
    ------
    RuntimeError
        With the failed images and their reasons.
    """
    if len(failures) > max_failed_fraction * selected:
        listing = ", ".join(f"{row['image_id']} ({row['reason']})" for row in failures)
        missing = next((row["file"] for row in failures if row["reason"] == "missing_file"), None)
        if missing is not None:
            listing += f". The first missing file is {missing}"
        raise RuntimeError(
            f"{len(failures)} of {counted(selected, 'image')} could not be read or downloaded, which is more than"
            f" download_images.max_failed_fraction {max_failed_fraction} allows; run again, or raise that limit."
            f" Failed: {listing}"
        )
