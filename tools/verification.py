"""Compare the results of a repeated run with the original: by checksum and, if that differs, by value."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from neurovault_ica.runtime.files import sha256_of

RUN = Path("results/write_lock/run.json")
# A rerun from a lock selects no images, so these tables and the report that shows them differ.
NOT_IN_A_LOCK = {"selection.tsv", "collections.tsv", "report.html"}
# Largest accepted difference of maps and loadings between processors, relative to the largest absolute value.
TOLERANCE = 1e-4
# Endings of the files that must agree within TOLERANCE.
PROMISED = ("_components.nii.gz", "_mixing.tsv", "_unmixing.tsv")


def is_paper(run_file: Path) -> bool:
    """Return whether a run.json is in a packed folder, not in the results of a run."""
    return (run_file.parent / "config.yaml").is_file()


def compare(run_file: Path, into: Path) -> bool:
    """Compare the results in `into` with those of a run, print the differences, and return whether they agree.

    Checksums are compared first. If a checksum differs and the old file is available, the numbers are compared. After a
    change of software or processor, maps and loadings agree if they differ by at most `TOLERANCE`.
    """
    run = json.loads(run_file.read_text(encoding="utf-8"))
    now = json.loads((into / RUN).read_text(encoding="utf-8"))
    old = run_file.parent if is_paper(run_file) else run_file.parent.parent.parent
    other = {
        path: difference(old / path, into / path)
        for path, expected in sorted(run["results_sha256"].items())
        if not (into / path).is_file() or sha256_of(into / path) != expected
    }
    if run["configuration"]["archive"] != now["configuration"]["archive"]:
        other = {path: found for path, found in other.items() if Path(path).name not in NOT_IN_A_LOCK}
    for path, found in other.items():
        if (into / path).is_file():
            print(f"differs: {path}" + ("" if found is None else f", by {found:.1g} of its largest value"))
        else:
            print(f"missing: {path}")
    n_results = len(run["results_sha256"])
    changed = dict(changes(run["software"], now["software"]))
    for key, (then, today) in changed.items():
        print(f"{key} differs: {then} then, {today} now")
    if not other:
        print(f"All {n_results} results are the same, byte for byte.")
        return True
    promised = {path: found for path, found in other.items() if path.endswith(PROMISED)}
    worst = max((np.inf if found is None else found for found in promised.values()), default=0.0)
    if changed and worst <= TOLERANCE:
        print(f"Maps and loadings agree: largest difference {worst:.1g} of the largest value; limit {TOLERANCE:g}.")
        return True
    if changed:
        print(f"Maps and loadings do NOT agree: difference {worst:.1g} of the largest value; limit {TOLERANCE:g}.")
    else:
        print("The results do NOT agree, although software and processor are the same. Please report this as a bug.")
    return False


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield each difference between two descriptions of software: the key, and the old and new value."""
    for key, value in then.items():
        if isinstance(value, Mapping):
            yield from changes(value, now.get(key, {}))
        elif value != now.get(key):
            yield key, (value, now.get(key))


def difference(old: Path, new: Path) -> float | None:
    """Return the largest absolute difference between the numbers of two files.

    It is relative to the largest absolute value of the volume or column. It is infinite if shapes differ, and None if
    the files cannot be compared.
    """
    if not old.is_file() or not new.is_file():
        return None
    before, after = numbers(old), numbers(new)
    if not before or list(before) != list(after):
        return None
    if any(before[name].shape != after[name].shape for name in before):
        return np.inf
    return max(relative_difference(before[name], after[name]) for name in before)


def relative_difference(before: np.ndarray, after: np.ndarray) -> float:
    """Return the largest difference of two arrays of one shape, relative to the largest absolute value of the first.

    It is infinite if values are missing (NaN) in different places.
    """
    if not np.array_equal(np.isnan(before), np.isnan(after)):
        return np.inf
    largest = np.nanmax(np.abs(before), initial=0.0)
    return float(np.nanmax(np.abs(before - after), initial=0.0) / (largest or 1.0))


def numbers(path: Path) -> dict[str, np.ndarray]:
    """Read the numbers in a file: a volume, or the numeric columns of a table by name."""
    if path.name.endswith(".nii.gz"):
        return {"data": np.asarray(nib.load(path).dataobj, dtype=float)}  # type: ignore[attr-defined]
    if path.suffix != ".tsv":
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, dialect="excel-tab"))
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else [])}
    return {name: array for name, texts in columns.items() if (array := as_numbers(texts)) is not None}


def as_numbers(texts: list[str]) -> np.ndarray | None:
    """Convert a column to numbers (n_rows,), with NaN for n/a; None if it has other text."""
    try:
        return np.array([np.nan if text == "n/a" else float(text) for text in texts])
    except ValueError:
        return None
