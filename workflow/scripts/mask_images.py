"""Clean, resample and mask the images of one batch, and measure their quality."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from isal import isal_zlib
from neurovault_ica.archive.cache import original_of
from neurovault_ica.images.masking import make_masker
from neurovault_ica.images.nifti import Image, read_image
from neurovault_ica.images.nifti_file import UnusableError
from neurovault_ica.images.placement import brain_of
from neurovault_ica.images.reuse import IDENTITY, fingerprint, forget, keep, read_kept
from neurovault_ica.images.stacking import write_npy_header
from neurovault_ica.images.targets import Target, target_of
from neurovault_ica.runtime.commands import command_for
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to, progress
from neurovault_ica.runtime.memory import keep_freed_memory
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray


def main(
    status: str,
    mask: str,
    brain: str,
    voxels: str,
    quality: str,
    *,
    data_dir: str,
    interpolation: str,
    extrapolate_background: bool,
    clip: bool = True,
    resampled: bool = False,
    keep_voxels: bool = True,
) -> None:
    """Write the voxels and the quality table of one batch.

    Voxels are those of `mask`. Quality is measured in `brain`, so it does not depend on the mask of the analysis.

    The quality table has a row for each downloaded image, in the order of `status`. Failed downloads are left out. An
    unusable image has a reason in the table, and no voxels.
    """
    target = target_of(cast(SpatialImage, nib.load(mask)))
    images = [row for row in read_table(status) if row["status"] == "ok"]
    again = command_for("--forcerun download_images", results=Path(quality).parents[1])
    _check_cache(images, Path(data_dir), resampled=resampled, again=again)
    masked = make_masker(target, brain_of(cast(SpatialImage, nib.load(brain))), interpolation, extrapolate_background)
    settings = {"interpolation": interpolation, "extrapolate_background": extrapolate_background, "clip": clip}
    code = fingerprint(settings, [mask, brain], main)
    # Resampled copies cannot be reused, because their checksums are not known.
    kept = None if resampled else read_kept(voxels, quality, code)
    empty_row = dict.fromkeys(column_names(quality))
    rows: list[dict[str, Any]] = []
    known: dict[str, dict[str, Any]] = {}
    n_usable = n_kept = 0
    with replacing(voxels) as temporary, temporary.open("wb") as stream, one_blas_thread():
        write_npy_header(stream, (0, target.n_voxels))
        for image in progress(images, total=len(images), unit="image"):
            found = kept.find(image) if kept else None
            n_kept += found is not None
            row, values = found or _mask(Path(data_dir) / image["file"], masked, clip=clip)
            row = {**empty_row, **row, "image_id": image["image_id"], "row": None if values is None else n_usable}
            rows.append(row)
            known[image["image_id"]] = {key: image[key] for key in IDENTITY} | {"crc32": None}
            if values is not None:
                stream.write(values.data)
                known[image["image_id"]]["crc32"] = isal_zlib.crc32(values.data)
                n_usable += 1
        stream.seek(0)
        write_npy_header(stream, (n_usable, target.n_voxels))
    write_table(quality, rows)
    if not keep_voxels:
        forget(voxels, quality)
    elif not resampled:
        keep(voxels, quality, code, known)
    if n_kept:
        n_images = counted(len(images), "image")
        logging.info("reused the voxels of %d of %s, because these images are unchanged", n_kept, n_images)
    _report(rows, n_usable, target)


def _mask(
    path: Path, masked: Callable[[Image], tuple[NDArray[np.float32], dict[str, Any]]], *, clip: bool
) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """Read and mask one image. Return its row of the quality table, and its voxels, or None if it is unusable."""
    try:
        read = read_image(path, clip=clip)
        values, measured = masked(read)
    except UnusableError as error:
        return {"reason": error.reason, "value": error.found}, None
    return {**measured, "note": "; ".join(read.notes) or None}, values


def _check_cache(images: Sequence[Mapping[str, Any]], data_dir: Path, *, resampled: bool, again: str) -> None:
    """Stop if an image was deleted or changed after download_images checked it.

    Parameters
    ----------
    images : sequence of mappings
        Rows of status-{batch}.tsv.
    data_dir : Path
    resampled : bool
        Whether the files are copies that download_images resampled. Their sizes are not compared, because the table has
        the sizes of the originals.
    again : str
        The command that checks the images again.

    Raises
    ------
    RuntimeError
        If a file is missing, or its size is not the one that download_images found.
    """
    changed = []
    for row in images:
        path = data_dir / row["file"]
        is_copy = resampled and original_of(row["file"]) != row["file"]
        if not path.is_file() or (path.stat().st_size != row["bytes"] and not is_copy):
            changed.append(row["file"])
    if changed:
        raise RuntimeError(
            f"images in {data_dir} were deleted or changed since download_images checked them ({len(changed)} of"
            f" {len(images)}), such as {changed[0]}; run `{again}` to check again"
        )


def _report(rows: Sequence[Mapping[str, Any]], n_usable: int, target: Target) -> None:
    voxels = counted(target.n_voxels, "voxel")
    logging.info("masked %d of %s, with %s each", n_usable, counted(len(rows), "image"), voxels)
    for row in rows:
        if row["reason"]:
            logging.warning("image %s cannot be used: %s (%s)", row["image_id"], row["reason"], row["value"])
        elif row["note"]:
            logging.warning("image %s: %s", row["image_id"], row["note"])


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    keep_freed_memory()
    # This is no parameter of the rule, because a change of it must not mask the images again.
    keep_voxels = snakemake.config["mask_images"]["keep_voxels"]
    main(**snakemake.input, **snakemake.output, **snakemake.params, keep_voxels=keep_voxels)
