"""Decide which images are rejected, and why."""

from collections.abc import Mapping
from typing import Any

from neurovault_ica.images.criteria import CRITERIA, Limits, judge

# Reason -> sentence of the report, for images that are rejected when they are read, masked or compared.
# archive/download_reasons.py adds the reasons of failed downloads.
IMAGE_REASONS = {
    # Raised by nifti.py.
    "unreadable": "The file cannot be read, or is not a complete NIfTI image.",
    "not_3d": "The file does not hold exactly one volume, so we do not know which one is the statistic map.",
    "not_numeric": "The voxels are not real numbers.",
    "bad_affine": "The header does not say where in the brain the voxels are.",
    "too_large": "The header claims more voxels than any statistic map has.",
    # Raised by masking.py.
    "empty": "No voxel has a finite value other than zero, or all voxels have the same value.",
    "outside_template": "The image has no data inside the brain mask.",
    # Found by `reject` and by masking.py.
    "constant": "All voxels of the brain, or of the mask of the analysis, have the same value.",
    # Found by duplicates.py.
    "duplicate": "The map is almost identical to an earlier one.",
    "inverted_contrast": "The map is almost identical to an earlier one with the opposite sign.",
    **{criterion.reason: criterion.sentence for criterion in CRITERIA},
}
# Reason -> words after a number of rejected images: 2 without exactly one volume. Other reasons are their own words.
IMAGE_REASON_WORDS = {
    "not_3d": "without exactly one volume",
    "not_numeric": "without numbers as voxels",
    "bad_affine": "without a usable position",
    "too_large": "with too many voxels",
    "empty": "without data",
    "outside_template": "without data in the mask",
    "duplicate": "almost identical to an earlier image",
    "inverted_contrast": "almost identical to an earlier image with inverted sign",
    **{criterion.reason: criterion.words for criterion in CRITERIA if criterion.words},
}


def reject(
    image: Mapping[str, Any], download: Mapping[str, Any], measured: Mapping[str, Any] | None, limits: Limits
) -> dict[str, Any] | None:
    """Decide whether to reject one image, before it is compared with others.

    Parameters
    ----------
    image : mapping
        Its row in fetch_metadata's images.tsv.
    download, measured : mapping
        Its rows in status-{batch}.tsv and quality-{batch}.tsv. `measured` is None if the download failed.
    limits : mapping
        Section ``stack_images.quality`` of the configuration.

    Returns
    -------
    dict or None
        reason, value, threshold and stage as in rejected.tsv; None if the image is kept.

    Raises
    ------
    RuntimeError
        If a downloaded image has not been masked.
    """
    if download["status"] == "failed":
        return rejection(download["reason"], download.get("found") or download["bytes"], None, "download_images")
    if measured is None:
        raise RuntimeError(
            f"image {image['image_id']} was downloaded, but it is not in results/mask_images; delete that folder and"
            " run again"
        )
    if measured["row"] is None:
        return rejection(measured["reason"], measured["value"], measured["threshold"], "mask_images")
    if not measured["sd"]:
        # This does not depend on the limits, because a constant cannot be scaled to unit variance.
        return rejection("constant", measured["mean"], None, "stack_images")
    verdict = judge(measured, map_type=image["map_type"], limits=limits)
    return None if verdict is None else rejection(*verdict, "stack_images")


def rejection(reason: str, value: Any, threshold: Any, stage: str) -> dict[str, Any]:
    """Return the columns of rejected.tsv that say why an image was rejected."""
    return {"reason": reason, "value": value, "threshold": threshold, "stage": stage}
