"""Compare time and memory of this workflow and of nilearn's example, for the same images on this machine.

    make bench ARGS="--archive my_nilearn_data --sizes 119x8 300x20 1000x20 --out bench"

Each size is images x components. The images come from the NeuroVault cache --archive and are copied to a temporary
cache. If it has too few images, mixtures of them with noise are added; if it has none, images are simulated.

Both sides run in turn. Each starts new processes with the images on disk and ends with a figure of every component. The
workflow uses presets/nilearn_example.yaml, which runs FastICA once. With --default, the workflow also runs with the
restarts, bootstraps and split halves of config.yaml. Wall time includes the start of Snakemake. Memory is the resident
memory of the largest process, including mapped files. The example is skipped for sizes above --largest-example.

With --out, measurements (scale.tsv) and a plot of cost against the number of images (scale.png) are written to that
folder; sizes measured earlier are kept. If the folder has a scale.md, its tables are updated. Without --sizes, nothing
is measured and only these files are updated.
"""

import argparse
import csv
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
import yaml
from archives import find_images, make_archive
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

ROOT = Path(__file__).parent.parent
SHIPPED = ("Snakefile", "config.yaml", "workflow", "profiles", "presets", "envs")
# Seconds between measurements of the running processes.
POLL_S = 0.05

# nilearn's example without its downloads. It prints the wall and CPU time of each step, in seconds.
EXAMPLE = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
marks = [("start", time.perf_counter(), 0)]
mark = lambda name: marks.append((name, time.perf_counter(), time.process_time()))
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats
from sklearn.decomposition import FastICA
from nilearn.datasets import load_mni152_brain_mask
from nilearn.image import smooth_img
from nilearn.maskers import NiftiMasker
from nilearn import plotting
mark("start and imports")
files, n_components, folder = json.loads(open(sys.argv[1]).read()), int(sys.argv[2]), sys.argv[3]
masker = NiftiMasker(mask_img=load_mni152_brain_mask(resolution=2)).fit()
X = []
for file in files:
    try:
        X.append(np.squeeze(masker.transform(smooth_img(file, fwhm=None))))
    except Exception as error:
        print(file, error, file=sys.stderr)
X = np.vstack(X)
mark("masking")
ica = FastICA(n_components=n_components, random_state=0)
maps = ica.fit_transform(X.T).T
mark("ICA")
for number, component in enumerate(maps):
    if -component.min() > component.max():
        component = -component
    threshold = stats.scoreatpercentile(np.abs(component), 90)
    img = masker.inverse_transform(component)
    display = plotting.plot_stat_map(img, threshold=threshold, colorbar=False, title=f"{number}")
    display.savefig(f"{folder}/{number}.png")
    plt.close("all")
mark("figures")
print(json.dumps({name: (wall - marks[i][1], cpu - marks[i][2]) for i, (name, wall, cpu) in enumerate(marks[1:])}))
"""
# All other work (listing images and terms, checking files, Snakemake itself) counts as "start and imports".
STAGE_OF = {
    "build_mask": "masking", "mask_images": "masking", "stack_images": "masking",
    "reduce_images": "ICA", "run_ica": "ICA", "plot_components": "figures",
}  # fmt: skip
STAGES = ("start and imports", "masking", "ICA", "figures")
COLUMNS = ("images", "components", "runs", "side", "part", "wall_s", "cpu_s", "peak_mb")
MEASURED = COLUMNS[5:]
AGAIN = "again, with nothing to do"
# Keys of config.yaml that set how often FastICA runs.
RUNS_OF_FASTICA = ("n_restarts", "n_bootstraps", "n_splits")
TABLES_BEGIN, TABLES_END = "<!-- tables of benchmarks/compare_example.py -->\n", "<!-- end of the tables -->\n"

Row = dict[str, Any]


def watch(command: Sequence[str], folder: Path) -> tuple[list[Row], str]:
    """Run a command and measure its processes.

    Returns
    -------
    processes : list of dict
        With ``part`` ("whole" for the command itself, otherwise the rule), times ``began`` and ``ended`` in seconds,
        ``cpu_s`` and ``peak_mb``.
    printed : str
        Output of the command.
    """
    started, before = time.perf_counter(), os.times()
    with (folder / "stderr.txt").open("w") as errors, (folder / "stdout.txt").open("w") as printed:
        main = psutil.Popen(command, cwd=folder, stdout=printed, stderr=errors)
    seen: dict[int, Row] = {}
    while main.poll() is None:
        for process in [main, *main.children(recursive=True)]:
            try:
                with process.oneshot():
                    rule, cpu_s = _rule_of(process.cmdline()), sum(process.cpu_times()[:2])
                    memory_mb = process.memory_info().rss / 1e6
            except psutil.Error:
                continue  # the process has just ended
            row = seen.setdefault(process.pid, {"part": "", "peak_mb": 0.0, "began": time.perf_counter()})
            # A new process has its parent's command line until it starts its own program.
            row["part"] = "Snakemake" if process.pid == main.pid else rule or row["part"]
            row["ended"], row["cpu_s"] = time.perf_counter(), cpu_s
            row["peak_mb"] = max(row["peak_mb"], memory_mb)
        time.sleep(POLL_S)
    ended, after = time.perf_counter(), os.times()
    if main.returncode:
        raise RuntimeError(f"{command[:3]} failed:\n{(folder / 'stderr.txt').read_text()[-3000:]}")
    whole = {
        "part": "whole",
        "began": started,
        "ended": ended,
        # CPU time of all processes until they end, which polling would miss.
        "cpu_s": after.children_user + after.children_system - before.children_user - before.children_system,
        "peak_mb": max(row["peak_mb"] for row in seen.values()),
    }
    return [whole, *seen.values()], (folder / "stdout.txt").read_text()


def _rule_of(command: Sequence[str]) -> str:
    """Return the rule from the name of the script's copy in .snakemake/scripts; "" for other commands."""
    names = [re.fullmatch(r".*/\.snakemake/scripts/tmp\w+\.(\w+)\.py", argument) for argument in command]
    return next((name[1] for name in names if name), "")


def run_example(files: list[Path], n_components: int, folder: Path) -> list[Row]:
    """Run nilearn's example in a new process."""
    (folder / "files.json").write_text(json.dumps([str(file) for file in files]))
    command = [sys.executable, "-c", EXAMPLE, str(folder / "files.json"), str(n_components), str(folder)]
    processes, printed = watch(command, folder)
    steps = json.loads(printed.splitlines()[-1])
    whole = add_up("whole", processes[:1])
    parts = [{"part": part, "wall_s": wall, "cpu_s": cpu, "peak_mb": None} for part, (wall, cpu) in steps.items()]
    return [whole, *parts]


def run_workflow(
    data_dir: Path, n_components: int, folder: Path, arguments: argparse.Namespace, side: str
) -> list[Row]:
    """Run the workflow with the example's preset up to the figures, then again with nothing to do."""
    for name in SHIPPED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    overlay: dict[str, dict[str, Any]] = {
        "archive": {"source": "offline", "data_dir": str(data_dir)},
        "fetch_metadata": {"max_images": None},
        "run_ica": {"n_components": n_components},
    }
    if side == "default":
        shipped = yaml.safe_load((ROOT / "config.yaml").read_text())["run_ica"]
        overlay["run_ica"] |= {key: shipped[key] for key in RUNS_OF_FASTICA}
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        str(arguments.cores),
        "results/plot_components/overview.png",
    ]
    command += ["--configfile", "presets/nilearn_example.yaml", "overlay.yaml"]
    (whole, *processes), _ = watch(command, folder)
    (again, *_), _ = watch(command, folder)
    by_rule, by_stage = defaultdict(list), defaultdict(list)
    for row in processes:
        by_rule[row["part"] or "others"].append(row)
        by_stage[STAGE_OF.get(row["part"], STAGES[0])].append(row)
    stages = {stage: add_up(stage, rows) for stage, rows in by_stage.items()}
    # Snakemake runs during all stages. Its own share is the time when no stage runs.
    in_stages = [row for stage in STAGES[1:] for row in by_stage[stage]]
    stages[STAGES[0]]["wall_s"] = whole["ended"] - whole["began"] - _wall(in_stages)
    return [
        add_up("whole", [whole]),
        *stages.values(),
        *(add_up(rule, rows) for rule, rows in by_rule.items()),
        add_up(AGAIN, [again]),
    ]


def add_up(part: str, processes: Sequence[Row]) -> Row:
    """Combine processes: wall time while any of them ran, sum of CPU seconds, and largest memory of one process."""
    return {
        "part": part,
        "wall_s": _wall(processes),
        "cpu_s": sum(row["cpu_s"] for row in processes),
        "peak_mb": max(row["peak_mb"] for row in processes),
    }


def _wall(processes: Iterable[Row]) -> float:
    """Return the time during which at least one process ran. Batches may run at the same time."""
    wall = reached = 0.0
    for row in sorted(processes, key=itemgetter("began")):
        wall += max(row["ended"] - max(row["began"], reached), 0)
        reached = max(reached, row["ended"])
    return wall


def measure_size(n_images: int, n_components: int, sources: list[Path], arguments: argparse.Namespace) -> list[Row]:
    """Run both sides in turn on the same images and return the median of each part."""
    runs: dict[tuple[str, str], list[Row]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=arguments.workdir) as temporary:
        folder = Path(temporary)
        files = make_archive(folder / "data", sources, n_images)
        sides = ["example"] * (n_images <= arguments.largest_example) + ["workflow"] + ["default"] * arguments.default
        for number in range(arguments.runs):
            for side in sides:
                (place := folder / f"{side}{number}").mkdir()
                if side == "example":
                    rows = run_example(files, n_components, place)
                else:
                    rows = run_workflow(folder / "data", n_components, place, arguments, side)
                for row in rows:
                    runs[side, row["part"]].append(row)
                shutil.rmtree(place)
    return [
        {"images": n_images, "components": n_components, "runs": arguments.runs, "side": side, "part": part}
        | {
            column: None if rows[0][column] is None else round(statistics.median(row[column] for row in rows), 2)
            for column in MEASURED
        }
        for (side, part), rows in runs.items()
    ]


def write_tables(rows: Sequence[Row]) -> str:
    """Write tables of all sizes in Markdown, in ascending order."""
    sizes = sorted({(row["images"], row["components"]) for row in rows})
    return "\n".join(write_table([row for row in rows if (row["images"], row["components"]) == size]) for size in sizes)


def write_table(rows: Sequence[Row]) -> str:
    """Write the tables of one size in Markdown: both sides with their ratios, then the workflow's processes."""
    found = {(row["side"], row["part"]): row for row in rows}
    n_images, n_components, n_runs = (rows[0][column] for column in COLUMNS[:3])
    runs = "one run" if n_runs == 1 else f"median of {n_runs} runs"
    lines = [
        f"### {n_images:,} images, {n_components} components: {runs}",
        "",
        "| | example: wall s | CPU s | workflow: wall s | CPU s | ratio of wall | of CPU |",
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
    return "\n".join(lines) + "\n"


def _numbers(row: Row | None) -> list[str]:
    return [f"{row[column]:.1f}" if row else "" for column in ("wall_s", "cpu_s")]


def _ratios(theirs: Row | None, ours: Row, columns: Iterable[str]) -> list[str]:
    return [f"{theirs[column] / ours[column]:.1f}" if theirs else "" for column in columns]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw wall time, CPU time and memory against the number of images, both axes logarithmic."""
    figure = Figure(figsize=(11, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"wall_s": "wall time, s", "cpu_s": "CPU time, s", "peak_mb": "largest process, MB"}
    for axes, (column, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        for side, colour in (("example", "#c2255c"), ("workflow", "#1c7ed6")):
            points = sorted((r["images"], r[column]) for r in rows if r["side"] == side and r["part"] == "whole")
            if points:
                axes.loglog(*zip(*points, strict=True), "o-", color=colour, label=side)
        axes.set(title=title, xlabel="images")
        axes.set_xticks(sorted({r["images"] for r in rows}))
        axes.xaxis.set_minor_locator(NullLocator())
        # Also label 2 and 5 within a power of ten, as plain numbers.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.grid(which="both", color="#e9ecef")
        axes.legend()
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
    """Write measurements, plot and tables. Other sizes that were measured earlier are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    new = {(row["images"], row["components"]) for row in rows}
    old = [row for row in read_measurements(folder / "scale.tsv") if (row["images"], row["components"]) not in new]
    rows = sorted([*old, *rows], key=lambda row: (row["images"], row["components"]))
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


def main() -> None:
    """Measure all sizes, print tables, write measurements and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, default=ROOT / "data", help="NeuroVault cache with the images")
    parser.add_argument("--sizes", nargs="*", default=[], help="images x components, for example 119x8 300x20")
    parser.add_argument("--default", action="store_true", help="also measure with the restarts of config.yaml")
    parser.add_argument("--runs", type=int, default=3, help="number of runs of each side")
    parser.add_argument("--cores", type=int, default=2, help="cores for the workflow")
    parser.add_argument("--largest-example", type=int, default=1000, help="largest number of images for the example")
    parser.add_argument("--workdir", type=Path, help="folder for temporary images and results")
    parser.add_argument("--out", type=Path, help="folder for scale.tsv, scale.png and the tables in scale.md")
    arguments = parser.parse_args()
    sizes = arguments.sizes or ([] if arguments.out else ["119x8"])
    sources = find_images(arguments.archive) if sizes else []
    for size in sizes:
        n_images, n_components = map(int, size.split("x"))
        rows = measure_size(n_images, n_components, sources, arguments)
        print(write_table(rows), flush=True)
        if arguments.out:
            save(rows, arguments.out)
    if not sizes:
        save([], arguments.out)


if __name__ == "__main__":
    main()
