"""Run the whole workflow on many images and measure each stage: time, memory and disk.

    .venv/bin/python benchmarks/whole_run.py --archive my_nilearn_data --images 28000 --workdir /large/disk

The images are those of the NeuroVault cache --archive, and mixtures of them with noise, stored in few bytes. All stages
run, from the metadata to the page, with the settings of --configfile.
"""

import argparse
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from archives import find_images, make_archive
from compare_example import ROOT, SHIPPED, cache_of, new_folder, positive
from watching import Row, add_up, watch

# No image of the benchmark is left out because of its metadata.
EVERY_IMAGE: dict[str, Any] = {
    "image_terms": {}, "max_images": None, "max_images_per_collection": None, "min_subjects": None,
}  # fmt: skip


def measure_run(data_dir: Path, folder: Path, settings: dict[str, Any], cores: int) -> list[Row]:
    """Run the workflow in a folder and return one row for each stage, with the size of its results in MB."""
    for name in SHIPPED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    overlay = settings | {
        "archive": {"source": "offline", "data_dir": str(data_dir)},
        "fetch_metadata": EVERY_IMAGE | settings.get("fetch_metadata", {}),
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--configfile", "overlay.yaml"]
    (whole, *processes), _ = watch(command, folder)
    stages = defaultdict(list)
    for row in processes:
        stages[row["part"] or "others"].append(row)
    rows = [add_up("whole", [whole]), *(add_up(stage, measured) for stage, measured in stages.items())]
    return [
        row | {"disk_mb": size_mb(folder / "results" / ("" if row["part"] == "whole" else row["part"]))} for row in rows
    ]


def size_mb(folder: Path) -> float:
    """Return the space that a folder takes on the disk. A file with several names counts once."""
    files = {status.st_ino: status.st_blocks for status in (path.lstat() for path in folder.rglob("*"))}
    return sum(files.values()) * 512 / 1e6


def main() -> None:
    """Make the archive, run the workflow, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=cache_of, required=True, help="NeuroVault cache with real images")
    parser.add_argument("--images", type=positive, default=28000, help="number of images")
    parser.add_argument("--configfile", type=Path, help="more settings, such as mask_images and run_ica")
    parser.add_argument("--cores", type=positive, default=2)
    parser.add_argument("--workdir", type=new_folder, help="folder for temporary images and results")
    arguments = parser.parse_args()
    settings = yaml.safe_load(arguments.configfile.read_text()) if arguments.configfile else {}
    with tempfile.TemporaryDirectory(dir=arguments.workdir) as temporary:
        (folder := Path(temporary) / "run").mkdir()
        make_archive(Path(temporary) / "data", find_images(arguments.archive), arguments.images, small=True)
        rows = measure_run(Path(temporary) / "data", folder, settings, arguments.cores)
    print("| stage | wall s | CPU s | largest process, MB | disk, MB |\n|---|---:|---:|---:|---:|")
    for row in rows:
        measured = " | ".join(f"{row[column]:.0f}" for column in ("wall_s", "cpu_s", "peak_mb", "disk_mb"))
        print(f"| {row['part']} | {measured} |")


if __name__ == "__main__":
    main()
