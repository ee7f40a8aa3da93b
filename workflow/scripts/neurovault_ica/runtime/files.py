"""Write results so that a killed run never leaves half a file, and read them back.

Tables are tab separated with ``n/a`` for what is not known, as in BIDS. Every table is described once, in
``workflow/schemas/tables.json`` under ``<folder>/<name>``: writing checks the columns against that description
and puts a JSON sidecar beside the table, reading takes the types from it.
"""

import errno
import functools
import hashlib
import json
import logging
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOST = re.sub(r"\W", "_", platform.node())
# So long nobody writes at one file: what is older was left by a run that was killed, on whatever machine.
LEFT_AFTER_S = 24 * 3600
# A disk that is full or read-only, and rights that are missing.
FAULTS_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM}
# numpy says only how much it could write, not why it stopped.
NUMPY_STOPPED = re.compile(r"^\d+ requested and \d+ written$")


def package_file(name: str) -> Path:
    """Return the path of a data file that a module reads; `name` is relative to the package's folder.

    Call it with a literal: `code_of` in workflow/rules/common.smk finds these calls, so that an edit of the file reruns
    the rules that use it.
    """
    return Path(__file__).parents[1] / name


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
