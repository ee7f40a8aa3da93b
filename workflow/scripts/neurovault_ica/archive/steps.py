"""Count the images that each step of the selection dropped: the rows of selection.tsv."""

import logging
from collections.abc import Iterable, Mapping, Sized
from typing import Any

from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Record

Step = dict[str, Any]
READABLE = "readable metadata"
READ = "read until there were enough images"
LISTED_TWICE = "listed in another collection too"


def step(level: str, criterion: str, before: Sized, after: Sized) -> Step:
    """Make the row of selection.tsv for a criterion, from the records before and after it."""
    return step_of_counts(level, criterion, len(before), len(after))


def step_of_counts(level: str, criterion: str, tested: int, kept: int) -> Step:
    """Make a row of selection.tsv from counts."""
    return {"level": level, "criterion": criterion, "tested": tested, "dropped": tested - kept, "kept": kept}


def count_damaged(level: str, n_read: int, damaged: Mapping[str, int]) -> Step:
    """Count the metadata that could not be read, and log each problem."""
    for line, number in damaged.items():
        logging.warning("metadata cannot be read: %s%s", line, f" ({number} times)" if number > 1 else "")
    return step_of_counts(level, READABLE, n_read + sum(damaged.values()), n_read)


def require_images(selected: list[Record], steps: Iterable[Step], label: str) -> None:
    """Stop if no image is left, and name the criterion that dropped the last ones.

    Parameters
    ----------
    selected : list of dict
    steps : iterable of dict
        Rows of selection.tsv.
    label : str
        Name of the archive.

    Raises
    ------
    RuntimeError
        If `selected` is empty.
    """
    if selected:
        return
    steps = list(steps)
    if not any(row["tested"] for row in steps):
        raise RuntimeError(f"{label} has no collections; check archive.source, archive.url and archive.data_dir")
    emptied = next((row for row in steps if row["tested"] and not row["kept"]), None)
    if emptied is None:
        read = next(row["kept"] for row in steps if row["criterion"] == READ)
        raise RuntimeError(
            f"{label} has no images in the {counted(read, 'collection')} meeting the collection criteria of"
            " fetch_metadata; relax these criteria"
        )
    if emptied["criterion"] == READABLE:
        raise RuntimeError(
            f"{label}: none of {counted(emptied['tested'], emptied['level'])} has readable metadata; the warnings above"
            " in the log say why"
        )
    raise RuntimeError(
        f'no image is left: "{emptied["criterion"]}" dropped the last {counted(emptied["dropped"], emptied["level"])};'
        " relax this criterion of fetch_metadata in the configuration"
    )


def log_steps(steps: Iterable[Step]) -> None:
    """Log what each criterion dropped."""
    for row in steps:
        if row["dropped"] and row["criterion"] == READ:
            read = counted(row["tested"], "collection")
            logging.info("read %d of %s; these had enough images, so the others were not read", row["kept"], read)
        elif row["dropped"]:
            tested = counted(row["tested"], row["level"])
            logging.info("%s: dropped %d of %s", row["criterion"], row["dropped"], tested)
