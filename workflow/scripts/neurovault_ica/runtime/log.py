"""Write a stage's messages to its log file and, shortened, to the screen."""

import gc
import logging
import os
import stat
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

from neurovault_ica.runtime.files import FAULTS_OF_THE_DISK
from neurovault_ica.runtime.wording import duration

Item = TypeVar("Item")
PACKAGE = Path(__file__).parents[1]


def log_to(log_file: str, level: str) -> None:
    """Start logging to `log_file` and to the screen, where each line begins with the name of the stage.

    Messages below `level` (debug, info or warning) are dropped. Debug messages go to the log file only. Output of
    libraries to stderr also goes to the log file.

    A ValueError or RuntimeError raised by our own code is a message to the user and is shown without a traceback. Any
    other error is a defect and is logged with its traceback.
    """
    screen = os.fdopen(os.dup(2), "w", buffering=1)
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    log = Path(log_file).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115 open until the process ends
    os.dup2(log.fileno(), 2)

    stage = Path(log_file).stem
    to_file = logging.StreamHandler(sys.stderr)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    to_screen = logging.StreamHandler(screen)
    to_screen.setFormatter(logging.Formatter(f"{stage}: %(message)s"))
    to_screen.setLevel(logging.INFO)
    # The next run reads the sizes of all results from the log. So these lines are always written, but not shown.
    to_screen.addFilter(lambda record: record.name != "written")
    logging.getLogger("written").setLevel(logging.INFO)
    logging.basicConfig(level=level.upper(), handlers=[to_file, to_screen], force=True)
    for library in ("urllib3", "nilearn", "matplotlib", "fontTools"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").propagate = False
    logging.getLogger("py.warnings").addHandler(to_file)

    sys.excepthook = lambda kind, error, trace: report_error(kind, error, trace, screen, stage)
    # Scripts call this after their imports. These modules stay until the end, so garbage collection can skip them.
    # This saves 0.02 s (fetch_terms) to 0.15 s (plot_components) when the process ends.
    gc.freeze()


def progress(items: Iterable[Item], *, total: int, unit: str) -> Iterator[Item]:
    """Iterate over `items` and log every few seconds how many are done."""
    meter = Meter(total, unit=unit)
    for item in items:
        yield item
        meter.add()


class Meter:
    """Log the progress of a piece of work every few seconds.

    Each report is a new line, because several jobs share the screen and a progress bar would fill the log file.

    Parameters
    ----------
    total : int, optional
        Number of items, if known.
    unit : str
        Name of one item.
    name : str
        Text at the start of every line.
    every_s : float
        Seconds between two lines. In long work, the interval grows up to sixfold.
    """

    def __init__(self, total: int | None = None, *, unit: str, name: str = "", every_s: float = 10.0) -> None:
        self._total, self._unit, self._name, self._every_s = total, unit, name, every_s
        self._start = self._last = time.monotonic()
        self._done = self._failed = self._cached = self._bytes = 0
        self._lock = threading.Lock()

    def add(
        self, items: int = 1, *, n_bytes: int = 0, failed: int = 0, cached: int = 0, total: int | None = None
    ) -> None:
        """Count finished work, and log a line if enough time has passed. Any thread may call this.

        Parameters
        ----------
        items : int
            Number of finished items, including failed and cached ones.
        n_bytes : int
            Bytes received. They may be counted before their item is finished.
        failed, cached : int
            Number of items that failed, and number of items found in the cache, which took no time.
        total : int, optional
            New total number of items.
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
        """Describe the progress after `took_s` seconds."""
        cached = f" ({self._cached} in the cache)" if self._cached else ""
        parts = [f"{self._name}{self._done}{f' of {self._total}' if self._total else ''} {self._unit}s{cached}"]
        if self._bytes:
            parts += [f"{self._bytes / 1e6:.0f} MB", f"{self._bytes / 1e6 / took_s:.1f} MB/s"]
        if self._total and self._cached < self._done < self._total:
            parts.append(f"{duration(took_s * (self._total - self._done) / (self._done - self._cached))} left")
        if self._failed:
            parts.append(f"{self._failed} failed")
        return ", ".join(parts)


def report_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, screen: IO[str], stage: str
) -> None:
    """Log the error that ends a job."""
    if isinstance(error, KeyboardInterrupt):
        logging.warning("stopped by an interrupt, such as Ctrl-C; the same command continues the run")
        return
    if isinstance(error, OSError) and error.errno in FAULTS_OF_THE_DISK:
        place = error.filename or Path.cwd()
        problem = f"{error.strerror}: {place}{_whose(Path(place))}"
        logging.error("%s. Fix this and run again; finished results are kept.", problem)
        return
    frames = traceback.extract_tb(trace)
    if isinstance(error, ValueError | RuntimeError) and frames and _is_raised_by_us(frames[-1]):
        logging.error("%s", error)
        return
    traceback.print_exception(kind, error, trace)
    print(f"{stage}: {kind.__name__}: {error} (a defect; please report it with logs/{stage}.log)", file=screen)


def _whose(place: Path) -> str:
    """Name the owner of the file or folder that this user may not use. Empty if there is no other owner."""
    for path in (place, *place.absolute().parents):
        try:
            status = path.stat()
            is_usable = os.access(path, os.W_OK | os.X_OK if path.is_dir() else os.R_OK)
            if not is_usable and status.st_uid != os.geteuid():
                return f" ({path} belongs to {path.owner()}, {stat.filemode(status.st_mode)})"
        except (OSError, KeyError):  # it does not exist, may not be seen, or its owner has no name
            continue
        if path.is_dir():
            break
    return ""


def _is_raised_by_us(frame: traceback.FrameSummary) -> bool:
    """Return whether the innermost frame of an error is a ``raise`` in our own code.

    Compiled functions, such as those of numpy, have no frame. The innermost frame of their errors is our call.
    """
    file = Path(frame.filename)
    # Snakemake runs a copy of the script in .snakemake/scripts. The package is imported from its own folder.
    is_ours = file.is_relative_to(PACKAGE) or ".snakemake" in file.parts
    return is_ours and (frame.line or "").startswith("raise ")
