"""Read the user's own maps as mask_images and stack_images read the images of a run."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import SpatialImage

from neurovault_ica.archive.image_status import check_file
from neurovault_ica.archive.own_maps import OwnMap, find_unusable_part
from neurovault_ica.images.criteria import Limits
from neurovault_ica.images.masking import make_masker
from neurovault_ica.images.nifti import Image, read_image
from neurovault_ica.images.nifti_file import UnusableError
from neurovault_ica.images.placement import brain_of
from neurovault_ica.images.rejections import reject, rejection
from neurovault_ica.images.signs import SIGNS, Halves, find_scales
from neurovault_ica.images.smoothing import Smoother
from neurovault_ica.images.targets import Target
from neurovault_ica.naming.projection import TOO_FEW_VOXELS
from neurovault_ica.types import Row

# Reason -> sentence of the page, for reasons that only own maps have.
OWN_REASONS = {
    "unusable_path": "Snakemake cannot handle the path of the file.",
    "unreadable": "The file cannot be read.",
    "missing_file": "There is no such file.",
    "extreme_values": "The values are too large or too small for single precision. Multiply them by a constant.",
    "too_few_voxels": TOO_FEW_VOXELS,
}
# Without scaling, maps with a smaller standard deviation are rejected, and those with a larger one than its inverse.
# Their squares would leave the range of single precision.
SMALLEST_SD = 1e-15
Points = npt.NDArray[np.bool_]
Masker = Callable[[Image], tuple[npt.NDArray[np.float32], dict[str, Any]]]


class Treatment(NamedTuple):
    """How the images of a run were masked and scaled; the settings of config.yaml with the same names."""

    interpolation: str
    extrapolate_background: bool
    clip_infinite: bool
    scale: str
    smoothing_mm: float | None
    signs: str


class Judged(NamedTuple):
    """A map that was read: its voxels, or why it is rejected."""

    own: OwnMap
    values: npt.NDArray[np.float32] | None  # (n_voxels,), smoothed and scaled; None if rejected
    sd: float | None  # after smoothing and before scaling
    rejection: Row | None  # reason, value, threshold and stage
    note: str | None  # what is unusual about the file
    sign: str | None = None  # activation or deactivation, if signs are split

    @property
    def title(self) -> str:
        """Name the map, and its half if signs are split."""
        return name_of(self.own.name, self.sign)


def treatment_of(settings: Mapping[str, Any]) -> Treatment:
    """Read the treatment of images from the settings of mask_images and stack_images.

    Raises
    ------
    ValueError
        If a setting is missing.
    """
    missing = [key for key in Treatment._fields if key not in settings]
    if missing:
        raise ValueError(
            f"project_images.components: the package lacks the settings {', '.join(missing)} of its images; give an"
            " unchanged folder that `make package` wrote"
        )
    return Treatment(**{key: settings[key] for key in Treatment._fields})


def name_of(name: str, sign: str | None) -> str:
    """Name a map, and its half if signs are split."""
    return f"{name} ({sign})" if sign else name


def split_signs(judged: Iterable[Judged], treatment: Treatment, points: Points) -> list[Judged]:
    """Return the maps that are not rejected. If signs are split, split each into its activation and deactivation.

    A half that has almost no values, or none at the `points` of the test (n_voxels,), cannot be projected. It is left
    out, and the other half gets a note.
    """
    kept = [one for one in judged if one.values is not None]
    if treatment.signs != "split":
        return kept
    halves = []
    for one in kept:
        voxels = cast(npt.NDArray[np.float32], one.values)
        scales = find_scales(voxels, scale=treatment.scale)
        values = Halves(voxels[None], [list(scales.values())]).split(voxels[None], slice(0, 1))
        half_of = dict(zip(SIGNS, values, strict=True))
        empty = [sign for sign, half in half_of.items() if not np.ptp(half)]
        untested = [sign for sign, half in half_of.items() if sign not in empty and not np.ptp(half[points])]
        notes = [one.note] if one.note else []
        notes += [f"it has no {sign}" for sign in empty]
        notes += [f"its {sign} lies in too few voxels for a test" for sign in untested]
        halves += [
            one._replace(values=half, sign=sign, note="; ".join(notes) or None)
            for sign, half in half_of.items()
            if sign not in (*empty, *untested)
        ]
    return halves


def judge_images(
    maps: Iterable[OwnMap], target: Target, brain: str, treatment: Treatment, limits: Limits, points: Points
) -> Iterator[Judged]:
    """Check, mask, judge, smooth and scale maps, as a run does with its images.

    Parameters
    ----------
    maps : iterable of OwnMap
    target : Target
        The mask of the components.
    brain : path
        The brain mask on which quality is measured.
    treatment : Treatment
    limits : mapping
        Section ``stack_images.quality`` of the configuration.
    points : array of bool of shape (n_voxels,)
        The voxels at which loadings are tested.
    """
    options = treatment.interpolation, treatment.extrapolate_background
    masked = make_masker(target, brain_of(cast(SpatialImage, nib.load(brain))), *options)
    smooth = Smoother(target, treatment.smoothing_mm) if treatment.smoothing_mm else None
    for own in maps:
        judged = _read(own, masked, smooth, treatment, limits, points)
        if judged.rejection is not None:
            found = judged.rejection
            logging.warning("map %s is rejected: %s", own.name, describe_rejection(found))
        elif judged.note:
            logging.warning("map %s: %s", own.name, judged.note)
        yield judged


def describe_rejection(row: Mapping[str, Any]) -> str:
    """Write a reason of rejection with the measured value and the limit, if known: ``coverage (0.1, limit 0.6)``."""
    value, limit = row["value"], row["threshold"]
    facts = [] if value is None else [str(value)]
    facts += [] if limit is None else [f"limit {limit}"]
    return f"{row['reason']} ({', '.join(facts)})" if facts else str(row["reason"])


def _read(
    own: OwnMap, masked: Masker, smooth: Smoother | None, treatment: Treatment, limits: Limits, points: Points
) -> Judged:
    def rejected(reason: str, found: object) -> Judged:
        return Judged(own, None, None, rejection(reason, found, None, "project_images"), None)

    if fault := find_unusable_part(own.file):
        return rejected("unusable_path", f"the path {fault}")
    image = {"image_id": own.name, "map_type": own.map_type}
    if os.path.isdir(own.file):  # noqa: PTH112 - Path.is_dir raises an error in a folder without permission
        return rejected("unreadable", "it is a folder, not a file")
    checked = check_file(Path(own.file), expected_bytes=None)
    measured: dict[str, Any] = {}
    values, notes = None, tuple[str, ...]()
    if checked["status"] == "ok":
        try:
            read = read_image(Path(own.file), clip=treatment.clip_infinite)
            values, measured = masked(read)
            measured |= {"row": 0}
            notes = read.notes
        except UnusableError as error:
            measured = {"row": None, "reason": error.reason, "value": error.found, "threshold": None}
    verdict = reject(image, checked, measured, limits)
    if verdict is not None or values is None:
        return Judged(own, None, None, verdict, None)
    if smooth is not None:
        values = smooth(values)
    sd = float(values.std(dtype=np.float64))
    is_safe = SMALLEST_SD < sd < 1 / SMALLEST_SD if treatment.scale == "none" else np.isfinite(sd)
    if not is_safe:
        return rejected("extreme_values", f"the largest |value| is {measured['max_abs']:.3g}")
    if not np.ptp(values[points]):
        return rejected("too_few_voxels", f"{np.count_nonzero(values != np.median(values))} voxels")
    if treatment.scale == "unit_variance":
        values = values / np.float32(sd)
    return Judged(own, values, sd, None, "; ".join(notes) or None)
