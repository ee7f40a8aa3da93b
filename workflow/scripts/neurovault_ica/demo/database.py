"""Simulate a small database of coordinates in Neurosynth's format.

Its studies report peaks around the foci of the planted networks and use the terms of these networks. No study is real.
"""

import csv
import gzip
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurovault_ica.archive.database_files import DatabaseFiles
from neurovault_ica.demo.networks import GENERIC_TERMS, NETWORKS, NOISE_TERMS, Network
from neurovault_ica.naming.talairach import mni_to_talairach
from neurovault_ica.runtime.files import replacing

N_STUDIES = 600
FIRST_ID = 90_000_001
# Probability that a study reports a second network.
SECOND_NETWORK = 0.6
# Probability that a study reports a focus of height 1 of its network. For lower foci it is proportional to the height.
# Decreases are never reported, as in most papers.
REPORTED = 0.8
# Standard deviation of reported peaks around the focus, in mm along each axis.
SCATTER_MM = 6.0
# Largest number of additional peaks anywhere in the brain.
MOST_STRAY_PEAKS = 5
# Shares of studies in Talairach space and in an unstated space, as in Neurosynth.
TALAIRACH, UNKNOWN = 0.16, 0.13
# Probabilities that a study uses a term: each term of its network in order, a related, a generic and a noise term.
PLANTED = (0.9, 0.85, 0.8, 0.75)
RELATED, GENERIC, NOISE = 0.5, 0.8, 0.12


class DemoDatabase(NamedTuple):
    """The content of the database's files."""

    coordinates: list[dict[str, Any]]
    metadata: list[dict[str, Any]]
    weights: NDArray[np.float64]  # (n_studies, n_terms), tf-idf in the real database
    terms: list[str]


def simulate_database(brain_mm: NDArray[np.floating], random_state: int) -> DemoDatabase:
    """Simulate the peaks and terms of `N_STUDIES` studies.

    Parameters
    ----------
    brain_mm : array of shape (n_voxels, 3)
        MNI coordinates in mm of the brain's voxels, for the additional peaks.
    random_state : int
    """
    terms = sorted({term for network in NETWORKS for term in (*network.terms, *network.related)})
    terms = [*terms, *GENERIC_TERMS, *NOISE_TERMS]
    coordinates: list[dict[str, Any]] = []
    metadata, weights = [], np.zeros((N_STUDIES, len(terms)))
    for study in range(N_STUDIES):
        rng = np.random.default_rng([random_state, FIRST_ID + study])
        networks = _draw_networks(study, rng)
        space = str(rng.choice(["TAL", "UNKNOWN", "MNI"], p=[TALAIRACH, UNKNOWN, 1 - TALAIRACH - UNKNOWN]))
        peaks = _draw_peaks(networks, brain_mm, rng)
        # Papers report coordinates in whole mm.
        for x, y, z in np.rint(mni_to_talairach(peaks) if space == "TAL" else peaks):
            coordinates.append(
                {"id": FIRST_ID + study, "table_id": study, "table_num": "1.", "peak_id": len(coordinates),
                 "x": x, "y": y, "z": z}
            )  # fmt: skip
        metadata.append(_describe_study(study, space, networks))
        is_used = rng.random(len(terms)) < _probabilities(networks, terms)
        weights[study] = np.where(is_used, rng.uniform(0.01, 0.3, len(terms)).round(2), 0)
    return DemoDatabase(coordinates, metadata, weights, terms)


def write_database(files: DatabaseFiles, database: DemoDatabase) -> None:
    """Write the four files. The same database gives the same bytes."""
    for file, rows in ((files.coordinates, database.coordinates), (files.metadata, database.metadata)):
        with replacing(file) as temporary:
            temporary.write_bytes(gzip.compress(_tabulate(rows).encode(), 1, mtime=0))
    with replacing(files.features) as temporary:
        sparse.save_npz(temporary, sparse.csc_matrix(database.weights))
    with replacing(files.vocabulary) as temporary:
        temporary.write_text("\n".join(database.terms) + "\n", encoding="utf-8")


def _draw_networks(study: int, rng: np.random.Generator) -> list[Network]:
    """Choose the networks of a study: the main ones take turns, and some studies have a random second one."""
    main = study % len(NETWORKS)
    second = (main + int(rng.integers(1, len(NETWORKS)))) % len(NETWORKS)
    return [NETWORKS[main], *([NETWORKS[second]] if rng.random() < SECOND_NETWORK else [])]


def _draw_peaks(
    networks: Sequence[Network], brain_mm: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float64]:
    foci = [focus for network in networks for focus in network.foci]
    reported = [centre for *centre, height, _ in foci if rng.random() < REPORTED * height]
    peaks = np.array(reported, dtype=np.float64).reshape(-1, 3)
    peaks += rng.normal(0, SCATTER_MM, peaks.shape)
    stray = brain_mm[rng.integers(len(brain_mm), size=rng.integers(1, MOST_STRAY_PEAKS + 1))]
    return np.concatenate([peaks, stray])


def _probabilities(networks: Sequence[Network], terms: Sequence[str]) -> NDArray[np.float64]:
    """Return the probability that a study uses each term."""
    chance = dict.fromkeys(terms, 0.02) | dict.fromkeys(NOISE_TERMS, NOISE) | dict.fromkeys(GENERIC_TERMS, GENERIC)
    for network in networks:
        for term in network.related:
            chance[term] = max(chance[term], RELATED)
        for term, probability in zip(network.terms, PLANTED, strict=True):
            chance[term] = max(chance[term], probability)
    return np.array([chance[term] for term in terms])


def _describe_study(study: int, space: str, networks: Sequence[Network]) -> dict[str, Any]:
    topics = " and ".join(network.name.replace("_", " ") for network in networks)
    return {
        "id": FIRST_ID + study, "doi": "", "space": space, "title": f"Simulated study of {topics}",
        "authors": "Example AN", "year": 2000 + study % 20, "journal": "Journal of Simulated Results",
    }  # fmt: skip


def _tabulate(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
