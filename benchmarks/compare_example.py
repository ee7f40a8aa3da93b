"""Compare time and memory of this workflow and of nilearn's example, for the same images on this machine.

    make bench ARGS="--archive my_nilearn_data --sizes 119x8 248x20 1000x20 --icasso 206x20 --out bench"

Each size is images x components. The images come from the NeuroVault cache --archive and are copied to a temporary
cache. If it has too few images, mixtures of them with noise are added. Without --archive, the images of data/ are used;
if there are none, images are simulated.

Both sides run in turn. Each starts new processes with the images on disk and ends with a figure of every component. The
example runs in an environment of its own, with the nilearn of nilearn.lock (`make lock` gets the newest version).
The workflow uses presets/nilearn_example.yaml, which runs FastICA once. With --default, the workflow also runs with the
restarts, bootstraps and split halves of config.yaml. Wall time includes the start of Snakemake. Memory is the resident
memory of the largest process, including mapped files. The example is skipped for sizes above --largest-example.

--icasso compares ICASSO, the stability over restarts. One side is robustica, in an environment of its own, on the
matrix of images. The other side is the stages reduce_images and run_ica with the settings of config.yaml. robustica
does as many runs as run_ica has restarts.

With --out, measurements (scale.tsv) and a plot of cost against the number of images (scale.png) are written to that
folder; sizes measured earlier are kept. If the folder has a scale.md, its tables are updated. Without --sizes and
--icasso, nothing is measured and only these files are updated.
"""

import argparse
import datetime
import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from archives import find_images, make_archive
from cost_tables import COLUMNS, MEASURED, STAGES, save, write_table
from environments import make_environment, versions_in
from watching import Row, add_up, wall_of, watch

ROOT = Path(__file__).parent.parent
SHIPPED = ("Snakefile", "config.yaml", "workflow", "profiles", "presets", "envs")
# All other work (listing images and terms, checking files, Snakemake itself) counts as "start and imports".
STAGE_OF = {
    "build_mask": "masking", "mask_images": "masking", "stack_images": "masking",
    "reduce_images": "ICA", "run_ica": "ICA", "plot_components": "figures",
}  # fmt: skip
AGAIN = "again, with nothing to do"
# Keys of config.yaml that set how often FastICA runs, and the names of these runs.
RUNS_OF_FASTICA = {"n_restarts": "restarts", "n_bootstraps": "bootstraps", "n_splits": "splits"}
# Packages whose versions are listed. The headings of the tables give the version of the first one.
PACKAGES = {
    "example": ("nilearn", "scikit-learn", "numpy", "scipy", "matplotlib"),
    "workflow": ("nilearn", "snakemake", "numpy", "scipy", "matplotlib"),
    "robustica": ("robustica", "scikit-learn", "numpy", "scipy"),
    "run_ica": ("numpy", "scipy"),
}
SIDES = {"example": "nilearn's example", "workflow": "this workflow", "default": "this workflow with restarts"}
OVERVIEW = "results/plot_components/overview.png"


def run_example(files: list[Path], n_components: int, folder: Path) -> list[Row]:
    """Run nilearn's example in a new process."""
    (folder / "files.json").write_text(json.dumps([str(file) for file in files]))
    script = Path(__file__).with_name("steps_of_nilearn.py")
    command = [make_environment("nilearn"), str(script), "files.json", str(n_components), str(folder)]
    processes, printed = watch(command, folder)
    steps = json.loads(printed.splitlines()[-1])
    whole = add_up("whole", processes[:1])
    parts = [{"part": part, "wall_s": wall, "cpu_s": cpu, "peak_mb": None} for part, (wall, cpu) in steps.items()]
    return [whole, *parts]


def restarts() -> dict[str, int]:
    """Return how often FastICA runs by default."""
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())["run_ica"]
    return {key: shipped[key] for key in RUNS_OF_FASTICA}


def start_workflow(
    data_dir: Path, n_components: int, folder: Path, cores: int, *, target: str, restarted: bool
) -> tuple[list[str], list[Row]]:
    """Run the workflow with the example's preset. Return the command and its processes; the whole is the first."""
    for name in SHIPPED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    overlay: dict[str, dict[str, Any]] = {
        "archive": {"source": "offline", "data_dir": str(data_dir)},
        "fetch_metadata": {"max_images": None},
        "run_ica": {"n_components": n_components} | (restarts() if restarted else {}),
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), target]
    command += ["--configfile", "presets/nilearn_example.yaml", "overlay.yaml"]
    return command, watch(command, folder)[0]


def run_workflow(data_dir: Path, n_components: int, folder: Path, cores: int, *, restarted: bool) -> list[Row]:
    """Run the workflow up to the figures, then again with nothing to do."""
    command, (whole, *processes) = start_workflow(
        data_dir, n_components, folder, cores, target=OVERVIEW, restarted=restarted
    )
    (again, *_), _ = watch(command, folder)
    by_rule, by_stage = defaultdict(list), defaultdict(list)
    for row in processes:
        by_rule[row["part"] or "others"].append(row)
        by_stage[STAGE_OF.get(row["part"], STAGES[0])].append(row)
    stages = {stage: add_up(stage, rows) for stage, rows in by_stage.items()}
    # Snakemake runs during all stages. Its own share is the time when no stage runs.
    in_stages = [row for stage in STAGES[1:] for row in by_stage[stage]]
    stages[STAGES[0]]["wall_s"] = whole["ended"] - whole["began"] - wall_of(in_stages)
    return [
        add_up("whole", [whole]),
        *stages.values(),
        *(add_up(rule, rows) for rule, rows in by_rule.items()),
        add_up(AGAIN, [again]),
    ]


def run_icasso(data_dir: Path, n_components: int, folder: Path, cores: int) -> dict[str, list[Row]]:
    """Run the workflow up to its components, with restarts, then robustica on the same matrix."""
    _, processes = start_workflow(
        data_dir, n_components, folder, cores, target="results/run_ica/desc-ICA_stability.tsv", restarted=True
    )
    done = ", ".join(f"{number} {RUNS_OF_FASTICA[key]}" for key, number in restarts().items())
    ours = add_up(done, [row for row in processes if row["part"] in ("reduce_images", "run_ica")])
    n_runs = restarts()["n_restarts"]
    script = Path(__file__).with_name("steps_of_robustica.py")
    command = [make_environment("robustica"), str(script), "results/stack_images/matrix.npy"]
    theirs, _ = watch([*command, str(n_components), str(n_runs), str(folder)], folder)
    return {"robustica": [add_up(f"{n_runs} runs", theirs[:1])], "run_ica": [ours]}


def measure_size(size: tuple[int, int], sources: list[Path], arguments: argparse.Namespace) -> list[Row]:
    """Run both sides in turn on the same images and return the median of each part."""
    n_images, n_components = size
    runs: dict[tuple[str, str], list[Row]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=arguments.workdir) as temporary:
        folder = Path(temporary)
        say(f"{n_images} images, {n_components} components: copying or making the images")
        files = make_archive(folder / "data", sources, n_images)
        sides = ["example"] * (n_images <= arguments.largest_example) + ["workflow"] + ["default"] * arguments.default
        for number in range(arguments.runs):
            for side in sides:
                say(f"run {number + 1} of {arguments.runs}: {SIDES[side]}")
                (place := folder / f"{side}{number}").mkdir()
                if side == "example":
                    rows = run_example(files, n_components, place)
                else:
                    restarted = side == "default"
                    rows = run_workflow(folder / "data", n_components, place, arguments.cores, restarted=restarted)
                for row in rows:
                    runs[side, row["part"]].append(row)
                shutil.rmtree(place)
    return medians(runs, size, arguments.runs)


def measure_icasso(size: tuple[int, int], sources: list[Path], arguments: argparse.Namespace) -> list[Row]:
    """Run ICASSO on both sides, on the same images, and return the medians."""
    n_images, n_components = size
    runs: dict[tuple[str, str], list[Row]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=arguments.workdir) as temporary:
        folder = Path(temporary)
        say(f"ICASSO, {n_images} images, {n_components} components: copying or making the images")
        make_archive(folder / "data", sources, n_images)
        for number in range(arguments.runs):
            say(f"run {number + 1} of {arguments.runs}: this workflow, then robustica")
            (place := folder / str(number)).mkdir()
            for side, rows in run_icasso(folder / "data", n_components, place, arguments.cores).items():
                for row in rows:
                    runs[side, row["part"]].append(row)
            shutil.rmtree(place)
    return medians(runs, size, arguments.runs)


def say(text: str) -> None:
    """Tell on the screen what is measured now. A table that is written to a file stays free of these lines."""
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def medians(runs: dict[tuple[str, str], list[Row]], size: tuple[int, int], n_runs: int) -> list[Row]:
    """Make the rows of scale.tsv: the median of each part, with the date and the versions."""
    today = datetime.date.today().isoformat()
    pythons = {side: make_environment(name) for side, name in (("example", "nilearn"), ("robustica", "robustica"))
               if any(side == one for one, _ in runs)}  # fmt: skip
    versions = {
        side: versions_in(pythons.get(side, sys.executable), *PACKAGES.get(side, PACKAGES["workflow"]))
        for side, _ in runs
    }
    return [
        dict(zip(COLUMNS[:5], (*size, n_runs, side, part), strict=True))
        | {
            column: None if rows[0][column] is None else round(statistics.median(row[column] for row in rows), 2)
            for column in MEASURED
        }
        | {"measured_on": today, "versions": versions[side]}
        for (side, part), rows in runs.items()
    ]


def size_of(text: str) -> tuple[int, int]:
    """Read a size from the command line: ``119x8``."""
    numbers = text.split("x")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"{text} is not a size; write images x components, such as 119x8")
    n_images, n_components = map(int, numbers)
    if not 0 < n_components < n_images:
        raise argparse.ArgumentTypeError(f"{text}: the components must be fewer than the images, and at least 1")
    return n_images, n_components


def positive(text: str) -> int:
    """Read a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def new_folder(text: str) -> Path:
    """Make a folder of the command line, if needed, and check that files can be written into it."""
    try:
        Path(text).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=text):
            return Path(text).resolve()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}; name a folder that can be written") from error


def cache_of(text: str) -> Path:
    """Check that a folder is a NeuroVault cache."""
    if not (Path(text) / "neurovault").is_dir():
        raise argparse.ArgumentTypeError(f"{text} has no folder neurovault; name a NeuroVault cache of nilearn")
    return Path(text)


def read_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read and check the command line before any work starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=cache_of, default=ROOT / "data", help="NeuroVault cache with the images")
    parser.add_argument("--sizes", nargs="*", type=size_of, default=[], help="images x components, such as 119x8")
    parser.add_argument("--icasso", nargs="*", type=size_of, default=[], help="sizes to compare with robustica")
    parser.add_argument("--default", action="store_true", help="also measure with the restarts of config.yaml")
    parser.add_argument("--runs", type=positive, default=3, help="number of runs of each side")
    parser.add_argument("--cores", type=positive, default=2, help="cores for the workflow")
    parser.add_argument("--largest-example", type=int, default=1000, help="largest number of images for the example")
    parser.add_argument("--workdir", type=new_folder, help="folder for temporary images and results")
    parser.add_argument("--out", type=new_folder, help="folder for scale.tsv, scale.png and the tables in scale.md")
    arguments = parser.parse_args(words)
    if not (arguments.sizes or arguments.icasso or arguments.out):
        arguments.sizes = [(119, 8)]
    if not (arguments.sizes or arguments.icasso or (arguments.out / "scale.tsv").exists()):
        parser.error(f"{arguments.out} has no measurements yet (scale.tsv); give --sizes or --icasso")
    return arguments


def main() -> None:
    """Measure all sizes, print tables, write measurements and plot."""
    arguments = read_arguments()
    if not (arguments.sizes or arguments.icasso):
        save([], arguments.out)
        return
    sources = find_images(arguments.archive)
    for measure, sizes in ((measure_size, arguments.sizes), (measure_icasso, arguments.icasso)):
        for size in sizes:
            rows = measure(size, sources, arguments)
            print(write_table(rows), flush=True)
            if arguments.out:
                save(rows, arguments.out)


if __name__ == "__main__":
    main()
