"""Read a database of coordinates in the format that Neurosynth publishes, and check it.

Neurosynth: Yarkoni et al. 2011, doi:10.1038/nmeth.1635; github.com/neurosynth/neurosynth-data.
"""

import gzip
import logging
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage, sparse

from neurovault_ica.archive.database_files import DatabaseFiles
from neurovault_ica.images.masks import mni152_mask
from neurovault_ica.naming.talairach import talairach_to_mni
from neurovault_ica.types import Array

# Smallest weight with which a study has a term, by the part of the file name that names the kind of weights. tf-idf: as
# in Neurosynth and NiMARE. Shares of topics in a text are never 0, and 5 % of a text is a topic.
SMALLEST_WEIGHT = {"tfidf": 0.001, "weight": 0.05}
# A peak farther than this from the brain activates no voxel of it. It is the radius of the spheres.
BRAIN_MARGIN_MM = 10
BRAIN_RESOLUTION_MM = 2
# With more peaks outside the brain than this share, the coordinates are in another space or unit. In Neurosynth's
# database it is below 1 %.
MOST_OUTSIDE = 0.5
SPACES = {"MNI": "MNI", "TAL": "TAL"}
DAMAGED = (OSError, EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, ValueError, KeyError)


class Database(NamedTuple):
    """Peaks and terms of studies. Every study has at least one peak in or near the brain."""

    studies: list[str]  # ids
    peaks_mm: Array  # (n_peaks, 3), MNI
    study_of: npt.NDArray[np.intp]  # (n_peaks,), the study of each peak
    has_term: sparse.csc_array  # (n_studies, n_terms), bool
    terms: list[str]  # as in the vocabulary


def read_database(files: DatabaseFiles) -> Database:
    """Read the files of a database, and bring all peaks to MNI space.

    Peaks without a study, without numbers or outside the brain are left out, as are studies without peaks. How many
    these are is logged.

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
    if not ids.is_unique:
        twice = ids[ids.duplicated()]
        raise ValueError(
            f"{files.metadata}: {len(twice)} ids occur more than once, such as {twice[0]}; keep one row for each study"
        )
    study_of = ids.get_indexer(coordinates["id"])
    mm = coordinates[["x", "y", "z"]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    is_talairach = np.array([*(space == "TAL" for space in _spaces(metadata)), False])[study_of]  # -1 is the last one
    mm = np.where(is_talairach[:, None], talairach_to_mni(mm), mm)
    kept = _usable(mm, study_of, files)
    has_peak = np.zeros(len(ids), dtype=bool)
    has_peak[study_of[kept]] = True
    if not has_peak.all():
        logging.info("%d of %d studies have no usable peak and are left out", np.sum(~has_peak), len(ids))
    renumbered = np.cumsum(has_peak) - 1
    has_term = sparse.csc_array((weights >= _smallest_weight(files.features))[has_peak])
    logging.info("%d peaks of %d studies, %d terms", np.sum(kept), np.sum(has_peak), len(terms))
    return Database(ids[has_peak].tolist(), mm[kept], renumbered[study_of[kept]], has_term, terms)


def _spaces(metadata: pd.DataFrame) -> list[str]:
    """Return MNI or TAL for each study, and log the number of studies in each space.

    As in Neurosynth, a study whose space is not known counts as MNI.
    """
    if "space" not in metadata:
        logging.warning("the metadata have no column space, so all coordinates are taken to be in MNI space")
        return ["MNI"] * len(metadata)
    stated = metadata["space"].fillna("").astype(str).str.strip().str.upper()
    known = stated.str[:3].map(SPACES)
    counts = {space: int((known == space).sum()) for space in SPACES.values()}
    logging.info(
        "coordinates of %d studies in MNI space, of %d in Talairach space, of %d in a space that is not known and taken"
        " to be MNI",
        counts["MNI"], counts["TAL"], int(known.isna().sum()),
    )  # fmt: skip
    return known.fillna("MNI").tolist()


def _usable(mm: Array, study_of: npt.NDArray[np.intp], files: DatabaseFiles) -> npt.NDArray[np.bool_]:
    """Find the peaks of known studies in or near the brain, and log the number of others."""
    n_peaks = len(mm)
    is_known, is_number = study_of >= 0, np.isfinite(mm).all(axis=1)
    if not is_known.any():
        raise ValueError(
            f"no id of {files.coordinates} is in {files.metadata}; give the files of one database, with the same ids"
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
            f"{files.coordinates}: {n_outside} of {n_peaks} peaks lie more than {BRAIN_MARGIN_MM} mm outside the brain"
            f" ({ranges}); give MNI or Talairach coordinates in mm"
        )
    for count, problem in (
        (np.sum(~is_known), "belong to studies that the metadata do not list"),
        (np.sum(~is_number), "have no numbers as coordinates"),
        (n_outside, f"lie more than {BRAIN_MARGIN_MM} mm outside the brain"),
    ):
        if count:
            logging.info("%d of %d peaks %s, and are left out", count, n_peaks, problem)
    kept = is_known & is_near
    if not kept.any():
        raise ValueError(f"{files.coordinates}: no peak of a study in {files.metadata} lies in the brain")
    return kept


def _near_brain(mm: Array) -> npt.NDArray[np.bool_]:
    """Return which points (n, 3) lie within 10 mm of the MNI152 brain."""
    brain_img = mni152_mask("brain", BRAIN_RESOLUTION_MM)
    margin = BRAIN_MARGIN_MM // BRAIN_RESOLUTION_MM
    brain = np.pad(np.asarray(brain_img.dataobj) > 0, margin + 1)
    near = ndimage.distance_transform_edt(~brain) <= margin
    voxels = mm @ np.linalg.inv(brain_img.affine)[:3, :3].T + np.linalg.inv(brain_img.affine)[:3, 3] + margin + 1
    voxels = np.rint(np.clip(voxels, 0, np.array(near.shape) - 1)).astype(int)
    return near[tuple(voxels.T)]


def _read_table(file: str, columns: list[str]) -> pd.DataFrame:
    """Read a table of the database. Ids are text, because a study may have any."""
    try:
        table = pd.read_csv(file, sep="\t", dtype={"id": str}, low_memory=False)
    except DAMAGED as error:
        raise ValueError(f"{file} cannot be read as a table ({error}); replace the damaged file") from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(
            f"{file} has no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}; give a"
            " tab-separated table as Neurosynth publishes it"
        )
    if table.empty:
        raise ValueError(f"{file} has no rows")
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
        weights = sparse.csc_array(sparse.load_npz(files.features))
    except DAMAGED as error:
        raise ValueError(
            f"{files.features} cannot be read as a sparse matrix of scipy ({error}); replace the damaged file"
        ) from error
    if weights.shape[0] != n_studies:
        raise ValueError(
            f"{files.features} has features of {weights.shape[0]} studies, but {files.metadata} lists {n_studies};"
            " give files of one version of the database"
        )
    if weights.shape[1] != n_terms:
        raise ValueError(
            f"{files.features} has {weights.shape[1]} terms, but {files.vocabulary} names {n_terms}; give files of one"
            " vocabulary"
        )
    return weights


def _smallest_weight(features: str) -> float:
    name = Path(features).name
    return next((weight for kind, weight in SMALLEST_WEIGHT.items() if f"type-{kind}_" in name), 0.001)
