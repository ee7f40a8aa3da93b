"""What jobs ask a cluster for, and what they, or a run that was killed, have left.

Snakemake imports this while it reads the Snakefile, so only what Snakemake itself depends on is imported here.
"""

import fcntl
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from neurovault_ica.runtime.files import FAULTS_OF_THE_DISK

# Open as long as this process lives.
_running: list[IO[str]] = []


def last_words(folder: str | Path, *, since: float) -> Iterator[str]:
    """Quote the error in each log that was written after `since` (seconds since 1970), with the log's path."""
    for log in sorted(Path(folder).glob("*.log")):
        if log.stat().st_mtime < since:
            continue
        text = log.read_text(encoding="utf-8", errors="replace").rstrip()
        said = re.search(r"^\S+ \S+ ERROR (.*)", text, re.MULTILINE | re.DOTALL)
        if said:
            yield f"{log}: {said[1]}"
        elif "\nTraceback (most recent call last):" in f"\n{text}":
            yield f"{log}: {text.splitlines()[-1]}"


def check_results(folder: str | Path) -> None:
    """Compare the size of every result with what the logs in `folder` say that its job wrote.

    Raises
    ------
    RuntimeError
        If results were cut or edited: what follows from them would be wrong.
    """
    written: dict[str, tuple[int, Path]] = {}
    for log in sorted(Path(folder).glob("*.log"), key=lambda log: log.stat().st_mtime):
        text = log.read_text(encoding="utf-8", errors="replace")
        for path, size in re.findall(r"^\S+ \S+ INFO wrote (.+), (\d+) bytes$", text, re.MULTILINE):
            written[path] = int(size), log
    damaged = {
        path: (size, log)
        for path, (size, log) in sorted(written.items())
        if Path(path).is_file() and Path(path).stat().st_size != size
    }
    if damaged:
        lines = [
            f"  {path}: {size} bytes were written, says {log}; it has {Path(path).stat().st_size}"
            for path, (size, log) in damaged.items()
        ]
        rules = sorted({re.sub(r"-\d+$", "", log.stem) for _, log in damaged.values()})
        raise RuntimeError(
            "results were cut or edited after their jobs wrote them:\n"
            + "\n".join(lines)
            + f"\nTo make them again: rm {' '.join(damaged)}; snakemake --forcerun {' '.join(rules)} ...\nTo go on with"
            f" them as they are: rm {' '.join(sorted({str(log) for _, log in damaged.values()}))}"
        )


def drop_stale_locks(folder: str | Path = ".snakemake") -> None:
    """Remove the locks that Snakemake has left in `folder` if it was killed.

    Snakemake's locks are files and outlive it. So each run holds a lock of the kernel's besides, which does not: who
    gets that one alone has no living run beside it. Not all file systems share such locks between machines, so what
    another machine has left, Snakemake reports, and ``snakemake --unlock`` removes.

    Raises
    ------
    RuntimeError
        If the folder cannot be written.
    """
    try:
        Path(folder).mkdir(exist_ok=True)
        running = (Path(folder) / "running").open("a+")
        _running.append(running)
        fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
        running.seek(0)
        if running.read() == platform.node() and list(Path(folder).glob("locks/*.lock")):
            shutil.rmtree(Path(folder) / "locks")
            print("The last run in this folder was killed; this one continues it.", file=sys.stderr)
        running.truncate(0)
        running.write(platform.node())
        running.flush()
        fcntl.flock(running, fcntl.LOCK_SH)
    except BlockingIOError:
        fcntl.flock(running, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno in FAULTS_OF_THE_DISK:
            place = Path(folder).absolute()
            raise RuntimeError(f"{error.strerror}: snakemake must be able to write in {place}") from error
