"""Get the images of one batch into the archive's cache and make sure that they are what they should be."""

import hashlib
import logging
from pathlib import Path
from typing import Any

from neurovault import image_file
from outputs import read_table, write_table
from stage_log import log_to, progress

GZIP_MAGIC = b"\x1f\x8b"


def check_file(path: Path, *, expected_bytes: int | None) -> dict[str, Any]:
    """Check one cached image file and hash it.

    Parameters
    ----------
    path : Path
    expected_bytes : int or None
        The size that NeuroVault states.

    Returns
    -------
    dict
        status, reason, bytes, sha256 as in status-{batch}.tsv.
    """
    if not path.is_file():
        return _failed("missing_file", None)
    content = path.read_bytes()
    if not content.startswith(GZIP_MAGIC):
        return _failed("damaged_file", len(content))
    if expected_bytes and expected_bytes != len(content):
        return _failed("damaged_file", len(content))
    return {"status": "ok", "reason": None, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def require_enough(rows: list[dict[str, Any]], *, selected: int, max_failed_fraction: float) -> None:
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


def main(*, images: str, status: str, data_dir: str, batch: int, max_failed_fraction: float) -> None:
    """Check the batch's images in the cache and write one row for each."""
    selection = read_table(images)
    wanted = [image for image in selection if image["batch"] == batch]
    rows = []
    for image in progress(wanted, total=len(wanted), unit="image"):
        file = image_file(image["collection_id"], image["image_id"])
        checked = check_file(Path(data_dir) / file, expected_bytes=image["file_size"])
        if checked["status"] == "failed":
            logging.warning("image %d: %s", image["image_id"], checked["reason"])
        rows.append({"image_id": image["image_id"], **checked, "file": file})
    require_enough(rows, selected=len(selection), max_failed_fraction=max_failed_fraction)
    write_table(status, rows)
    usable = [row for row in rows if row["status"] == "ok"]
    logging.info(
        "%d of %d images in the cache, %.0f MB", len(usable), len(rows), sum(row["bytes"] for row in usable) / 1e6
    )


def _failed(reason: str, size: int | None) -> dict[str, Any]:
    return {"status": "failed", "reason": reason, "bytes": size, "sha256": None}


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
