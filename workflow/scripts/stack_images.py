"""Join the batches into one matrix, without the images that quality control rejects; smooth and scale each image."""

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from typing import cast

import nibabel as nib
from neurovault_ica.archive.download_reasons import REASON_WORDS
from neurovault_ica.archive.image_status import require_enough
from neurovault_ica.images.criteria import Limits
from neurovault_ica.images.judging import judge_selection
from neurovault_ica.images.reuse import forget, forget_other_batches
from neurovault_ica.images.signs import MIN_HALF_SHARE, SCALE_COLUMNS, count_empty
from neurovault_ica.images.smoothing import Smoother
from neurovault_ica.images.stacking import require_voxels, write_matrix
from neurovault_ica.images.targets import target_of
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted, list_counts
from neurovault_ica.types import Row
from nibabel.spatialimages import SpatialImage


def main(
    *,
    selection: str,
    downloads: list[str],
    qualities: list[str],
    voxels: list[str],
    brain_mask: str,
    matrix: str,
    images: str,
    rejected: str,
    quality: str,
    mask: str,
    smoothing_mm: float | None,
    scale: str,
    signs: str,
    limits: Limits,
    max_failed_fraction: float,
    threads: int,
    keep_voxels: bool = True,
) -> None:
    """Judge every image of the selection, and write the matrix of those that are kept.

    Images are smoothed after they were judged, so that smoothing does not change which images are kept.

    Raises
    ------
    RuntimeError
        If too many downloads failed, no image is left, an image was selected twice, or a killed run has removed voxels.
    """
    require_voxels(voxels)
    wanted = read_table(selection)
    download_of = {row["image_id"]: row for table in downloads for row in read_table(table)}
    measured_of = {
        row["image_id"]: row | {"file": number} for number, table in enumerate(qualities) for row in read_table(table)
    }
    failures = [row for row in download_of.values() if row["status"] == "failed"]
    require_enough(failures, selected=len(download_of), max_failed_fraction=max_failed_fraction)

    kept, stack, rows, rejection_of = judge_selection(wanted, download_of, measured_of, voxels, limits, threads)
    summary = list_counts(Counter(row["reason"] for row in rejection_of.values()), REASON_WORDS)
    if len(kept) + len(rejection_of) != len(wanted):
        raise RuntimeError(
            f"an image_id occurs twice in {selection}: {len(wanted)} selected, {len(kept)} kept, {len(rejection_of)}"
            " rejected; delete results/fetch_metadata and run again"
        )
    if not kept:
        raise RuntimeError(
            f"none of {counted(len(wanted), 'image')} is left after quality control ({summary}); see docs/methods.md"
            " for the reasons, and relax stack_images.quality or select other images"
        )

    forget_other_batches(voxels)
    if not keep_voxels:
        for files in zip(voxels, qualities, strict=True):
            forget(*files)
    smooth = Smoother(target_of(cast(SpatialImage, nib.load(brain_mask))), smoothing_mm) if smoothing_mm else None
    scales = write_matrix(
        matrix, stack, rows, scale=scale, signs=signs, smooth=smooth, threads=threads, take=not keep_voxels
    )
    numbered = enumerate(zip(kept, scales, strict=True))
    used = [image | {"row": row} | columns for row, (image, columns) in numbered]
    write_columns(images, used, without=SCALE_COLUMNS if signs == "together" else ())
    dropped = [image for image in wanted if image["image_id"] in rejection_of]
    write_columns(rejected, [image | rejection_of[image["image_id"]] for image in dropped])
    write_columns(
        quality,
        [
            measured_of.get(image["image_id"], {})
            | {"image_id": image["image_id"], "used": image["image_id"] not in rejection_of}
            for image in wanted
        ],
    )
    with replacing(mask) as temporary:
        shutil.copyfile(brain_mask, temporary)
    logging.info(
        "kept %s of %s, rejected %d%s%s",
        counted(len(kept), "image"),
        counted(len({image["collection_id"] for image in kept}), "collection"),
        len(rejection_of),
        f" ({summary})" if rejection_of else "",
        f"; smoothed the kept images with {smoothing_mm:g} mm FWHM" if smoothing_mm else "",
    )
    if signs == "split":
        logging.info("split each image into activation and deactivation")
        for sign, count in count_empty(used).items():
            if count:
                logging.info(
                    "images without %s (less than %g %% of the absolute values): %d", sign, 100 * MIN_HALF_SHARE, count
                )


def write_columns(path: str, rows: list[Row], without: Sequence[str] = ()) -> None:
    """Write the columns of a table, except `without`. Other keys of the rows are dropped; missing values are n/a."""
    columns = [column for column in column_names(path) if column not in without]
    write_table(path, ({column: row.get(column) for column in columns} for row in rows), columns)


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    # This is no parameter of the rule, because a change of it must not run this stage again.
    keep_voxels = snakemake.config["mask_images"]["keep_voxels"]
    with one_blas_thread():
        main(
            **snakemake.input,
            **snakemake.output,
            **snakemake.params,
            threads=snakemake.threads,
            keep_voxels=keep_voxels,
        )
