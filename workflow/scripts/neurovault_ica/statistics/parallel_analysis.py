"""Parallel analysis: count the principal components that explain more variance than expected by chance."""

import logging

import nibabel as nib
import numpy as np

from neurovault_ica.images.matrix import read_rows, standardize
from neurovault_ica.images.signs import both_signs
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.wording import counted
from neurovault_ica.statistics.lattice import Lattice, lattice_of
from neurovault_ica.statistics.surrogates import Surrogates
from neurovault_ica.types import Real

# Number of sets of surrogates. Each set has one surrogate of each image.
N_DRAWS = 20
# Largest number of images; of more images, a random sample is used. The time for surrogates is proportional to the
# number of images, the time for eigenvalues to its third power.
MAX_IMAGES = 500
# A component is above chance if its eigenvalue exceeds this percentile of the surrogates' eigenvalues.
CHANCE_PERCENTILE = 95


def count_above_chance(X: Real, lattice: Lattice, rng: np.random.Generator, *, split: bool = False) -> int:
    """Count the principal components that explain more variance than those of unrelated maps of the same smoothness.

    Parallel analysis (Horn 1965, doi:10.1007/BF02289447) with the 95th percentile (Buja and Eyuboglu 1992,
    doi:10.1207/s15327906mbr2704_2). For the null distribution, each image is replaced by a surrogate map with the same
    autocorrelation and the same values, not by independent values.

    Parameters
    ----------
    X : array of shape (n_images, n_points)
        The images at the points of the lattice.
    lattice : Lattice
    rng : numpy.random.Generator
    split : bool
        Whether each image is split into two rows, activation and deactivation. Surrogates are then split, too.

    Returns
    -------
    int
        Number of leading eigenvalues that exceed the percentile of the surrogates' eigenvalues of the same rank. The
        count ends before the first one that does not.
    """
    sources = [Surrogates(image, lattice, rng) for image in progress(X, total=len(X), unit="image")]
    null = []
    for _ in range(N_DRAWS // 2):
        pairs = np.stack([source.draw_pair() for source in sources], axis=1).astype(np.float64)
        if split:
            # Images are split at 0, so give the standardized surrogates the mean and length of the images first.
            centre, length = X.mean(axis=1, keepdims=True), X.std(axis=1, keepdims=True) * np.sqrt(X.shape[1])
            pairs = np.stack([_split(maps * length + centre) for maps in pairs])
        null += [np.linalg.eigvalsh(maps @ maps.T)[::-1] for maps in pairs]
    maps = _split(X.astype(np.float64)) if split else standardize(X.astype(np.float64))
    below = np.linalg.eigvalsh(maps @ maps.T)[::-1] <= np.percentile(null, CHANCE_PERCENTILE, axis=0)
    return int(below.argmax()) if below.any() else len(maps)


def _split(X: Real) -> Real:
    return standardize(np.maximum(both_signs(X), 0))


def sample_images(matrix: str, mask: str, random_state: int) -> tuple[Real, Lattice]:
    """Read up to `MAX_IMAGES` random images at the points of a grid of about 6 mm.

    Parameters
    ----------
    matrix, mask : path
        matrix.npy and the mask of its voxels.
    random_state : int
        Seed of the draw.

    Returns
    -------
    X : array of shape (n_images, n_points)
    lattice : Lattice
    """
    mask_img = nib.load(mask)
    lattice = lattice_of(np.asarray(mask_img.dataobj) > 0, mask_img.affine)
    X = np.load(matrix, mmap_mode="r")
    size = min(len(X), MAX_IMAGES)
    if size < len(X):
        logging.warning("parallel analysis uses a random sample of %d of %s", size, counted(len(X), "image"))
    chosen = np.sort(np.random.default_rng(random_state).choice(len(X), size=size, replace=False))
    return np.stack([read_rows(X, slice(row, row + 1))[0, lattice.points] for row in chosen.tolist()]), lattice
