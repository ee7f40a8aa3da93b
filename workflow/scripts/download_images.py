"""Get the images of one batch into the archive's cache and check them."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.cache import copy_of
from neurovault_ica.archive.image_status import stop_at_failures, take_changed
from neurovault_ica.archive.lock import list_changed, locked_images
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Row


def main(
    *,
    images: str,
    status: str,
    batch: int,
    archive: Mapping[str, Any],
    max_failed_fraction: float,
    resample: bool,
    interpolation: str,
    network: Mapping[str, Any],
    clip: bool = True,
    lock: str | None = None,
) -> None:
    """Get the batch's images, check them, and write one row for each.

    Raises
    ------
    RuntimeError
        If too many images fail, the server stops answering, or an image differs from the lock.
    """
    selection = read_table(images)
    locked = locked_images(lock)
    opened = open_archive(archive)

    def get(wanted: list[Row]) -> list[Row]:
        with opened.get_images(wanted, network, locked) as rows:
            if locked:
                # No check of the failures: those of the locked run were within the limit.
                return list(rows)
            return list(stop_at_failures(rows, selected=len(selection), max_failed_fraction=max_failed_fraction))

    opened.announce_downloads(selection, batch, locked)
    rows = get([image for image in selection if image["batch"] == batch])
    changed = take_changed(rows)
    if lock and changed and archive["on_changed"] == "stop":
        # Check the other batches too. Otherwise each of their jobs would stop with its own part of the list.
        changed += take_changed(get([image for image in selection if image["batch"] != batch]))
        raise RuntimeError(list_changed(changed, lock))
    if resample:
        for row in rows:
            if row["status"] == "ok":
                row["file"] = _resample(Path(opened.data_dir), row["file"], interpolation, clip=clip)
    write_table(status, rows)
    usable = [row for row in rows if row["status"] == "ok"]
    logging.info(
        "%d of %s present and intact, %.0f MB",
        len(usable),
        counted(len(rows), "image"),
        sum(row["bytes"] for row in usable) / 1e6,
    )


def _resample(data_dir: Path, file: str, interpolation: str, *, clip: bool) -> str:
    """Write the 3 mm copy of an image as nilearn does, and return its path. For an unreadable image, return its own."""
    # Imported here because it takes two seconds, and few runs need it.
    from neurovault_ica.images.nifti import read_image
    from neurovault_ica.images.nifti_file import UnusableError
    from nibabel.nifti1 import Nifti1Image
    from nilearn.datasets.neurovault import STD_AFFINE
    from nilearn.image import resample_img

    copy = copy_of(file)
    try:
        read = read_image(data_dir / file, clip=clip)
    except UnusableError as error:
        logging.warning("%s: not resampled: %s", file, error)
        return file
    for note in read.notes:
        logging.warning("%s: %s", file, note)
    # nilearn may not be able to read a file with an unusual header, so pass it the data.
    source = Nifti1Image(read.data, read.affine) if read.notes else str(data_dir / file)
    with replacing(data_dir / copy) as temporary:
        resample_img(source, target_affine=STD_AFFINE, interpolation=interpolation).to_filename(temporary)
    return copy


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params, network=snakemake.config["download_images"])
