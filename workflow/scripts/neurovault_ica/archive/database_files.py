"""Find the files of a coordinate database in a folder, by names like those of Neurosynth's files.

Snakemake imports this module while it reads the Snakefile, so it imports only the standard library.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# The end of each file name. Neurosynth's files are called data-neurosynth_version-7_coordinates.tsv.gz and
# data-neurosynth_version-7_vocab-LDA50_source-abstract_type-weight_features.npz. The user's own files may begin with
# any text, or with the part that is matched.
TABLE = re.compile(r"(?:.*_)?(coordinates|metadata)\.tsv(?:\.gz)?")
OF_VOCABULARY = re.compile(r"(?:.*_)?vocab-([^_]+)_(?:.*_)?(features\.npz|vocabulary\.txt)")


# Value of build_term_maps.database for the database that the workflow downloads. The address of a mirror can be given
# instead.
NEUROSYNTH = "neurosynth"
DEMO = "demo"
# Vocabularies of Neurosynth, and the kind of their weights.
VOCABULARIES = {"terms": "tfidf", "LDA50": "weight", "LDA100": "weight", "LDA200": "weight", "LDA400": "weight"}
# A study has a term if its weight of this kind is at least this. The limit for tf-idf is that of Neurosynth and NiMARE.
# The weight of a topic is its share of the text, which is never 0.
SMALLEST_WEIGHT = {"tfidf": 0.001, "weight": 0.05}


class DatabaseFiles(NamedTuple):
    """The files of a database for one vocabulary."""

    coordinates: str  # one row for each reported peak: id of the study, x, y, z
    metadata: str  # one row for each study: id, space
    features: str  # sparse matrix of studies x terms
    vocabulary: str  # one term per line


# The version in the names of Neurosynth's files.
PUBLISHED = re.compile(r"data-neurosynth_version-(\d+)_")
# The version that the workflow downloads.
DOWNLOADED_VERSION = "7"

# The files that the rule build_demo_archive writes.
DEMO_FILES = DatabaseFiles(
    "results/build_demo_archive/database/data-demo_version-1_coordinates.tsv.gz",
    "results/build_demo_archive/database/data-demo_version-1_metadata.tsv.gz",
    "results/build_demo_archive/database/data-demo_version-1_vocab-terms_source-abstract_type-tfidf_features.npz",
    "results/build_demo_archive/database/data-demo_version-1_vocab-terms_vocabulary.txt",
)


def is_downloaded(database: str) -> bool:
    """Return whether a database is Neurosynth's, from its own repository or from a mirror."""
    return database == NEUROSYNTH or database.startswith(("http://", "https://"))


def neurosynth_version(database: str, vocabulary: str) -> str | None:
    """Return the version of Neurosynth's database from the names of its files; None for other databases."""
    if is_downloaded(database):
        return DOWNLOADED_VERSION
    try:
        coordinates = Path(find_database(database, vocabulary).coordinates).name
    except (ValueError, OSError):
        return None
    published = PUBLISHED.match(coordinates)
    return published[1] if published else None


def neurosynth_names(vocabulary: str) -> DatabaseFiles:
    """Return the names of Neurosynth's files for a vocabulary."""
    start = f"data-neurosynth_version-{DOWNLOADED_VERSION}_"
    of_vocabulary = f"{start}vocab-{vocabulary}_"
    return DatabaseFiles(
        f"{start}coordinates.tsv.gz",
        f"{start}metadata.tsv.gz",
        f"{of_vocabulary}source-abstract_type-{VOCABULARIES[vocabulary]}_features.npz",
        f"{of_vocabulary}vocabulary.txt",
    )


def find_database(folder: str | Path, vocabulary: str) -> DatabaseFiles:
    """Find the files of a database in a folder, for one vocabulary.

    Raises
    ------
    ValueError
        If there is no such folder, a file is missing, or several files could be meant.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(
            f"there is no folder {folder} (current folder: {Path.cwd()}); correct the path, or choose {NEUROSYNTH}"
        )
    names = _file_names(root)
    if not any(TABLE.fullmatch(name) for name in names) and (root / NEUROSYNTH).is_dir():
        # NiMARE downloads into a subfolder of this name.
        root = root / NEUROSYNTH
        names = _file_names(root)
    found = {
        kind: _only(root, kind, sorted(name for name in names if _kind_of(name, vocabulary) == kind), names, vocabulary)
        for kind in DatabaseFiles._fields
    }
    return DatabaseFiles(**{kind: str(root / name) for kind, name in found.items()})


def files_of(rows: Iterable[Mapping[str, Any]]) -> DatabaseFiles | None:
    """Return the files in the table that fetch_database writes; None if one could not be fetched."""
    found = {row["kind"]: row["file"] for row in rows if row["status"] == "ok"}
    return DatabaseFiles(**found) if len(found) == len(DatabaseFiles._fields) else None


def files_of_database(database: str | None, vocabulary: str) -> list[str]:
    """List the user's own files of a database. Downloaded files and those of the demo are not listed."""
    if database is None or database == DEMO or is_downloaded(database):
        return []
    return list(find_database(database, vocabulary))


def explain_database(database: str, vocabulary: str) -> str | None:
    """Describe what is wrong with a database, or return None. No file is opened."""
    if is_downloaded(database) and vocabulary not in VOCABULARIES:
        return f"Neurosynth has no vocabulary {vocabulary}; choose one of {', '.join(VOCABULARIES)}"
    if database == DEMO and vocabulary != "terms":
        return f"the demo's database has no vocabulary {vocabulary}; set build_term_maps.vocabulary to terms"
    try:
        files_of_database(database, vocabulary)
    except ValueError as error:
        return str(error)
    return None


def _file_names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]


def _kind_of(name: str, vocabulary: str) -> str | None:
    if table := TABLE.fullmatch(name):
        return table[1]
    if (named := OF_VOCABULARY.fullmatch(name)) and named[1] == vocabulary:
        return named[2].partition(".")[0]
    return None


def _only(folder: Path, kind: str, found: list[str], names: Iterable[str], vocabulary: str) -> str:
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
    known = _complete_vocabularies(names)
    advice = f"its complete vocabularies are: {', '.join(known)}" if known else "it has no complete vocabulary"
    ending = {"features": "_features.npz", "vocabulary": "_vocabulary.txt"}[kind]
    raise ValueError(
        f"{folder} has no file of {kind} for the vocabulary {vocabulary} (build_term_maps.vocabulary), such as"
        f" data_vocab-{vocabulary}{ending}; {advice}"
    )


def _complete_vocabularies(names: Iterable[str]) -> list[str]:
    """List the vocabularies that have both files, of features and of words."""
    files = {named.groups() for name in names if (named := OF_VOCABULARY.fullmatch(name))}
    return sorted(name for name, count in Counter(name for name, _ in files).items() if count == 2)
