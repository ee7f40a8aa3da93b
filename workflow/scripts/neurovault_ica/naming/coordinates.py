"""Read and check a database of coordinates in the format of Neurosynth.

See Yarkoni et al. 2011 (doi:10.1038/nmeth.1635) and github.com/neurosynth/neurosynth-data.
"""

import functools
import itertools
import logging
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage, sparse

from neurovault_ica.archive.database_files import SMALLEST_WEIGHT, DatabaseFiles
from neurovault_ica.images.templates import mni152_mask
from neurovault_ica.naming.association import RADIUS_MM
from neurovault_ica.naming.talairach import talairach_to_mni
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Array

BRAIN_RESOLUTION_MM = 2
# If a larger share of the peaks lies outside the brain, the coordinates are in another space or unit. In Neurosynth's
# database, this share is below 1 %.
MOST_OUTSIDE = 0.5
# If a larger share lies outside, we check whether another order of the axes fits the brain better. If two axes of
# Neurosynth's coordinates are exchanged, 8 to 35 % lie outside.
SUSPICIOUS_OUTSIDE = 0.05
# If a larger share of the peaks is left out for one reason, the log has a warning.
MANY_PEAKS = 0.1
# Peaks of a whole brain are spread over more than 100 mm along each axis. Written in cm, they span less than 20.
SMALL_EXTENT_MM = 25
# Spaces that are known, by the first three letters of the column `space`.
SPACES = ("MNI", "TAL")
DAMAGED = (OSError, EOFError, zlib.error, zipfile.BadZipFile, ValueError, KeyError)


class Database(NamedTuple):
    """Peaks and terms of studies. Every study has at least one peak in or near the brain."""

    studies: list[str]  # ids
    peaks_mm: Array  # (n_peaks, 3), MNI
    study_of: npt.NDArray[np.intp]  # (n_peaks,), the study of each peak
    has_term: sparse.csc_array  # (n_studies, n_terms), bool
    terms: list[str]  # as in the vocabulary


def read_database(files: DatabaseFiles) -> Database:
    """Read the files of a database, and bring all peaks to MNI space.

    Peaks without a study, without numbers or outside the brain are left out, as are studies without peaks. Their
    numbers are logged.

    Raises
    ------
    ValueError
        If a file cannot be read, the files do not belong together, or nothing is left.
    """
    metadata = _read_table(files.metadata, ["id"])
    coordinates = _read_table(files.coordinates, ["id", "x", "y", "z"])
    terms = _read_vocabulary(files.vocabulary)
    weights = _read_features(files, n_studies=len(metadata), n_terms=len(terms))
    ids = pd.Index(metadata["id"])
    if n_missing := int(ids.isna().sum()):
        raise ValueError(f"{files.metadata}: {n_missing} of {len(ids)} rows have no id; give each study an id")
    if not ids.is_unique:
        twice = ids[ids.duplicated()]
        raise ValueError(
            f"{files.metadata}: the same id has several rows, such as {twice[0]}"
            f" ({counted(len(twice), 'row')} too many); keep one row for each study"
        )
    study_of = ids.get_indexer(coordinates["id"])
    mm = coordinates[["x", "y", "z"]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    # The study of a peak is -1 if it is unknown. This selects the last element, False.
    is_talairach = np.array([*(space == "TAL" for space in _spaces(metadata)), False])[study_of]
    mm = np.where(is_talairach[:, None], talairach_to_mni(mm), mm)
    kept = _usable(mm, study_of, files, coordinates["id"].iloc[0])
    has_peak = np.zeros(len(ids), dtype=bool)
    has_peak[study_of[kept]] = True
    if not has_peak.all():
        logging.info(
            "left out %s of %s, because they have no usable peak",
            f"{np.sum(~has_peak):,}",
            counted(len(ids), "study", "studies"),
        )
    renumbered = np.cumsum(has_peak) - 1
    has_term = sparse.csc_array((weights >= _smallest_weight(files.features))[has_peak])
    n_studies = counted(int(np.sum(has_peak)), "study", "studies")
    logging.info("read %s of %s, and %s", counted(int(np.sum(kept)), "peak"), n_studies, counted(len(terms), "term"))
    return Database(ids[has_peak].tolist(), mm[kept], renumbered[study_of[kept]], has_term, terms)


def _spaces(metadata: pd.DataFrame) -> list[str]:
    """Return MNI or TAL for each study, and log the number of studies in each space.

    As in Neurosynth, a study whose space is not known counts as MNI.
    """
    if "space" not in metadata:
        logging.warning("the metadata have no column space, so all coordinates are taken as MNI")
        return ["MNI"] * len(metadata)
    stated = metadata["space"].fillna("").astype(str).str.strip().str.upper()
    known = stated.str[:3].where(stated.str[:3].isin(SPACES))
    counts = {space: int((known == space).sum()) for space in SPACES}
    logging.info(
        "studies by the space of their coordinates: %s MNI, %s Talairach, %s unknown (taken as MNI)",
        f"{counts['MNI']:,}", f"{counts['TAL']:,}", f"{known.isna().sum():,}",
    )  # fmt: skip
    return known.fillna("MNI").tolist()


def _usable(mm: Array, study_of: npt.NDArray[np.intp], files: DatabaseFiles, first_id: str) -> npt.NDArray[np.bool_]:
    """Find the peaks of known studies in or near the brain, and log the number of others."""
    n_peaks = len(mm)
    is_known, is_number = study_of >= 0, np.isfinite(mm).all(axis=1)
    if not is_known.any():
        raise ValueError(
            f"no id of {files.coordinates} (such as {first_id}) is in {files.metadata}; give the files of one database,"
            " with the same ids"
        )
    if not is_number.any():
        raise ValueError(f"{files.coordinates}: x, y and z are not numbers; give coordinates in mm")
    is_near = np.zeros(n_peaks, dtype=bool)
    is_near[is_number] = _near_brain(mm[is_number])
    if (n_outside := int(np.sum(is_number & ~is_near))) > MOST_OUTSIDE * n_peaks:
        low, high = np.percentile(mm[is_number], [1, 99], axis=0)
        ranges = ", ".join(
            f"{axis} {lowest:.0f} to {highest:.0f}" for axis, lowest, highest in zip("xyz", low, high, strict=True)
        )
        raise ValueError(
            f"{files.coordinates}: too many peaks ({n_outside} of {n_peaks}) lie more than {RADIUS_MM} mm outside the"
            f" brain ({ranges}); give MNI or Talairach coordinates in mm"
        )
    if suspicion := _explain_axes(mm[is_number]):
        raise ValueError(f"{files.coordinates}: {suspicion}")
    for count, problem in (
        (np.sum(~is_known), "their study is not in the metadata"),
        (np.sum(~is_number), "their coordinates are not numbers"),
        (n_outside, f"they lie more than {RADIUS_MM} mm outside the brain"),
    ):
        if count:
            level = logging.WARNING if count > MANY_PEAKS * n_peaks else logging.INFO
            logging.log(level, "left out %s of %s, because %s", f"{count:,}", counted(n_peaks, "peak"), problem)
    kept = is_known & is_near
    if not kept.any():
        raise ValueError(
            f"{files.coordinates}: no peak of a study in {files.metadata} lies in the brain; give MNI or Talairach"
            " coordinates in mm"
        )
    return kept


def _explain_axes(mm: Array) -> str | None:
    """Describe axes that are exchanged, or a unit that is not mm; None if neither is likely."""
    n_outside = _count_outside(mm)
    if n_outside > SUSPICIOUS_OUTSIDE * len(mm):
        counts = {order: _count_outside(mm[:, list(order)]) for order in itertools.permutations(range(3))}
        best = min(counts, key=lambda order: counts[order])
        if counts[best] < n_outside / 4:
            return (
                f"{n_outside} of {len(mm)} peaks lie more than {RADIUS_MM} mm outside the brain, but only"
                f" {counts[best]} if its columns x, y, z are read as {', '.join('xyz'[axis] for axis in best)}; correct"
                " the order of the columns"
            )
    extent = np.ptp(np.percentile(mm, [1, 99], axis=0), axis=0).max()
    if extent <= SMALL_EXTENT_MM and _count_outside(10 * mm) < MOST_OUTSIDE * len(mm):
        return f"all peaks lie within {extent:.0f} mm of each other, as if they were in cm; give coordinates in mm"
    return None


def _count_outside(mm: Array) -> int:
    return int(np.sum(~_near_brain(mm)))


def _near_brain(mm: Array) -> npt.NDArray[np.bool_]:
    """Return which points (n, 3) lie within 10 mm of the MNI152 brain."""
    near, to_voxel = _brain_and_margin()
    voxels = mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    voxels = np.rint(np.clip(voxels, 0, np.array(near.shape) - 1)).astype(int)
    return near[tuple(voxels.T)]


@functools.cache
def _brain_and_margin() -> tuple[npt.NDArray[np.bool_], Array]:
    """Return the MNI152 brain with 10 mm around it, and the affine from mm to its voxels."""
    brain_img = mni152_mask("brain", BRAIN_RESOLUTION_MM)
    # A peak farther away activates no voxel of the brain.
    margin = RADIUS_MM // BRAIN_RESOLUTION_MM
    brain = np.pad(np.asarray(brain_img.dataobj) > 0, margin + 1)
    to_voxel = np.linalg.inv(brain_img.affine)
    to_voxel[:3, 3] += margin + 1
    return ndimage.distance_transform_edt(~brain) <= margin, to_voxel


def _read_table(file: str, columns: list[str]) -> pd.DataFrame:
    """Read a table of the database. Ids are read as text, because they need not be numbers."""
    try:
        table = pd.read_csv(file, sep="\t", dtype={"id": str}, low_memory=False)
    except DAMAGED as error:
        problem = " ".join(str(error).split())
        raise ValueError(f"{file} cannot be read as a table ({problem}); replace the damaged file") from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(
            f"{file} has no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}; give a"
            " tab-separated table as Neurosynth publishes it"
        )
    if table.empty:
        raise ValueError(f"{file} has no rows; replace it by the published file")
    return table


def _read_vocabulary(file: str) -> list[str]:
    try:
        lines = Path(file).read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); replace the damaged file") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ValueError(f"{file} has no term; give one term per line, one for each column of the features")
    return [line.strip() for line in lines]


def _read_features(files: DatabaseFiles, *, n_studies: int, n_terms: int) -> sparse.csc_array:
    try:
        if not zipfile.is_zipfile(files.features):
            raise ValueError("it is not a .npz file")
        loaded = sparse.load_npz(files.features)
        if loaded.format in ("csr", "csc", "bsr"):
            # Without this check, scipy would write outside its memory for positions outside the matrix.
            loaded.check_format(full_check=True)
        if loaded.dtype.kind not in "biuf":
            raise ValueError(f"its data type is {loaded.dtype}, not real numbers")
        weights = sparse.csc_array(loaded)
    except DAMAGED as error:
        raise ValueError(
            f"{files.features} cannot be read as a sparse matrix of scipy ({error}); replace the damaged file"
        ) from error
    if weights.shape[0] != n_studies:
        raise ValueError(
            f"{files.features} has features of {counted(weights.shape[0], 'study', 'studies')}, but {files.metadata}"
            f" lists {n_studies}; give files of one version of the database"
        )
    if weights.shape[1] != n_terms:
        raise ValueError(
            f"{files.features} has {counted(weights.shape[1], 'term')}, but {files.vocabulary} names {n_terms}; give"
            " files of one vocabulary"
        )
    if n_missing := int(np.isnan(weights.data).sum()):
        logging.info("%s of terms in studies count as 0, because they are not numbers", counted(n_missing, "weight"))
    return weights


def _smallest_weight(features: str) -> float:
    name = Path(features).name
    unnamed = SMALLEST_WEIGHT["weight" if "vocab-LDA" in name else "tfidf"]
    return next((weight for kind, weight in SMALLEST_WEIGHT.items() if f"type-{kind}_" in name), unnamed)
