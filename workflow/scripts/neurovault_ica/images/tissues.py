"""Measure how much of a map lies in grey matter, outside grey and white matter, and at the rim of the brain.

Head motion, blood vessels, cerebrospinal fluid and differences of registration give components, too. They lie where no
neurons are. The tissues are those of the MNI152 templates in nilearn's package.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from scipy import ndimage
from scipy.spatial import KDTree

from neurovault_ica.images.masks import mni152_mask, template_file
from neurovault_ica.images.resampling import Target, plan_resampling, resample, target_of
from neurovault_ica.types import Real

# A voxel with less of both grey and white matter than this is outside both. nilearn's masks use the same value.
MIN_TISSUE = 0.2
# The rim is this deep. Motion and registration shift the edge of the brain by about one voxel of 3 mm.
RIM_MM = 3.0


class TissueShares(NamedTuple):
    """Shares of squared maps, each an array of shape (n_maps,)."""

    grey_matter: Real
    outside_tissue: Real  # neither grey nor white matter
    rim: Real


# Shares of the voxels of nilearn's brain mask of 2 mm. The default limits of run_ica.flags were set with this mask.
BRAIN = {"grey_matter": 0.529, "outside_tissue": 0.0234, "rim": 0.1288}


def tissues_of(target: Target) -> npt.NDArray[np.float32]:
    """Find the tissues at the voxels of a mask in MNI space.

    Distances are in mm and tissues come from templates of 1 mm, so the result does not depend on the mask's resolution.

    Parameters
    ----------
    target : Target

    Returns
    -------
    array of shape (3, n_voxels)
        In the order of `TissueShares`: probability of grey matter; 1 outside grey and white matter; 1 at the rim, that
        is, at most `RIM_MM` from the nearest voxel outside the MNI152 brain. Values between 0 and 1 are interpolated.
    """
    templates = _read_templates()
    shape, affine = templates.brain.shape, templates.affine
    nearest, linear = (plan_resampling(shape, affine, target, how) for how in ("nearest", "linear"))
    voxels = np.argwhere(target.inside) + [side.start for side in target.box]
    # Beyond the bound, the distance is infinite. Rounding must not decide about whole planes of voxels.
    distance, _ = templates.edge.query(apply_affine(target.affine, voxels), distance_upper_bound=RIM_MM + 1)
    rim = (distance <= RIM_MM + 1e-3) | (resample(templates.brain, nearest, target) == 0)
    rows = [resample(templates.grey, linear, target), resample(templates.outside, linear, target)]
    return np.stack([*rows, rim.astype(np.float32)])


class _Templates(NamedTuple):
    """The templates of 1 mm, arrays of one shape (nx, ny, nz)."""

    grey: npt.NDArray[np.float32]  # probability
    outside: npt.NDArray[np.float32]  # 1 outside grey and white matter
    brain: npt.NDArray[np.float32]  # 1 inside
    edge: KDTree  # of the places in mm of the voxels around the brain
    affine: npt.NDArray[np.float64]  # (4, 4), voxel to mm


@functools.cache
def _read_templates() -> _Templates:
    grey, white = (
        np.asarray(cast(SpatialImage, nib.load(template_file(tissue))).dataobj, dtype=np.float32)
        for tissue in ("gm", "wm")
    )
    grey, white = grey / grey.max(), white / white.max()
    outside = ((grey < MIN_TISSUE) & (white < MIN_TISSUE)).astype(np.float32)
    brain_img = mni152_mask("brain", 1)
    inside = np.asarray(brain_img.dataobj) > 0
    around = np.argwhere(ndimage.binary_dilation(inside) & ~inside)
    edge = KDTree(apply_affine(brain_img.affine, around))
    return _Templates(grey, outside, inside.astype(np.float32), edge, brain_img.affine)


def share_of_tissues(maps: Real, tissues: npt.NDArray[np.float32]) -> TissueShares:
    """Compute the shares of the squared maps.

    Squares give strong voxels their weight, so there is no threshold to choose.

    Parameters
    ----------
    maps : array of shape (n_maps, n_voxels)
    tissues : array of shape (3, n_voxels)
        From `tissues_of`.
    """
    totals = np.array([np.square(one, dtype=np.float64) @ np.vstack([tissues, np.ones(len(one))]).T for one in maps])
    return TissueShares(*(totals[:, :3] / totals[:, 3:]).T)


def shares_of_mask(tissues: npt.NDArray[np.float32]) -> dict[str, float]:
    """Return the shares of the mask's voxels: what a map without structure would have."""
    return dict(zip(TissueShares._fields, tissues.mean(axis=1, dtype=np.float64).tolist(), strict=True))


def limits_for_mask(limits: Mapping[str, float | None], of_mask: Mapping[str, float]) -> dict[str, float | None]:
    """Adapt the limits of tissue shares to a mask with less grey matter, or more of the others, than nilearn's.

    Without this, a mask that extends beyond the brain would get nearly all its components flagged. Limits never become
    stricter, so a grey matter mask keeps them.

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
    relative = {name: of_mask[name] / share for name, share in BRAIN.items()}
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
    """Return the shares of the maps over a mask file, those of the mask, and all `limits`, adapted to the mask."""
    tissues = tissues_of(target_of(cast(SpatialImage, nib.load(mask))))
    of_mask = shares_of_mask(tissues)
    return share_of_tissues(maps, tissues), of_mask, {**limits, **limits_for_mask(limits, of_mask)}
