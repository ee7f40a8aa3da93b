"""Hold images to the criteria of ``stack_images.quality``: limits of what was measured, and no copies.

Apart from `quality`, which measures: this needs no resampling, whose libraries take longer to import than this to work.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from neurovault_ica.types import Row

PEAK_MAP_TYPES = ("z map", "t map", "z", "t")


def judge(
    measured: Mapping[str, Any], *, map_type: str | None, criteria: Mapping[str, float | None]
) -> tuple[str, float, float] | None:
    """Say why an image is refused, or None.

    Parameters
    ----------
    measured : mapping
        As from `measure`.
    map_type : str or None
        NeuroVault's; Z and T maps have a known unit, so that their size can be judged.
    criteria : mapping
        Section ``stack_images.quality``. A criterion that is absent or None is off.

    Returns
    -------
    (reason, value, threshold) or None
        Of the first criterion that the image does not meet.
    """
    rarer_sign = min(measured["negative_share"], measured["positive_share"])
    sign_percentile = criteria.get("sign_percentile")
    has_known_unit = (map_type or "").strip().lower() in PEAK_MAP_TYPES
    # Reason, value, lower limit, upper limit: the plainest explanation first.
    checks: list[tuple[str, float, float | None, float | None]] = [
        ("coverage", measured["coverage"], criteria.get("min_coverage"), None),
        ("background", measured["background_fraction"], None, criteria.get("max_background_fraction")),
        ("few_values", measured["distinct_values"], criteria.get("min_distinct_values"), None),
        ("thresholded", measured["zero_fraction"], None, criteria.get("max_zero_fraction")),
        ("outside_brain", measured["outside_fraction"], None, criteria.get("max_outside_fraction")),
        ("misplaced", measured["misplaced_fraction"], None, criteria.get("max_misplaced_fraction")),
        ("one_signed", measured["sign_share"], criteria.get("min_sign_share"), None),
        # The 15th percentile is below 0 if and only if more than 15 % of the voxels are.
        ("one_signed", rarer_sign, None if sign_percentile is None else sign_percentile / 100, None),
    ]
    if has_known_unit:
        checks.append(("magnitude", measured["max_abs"], criteria.get("min_peak"), criteria.get("max_peak")))
        checks.append(("unit", measured["rms"], criteria.get("min_rms"), None))
    for reason, value, lowest, highest in checks:
        if lowest is not None and value < lowest:
            return reason, value, lowest
        if highest is not None and value > highest:
            return reason, value, highest
    return None


class Check(NamedTuple):
    """A criterion of quality control: what is measured, and the keys of its limits in the configuration."""

    column: str
    label: str
    reason: str
    limits: tuple[str, ...]


CHECKS = (
    Check("coverage", "share of the mask inside the data's box", "coverage", ("min_coverage",)),
    Check("zero_fraction", "share of the mask that is zero", "thresholded", ("max_zero_fraction",)),
    Check("outside_fraction", "share of the signal outside the mask", "outside_brain", ("max_outside_fraction",)),
    Check("misplaced_fraction", "outside the mask, and holes in it", "misplaced", ("max_misplaced_fraction",)),
    Check("background_fraction", "constant background in the mask", "background", ("max_background_fraction",)),
    Check("sign_share", "share of the rarer sign", "one_signed", ("min_sign_share",)),
    Check("distinct_values", "different values, counted up to 100", "few_values", ("min_distinct_values",)),
    Check("max_abs", "largest |value|, judged in Z and T maps", "magnitude", ("min_peak", "max_peak")),
    Check("rms", "root mean square, judged in Z and T maps", "unit", ("min_rms",)),
)


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
