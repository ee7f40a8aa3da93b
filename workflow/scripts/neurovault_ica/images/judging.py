"""Judge all images of a selection: their downloads, their quality, and whether they are copies of earlier images."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from neurovault_ica.images.criteria import DUPLICATE_LIMIT, Limits
from neurovault_ica.images.duplicates import find_duplicates
from neurovault_ica.images.rejections import reject, rejection
from neurovault_ica.images.stacking import StackedVoxels
from neurovault_ica.types import Row


class JudgedSelection(NamedTuple):
    """Which images are kept, and why the others are rejected."""

    kept: list[Row]  # in the order of the selection
    stack: StackedVoxels  # voxels of the images that meet all criteria, and of their copies
    rows: list[int]  # row of each kept image in `stack`
    rejections: dict[Any, Row]  # by image id: reason, value, threshold and stage


def judge_selection(
    selection: Sequence[Row],
    download_of: Mapping[Any, Row],
    measured_of: Mapping[Any, Row],
    voxels: Sequence[str],
    limits: Limits,
    threads: int = 1,
) -> JudgedSelection:
    """Judge each image alone, and then compare the images that meet all criteria with each other.

    Parameters
    ----------
    selection : sequence of mappings
        Rows of fetch_metadata/images.tsv.
    download_of : mapping
        Rows of status-{batch}.tsv of all batches, by image id.
    measured_of : mapping
        Rows of quality-{batch}.tsv of all batches, by image id, with the number of the batch as ``file``.
    voxels : sequence of path
        voxels-{batch}.npy of all batches.
    limits : mapping
        Section ``stack_images.quality`` of the configuration.
    threads : int
        Number of threads that compare the images. The result does not depend on it.

    Raises
    ------
    RuntimeError
        If a downloaded image has not been masked.
    """
    rejections: dict[Any, Row] = {}
    candidates: list[Row] = []
    for image in selection:
        verdict = reject(image, download_of[image["image_id"]], measured_of.get(image["image_id"]), limits)
        if verdict:
            rejections[image["image_id"]] = verdict
        else:
            candidates.append(image)
    measured = [measured_of[image["image_id"]] for image in candidates]
    stack = StackedVoxels(voxels, [(row["file"], row["row"]) for row in measured])
    limit = limits.get(DUPLICATE_LIMIT)
    for copy in find_duplicates(stack, limit, threads) if limit is not None else []:
        value = f"r = {copy.correlation} with image {candidates[copy.of_row]['image_id']}"
        rejections[candidates[copy.row]["image_id"]] = rejection(copy.reason, value, limit, "stack_images")
    rows = [row for row, image in enumerate(candidates) if image["image_id"] not in rejections]
    return JudgedSelection([candidates[row] for row in rows], stack, rows, rejections)
