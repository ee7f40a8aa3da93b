"""Read the names that a person gave to components, with verdicts and remarks: the table ``plot_components.labels``.

The page of a run writes such tables.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from neurovault_ica.runtime.files import starting_folder
from neurovault_ica.runtime.tables import CONTROLS, DIRECTIONS, MISSING, component_labels, without_guard
from neurovault_ica.runtime.text_tables import decode, split_line, split_lines
from neurovault_ica.runtime.wording import counted

NEEDED_COLUMNS = ("component", "name")
NAME_TABLE_COLUMNS = (*NEEDED_COLUMNS, "verdict", "remark", "peak")
VERDICTS = ("accept", "reject", "unsure")
# If the peak of a component has moved farther than this, the names were given to another decomposition. On another
# processor, or with a few more images, a peak moves by a voxel or two.
MAX_PEAK_SHIFT_MM = 20.0
NAME_TABLE_ADVICE = (
    f"give a tab-separated table with the columns {' and '.join(NEEDED_COLUMNS)}, and optionally"
    f" {', '.join(NAME_TABLE_COLUMNS[2:])}"
)


class OwnName(NamedTuple):
    """A person's notes about a component. Texts are empty if nothing was written."""

    name: str
    verdict: str  # accept, reject, unsure or empty
    remark: str
    peak: tuple[float, ...] | None  # mm, peak of the component when it was named


def read_own_names(
    path: str, components: Sequence[str], peaks: Sequence[Sequence[float]] | None = None
) -> dict[str, OwnName]:
    """Read a person's names, by component.

    Parameters
    ----------
    path : str
        A tab-separated table with the columns ``component`` and ``name``. Optional columns are ``verdict`` (accept,
        reject or unsure), ``remark`` and ``peak`` (x, y and z in mm). An empty cell and ``n/a`` are no text.
    components : sequence of str
        The components of the run. Those that are not in the table keep their names.
    peaks : sequence of (x, y, z), optional
        The peak of each component's map in mm, to check that the person named these components.

    Raises
    ------
    ValueError
        If the file is not such a table, names an unknown component, or has two lines for one component. Also if a
        component had its peak elsewhere when it was named.
    """
    file = Path(path).name
    lines = split_lines(decode(Path(path).read_bytes(), file))
    rows = [(number, _cells(file, number, line)) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise ValueError(f"{file} is empty; {NAME_TABLE_ADVICE}")
    # Spreadsheets write empty columns beside a table.
    width = max(_last_filled(cells) for _, cells in rows)
    rows = [(number, cells[:width]) for number, cells in rows]
    heading = [cell.lower() for cell in rows[0][1]]
    _check_heading(file, heading)
    found: dict[str, OwnName] = {}
    for number, cells in rows[1:]:
        if len(cells) != len(heading):
            raise ValueError(
                f"{file}, line {number} has {counted(len(cells), 'column')}, but the first line has {len(heading)}:"
                f" {' | '.join(cells)[:80]}"
            )
        row = dict.fromkeys(NAME_TABLE_COLUMNS, "") | dict(zip(heading, cells, strict=True))
        component = row["component"]
        if component not in components:
            near = [label for label in components if _is_same(label, component)]
            advice = f"did you mean {near[0]}?" if near else f"this run has {components[0]} to {components[-1]}"
            raise ValueError(f"{file}, line {number}: there is no component {component[:80]!r}; {advice}")
        if component in found:
            raise ValueError(f"{file}, line {number}: {component} has two lines; keep one")
        verdict = row["verdict"].lower()
        if verdict not in ("", *VERDICTS):
            raise ValueError(
                f"{file}, line {number}: the verdict {row['verdict'][:80]!r} is not one of {', '.join(VERDICTS)}"
            )
        found[component] = OwnName(row["name"], verdict, row["remark"], _peak(file, number, row["peak"]))
    if peaks is not None:
        _check_peaks(path, found, dict(zip(components, peaks, strict=True)))
    return found


def find_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the table ``plot_components.labels``, for the check of the configuration."""
    path = config["plot_components"]["labels"]
    if path is None:
        return
    try:
        read_own_names(path, component_labels(config["run_ica"]["n_components"]))
    except FileNotFoundError:
        yield f"plot_components.labels: file not found: {path}{starting_folder(path)}"
    except (OSError, ValueError) as error:
        yield f"plot_components.labels: {error}"


def _check_peaks(path: str, own: Mapping[str, OwnName], peaks: Mapping[str, Sequence[float]]) -> None:
    """Refuse names that a person gave to another decomposition, whose components have other peaks."""
    moved = [
        f"{label} ({_written(one.peak)} then, {_written(peaks[label])} mm now)"
        for label, one in own.items()
        if one.peak is not None and math.dist(one.peak, peaks[label]) > MAX_PEAK_SHIFT_MM
    ]
    if moved:
        raise ValueError(
            f"plot_components.labels: {path} was written for other components, because their peaks were elsewhere:"
            f" {', '.join(moved)}. Name the components of this run on its page and export a new table, or set"
            " plot_components.labels: null. If the names fit nevertheless, remove the column peak"
        )


def _cells(file: str, number: int, line: str) -> list[str]:
    cells = [CONTROLS.sub(" ", DIRECTIONS.sub("", cell)).strip() for cell in split_line(file, number, line)]
    return ["" if cell == MISSING else without_guard(cell) for cell in cells]


def _last_filled(cells: Sequence[str]) -> int:
    """Return the number of cells up to and including the last that is not empty."""
    return max((place for place, cell in enumerate(cells, start=1) if cell), default=0)


def _is_same(label: str, written: str) -> bool:
    """Return whether a text means this label: ``ica_1``, ``ICA 01`` and ``1`` mean ``ICA_01``."""
    digits = re.fullmatch(r"(?:ica)?[\s_-]*0*(\d+)", written, flags=re.IGNORECASE)
    return digits is not None and int(digits[1]) == int(label.rpartition("_")[2])


def _check_heading(file: str, heading: Sequence[str]) -> None:
    for column in heading:
        if column not in NAME_TABLE_COLUMNS:
            near = [] if "," in column else difflib.get_close_matches(column, NAME_TABLE_COLUMNS, n=1)
            advice = f"did you mean {near[0]}?" if near else NAME_TABLE_ADVICE
            raise ValueError(f"{file}: unknown column {column[:80]!r}; {advice}")
        if heading.count(column) > 1:
            raise ValueError(f"{file}: two columns are called {column}; keep one")
    if missing := [column for column in NEEDED_COLUMNS if column not in heading]:
        raise ValueError(f"{file}: the column {' and '.join(missing)} is missing; {NAME_TABLE_ADVICE}")


def _peak(file: str, number: int, text: str) -> tuple[float, ...] | None:
    if not text:
        return None
    try:
        x, y, z = map(float, re.split(r"[\s,;]+", text.replace("\u2212", "-")))
        if not math.isfinite(x + y + z):
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"{file}, line {number}: the peak {text[:80]!r} is not three numbers; write x, y and z in mm: 42 -22 54"
        ) from error
    return x, y, z


def _written(place: Sequence[float]) -> str:
    return " ".join(f"{mm:.0f}" for mm in place)
