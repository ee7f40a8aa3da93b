"""Run the workflow in a folder of its own, on archives that are made for the tests."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import warm_snakemake
import yaml
from scipy import ndimage

ROOT = Path(__file__).parent.parent
SHIPPED = ["Snakefile", "config.yaml", "workflow", "profiles", "presets", "envs"]
# Common grids: FSL 2 mm, SPM 3 mm in both orientations, 4 mm, and an oblique one.
GRIDS = [
    ((91, 109, 91), np.array([[-2, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1.0]])),
    ((53, 63, 46), np.array([[-3, 0, 0, 78], [0, 3, 0, -112], [0, 0, 3, -50], [0, 0, 0, 1.0]])),
    ((53, 63, 46), np.array([[3, 0, 0, -78], [0, 3, 0, -112], [0, 0, 3, -50], [0, 0, 0, 1.0]])),
    ((46, 55, 46), np.array([[4, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1.0]])),
    ((53, 63, 46), np.array([[3, 0.1, 0, -80], [-0.1, 3, 0, -110], [0, 0, 3, -50], [0, 0, 0, 1.0]])),
]
SHORT_DEMO = {
    "resolution_mm": 4,
    "batches": 2,
    "n_restarts": 8,
    "n_bootstraps": 8,
    "n_permutations": 300,
    "n_surrogates": 300,
}
SMALL = {
    "batches": 2,
    "mask_images": {"resolution_mm": 4},
    "run_ica": {"n_components": 5, "n_restarts": 4, "n_bootstraps": 4},
    "project_terms": {"n_permutations": 100},
    "match_networks": {"reference": None},
    # The simulated maps have signal outside the brain, which these criteria would reject.
    "stack_images": {
        "quality": dict.fromkeys(
            ["max_outside_fraction", "max_misplaced_fraction", "max_displaced_fraction", "max_peak"]
        )
    },
}


def copy_project(folder):
    """Copy the workflow to `folder`, so that tests never write results into the checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def copy_demo(folder):
    """Copy the workflow to run a shorter demo: voxels of 4 mm, two batches and fewer random repetitions.

    This saves almost half of the processor time. A long test runs the demo as it is shipped.
    """
    config = copy_project(folder) / "config.yaml"
    text = config.read_text()
    for setting, short in SHORT_DEMO.items():
        assert len(re.findall(rf"^( *{setting}): ", text, re.MULTILINE)) == 1
        text = re.sub(rf"^( *{setting}): \w+", rf"\1: {short}", text, flags=re.MULTILINE)
    config.write_text(text)
    return folder


def environment_of_runs():
    """Return the environment of this process, without the variable that makes every job compile all packages again."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def start_snakemake(folder, *arguments, **options):
    """Start Snakemake in `folder`, in a process group of its own, with its output as a text pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder, env=environment_of_runs(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, **options,
    )  # fmt: skip


def snakemake(folder, *arguments, cores=2, check=True, **options):
    """Run Snakemake in `folder` and return the finished process with its output as text.

    On a cluster, set `cores` to None.
    """
    arguments = [*([] if cores is None else ["--cores", str(cores)]), *arguments]
    # With a PYTHONPATH, or with options, Snakemake needs a new process.
    if options or "PYTHONPATH" in os.environ:
        with start_snakemake(folder, *arguments, **options) as process:
            output, _ = process.communicate()
        done = subprocess.CompletedProcess(process.args, process.returncode, output)
    else:
        with tempfile.NamedTemporaryFile("r") as stream:
            code = warm_snakemake.run(arguments, folder, environment_of_runs(), stream.name)
            done = subprocess.CompletedProcess(arguments, code, stream.read())
    if check:
        assert done.returncode == 0, done.stdout
    return done


def rules_run(done):
    """Return the rules that a run has executed, or would execute, from its table of jobs."""
    lines = done.stdout.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("job ")), None)
    if start is None:
        return set()
    table = lines[start + 2 : next(n for n in range(start, len(lines)) if lines[n].startswith("total"))]
    return {line.split()[0] for line in table} - {"all"}


def write_config(folder, name="overlay.yaml", **sections):
    """Write an overlay of config.yaml and return its name."""
    (folder / name).write_text(yaml.safe_dump(sections))
    return name


def small_config(folder, data_dir, **sections):
    """Write the configuration for a small archive and return its name. `sections` replace whole sections."""
    merged = {"archive": {"source": "offline", "data_dir": str(data_dir)}, **SMALL, **sections}
    return write_config(folder, **merged)


def digest(folder, *rules):
    """Return the checksum of every result of `rules`; by default, of all rules."""
    # Files of no rule, such as archive.json with the command of the run, are left out.
    homes = [folder / "results" / rule for rule in rules] or sorted((folder / "results").glob("*/"))
    files = [path for home in homes for path in sorted(home.rglob("*")) if path.is_file()]
    # Only the report contains the time of the run.
    contents = {path: re.sub(rb"<dd>[-0-9]{10} [0-9:]{5} UTC", b"", path.read_bytes()) for path in files}
    return {str(path.relative_to(folder)): hashlib.sha256(text).hexdigest() for path, text in contents.items()}


def make_maps(data_dir, *, n_images, n_sources, random_state=0):
    """Make a cache of `n_images` in collections of four: random mixtures of sparse sources, with term weights."""
    rng = np.random.default_rng(random_state)
    shape, affine = (46, 55, 46), GRIDS[3][1]
    spikes = rng.laplace(size=(n_sources, *shape)) ** 3
    sources = np.stack([ndimage.gaussian_filter(volume, 1.2) for volume in spikes])
    sources /= sources.std(axis=(1, 2, 3), keepdims=True)
    loadings = rng.normal(size=(n_images, n_sources)) * np.linspace(3, 1, n_sources)
    for number in range(n_images):
        home = data_dir / "neurovault" / f"collection_{100 + number // 4}"
        home.mkdir(parents=True, exist_ok=True)
        noise = ndimage.gaussian_filter(rng.normal(size=shape), 1.2)
        volume = np.tensordot(loadings[number], sources, 1) + 0.5 * noise / noise.std()
        img = nib.Nifti1Image(volume.astype(np.float32), affine)
        if number % len(GRIDS) != 3:
            img = on_grid(img, *GRIDS[number % len(GRIDS)])
        image_id = 1000 + number
        nib.save(img, home / f"image_{image_id}.nii.gz")
        record = {
            "id": image_id, "collection_id": 100 + number // 4, "name": f"map {number}", "map_type": "Z map",
            "image_type": "statistic_map", "modality": "fMRI-BOLD", "analysis_level": "group", "not_mni": False,
            "is_thresholded": False, "number_of_subjects": 20, "url": f"https://neurovault.org/images/{image_id}/",
            "file": f"https://neurovault.org/media/images/{100 + number // 4}/map_{number}.nii.gz",
            "file_size": (home / f"image_{image_id}.nii.gz").stat().st_size,
        }  # fmt: skip
        collection = {"id": 100 + number // 4, "name": f"Study {number // 4}", "DOI": None, "number_of_images": 4}
        values = {f"term{k}{letter}": round(0.1 * loadings[number, k] + 0.01 * rng.normal(), 3)
                  for k in range(n_sources) for letter in "abc"}  # fmt: skip
        answer = {"data": {"neurovault_id": str(image_id), "values": values}}
        (home / f"image_{image_id}_metadata.json").write_text(json.dumps(record))
        (home / "collection_metadata.json").write_text(json.dumps(collection))
        (home / f"neurosynth_words_for_image_{image_id}.json").write_text(json.dumps(answer))
    return data_dir


def on_grid(img, shape, affine):
    """Resample `img` to another grid, trilinearly."""
    to_source = np.linalg.inv(img.affine) @ affine
    volume = ndimage.affine_transform(img.get_fdata(), to_source[:3, :3], to_source[:3, 3], output_shape=shape, order=1)
    return nib.Nifti1Image(volume.astype(np.float32), affine)
