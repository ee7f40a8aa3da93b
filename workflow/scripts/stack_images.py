"""Join the batches to one matrix: drop what quality control refuses, scale the rest."""

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from criteria import find_duplicates, judge
from matrix import read_rows
from outputs import column_names, read_table, replacing, write_table
from stage_log import log_to

Row = dict[str, Any]


class StackedVoxels:
    """The images of several batch files as one read-only sequence of rows, none of them held in memory.

    Parameters
    ----------
    files : list of path
        voxels-{batch}.npy, each (n_images_of_batch, n_voxels).
    places : list of (int, int)
        For each row of the stack: which file, which row of it.
    """

    def __init__(self, files: Sequence[str], places: Sequence[tuple[int, int]]) -> None:
        self._files = files
        self._places = places
        self.shape = (len(places), np.load(files[0], mmap_mode="r").shape[1])

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._places)

    def __getitem__(self, number: int) -> npt.NDArray[np.float32]:
        """Read one row (n_voxels,)."""
        file, row = self._places[number]
        # Opened anew each time: there may be more files than a process may have open.
        return read_rows(np.load(self._files[file], mmap_mode="r"), slice(row, row + 1))[0]


def refuse(image: Row, download: Row, measured: Row | None, criteria: Mapping[str, float | None]) -> Row | None:
    """Decide whether one image is refused before it is compared with others.

    Parameters
    ----------
    image : dict
        Its row in the selection.
    download, measured : dict
        Its rows in status-{batch}.tsv and quality-{batch}.tsv; no `measured` where the download failed.
    criteria : mapping
        Section ``stack_images.quality`` of the configuration.

    Returns
    -------
    dict or None
        reason, value, threshold and stage as in rejected.tsv; None if the image is wanted.
    """
    if download["status"] == "failed":
        return rejection(download["reason"], download["bytes"], None, "download_images")
    if measured is None:
        raise RuntimeError(f"image {image['image_id']} was neither masked nor refused; delete results/mask_images")
    if measured["row"] is None:
        return rejection(measured["reason"], measured["value"], measured["threshold"], "mask_images")
    if not measured["sd"]:
        # Whatever the criteria: a constant has no direction to find, and no variance to scale to one.
        return rejection("constant", measured["mean"], None, "stack_images")
    verdict = judge(measured, map_type=image["map_type"], criteria=criteria)
    return None if verdict is None else rejection(*verdict, "stack_images")


def rejection(reason: str, value: Any, threshold: Any, stage: str) -> Row:
    """Collect what rejected.tsv says of an image besides what it is."""
    return {"reason": reason, "value": value, "threshold": threshold, "stage": stage}


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


def write_matrix(path: str, stack: StackedVoxels, rows: list[int], *, scale: str) -> list[float]:
    """Write the wanted rows of `stack` as one .npy file, row by row, scaled, and return their standard deviations.

    Parameters
    ----------
    path : path
        Array of shape (n_rows, n_voxels), float32.
    stack : StackedVoxels
    rows : list of int
        Rows of `stack`, in the order of the matrix.
    scale : {"unit_variance", "none"}
        Images come in other units (z of 5, betas of 1000): unscaled, those with large numbers own the result.
    """
    sds = []
    with replacing(path) as temporary, temporary.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), stack.shape[1])}
        np.lib.format.write_array_header_1_0(stream, header)
        for row in rows:
            voxels = stack[row]
            sds.append(float(voxels.std(dtype=np.float64)))
            if scale == "unit_variance":
                voxels /= np.float32(sds[-1])
            stream.write(voxels.data)
    return sds


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
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
