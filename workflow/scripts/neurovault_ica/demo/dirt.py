"""Put faults of real NeuroVault images into clean images.

Each kind of fault has an expected fate: ``used``, ``not_selected`` (excluded by its metadata), or the reason for
rejection. If several criteria can detect the fault, their reasons are joined by " or ".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurovault_ica.demo.volumes import SimulatedVolume

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Dirt:
    """One kind of fault.

    Attributes
    ----------
    fate : str
        Expected fate of the image.
    voxels : function (volume, mask) -> volume, optional
        Changes the voxels.
    file : function (gzip bytes) -> bytes or None, optional
        Changes the finished file. None means that the file is missing.
    record : mapping
        Fields that replace those of the clean image's metadata.
    """

    fate: str
    voxels: Callable[[SimulatedVolume, Mask], SimulatedVolume] | None = None
    file: Callable[[bytes], bytes | None] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


def _on_data(change: Callable[[NDArray, Mask], NDArray]) -> Callable[[SimulatedVolume, Mask], SimulatedVolume]:
    """Turn a function that changes the array into one that changes the volume."""
    return lambda volume, mask: SimulatedVolume(change(volume.data, mask), volume.affine)


def _infinite_background(data: NDArray, mask: Mask) -> NDArray:
    """Set the background to plus and minus infinity, as if t had been computed with zero variance."""
    return np.where(mask, data, np.where(np.indices(data.shape).sum(axis=0) % 2, -np.inf, np.inf)).astype(data.dtype)


def _cut_below(volume: SimulatedVolume, mask: Mask) -> SimulatedVolume:
    """Drop the lowest slices. The field of view often ends in the cerebellum; such images are usable."""
    lowest = int(np.flatnonzero(mask.any(axis=(0, 1)))[0]) + mask.shape[2] // 8
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * lowest
    return SimulatedVolume(volume.data[:, :, lowest:], affine)


def _slab(volume: SimulatedVolume, mask: Mask) -> SimulatedVolume:
    """Keep a quarter of the slices, as in an acquisition of one region only."""
    slices = np.flatnonzero(mask.any(axis=(0, 1)))
    first = int(np.quantile(slices, 0.45))
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * first
    return SimulatedVolume(volume.data[:, :, first : first + len(slices) // 4], affine)


def _threshold(share_left: float) -> Callable[[NDArray, Mask], NDArray]:
    """Set all voxels to zero except the share `share_left` (in the mask) with the largest absolute values."""

    def change(data: NDArray, mask: Mask) -> NDArray:
        return np.where(np.abs(data) > np.quantile(np.abs(data[mask]), 1 - share_left), data, 0)

    return change


def _binary(data: NDArray, mask: Mask) -> NDArray:
    return (data > np.quantile(data[mask], 0.85)).astype(np.float32)


def _three_values(data: NDArray, mask: Mask) -> NDArray:
    """Replace the values by -2, 0 and 2, as in a conjunction that was labelled as a Z map."""
    return (2 * np.sign(data) * (np.abs(data) > np.quantile(np.abs(data[mask]), 0.45))).astype(np.float32)


def _parcels(data: NDArray, mask: Mask) -> NDArray:
    """Set every voxel of the brain to the number of its block."""
    blocks = [np.arange(n) * 5 // n for n in data.shape]
    labels = 1 + blocks[0][:, None, None] + 5 * blocks[1][None, :, None] + 25 * blocks[2][None, None, :]
    return np.where(mask, labels, 0).astype(np.float32)


def _no_mask(data: NDArray, mask: Mask) -> NDArray:
    """Fill the space around the brain with larger values than inside, as in models fitted without a mask."""
    noise = 4 * data[mask].std() * np.random.default_rng(0).standard_normal(data.shape)
    return np.where(mask, data, noise).astype(np.float32)


def _moved(offset_mm: tuple[float, float, float]) -> Callable[[SimulatedVolume, Mask], SimulatedVolume]:
    """Shift the image by `offset_mm`, as a wrong origin does."""

    def change(volume: SimulatedVolume, _mask: Mask) -> SimulatedVolume:
        affine = volume.affine.copy()
        affine[:3, 3] += offset_mm
        return SimulatedVolume(volume.data, affine)

    return change


def _html(_content: bytes) -> bytes:
    return b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>\n"


DIRT: dict[str, Dirt] = {
    # Unusual but usable.
    "none": Dirt("used"),
    "NaN background": Dirt("used", _on_data(lambda data, mask: np.where(mask, data, np.nan).astype(data.dtype))),
    "infinite background": Dirt("used", _on_data(_infinite_background)),
    "4-D with one volume": Dirt("used", _on_data(lambda data, _mask: data[..., None])),
    "field of view cut below": Dirt("used", _cut_below),
    "name with markup": Dirt("used", record={"name": '<script>alert("x")</script> \'faces\' > <b>&houses</b>\t"A"'}),
    "name with a word inside a word": Dirt("used", record={"name": "SemantICAlly precise > vague words"}),
    "Unicode name": Dirt("used", record={"name": "Bewegung > Ruhe (Übung, gauche/droite, 右手 μ=0.5)"}),
    # Files that are not images.
    "file missing": Dirt("missing_file", file=lambda _content: None, record={"file_size": 0}),
    "truncated gzip": Dirt("damaged_file or unreadable", file=lambda content: content[: len(content) // 2]),
    "HTML page saved as image": Dirt("damaged_file or unreadable", file=_html),
    # Images that are not one map in MNI space.
    "4-D with several volumes": Dirt(
        "not_3d", _on_data(lambda data, _mask: np.stack([data, 0.9 * data, 0.5 * data], axis=-1))
    ),
    "all NaN": Dirt("empty", _on_data(lambda data, _mask: np.full_like(data, np.nan))),
    "all zero": Dirt("empty", _on_data(lambda data, _mask: np.zeros_like(data))),
    "affine of zeros": Dirt("bad_affine", lambda volume, _mask: SimulatedVolume(volume.data, np.diag([0.0, 0, 0, 1]))),
    "far outside": Dirt("outside_template", _moved((300.0, 0.0, 0.0))),
    "displaced": Dirt("outside_brain or misplaced or coverage", _moved((0.0, 75.0, 55.0))),
    "no mask": Dirt("outside_brain or misplaced", _on_data(_no_mask)),
    "slab": Dirt("coverage", _slab),
    # Maps that are not unthresholded contrasts.
    "thresholded": Dirt("thresholded", _on_data(_threshold(0.05))),
    "thresholded, flag unknown": Dirt("thresholded", _on_data(_threshold(0.3)), record={"is_thresholded": None}),
    "binary mask called Z map": Dirt("few_values or thresholded or one_signed", _on_data(_binary)),
    "three values": Dirt("few_values", _on_data(_three_values)),
    "parcellation called Z map": Dirt("few_values or one_signed", _on_data(_parcels)),
    "constant": Dirt(
        "few_values or one_signed or empty", _on_data(lambda _data, mask: np.where(mask, np.float32(3.1), 0))
    ),
    "one sign": Dirt("one_signed", _on_data(lambda data, _mask: np.abs(data))),
    "beta called Z map": Dirt("magnitude", _on_data(lambda data, _mask: 1000 * data), record={"map_type": "Z map"}),
    "effect size called T map": Dirt(
        "magnitude", _on_data(lambda data, mask: data / np.abs(data[mask]).max()), record={"map_type": "T map"}
    ),
    # Copies.
    "exact duplicate": Dirt("duplicate"),
    "duplicate in another unit": Dirt(
        "duplicate",
        _on_data(lambda data, _mask: 250 * data),
        record={"map_type": "univariate-beta map", "name": "cope 3 (group)"},
    ),
    "sign-flipped copy": Dirt("inverted_contrast", _on_data(lambda data, _mask: -data)),
    # Images that are excluded by their metadata.
    "single subject": Dirt("not_selected", record={"analysis_level": "single-subject", "number_of_subjects": 1}),
    "PET": Dirt("not_selected", record={"modality": "PET other", "name": "[11C]raclopride binding"}),
    "grey matter volume": Dirt(
        "not_selected", record={"modality": "Structural MRI", "name": "VBM patients > controls"}
    ),
    "F map": Dirt("not_selected", _on_data(lambda data, _mask: data**2), record={"map_type": "F map"}),
    "parcellation": Dirt(
        "not_selected", _on_data(_parcels), record={"map_type": "parcellation", "analysis_level": None, "modality": ""}
    ),
    "atlas": Dirt("not_selected", _on_data(_parcels), record={"image_type": "atlas", "name": "Blocks 5x5x5"}),
}
"""Definition of each kind of fault. studies.py uses the keys."""
