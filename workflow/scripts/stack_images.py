"""Join the batches to one matrix: drop what quality control refuses, scale the rest."""

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping

from neurovault_ica.images.criteria import refuse, rejection
from neurovault_ica.images.duplicates import find_duplicates
from neurovault_ica.images.matrix import StackedVoxels, write_matrix
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from neurovault_ica.types import Row


def require_downloads(downloads: Iterable[Row], max_failed_fraction: float) -> None:
    """Stop if more than `max_failed_fraction` of all images could not be had.

    Raises
    ------
    RuntimeError
        With the reasons and the ids.
    """
    rows = list(downloads)
    failed = [row for row in rows if row["status"] == "failed"]
    if len(failed) > max_failed_fraction * len(rows):
        listing = ", ".join(f"{row['image_id']} ({row['reason']})" for row in failed)
        raise RuntimeError(
            f"{len(failed)} of {len(rows)} images could not be had, more than download_images.max_failed_fraction"
            f" {max_failed_fraction} allows: {listing}"
        )


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
    scale: str,
    criteria: Mapping[str, float | None],
    max_failed_fraction: float,
) -> None:
    """Judge every image of the selection and write the matrix of those that are kept.

    Raises
    ------
    RuntimeError
        If too many downloads failed, or no image is left.
    """
    wanted = read_table(selection)
    download_of = {row["image_id"]: row for table in downloads for row in read_table(table)}
    measured_of = {
        row["image_id"]: row | {"file": number} for number, table in enumerate(qualities) for row in read_table(table)
    }
    require_downloads(download_of.values(), max_failed_fraction)

    refused: dict[int, Row] = {}
    candidates = []
    for image in wanted:
        image_id = image["image_id"]
        reason = refuse(image, download_of[image_id], measured_of.get(image_id), criteria)
        if reason:
            refused[image_id] = reason
        else:
            candidates.append(image)

    stack = StackedVoxels(
        voxels,
        [(measured_of[image["image_id"]]["file"], measured_of[image["image_id"]]["row"]) for image in candidates],
    )
    limit = criteria["max_duplicate_correlation"]
    for copy in find_duplicates(stack, limit) if limit is not None else []:
        original = candidates[copy.of_row]["image_id"]
        value = f"r = {copy.correlation} with image {original}"
        refused[candidates[copy.row]["image_id"]] = rejection(copy.reason, value, limit, "stack_images")
    rows = [row for row, image in enumerate(candidates) if image["image_id"] not in refused]
    summary = ", ".join(
        f"{count} {reason}" for reason, count in Counter(r["reason"] for r in refused.values()).most_common()
    )
    if len(rows) + len(refused) != len(wanted):
        raise RuntimeError(
            f"{len(wanted)} images were selected, but {len(rows)} are kept and {len(refused)} refused: an image_id is"
            f" twice in {selection}; delete results/fetch_metadata"
        )
    if not rows:
        raise RuntimeError(f"none of {len(wanted)} images is left: {summary}; loosen stack_images.quality")

    sds = write_matrix(matrix, stack, rows, scale=scale)
    columns = column_names(images)
    kept = [candidates[row] for row in rows]
    write_table(
        images,
        (
            {column: image.get(column) for column in columns} | {"row": row, "sd": sd}
            for row, (image, sd) in enumerate(zip(kept, sds, strict=True))
        ),
    )
    columns = column_names(rejected)
    write_table(
        rejected,
        (
            {column: image.get(column) for column in columns} | refused[image["image_id"]]
            for image in wanted
            if image["image_id"] in refused
        ),
    )
    columns = column_names(quality)
    write_table(
        quality,
        (
            {column: measured_of.get(image["image_id"], {}).get(column) for column in columns}
            | {"image_id": image["image_id"], "used": image["image_id"] not in refused}
            for image in wanted
        ),
    )
    with replacing(mask) as temporary:
        shutil.copyfile(brain_mask, temporary)
    logging.info(
        "%d images of %d collections kept; %d refused%s",
        len(kept),
        len({image["collection_id"] for image in kept}),
        len(refused),
        f" ({summary})" if refused else "",
    )


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
