"""Send what a stage has to say to its log file and, in short, to the screen."""

import logging
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
SCRIPTS = Path(__file__).parent


def log_to(log_file: str) -> None:
    """Start logging to `log_file`; the screen gets the same lines with the stage's name in front.

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
    logging.basicConfig(level=logging.INFO, handlers=[to_file, to_screen], force=True)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").propagate = False
    logging.getLogger("py.warnings").addHandler(to_file)

    sys.excepthook = lambda kind, error, trace: _report(kind, error, trace, screen, stage)


def progress(items: Iterable[Item], *, total: int, unit: str) -> Iterable[Item]:
    """Iterate over `items` with a progress line in the log every few seconds."""
    return tqdm(items, total=total, unit=unit, mininterval=5, file=sys.stderr, dynamic_ncols=False, ncols=80)


def _report(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, screen: IO[str], stage: str
) -> None:
    frames = traceback.extract_tb(trace)
    # Snakemake runs a copy of the script from .snakemake/scripts; what it imports runs from its own place.
    raised_by_us = bool(frames) and (
        Path(frames[-1].filename).parent == SCRIPTS or ".snakemake" in Path(frames[-1].filename).parts
    )
    if isinstance(error, ValueError | RuntimeError) and raised_by_us:
        logging.error("%s", error)
        return
    traceback.print_exception(kind, error, trace)
    print(f"{stage}: {kind.__name__}: {error} (a defect; the log has the traceback)", file=screen)
