"""Store measurements of compare_example.py, and show them as tables and as a figure."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from watching import Row

STAGES = ("start and imports", "masking", "ICA", "figures")
COLUMNS = ("images", "components", "runs", "side", "part", "wall_s", "cpu_s", "peak_mb", "measured_on", "versions")
MEASURED = COLUMNS[5:8]
# What the tables and the figure call each side.
NAMES = {
    "example": "nilearn's example",
    "workflow": "this workflow",
    "robustica": "ICASSO with robustica",
    "run_ica": "ICASSO in this workflow",
}
COLOURS = {"example": "#c2255c", "workflow": "#1c7ed6", "robustica": "#e8590c", "run_ica": "#1c7ed6"}
TABLES_BEGIN, TABLES_END = "<!-- tables of benchmarks/compare_example.py -->\n", "<!-- end of the tables -->\n"


def write_tables(rows: Sequence[Row]) -> str:
    """Write the tables in Markdown: first those beside the example, by size; then those of ICASSO."""
    tables: dict[tuple[bool, int, int], list[Row]] = {}
    for row in rows:
        tables.setdefault(_table_of(row), []).append(row)
    return "\n".join(write_table(tables[key]) for key in sorted(tables))


def write_table(rows: Sequence[Row]) -> str:
    """Write the tables of one size in Markdown, with the date and the versions of both sides."""
    is_icasso, n_images, n_components = _table_of(rows[0])
    n_runs, found = rows[0]["runs"], {(row["side"], row["part"]): row for row in rows}
    runs = "one run" if n_runs == 1 else f"median of {n_runs} runs"
    versions = {row["side"]: row["versions"] for row in rows if row["side"] != "default"}
    lines = [
        f"### {'ICASSO, ' if is_icasso else ''}{n_images:,} images, {n_components} components: {runs}",
        "",
        f"Measured on {rows[0]['measured_on']}.",
        "",
        *(f"- {NAMES[side]}: {text}" for side, text in versions.items()),
        "",
        *(_compare_icasso(rows) if is_icasso else _compare_runs(found, versions)),
    ]
    return "\n".join(lines) + "\n"


def _table_of(row: Row) -> tuple[bool, int, int]:
    """Return what all rows of one table have in common: whether it compares ICASSO, images, components."""
    return row["side"] in ("robustica", "run_ica"), row["images"], row["components"]


def _compare_runs(found: Mapping[tuple[str, str], Row], versions: Mapping[str, str]) -> list[str]:
    """Compare whole runs of both sides; list the workflow's processes."""
    heads = [f"{side} ({_first(versions[side])})" if side in versions else side for side in ("example", "workflow")]
    lines = [
        f"| | {heads[0]}: wall s | CPU s | {heads[1]}: wall s | CPU s | ratio of wall | of CPU |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for part in ("whole", *STAGES):
        ours, theirs = found["workflow", part], found.get(("example", part))
        cells = [*_numbers(theirs), *_numbers(ours), *_ratios(theirs, ours, ("wall_s", "cpu_s"))]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    ours, theirs = found["workflow", "whole"], found.get(("example", "whole"))
    memory = [f"{row['peak_mb']:.0f} MB" if row else "" for row in (theirs, ours)]
    lines.append(f"| largest process | {memory[0]} | | {memory[1]} | | {_ratios(theirs, ours, ('peak_mb',))[0]} | |")
    lines += ["", "| the workflow's processes | wall s | CPU s | largest, MB |", "|---|---:|---:|---:|"]
    for (side, part), row in found.items():
        if side == "workflow" and part not in ("whole", *STAGES):
            lines.append(f"| {part} | {' | '.join(_numbers(row))} | {row['peak_mb']:.0f} |")
    if default := found.get(("default", "whole")):
        ratios = " and ".join(_ratios(default, ours, ("wall_s", "cpu_s")))
        wall, cpu = _numbers(default)
        lines += [
            "",
            f"With restarts, bootstraps and halves as in config.yaml: {wall} s, {cpu} s of CPU, {ratios} times as"
            " much.",
        ]
    return lines


def _compare_icasso(rows: Sequence[Row]) -> list[str]:
    """Compare robustica with reduce_images and run_ica. Column `part` says what each of them did."""
    theirs, ours = sorted(rows, key=lambda row: row["side"])
    lines = ["| | wall s | CPU s | largest process |", "|---|---:|---:|---:|"]
    for name, row in ((_first(theirs["versions"]), theirs), ("`reduce_images` and `run_ica`", ours)):
        lines.append(f"| {name}: {row['part']} | {' | '.join(_numbers(row))} | {row['peak_mb']:.0f} MB |")
    return [*lines, f"| ratio | {' | '.join(_ratios(theirs, ours, MEASURED))} |"]


def _first(versions: str) -> str:
    """Return the first package and its version."""
    return versions.partition(",")[0]


def _numbers(row: Row | None) -> list[str]:
    return [f"{row[column]:.1f}" if row else "" for column in ("wall_s", "cpu_s")]


def _ratios(theirs: Row | None, ours: Row, columns: Iterable[str]) -> list[str]:
    return [f"{theirs[column] / ours[column]:.1f}" if theirs else "" for column in columns]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw wall time, CPU time and memory against the number of images, both axes logarithmic."""
    figure = Figure(figsize=(11, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"wall_s": "wall time, s", "cpu_s": "CPU time, s", "peak_mb": "largest process, MB"}
    for axes, (column, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        for side, name in NAMES.items():
            of_side = [row for row in rows if row["side"] == side and (row["part"] == "whole" or _table_of(row)[0])]
            points = sorted((row["images"], row[column]) for row in of_side)
            if points:
                style = "s--" if _table_of(of_side[0])[0] else "o-"
                label = f"{name} ({_first(of_side[-1]['versions'])})" if side in ("example", "robustica") else name
                axes.loglog(*zip(*points, strict=True), style, color=COLOURS[side], label=label)
        axes.set(title=title, xlabel="images")
        # Label only the sizes of the runs. Those of ICASSO lie between them, and their labels would overlap.
        runs = {row["images"] for row in rows if not _table_of(row)[0]}
        axes.set_xticks(sorted(runs or {row["images"] for row in rows}))
        axes.xaxis.set_minor_locator(NullLocator())
        # Also label 2 and 5 within a power of ten, as plain numbers.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.grid(which="both", color="#e9ecef")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path)


def read_measurements(path: Path) -> list[Row]:
    """Read measurements that `save` has written."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        rows: list[Row] = list(csv.DictReader(stream, dialect="excel-tab"))
    for row in rows:
        row |= {column: int(row[column]) for column in COLUMNS[:3]}
        row |= {column: float(row[column]) if row[column] else None for column in MEASURED}
    return rows


def save(rows: Sequence[Row], folder: Path) -> None:
    """Write measurements, plot and tables. Tables of other sizes that were measured earlier are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    new = {_table_of(row) for row in rows}
    old = [row for row in read_measurements(folder / "scale.tsv") if _table_of(row) not in new]
    rows = sorted([*old, *rows], key=_table_of)
    with (folder / "scale.tsv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, dialect="excel-tab", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, folder / "scale.png")
    document = folder / "scale.md"
    if document.exists():
        before, _, rest = document.read_text().partition(TABLES_BEGIN)
        after = rest.partition(TABLES_END)[2]
        document.write_text(f"{before}{TABLES_BEGIN}{write_tables(rows)}{TABLES_END}{after}")
