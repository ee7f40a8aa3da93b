"""Measure how much of a map lies in grey matter, outside grey and white matter, and at the rim of the brain.

Head motion, blood vessels, cerebrospinal fluid and differences in registration also cause components. These lie outside
grey matter. The tissues are those of the MNI152 templates in nilearn's package.
"""

from collections.abc import Mapping
from typing import NamedTuple, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage

from neurovault_ica.images.targets import Target, target_of
from neurovault_ica.images.templates import MIN_INTENSITY, TEMPLATES, read_nilearn_template, template_file
from neurovault_ica.types import Real

# A voxel is outside tissue if its grey and its white matter are both below this. nilearn's masks use the same value.
MIN_TISSUE = 0.2
# Depth of the rim. Motion and registration shift the edge of the brain by about one voxel of 3 mm.
RIM_MM = 3


class TissueShares(NamedTuple):
    """Shares of the sum of squares of maps, each an array of shape (n_maps,)."""

    grey_matter: Real
    outside_tissue: Real  # neither grey nor white matter
    rim: Real


# Shares of the voxels of nilearn's brain mask of 2 mm. The default limits of run_ica.flags were chosen for this mask.
BRAIN_SHARES = {"grey_matter": 0.529, "outside_tissue": 0.0234, "rim": 0.1288}


def tissues_of(target: Target) -> npt.NDArray[np.float32]:
    """Find the tissues at the voxels of a mask in MNI space.

    Each voxel gets the values of the nearest voxel of the 1 mm templates, so they hardly depend on the resolution of
    the mask.

    Parameters
    ----------
    target : Target

    Returns
    -------
    array of shape (3, n_voxels)
        In the order of `TissueShares`: probability of grey matter; 1 outside grey and white matter; 1 at the rim
        (`is_rim`).
    """
    brain, affine = read_nilearn_template(TEMPLATES["brain"])
    voxels = np.argwhere(target.inside) + [side.start for side in target.box]
    nearest = np.rint(apply_affine(np.linalg.inv(affine) @ target.affine, voxels)).astype(int)
    on_grid = ((nearest >= 0) & (nearest < brain.shape)).all(axis=1)
    places = tuple(nearest[on_grid].T)
    grey, white = (read_nilearn_template(template_file(tissue))[0][places] for tissue in ("gm", "wm"))
    # There is no tissue outside the templates.
    tissues = np.tile(np.array([[0], [1], [1]], dtype=np.float32), len(voxels))
    tissues[:, on_grid] = grey, (grey < MIN_TISSUE) & (white < MIN_TISSUE), is_rim(brain > MIN_INTENSITY)[places]
    return tissues


def is_rim(brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which voxels lie outside the brain, or inside at most `RIM_MM` from a voxel outside.

    The squared distance is minimized along one axis after another, as in Felzenszwalb and Huttenlocher 2012
    (doi:10.4086/toc.2012.v008a019), but only up to `RIM_MM`.

    Parameters
    ----------
    brain : boolean array of shape (nx, ny, nz)
        Voxels of 1 mm.
    """
    # Voxels inside start with a number that is larger than any squared distance in the rim.
    squared = np.where(brain, np.uint8(100), np.uint8(0))
    for axis in range(3):
        known, nearest = np.moveaxis(squared.copy(order="K"), axis, 0), np.moveaxis(squared, axis, 0)
        for step in range(1, RIM_MM + 1):
            np.minimum(nearest[step:], known[:-step] + np.uint8(step**2), out=nearest[step:])
            np.minimum(nearest[:-step], known[step:] + np.uint8(step**2), out=nearest[:-step])
    return squared <= RIM_MM**2


def share_of_tissues(maps: Real, tissues: npt.NDArray[np.float32]) -> TissueShares:
    """Compute the shares of the sum of squares of each map.

    Squares weight strong voxels more, so no threshold is needed.

    Parameters
    ----------
    maps : array of shape (n_maps, n_voxels)
    tissues : array of shape (3, n_voxels)
        From `tissues_of`.
    """
    totals = np.array([np.square(one, dtype=np.float64) @ np.vstack([tissues, np.ones(len(one))]).T for one in maps])
    return TissueShares(*(totals[:, :3] / totals[:, 3:]).T)


def shares_of_mask(tissues: npt.NDArray[np.float32]) -> dict[str, float]:
    """Return the shares of the mask's voxels, which are those of a map without structure."""
    return dict(zip(TissueShares._fields, tissues.mean(axis=1, dtype=np.float64).tolist(), strict=True))


def limits_for_mask(limits: Mapping[str, float | None], of_mask: Mapping[str, float]) -> dict[str, float | None]:
    """Adapt the limits of tissue shares to a mask with less grey matter, or more of the other two, than nilearn's.

    Otherwise, nearly all components would be flagged with a mask that extends beyond the brain. Limits never become
    stricter, so a grey matter mask has the configured ones.

    Parameters
    ----------
    limits : mapping
        Section ``run_ica.flags``. None switches a criterion off.
    of_mask : mapping
        From `shares_of_mask`.

    Returns
    -------
    dict
        Only the limits of tissue shares: ``min_grey_matter_share``, ``max_outside_tissue_share``, ``max_rim_share``.
    """
    relative = {name: of_mask[name] / share for name, share in BRAIN_SHARES.items()}
    factors = {
        "min_grey_matter_share": min(1.0, relative["grey_matter"]),
        "max_outside_tissue_share": max(1.0, relative["outside_tissue"]),
        "max_rim_share": max(1.0, relative["rim"]),
    }
    found: dict[str, float | None] = {}
    for key, factor in factors.items():
        limit = limits[key]
        found[key] = None if limit is None else round(min(limit * factor, 1.0), 3)
    return found


def judge_tissues(
    maps: Real, mask: str, limits: Mapping[str, float | None]
) -> tuple[TissueShares, dict[str, float], dict[str, float | None]]:
    """Return the shares of the maps over a mask file, the shares of the mask, and `limits` adapted to the mask."""
    tissues = tissues_of(target_of(cast(SpatialImage, nib.load(mask))))
    of_mask = shares_of_mask(tissues)
    return share_of_tissues(maps, tissues), of_mask, {**limits, **limits_for_mask(limits, of_mask)}
