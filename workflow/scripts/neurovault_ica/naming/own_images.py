"""Read the user's own maps as mask_images and stack_images read the images of a run."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import SpatialImage

from neurovault_ica.archive.image_status import check_file
from neurovault_ica.archive.own_maps import OwnMap
from neurovault_ica.images.criteria import Limits
from neurovault_ica.images.masking import make_masker
from neurovault_ica.images.nifti import Image, read_image
from neurovault_ica.images.nifti_header import UnusableError
from neurovault_ica.images.placement import brain_of
from neurovault_ica.images.rejections import reject
from neurovault_ica.images.resampling import Target
from neurovault_ica.types import Row

Masker = Callable[[Image], tuple[npt.NDArray[np.float32], dict[str, Any]]]


class Treatment(NamedTuple):
    """How the images of a run were masked and scaled; the settings of config.yaml with the same names."""

    interpolation: str
    extrapolate_background: bool
    clip_infinite: bool
    scale: str


class Judged(NamedTuple):
    """A map that was read: its voxels, or why it is rejected."""

    own: OwnMap
    values: npt.NDArray[np.float32] | None  # (n_voxels,), scaled; None if rejected
    sd: float | None  # before scaling
    rejection: Row | None  # reason, value, threshold and stage
    note: str | None  # what is unusual about the file


def treatment_of(settings: Mapping[str, Any]) -> Treatment:
    """Take the treatment from a mapping that has all of its settings."""
    return Treatment(**{key: settings[key] for key in Treatment._fields})


def read_images(
    maps: Iterable[OwnMap], target: Target, brain: str, treatment: Treatment, limits: Limits
) -> Iterator[Judged]:
    """Check, mask, judge and scale maps, as a run does with its images.

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
    """
    options = treatment.interpolation, treatment.extrapolate_background
    masked = make_masker(target, brain_of(cast(SpatialImage, nib.load(brain))), *options)
    for own in maps:
        judged = _read(own, masked, treatment, limits)
        if judged.rejection is not None:
            found = judged.rejection
            logging.warning("map %s is rejected: %s (%s)", own.name, found["reason"], found["value"])
        elif judged.note:
            logging.warning("map %s: %s", own.name, judged.note)
        yield judged


def _read(own: OwnMap, masked: Masker, treatment: Treatment, limits: Limits) -> Judged:
    image = {"image_id": own.name, "map_type": own.map_type}
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
    sd = float(values.std(dtype=np.float64))
    if treatment.scale == "unit_variance":
        values = values / np.float32(sd)
    return Judged(own, values, sd, None, "; ".join(notes) or None)
