"""Make a small database of coordinates in Neurosynth's format."""

import gzip

import numpy as np
import pandas as pd
from scipy import sparse

# Peaks of studies with a term are near its place, in MNI mm.
PLACES = {"motor": (-38, -24, 56), "visual": (8, -92, 0), "fear": (-22, -4, -20)}
# Terms without a place in the brain.
OTHERS = ("sleep", "odor")
# MNI to Talairach: Lancaster et al. 2007, "other".
TO_TALAIRACH = np.array(
    [[0.9357, 0.0029, -0.0072, -1.0423], [-0.0065, 0.9396, -0.0726, -1.3940], [0.0103, 0.0752, 0.8967, 3.6475]]
)


def make_tables(points_mm, *, n_studies=200, random_state=0):
    """Make the tables of a database whose peaks are some of `points_mm` (n_points, 3).

    Every fifth study reports Talairach coordinates, and every seventh other one no space.

    Returns
    -------
    coordinates, metadata : DataFrame
    weights : array of shape (n_studies, 5)
    terms : list of str
    """
    rng = np.random.default_rng(random_state)
    terms = [*PLACES, *OTHERS]
    has = rng.random((n_studies, len(terms))) < 0.25
    rows, spaces = [], []
    for study in range(n_studies):
        spaces.append("TAL" if study % 5 == 0 else "UNKNOWN" if study % 7 == 0 else "MNI")
        peaks = list(points_mm[rng.integers(len(points_mm), size=rng.integers(1, 8))])
        for place, is_there in zip(PLACES.values(), has[study], strict=False):
            if is_there:
                aim = np.array(place) + rng.normal(0, 6, 3)
                peaks.append(points_mm[np.square(points_mm - aim).sum(axis=1).argmin()])
        for peak in peaks:
            given = TO_TALAIRACH[:, :3] @ peak + TO_TALAIRACH[:, 3] if spaces[-1] == "TAL" else peak
            rows.append((9000001 + study, len(rows), *given))
    coordinates = pd.DataFrame(rows, columns=["id", "peak_id", "x", "y", "z"])
    metadata = pd.DataFrame(
        {"id": range(9000001, 9000001 + n_studies), "doi": None, "space": spaces, "title": "A study", "authors": None,
         "year": 2010, "journal": None}
    )  # fmt: skip
    return coordinates, metadata, np.where(has, rng.uniform(0.002, 0.3, has.shape), 0.0), terms


def write_database(folder, coordinates, metadata, weights, terms, *, vocabulary="terms", kind="tfidf"):
    """Write the files of a database; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    start = folder / "data-made_version-1_"
    for name, table in (("coordinates", coordinates), ("metadata", metadata)):
        with gzip.open(f"{start}{name}.tsv.gz", "wt", encoding="utf-8") as stream:
            table.to_csv(stream, sep="\t", index=False)
    of_vocabulary = f"{start}vocab-{vocabulary}_"
    sparse.save_npz(f"{of_vocabulary}source-abstract_type-{kind}_features.npz", sparse.csc_matrix(weights))
    with open(f"{of_vocabulary}vocabulary.txt", "w", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write("\n".join(terms) + "\n")
    return folder
