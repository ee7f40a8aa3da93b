"""Find the files of a coordinate database in Neurosynth's format in a folder.

Snakemake imports this module while it reads the Snakefile, so it imports only the standard library.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# The part of a file name after the name of the database. Neurosynth: data-neurosynth_version-7_coordinates.tsv.gz and
# data-neurosynth_version-7_vocab-LDA50_source-abstract_type-weight_features.npz. A user's own files may have nothing
# before these parts.
TABLE = re.compile(r"(?:.*_)?(coordinates|metadata)\.tsv(?:\.gz)?")
OF_VOCABULARY = re.compile(r"(?:.*_)?vocab-([^_]+)_(?:.*_)?(features\.npz|vocabulary\.txt)")


class DatabaseFiles(NamedTuple):
    """The files of a database for one vocabulary."""

    coordinates: str  # one row for each reported peak: id of the study, x, y, z
    metadata: str  # one row for each study: id, space
    features: str  # sparse matrix of studies x terms
    vocabulary: str  # one term per line


def find_database(folder: str | Path, vocabulary: str) -> DatabaseFiles:
    """Find the files of a database in a folder, for one vocabulary.

    Raises
    ------
    ValueError
        If there is no such folder, a file is missing, or several files could be meant.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"there is no folder {folder} (current folder: {Path.cwd()}); correct the path")
    names = [path.name for path in root.iterdir() if path.is_file() and not path.name.startswith(".")]
    found = {
        kind: _only(folder, kind, sorted(name for name in names if _kind_of(name, vocabulary) == kind), names)
        for kind in DatabaseFiles._fields
    }
    return DatabaseFiles(**{kind: str(root / name) for kind, name in found.items()})


def explain_problem(folder: str, vocabulary: str) -> str | None:
    """Describe what is wrong with the folder of a database, or return None. No file is opened."""
    try:
        find_database(folder, vocabulary)
    except ValueError as error:
        return str(error)
    return None


def _kind_of(name: str, vocabulary: str) -> str | None:
    if table := TABLE.fullmatch(name):
        return table[1]
    if (named := OF_VOCABULARY.fullmatch(name)) and named[1] == vocabulary:
        return named[2].partition(".")[0]
    return None


def _only(folder: str | Path, kind: str, found: list[str], names: Iterable[str]) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{folder} has {len(found)} files of {kind}: {', '.join(found)}; keep the files of one database only"
        )
    if kind in ("coordinates", "metadata"):
        raise ValueError(
            f"{folder} has no file of {kind}; the file's name must end in {kind}.tsv.gz, as in"
            f" data-neurosynth_version-7_{kind}.tsv.gz"
        )
    known = sorted(set(_vocabularies(names)))
    advice = f"its vocabularies are: {', '.join(known)}" if known else "it has no vocabulary at all"
    ending = {"features": "_features.npz", "vocabulary": "_vocabulary.txt"}[kind]
    raise ValueError(
        f"{folder} has no file of {kind} for build_term_maps.vocabulary, such as data_vocab-terms{ending}; {advice}"
    )


def _vocabularies(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if named := OF_VOCABULARY.fullmatch(name):
            yield named[1]
