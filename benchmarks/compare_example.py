"""Compare this workflow with nilearn's example on the same images, on this machine, side by side and in turn.

    .venv/bin/python benchmarks/compare_example.py --images 119 --components 8 --runs 3 --archive ../shared/real-maps

Without --archive, or with more images than it has, images are mixed from what there is (or from smooth noise) and
written into a temporary cache. Both sides start a fresh process and end with a figure of every component. Wall time
includes Snakemake's start; memory is the largest resident set of any one process.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import yaml
from scipy import ndimage

ROOT = Path(__file__).parent.parent
SHIPPED = ("Snakefile", "config.yaml", "workflow", "profiles", "presets", "envs")
FSL_2MM = np.array([[-2, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1.0]])

# nilearn's example without its downloads, each step timed.
EXAMPLE = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
marks = [("start", time.perf_counter())]
mark = lambda name: marks.append((name, time.perf_counter()))
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
mark("imports")
files, n_components, folder = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
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
print(json.dumps({name: t - marks[i][1] for i, (name, t) in enumerate(marks[1:])}))
"""
STAGES = {
    "masking": ("build_mask", "download_images", "mask_images", "stack_images"),
    "ICA": ("reduce_images", "run_ica"),
    "figures": ("plot_components",),
}


def readable(archive: Path) -> list[Path]:
    """List the images of an archive that hold one volume with data, those that both sides can use."""
    files = []
    for file in sorted(archive.glob("neurovault/collection_*/image_*.nii.gz")):
        try:
            data = np.asarray(nib.load(file).dataobj)
        except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError):
            continue
        if data.ndim >= 3 and all(length == 1 for length in data.shape[3:]) and np.nanstd(data) > 0:
            files.append(file)
    return files


def make_archive(folder: Path, sources: list[Path], n_images: int) -> list[Path]:
    """Fill a cache with `n_images`: those of `sources`, then mixtures of two of them (or noise) with smooth noise."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(n_images):
        home = folder / "neurovault" / f"collection_{1 + number // 5}"
        home.mkdir(parents=True, exist_ok=True)
        file = home / f"image_{1000 + number}.nii.gz"
        if number < len(sources):
            shutil.copy(sources[number], file)
        else:
            nib.save(nib.Nifti1Image(mixture(sources, rng), FSL_2MM), file)
        record = {
            "id": 1000 + number, "name": f"map {number}", "map_type": "Z map", "image_type": "statistic_map",
            "modality": "fMRI-BOLD", "analysis_level": "group", "is_thresholded": False, "not_mni": False,
            "file_size": file.stat().st_size,
        }  # fmt: skip
        (home / f"image_{1000 + number}_metadata.json").write_text(json.dumps(record))
        (home / "collection_metadata.json").write_text(json.dumps({"id": 1 + number // 5, "number_of_images": 5}))
        files.append(file)
    return files


def mixture(sources: list[Path], rng: np.random.Generator) -> np.ndarray:
    """Mix two sources, resampled to FSL's 2 mm grid, with smooth noise of the same variance."""
    shape = (91, 109, 91)
    volume = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    volume /= volume.std()
    for position in rng.choice(len(sources), size=2) if sources else []:
        img = nib.load(sources[position])
        to_source = np.linalg.inv(img.affine) @ FSL_2MM
        data = np.nan_to_num(np.squeeze(img.get_fdata()), posinf=0, neginf=0)
        part = ndimage.affine_transform(data, to_source[:3, :3], to_source[:3, 3], shape, order=1)
        volume += part / (part.std() or 1)
    return volume.astype(np.float32)


def watch(command: list[str], folder: Path) -> dict:
    """Run a command to its end; return wall and CPU seconds, the largest process in MB, and what it printed."""
    start = time.perf_counter()
    with (folder / "stderr.txt").open("w") as errors:
        process = psutil.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True)
    largest, cpu = 0, {}
    while process.poll() is None:
        for member in [process, *process.children(recursive=True)]:
            try:
                largest = max(largest, member.memory_info().rss)
                cpu[member.pid] = sum(member.cpu_times()[:2])
            except psutil.Error:
                continue  # it has just ended
        time.sleep(0.05)
    wall = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{command[:3]} failed:\n{(folder / 'stderr.txt').read_text()[-3000:]}")
    return {"wall": wall, "CPU": sum(cpu.values()), "MB": largest / 1e6, "printed": process.stdout.read()}


def run_example(files: list[Path], n_components: int, folder: Path) -> dict:
    """Run nilearn's example in a process of its own."""
    arguments = [json.dumps([str(file) for file in files]), str(n_components), str(folder)]
    done = watch([sys.executable, "-c", EXAMPLE, *arguments], folder)
    return done | json.loads(done.pop("printed").splitlines()[-1])


def run_workflow(data_dir: Path, n_components: int, folder: Path, cores: int) -> dict:
    """Run the workflow with the example's preset, up to its figures."""
    for name in SHIPPED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    overlay = {
        "archive": {"source": "offline", "data_dir": str(data_dir)},
        "fetch_metadata": {"max_images": None},
        "run_ica": {"n_components": n_components},
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "results/plot_components/overview.png"]
    done = watch([*command, "--configfile", "presets/nilearn_example.yaml", "overlay.yaml"], folder)
    done.pop("printed")
    seconds = {}
    for stage, rules in STAGES.items():
        tables = [table for rule in rules for table in sorted((folder / "benchmarks").glob(f"{rule}*.tsv"))]
        # Batches run side by side: what counts against one process is what a core has spent.
        seconds[stage] = sum(float(table.read_text().splitlines()[1].split("\t")[0]) for table in tables)
    return done | seconds


def main() -> None:
    """Run both sides in turn and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="a NeuroVault cache to take images from")
    parser.add_argument("--images", type=int, default=119)
    parser.add_argument("--components", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3, help="runs of each side")
    parser.add_argument("--cores", type=int, default=2, help="cores of the workflow")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = readable(arguments.archive) if arguments.archive else []
        files = make_archive(folder / "data", sources, arguments.images)
        sides: dict[str, list[dict]] = {"example": [], "workflow": []}
        for number in range(arguments.runs):
            for side in sides:
                (place := folder / f"{side}{number}").mkdir()
                if side == "example":
                    sides[side].append(run_example(files, arguments.components, place))
                else:
                    sides[side].append(run_workflow(folder / "data", arguments.components, place, arguments.cores))
                shutil.rmtree(place)
    print(
        f"{arguments.images} images, {arguments.components} components, median of {arguments.runs} runs each, in turn"
    )
    print(f"{'':10}{'example':>10}{'workflow':>10}{'ratio':>8}")
    for figure in ("wall", "CPU", "masking", "ICA", "figures", "MB"):
        example, workflow = (statistics.median(run[figure] for run in sides[side]) for side in sides)
        print(f"{figure:10}{example:10.1f}{workflow:10.1f}{example / workflow:8.1f}")


if __name__ == "__main__":
    main()
