"""Write results so that a killed run never leaves half a file, and read them back.

Tables are tab separated with ``n/a`` for what is not known, as in BIDS. Every table is described once, in
``workflow/schemas/tables.json`` under ``<folder>/<name>``: writing checks the columns against that description
and puts a JSON sidecar beside the table, reading takes the types from it.
"""

import csv
import errno
import functools
import hashlib
import json
import logging
import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A module knows where it lies; the script of a workflow that Snakemake has fetched does not.
WORKFLOW_DIR = Path(__file__).parent.parent
TABLES_FILE = WORKFLOW_DIR / "schemas" / "tables.json"
MISSING = "n/a"
# Anybody can put a book into a record's description; csv refuses to read cells of more than 131,072 characters.
MAX_CELL = 2000
HOST = re.sub(r"\W", "_", platform.node())
# So long nobody writes at one file: what is older was left by a run that was killed, on whatever machine.
LEFT_AFTER_S = 24 * 3600
# A disk that is full or read-only, and rights that are missing.
FAULTS_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM}
# numpy says only how much it could write, not why it stopped.
NUMPY_STOPPED = re.compile(r"^\d+ requested and \d+ written$")
csv.field_size_limit(2**31 - 1)
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# They turn the direction of the text around them.
DIRECTIONS = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path` and rename it to `path` at the end.

    The temporary name keeps the extension, because nibabel and numpy choose the format by it. When the block
    raises, the temporary file is removed and an older `path` stays as it was. The log gets the size of a result, by
    which the next run knows whether it is still whole.

    Raises
    ------
    OSError
        With the name `path` where the disk gets full while the block writes: there the system tells no name.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        n_bytes = temporary.stat().st_size
        temporary.replace(path)
        if "results" in Path(path).parts:
            logging.getLogger("written").info("wrote %s, %d bytes", path, n_bytes)
    except OSError as error:
        fault = errno.ENOSPC if NUMPY_STOPPED.search(str(error)) else error.errno
        if fault not in FAULTS_OF_THE_DISK or error.filename not in (None, str(temporary)):
            raise
        raise OSError(fault, os.strerror(fault), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: str | Path) -> Path:
    """Name a temporary file beside `path`; make the folder, and rid it of what killed runs left."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    return path.with_name(f".part-{HOST}-{os.getpid()}-{path.name}")


@functools.cache
def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that are no more; once a folder, which may hold very many files."""
    for file in folder.glob(".part-*-*-*"):
        _, host, process, _ = file.name.split("-", 3)
        try:
            if (host == HOST and not _is_running(process)) or time.time() - file.stat().st_mtime > LEFT_AFTER_S:
                file.unlink()
        except FileNotFoundError:
            continue


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError, ValueError):
        return True
    return True


def remove_stale(path: str | Path, pattern: str, keep: Iterable[str | Path] = ()) -> None:
    """Remove files beside `path` that match `pattern` and are neither `path` nor in `keep`."""
    wanted = {Path(path), *map(Path, keep)}
    for file in Path(path).parent.glob(pattern):
        if file not in wanted:
            file.unlink()


def sha256_of(path: str | Path) -> str:
    """Hash the content of a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: str | Path, content: Any, *, sort_keys: bool = True) -> None:
    """Write `content` as indented JSON, sorted unless its order means something."""
    text = json.dumps(content, indent=2, sort_keys=sort_keys, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_table(path: str | Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str] = ()) -> None:
    """Write `rows` as a TSV file and its description as a JSON sidecar.

    Parameters
    ----------
    path : path
        ``.../<folder>/<name>.tsv``. A batch number at the end of the name (``quality-3.tsv``) is not part of it.
    rows : iterable of mappings
        Each with exactly the columns of the description. None, NaN and the empty string become ``n/a``.
        Texts are cut to `MAX_CELL` characters.
    columns : iterable of str, optional
        The columns where the description has a pattern such as ``ICA_*``; otherwise those of the description.

    Raises
    ------
    KeyError
        If the table or a column is not described, or a row lacks a column.
    """
    path = Path(path)
    description = _describe(path)
    names = list(columns) or list(description)
    specs = {name: _column(description, name, path) for name in names}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, dialect="excel-tab", lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            if len(row) != len(names):
                raise KeyError(f"{path.name}: a row has the columns {sorted(row)}, expected {sorted(names)}")
            writer.writerow([to_text(row[name]) for name in names])
    write_json(_sidecar(path), specs)


def read_table(path: str | Path, *, described_as: str | None = None) -> list[dict[str, Any]]:
    """Read a table written by `write_table`, one mapping a row; ``n/a`` is None, the rest has its described type.

    A table that was moved is `described_as` what it was, ``<folder>/<name>.tsv``.
    """
    path = Path(path)
    description = _describe(Path(described_as or path))
    # An editor may have put a mark of the byte order in front of a lock.
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, dialect="excel-tab")
        names = next(reader)
        parsers = [_PARSERS[_column(description, name, path)["Format"]] for name in names]
        return [
            {
                name: None if text == MISSING else parse(text)
                for name, parse, text in zip(names, parsers, row, strict=True)
            }
            for row in reader
        ]


def component_labels(n_components: int) -> list[str]:
    """Name the components ``ICA_00``, ``ICA_01``...; more than a hundred get three digits."""
    digits = max(2, len(str(n_components - 1)))
    return [f"ICA_{number:0{digits}d}" for number in range(n_components)]


def column_formats(path: str | Path) -> dict[str, str]:
    """Give the described type of each column of the table at `path`: integer, number, boolean or string."""
    return {name: column["Format"] for name, column in _describe(Path(path)).items()}


def column_names(path: str | Path) -> list[str]:
    """List the described columns of the table at `path`."""
    return list(_describe(Path(path)))


_PARSERS: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "number": float,
    "boolean": lambda text: text == "true",
    "string": str,
}


@functools.cache
def _descriptions() -> dict[str, dict[str, dict[str, str]]]:
    return json.loads(TABLES_FILE.read_text(encoding="utf-8"))


def _stem(path: Path) -> str:
    return re.sub(r"-\d+$", "", path.stem)


def _sidecar(path: Path) -> Path:
    return path.with_name(_stem(path) + ".json")


def _describe(path: Path) -> dict[str, dict[str, str]]:
    key = f"{path.parent.name}/{_stem(path)}"
    if key not in _descriptions():
        raise KeyError(f"{key} is not described in {TABLES_FILE.name}")
    return _descriptions()[key]


def _column(description: Mapping[str, dict[str, str]], name: str, path: Path) -> dict[str, str]:
    if name in description:
        return description[name]
    for pattern, column in description.items():
        if pattern.endswith("*") and name.startswith(pattern[:-1]):
            return column
    raise KeyError(f"{path.name}: the column {name} is not described in {TABLES_FILE.name}")


def to_text(value: Any) -> str:
    """Write a value, Python's or numpy's, as it stands in a table."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    # Names come from the network: a tab or a line break in one must not become a column or a row.
    # And half a surrogate pair, which JSON can hold, is no UTF-8.
    text = re.sub(r"[\ud800-\udfff]", "\ufffd", str(value))
    text = CONTROLS.sub(" ", DIRECTIONS.sub("", text))
    return _cut(text) if len(text) > MAX_CELL else text or MISSING


def _cut(text: str) -> str:
    """Cut a text; the hash at its end keeps different texts different, as terms must be."""
    end = f"… {hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text[: MAX_CELL - len(end)] + end
