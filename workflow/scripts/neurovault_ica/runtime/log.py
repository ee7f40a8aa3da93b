"""Send what a stage has to say to its log file and, in short, to the screen."""

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

from neurovault_ica.runtime.files import FAULTS_OF_THE_DISK

Item = TypeVar("Item")
PACKAGE = Path(__file__).parents[1]


def log_to(log_file: str, level: str) -> None:
    """Start logging to `log_file`; the screen gets the same lines with the stage's name in front.

    `level` is debug, info or warning; what is below it is written nowhere, and debug never goes to the screen.

    Everything that libraries print to stderr goes to the log too. An error raised by one of our own functions is
    a message to the user, so it is shown without a traceback; any other error is a defect and keeps its own.
    """
    screen = os.fdopen(os.dup(2), "w", buffering=1)
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    log = Path(log_file).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115 it stays open to the end
    os.dup2(log.fileno(), 2)

    stage = Path(log_file).stem
    to_file = logging.StreamHandler(sys.stderr)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    to_screen = logging.StreamHandler(screen)
    to_screen.setFormatter(logging.Formatter(f"{stage}: %(message)s"))
    to_screen.setLevel(logging.INFO)
    # What was written, and how large it was, stands in every log, and only there.
    to_screen.addFilter(lambda record: record.name != "written")
    logging.getLogger("written").setLevel(logging.INFO)
    logging.basicConfig(level=level.upper(), handlers=[to_file, to_screen], force=True)
    for library in ("urllib3", "nilearn", "matplotlib"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").propagate = False
    logging.getLogger("py.warnings").addHandler(to_file)

    sys.excepthook = lambda kind, error, trace: _report(kind, error, trace, screen, stage)


def progress(items: Iterable[Item], *, total: int, unit: str) -> Iterable[Item]:
    """Iterate over `items` with a progress line in the log every few seconds."""
    # Every stage imports this module, and few need what takes 50 ms to import.
    from tqdm import tqdm

    return tqdm(items, total=total, unit=unit, mininterval=5, file=sys.stderr, dynamic_ncols=False, ncols=80)


class Meter:
    """Say every few seconds, in the log and on the screen, how far a piece of work has come.

    Whole lines, not a bar that is drawn again: several jobs share the screen, and the log has no cursor.

    Parameters
    ----------
    total : int, optional
        How many items there are.
    unit : str
        What one item is called.
    name : str
        What every line begins with.
    every_s : float
        Time between two lines, in seconds; up to six times as long when it takes hours.
    """

    def __init__(self, total: int | None = None, *, unit: str, name: str = "", every_s: float = 10.0) -> None:
        self._total, self._unit, self._name, self._every_s = total, unit, name, every_s
        self._start = self._last = time.monotonic()
        self._done = self._failed = self._cached = self._bytes = 0
        self._lock = threading.Lock()

    def add(
        self, items: int = 1, *, n_bytes: int = 0, failed: int = 0, cached: int = 0, total: int | None = None
    ) -> None:
        """Count what was done, and say so if it is time; from any thread.

        Items are done, `failed` or `cached`, if they took no time; bytes may come before the item that they are of.
        """
        with self._lock:
            self._done += items
            self._bytes += n_bytes
            self._failed += failed
            self._cached += cached
            self._total = total or self._total
            now = time.monotonic()
            if now - self._last >= min(max(self._every_s, (now - self._start) / 60), 6 * self._every_s):
                self._last = now
                logging.info("%s", self.line(now - self._start))

    def line(self, took_s: float) -> str:
        """Describe the state after `took_s` seconds."""
        cached = f" ({self._cached} in the cache)" if self._cached else ""
        parts = [f"{self._name}{self._done}{f' of {self._total}' if self._total else ''} {self._unit}s{cached}"]
        if self._bytes:
            parts += [f"{self._bytes / 1e6:.0f} MB", f"{self._bytes / 1e6 / took_s:.1f} MB/s"]
        if self._total and self._cached < self._done < self._total:
            parts.append(f"{_minutes(took_s * (self._total - self._done) / (self._done - self._cached))} left")
        if self._failed:
            parts.append(f"{self._failed} failed")
        return ", ".join(parts)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _report(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, screen: IO[str], stage: str
) -> None:
    if isinstance(error, KeyboardInterrupt):
        logging.warning("stopped")
        return
    if isinstance(error, OSError) and error.errno in FAULTS_OF_THE_DISK:
        place = error.filename or Path.cwd()
        logging.error("%s: %s; mend that and run again, nothing that was finished is lost", error.strerror, place)
        return
    frames = traceback.extract_tb(trace)
    # Snakemake runs a copy of the script from .snakemake/scripts; what it imports runs from its own place.
    raised_by_us = bool(frames) and (
        Path(frames[-1].filename).is_relative_to(PACKAGE) or ".snakemake" in Path(frames[-1].filename).parts
    )
    if isinstance(error, ValueError | RuntimeError) and raised_by_us:
        logging.error("%s", error)
        return
    traceback.print_exception(kind, error, trace)
    print(f"{stage}: {kind.__name__}: {error} (a defect; the log has the traceback)", file=screen)
