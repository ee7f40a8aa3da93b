"""Make maps of functional networks from the coordinates of their regions, which are part of nilearn."""

import re

import numpy as np
import numpy.typing as npt
from nibabel.affines import apply_affine

from neurovault_ica.images.smoothing import FWHM_OF_SD
from neurovault_ica.images.targets import Target

# Full width at half maximum of the Gaussian at each region. The published regions are spheres of 8 to 10 mm diameter.
# Of widths from 10 to 20 mm, this is the largest with which each real component keeps its significant network
# (docs/methods.md).
REGION_FWHM_MM = 14.0
# Smallest number of regions of a network. Ten networks have 8 to 67 regions. Three have only 4 or 5, and maps of so few
# regions would match components by chance.
MIN_REGIONS = 6
# nilearn's name for regions that belong to no network.
UNASSIGNED = "unassigned"
# Names that are not simply split at capital letters.
IRREGULAR_NAMES = {"FrontoParietal": "frontoparietal", "CinguloOpercular": "cingulo-opercular"}


def seitzman_networks(target: Target) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Make maps of the ten largest networks of Seitzman et al. 2020 (doi:10.1016/j.neuroimage.2019.116290).

    A voxel's value is ``exp(-d² / 2 sigma²)``, where d is its distance to the network's nearest region. It is 1 at the
    centre of each region, however many regions are near.

    Parameters
    ----------
    target : Target

    Returns
    -------
    names : list of str
        ``default mode``, ``somatomotor dorsal`` and so on.
    maps : array of shape (n_networks, n_voxels)
    """
    # Imported here because it takes a second.
    from nilearn.datasets import fetch_coords_seitzman_2018

    atlas = fetch_coords_seitzman_2018()
    centres, members = atlas.rois.to_numpy(dtype=float), np.asarray(atlas.networks)
    networks = [name for name in dict.fromkeys(members.tolist()) if name != UNASSIGNED]
    networks = [name for name in networks if (members == name).sum() >= MIN_REGIONS]
    voxels = np.argwhere(target.inside) + [side.start for side in target.box]
    places = apply_affine(target.affine, voxels)
    maps = [_blobs(centres[members == name], places) for name in networks]
    return [spelled_out(name) for name in networks], np.array(maps)


def spelled_out(name: str) -> str:
    """Write the name of a network as words: ``DefaultMode`` becomes ``default mode``."""
    return IRREGULAR_NAMES.get(name) or " ".join(re.findall("[A-Z][a-z]+", name)).lower()


def _blobs(centres: npt.NDArray[np.float64], places: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Evaluate a Gaussian of the distance in mm from each place to the nearest centre."""
    # Imported here because other rules import this module without calling this function.
    from scipy.spatial import KDTree

    sigma = REGION_FWHM_MM / FWHM_OF_SD
    distance, _ = KDTree(centres).query(places)
    return np.exp(-np.square(distance / sigma) / 2).astype(np.float32)
