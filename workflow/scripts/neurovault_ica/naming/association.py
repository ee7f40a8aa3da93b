"""Compute meta-analytic term maps from the coordinates of many studies.

A study activates a voxel if it reports a peak within 10 mm of it (multilevel kernel density analysis; Wager et al.
2007, doi:10.1093/scan/nsm015). For each term and voxel, a chi-squared test compares the studies that have the term with
all others: the association test of Yarkoni et al. 2011 (doi:10.1038/nmeth.1635).
"""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from neurovault_ica.types import Array

# A study activates the voxels within this distance of its peaks, as in Neurosynth and by default in NiMARE.
RADIUS_MM = 10
# Number of studies, and of terms, that are computed at once. They limit the memory: 500 studies x 30,000 voxels are
# 15 MB, and 100 terms x 30,000 voxels are 24 MB of counts.
STUDIES_AT_ONCE = 500
TERMS_AT_ONCE = 100


def activated_voxels(
    peaks_mm: Array, study_of: npt.NDArray[np.integer], n_studies: int, mask: npt.NDArray[np.bool_], affine: Array
) -> sparse.csr_array:
    """Find the voxels within 10 mm of a peak, for each study.

    Parameters
    ----------
    peaks_mm : array of shape (n_peaks, 3)
        MNI coordinates in mm.
    study_of : int array of shape (n_peaks,)
        The study of each peak.
    n_studies : int
    mask : bool array of shape (nx, ny, nz)
    affine : array of shape (4, 4)
        Voxel to mm.

    Returns
    -------
    csr_array of shape (n_studies, n_voxels), int32
        1 where a study activates a voxel. Voxels are in C order of the mask.
    """
    column_of = np.full(mask.shape, -1, dtype=np.int32)
    column_of[mask] = np.arange(np.count_nonzero(mask), dtype=np.int32)
    to_voxel = np.linalg.inv(affine)
    # Steps from the nearest voxel of a peak to all voxels of a box that contains the whole sphere.
    reach = np.ceil(RADIUS_MM * np.linalg.norm(to_voxel[:3, :3], axis=1) + 0.5).astype(int)
    offsets = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    # Leave out the corners of the box. A peak is at most half a voxel from its nearest voxel along each axis.
    half_voxel_mm = np.abs(affine[:3, :3]).sum(axis=1) / 2
    far = np.linalg.norm(offsets @ affine[:3, :3].T, axis=1) > RADIUS_MM + np.linalg.norm(half_voxel_mm)
    offsets = offsets[~far]

    order = np.argsort(study_of, kind="stable")
    peaks, studies = peaks_mm[order], study_of[order]
    positions = peaks @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    nearest = np.rint(positions).astype(int)
    remainder_mm = (nearest - positions) @ affine[:3, :3].T
    offsets_mm = offsets @ affine[:3, :3].T

    blocks = []
    for start in range(0, n_studies, STUDIES_AT_ONCE):
        n_rows = min(STUDIES_AT_ONCE, n_studies - start)
        own = slice(*np.searchsorted(studies, [start, start + n_rows]))
        active = np.zeros((n_rows, np.count_nonzero(mask)), dtype=bool)
        for offset, offset_mm in zip(offsets, offsets_mm, strict=True):
            voxels = nearest[own] + offset
            near = np.square(remainder_mm[own] + offset_mm).sum(axis=1) <= RADIUS_MM**2
            near &= ((voxels >= 0) & (voxels < mask.shape)).all(axis=1)
            columns = column_of[tuple(voxels[near].T)]
            active[studies[own][near][columns >= 0] - start, columns[columns >= 0]] = True
        blocks.append(sparse.csr_array(active.astype(np.int32)))
    return sparse.csr_array(sparse.vstack(blocks, format="csr"))


def association_maps(has_term: sparse.csc_array, active: sparse.csr_array) -> npt.NDArray[np.float32]:
    """Compute the z map of the association test for each term.

    Parameters
    ----------
    has_term : sparse array of shape (n_studies, n_terms)
        1 where a study has a term.
    active : sparse array of shape (n_studies, n_voxels)
        1 where a study activates a voxel.

    Returns
    -------
    float32 array of shape (n_terms, n_voxels)
        The square root of chi-squared with one degree of freedom. It is positive where studies with the term activate
        the voxel more often than the others. It is 0 where no study or all studies activate it.
    """
    n_active = np.asarray(active.sum(axis=0), dtype=np.float64).ravel()
    by_term = sparse.csr_array(has_term.T.astype(np.int32))
    n_terms = by_term.shape[0]
    maps = np.empty((n_terms, active.shape[1]), dtype=np.float32)
    for start in range(0, n_terms, TERMS_AT_ONCE):
        rows = by_term[start : start + TERMS_AT_ONCE]
        n_with = np.asarray(rows.sum(axis=1), dtype=np.float64).ravel()
        maps[start : start + len(n_with)] = z_of_association(
            (rows @ active).toarray(), n_with, n_active, active.shape[0]
        )
    return maps


def z_of_association(
    n_both: npt.NDArray[np.integer], n_with: Array, n_active: Array, n_studies: int
) -> npt.NDArray[np.float32]:
    """Compute the signed square root of chi-squared, with one degree of freedom and without continuity correction.

    For a table of 2 x 2 counts, chi-squared is n (a d - b c)^2 divided by the product of the four margins.

    Parameters
    ----------
    n_both : int array of shape (n_terms, n_voxels)
        Number of studies that have the term and activate the voxel.
    n_with : array of shape (n_terms,)
        Number of studies that have the term.
    n_active : array of shape (n_voxels,)
        Number of studies that activate the voxel.
    n_studies : int
    """
    excess = n_both * float(n_studies) - np.outer(n_with, n_active)
    margins = np.outer(n_with * (n_studies - n_with), n_active * (n_studies - n_active))
    z = np.divide(excess, np.sqrt(margins), out=np.zeros_like(excess), where=margins > 0)
    return (z * np.sqrt(n_studies)).astype(np.float32)
