"""Write files so that a killed run never leaves half a file.

A file is written under a temporary name in its own folder and renamed when it is complete.
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

import psutil

HOST = re.sub(r"\W", "_", platform.node())
# No write takes this long. An older temporary file was left by a run that was killed, here or on another machine.
LEFT_AFTER_S = 24 * 3600
# Tolerance for the start time of a process. The system derives it from the clock, which may be corrected in between.
CLOCK_ERROR_S = 2
# System errors that mean a full or read-only disk, or missing permissions.
FAULTS_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM}
# numpy's message for an incomplete write. It has no error number; the usual cause is a full disk.
NUMPY_STOPPED = re.compile(r"^\d+ requested and \d+ written$")


def package_file(name: str) -> Path:
    """Return the path of a data file that a module reads.

    Call it with a literal string. `code_of` in workflow/rules/common.smk searches the source code for these calls, and
    makes the file an input of every rule that reads it.

    Parameters
    ----------
    name : str
        Path relative to the folder of the package.
    """
    return Path(__file__).parents[1] / name


def starting_folder(path: str | Path) -> str:
    """Return the folder that a relative path starts from, in brackets, for messages. Empty for an absolute path."""
    return "" if Path(path).is_absolute() else f" (relative to {Path.cwd()})"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, and rename the file to `path` at the end of the block.

    The temporary name keeps the extension, because nibabel and numpy choose the format by it. If the block raises an
    error, the temporary file is removed and an older `path` is kept. The size of a result is logged, so that the next
    run can check whether the file is still complete.

    Raises
    ------
    OSError
        If the disk is full or not writable. The error names `path`, unlike some errors of the system.
    """
    temporary = temporary_path(path)
    with naming_full_disk(path, temporary):
        yield temporary
        n_bytes = temporary.stat().st_size
        temporary.replace(path)
        if "results" in Path(path).parts:
            logging.getLogger("written").info("wrote %s, %d bytes", path, n_bytes)


@contextmanager
def naming_full_disk(path: str | Path, temporary: Path) -> Iterator[None]:
    """If the disk is full or not writable, raise an error that names `path`. Always remove the temporary file."""
    try:
        yield
    except OSError as error:
        fault = errno.ENOSPC if NUMPY_STOPPED.search(str(error)) else error.errno
        if fault not in FAULTS_OF_THE_DISK or error.filename not in (None, str(temporary)):
            raise
        raise OSError(fault, os.strerror(fault), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: str | Path) -> Path:
    """Name a temporary file in the folder of `path`.

    The folder is made if needed, and temporary files that killed runs left in it are removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    return path.with_name(f".part-{HOST}-{os.getpid()}.{_started(os.getpid())}-{path.name}")


@functools.cache
def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files of ended processes. Each folder is searched once, because a large one takes time."""
    for file in folder.glob(".part-*-*-*"):
        _, host, process, _ = file.name.split("-", 3)
        try:
            if (host == HOST and not _is_running(process)) or time.time() - file.stat().st_mtime > LEFT_AFTER_S:
                file.unlink()
        except (FileNotFoundError, PermissionError):
            # Another process has removed it, or in a shared folder it belongs to another user.
            continue


def _is_running(process: str) -> bool:
    """Return whether the process in the name of a temporary file (number.start) is still running."""
    number, _, start = process.partition(".")
    try:
        # In a container, killed processes may stay as zombies, because nothing collects them.
        if psutil.Process(int(number)).status() == psutil.STATUS_ZOMBIE:
            return False
        # A new process may get the number of an ended one, so compare the start times too.
        return abs(_started(int(number)) - int(start)) <= CLOCK_ERROR_S
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False


@functools.cache
def _started(number: int) -> int:
    """Return when a process started, in seconds since 1970."""
    return round(psutil.Process(number).create_time())


def remove_stale(path: str | Path, pattern: str, keep: Iterable[str | Path] = ()) -> None:
    """Remove files in the folder of `path` that match `pattern`, except `path` and those in `keep`."""
    wanted = {Path(path), *map(Path, keep)}
    for file in Path(path).parent.glob(pattern):
        if file not in wanted:
            file.unlink()


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 checksum of a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: str | Path, content: Any, *, sort_keys: bool = True) -> None:
    """Write `content` as indented JSON. Keys are sorted unless their order matters."""
    text = json.dumps(content, indent=2, sort_keys=sort_keys, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
