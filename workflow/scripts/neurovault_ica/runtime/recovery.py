"""Continue after an interrupted run: remove its locks, check its results, and quote the errors in its logs.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

import contextlib
import fcntl
import os
import platform
import re
import shutil
import stat
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO

from neurovault_ica.runtime.commands import Call
from neurovault_ica.runtime.files import FAULTS_OF_THE_DISK, replacing
from neurovault_ica.runtime.tables import restore_sidecar, sidecar_of
from neurovault_ica.runtime.wording import counted

# An error in a log, up to the next message. Threads that download may still log something after the error of their job.
ERROR = re.compile(r"^\S+ \S+ ERROR (.*?)(?:\n[-\d]{10} [:\d]{8} [A-Z]+ |\Z)", re.MULTILINE | re.DOTALL)
# A line of `replacing` in a log: path and size of a result.
WROTE = re.compile(r"^\S+ \S+ INFO wrote (.+), (\d+) bytes$", re.MULTILINE)
# Folder of the scripts and modules, which are inputs of the rules.
SCRIPTS = Path(__file__).parents[2]
# Open files with a kernel lock. Closing one would release its lock, so they stay open until this process ends.
_running: list[IO[str]] = []


def quote_errors(folder: str | Path, *, since: float) -> Iterator[str]:
    """Quote the error in each log of a run.

    Parameters
    ----------
    folder : path
        Folder of the logs.
    since : float
        Start of the run, in seconds since 1970. Older logs are skipped.

    Yields
    ------
    str
        Path of the log and its error.
    """
    for log in sorted(Path(folder).glob("*.log")):
        if log.stat().st_mtime < since:
            continue
        text = log.read_text(encoding="utf-8", errors="replace").rstrip()
        message = ERROR.search(text)
        if message:
            yield f"{log}: {message[1]}"
        elif "\nTraceback (most recent call last):" in f"\n{text}":
            yield f"{log}: {text.splitlines()[-1]}"


def times_of(*paths: str) -> dict[str, float | None]:
    """Return the time of the last change of each file, or None if it does not exist."""
    return {path: Path(path).stat().st_mtime if Path(path).is_file() else None for path in paths}


def changed_since(times: Mapping[str, float | None]) -> list[str]:
    """List the files that exist and have changed since `times_of`.

    Only times of the same file are compared, so differing clocks of machines do not matter.
    """
    return [path for path, time in times_of(*times).items() if time not in (None, times[path])]


def check_results(folder: str | Path, call: Call) -> None:
    """Compare the size of every result with the size in the log of the job that wrote it.

    Logs are read in the order of their times, and the last size of a result counts. That is why times in the future are
    corrected first. At the end, missing descriptions of tables are written again.

    Parameters
    ----------
    folder : path
        Folder of the logs.
    call : Call
        How the user called Snakemake, for the command in the error.

    Raises
    ------
    RuntimeError
        If results were truncated or edited. Later stages would read wrong data.
    """
    correct_times("results", folder, SCRIPTS)
    written: dict[str, tuple[int, Path]] = {}
    for log in sorted(Path(folder).glob("*.log"), key=lambda log: log.stat().st_mtime):
        text = log.read_text(encoding="utf-8", errors="replace")
        for path, size in WROTE.findall(text):
            written[path] = int(size), log
    damaged = {
        path: (size, log)
        for path, (size, log) in sorted(written.items())
        if Path(path).is_file() and Path(path).stat().st_size != size
    }
    if damaged:
        lines = [
            f"  {path} has {counted(Path(path).stat().st_size, 'byte')}, but {size:,} according to {log}"
            for path, (size, log) in damaged.items()
        ]
        rules = sorted({re.sub(r"-\d+$", "", log.stem) for _, log in damaged.values()})
        raise RuntimeError(
            "these results were truncated or edited after they were written:\n"
            + "\n".join(lines)
            + f"\nTo compute them again: rm {' '.join(damaged)}; {call.for_target('--forcerun', *rules)}\nTo keep"
            f" them as they are: rm {' '.join(sorted({str(log) for _, log in damaged.values()}))}"
        )
    _restore_sidecars({path: size for path, (size, _) in written.items()})


def forget_sizes(log: str | Path, results: Collection[str]) -> None:
    """Remove the sizes of results from the log of their job. Call this before another job replaces these results.

    Without a size, `check_results` does not complain about the new file, even if this run is killed at once.
    """
    path = Path(log)
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = [line for line in lines if not ((found := WROTE.match(line)) and found[1] in results)]
        with replacing(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def add_sizes(log: str | Path, results: Collection[str]) -> None:
    """Add the sizes of replaced results to the log of their job. The log of this job is lost when it runs again."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    lines = [f"{now} INFO wrote {path}, {Path(path).stat().st_size} bytes\n" for path in results]
    if Path(log).is_file():
        with Path(log).open("a", encoding="utf-8") as stream:
            stream.writelines(lines)


def _restore_sidecars(written: Mapping[str, int]) -> None:
    """Write the missing descriptions of tables again. They are no outputs of rules, so no rule would run for them.

    Parameters
    ----------
    written : mapping
        Size of every result in bytes, by its path.
    """
    for path in written:
        sidecar = sidecar_of(Path(path))
        if path.endswith(".tsv") and str(sidecar) in written and Path(path).is_file() and not sidecar.exists():
            # No error here may stop a run: only a description is missing.
            with contextlib.suppress(OSError, KeyError, StopIteration):
                restore_sidecar(path)
                # After a change of the workflow, the rule of the table runs again and writes another description.
                if sidecar.stat().st_size != written[str(sidecar)]:
                    sidecar.unlink()


def correct_times(*folders: str | Path) -> int:
    """Set the times of files from the future to the present, in the same order. Return the number of these files.

    A clock that was ahead, and has been corrected since, leaves such files. Snakemake would take them for newer than
    everything that is written now. It would not rerun what depends on the tables of an update, and stop other jobs,
    because their outputs are older than their inputs.

    Parameters
    ----------
    *folders : path
        They may not exist.
    """
    now, times = time.time_ns(), {}
    for path in (path for folder in folders for path in Path(folder).rglob("*")):
        with contextlib.suppress(OSError):  # a broken link, or a temporary file that is gone
            if stat.S_ISREG((status := path.stat()).st_mode):
                times[path] = status.st_mtime_ns
    future = sorted({moment for moment in times.values() if moment > now})
    # Some file systems store microseconds.
    corrected = {moment: now - 1000 * (len(future) - rank) for rank, moment in enumerate(future)}
    wrong = {path: corrected[moment] for path, moment in times.items() if moment in corrected}
    for path, moment in wrong.items():
        with contextlib.suppress(OSError):
            os.utime(path, ns=(moment, moment))
    return len(wrong)


def drop_stale_locks(folder: str | Path = ".snakemake") -> None:
    """Remove the lock files that a killed Snakemake left in `folder`.

    Snakemake's locks are files, so they remain when it is killed. Each run therefore also holds a kernel lock, which
    disappears with the process. If we can take it exclusively, no other run is alive and the lock files are stale.
    Some file systems do not share kernel locks between machines. So lock files from another machine are kept, and
    Snakemake reports them; ``snakemake --unlock`` removes them.

    Raises
    ------
    RuntimeError
        If the folder is not writable.
    """
    try:
        Path(folder).mkdir(exist_ok=True)
        running = (Path(folder) / "running").open("a+")
        _running.append(running)
        fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
        running.seek(0)
        if running.read() == platform.node() and list(Path(folder).glob("locks/*.lock")):
            shutil.rmtree(Path(folder) / "locks")
            print("The last run in this folder was killed. This run continues it.", file=sys.stderr)
        running.truncate(0)
        running.write(platform.node())
        running.flush()
        fcntl.flock(running, fcntl.LOCK_SH)
    except BlockingIOError:
        fcntl.flock(running, fcntl.LOCK_SH)
    except OSError as error:
        # If the file system has no kernel locks, lock files are kept. Snakemake then reports them.
        if error.errno in FAULTS_OF_THE_DISK:
            place = Path(folder).absolute()
            raise RuntimeError(
                f"{error.strerror}: Snakemake cannot write to {place}; free space or change the permissions, or run in"
                " another folder"
            ) from error
