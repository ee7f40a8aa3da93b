"""From a server to the results by Snakemake, killed in between, and again from the lock."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
from neurovault_server import Archive, Faults, Server
from outputs import read_table
from workflow_runs import copy_project, make_maps, snakemake, write_config

SMALL = {
    "mask_images": {"resolution_mm": 4},
    "run_ica": {"n_components": 4, "n_restarts": 2, "n_bootstraps": 2},
    "stack_images": {"quality": dict.fromkeys(["max_outside_fraction", "max_misplaced_fraction", "max_peak"])},
    "batches": 2,
}
COMPARED = ["fetch_metadata", "download_images", "fetch_terms", "stack_images", "run_ica", "project_terms"]


def digest(folder):
    files = [path for rule in COMPARED for path in sorted((folder / "results" / rule).rglob("*")) if path.is_file()]
    hashes = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    # How an image was selected is not the same with a lock: that is all it says.
    return {name: value for name, value in hashes.items() if "selection" not in name}


def kill_when(condition, folder, *arguments):
    """Start snakemake, and kill it and its children as soon as `condition` holds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments], cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return Archive.of_cache(make_maps(tmp_path_factory.mktemp("served"), n_images=16, n_sources=4))


def test_killed_then_finished_and_repeated_from_the_lock(archive, tmp_path):
    with Server(archive, faults=Faults(latency_s=0.2, unordered=True)) as server:
        first = copy_project(tmp_path / "first")
        source = {"source": "neurovault", "url": server.url, "neurosynth_url": server.url}
        overlay = write_config(first, archive=source, **SMALL)
        kill_when(lambda: server.count("/media/") >= 6, first, "--configfile", overlay)
        kept = len(list(first.glob("data/neurovault/collection_*/image_*_metadata.json")))
        assert 0 < kept < 16
        asked = server.count("/media/")
        snakemake(first, "--unlock", "--configfile", overlay)
        done = snakemake(first, "--configfile", overlay)
        assert server.count("/media/") - asked == 16 - kept
        assert "of 8 images in the cache" in done.stdout

        again = copy_project(tmp_path / "again")
        shutil.copy(first / "results/write_lock/images.lock.tsv", again / "paper.tsv")
        overlay = write_config(again, archive=source | {"lock": "paper.tsv"}, **SMALL)
        server.asked.clear()
        snakemake(again, "--configfile", overlay, "--until", "project_terms")
        assert {urlsplit(address).path.split("/")[1] for address in server.asked} == {"media", "api"}
        assert not [address for address in server.asked if "collections" in address or "/images/1" in address[:14]]
        assert digest(again) == digest(first)
        assert len(read_table(again / "results/stack_images/images.tsv")) == 16

        # One image is another now: the run stops and names it.
        archive.files["100/map_1001.nii.gz"] = archive.files["100/map_1002.nii.gz"]
        changed = copy_project(tmp_path / "changed")
        shutil.copy(again / "paper.tsv", changed / "paper.tsv")
        write_config(changed, archive=source | {"lock": "paper.tsv"}, **SMALL)
        done = snakemake(changed, "--configfile", overlay, "--retries", "0", "--until", "download_images", check=False)
        assert done.returncode != 0
        assert "not as in the lock paper.tsv: image 1001 (" in done.stdout


def test_the_lock_of_the_run_itself_is_not_taken(tmp_path):
    folder = copy_project(tmp_path / "project")
    (folder / "results/write_lock").mkdir(parents=True)
    (folder / "results/write_lock/images.lock.tsv").write_text("")
    overlay = write_config(folder, archive={"source": "offline", "lock": "results/write_lock/images.lock.tsv"})
    done = snakemake(folder, "-n", "--configfile", overlay, check=False)
    assert "will be written anew by this run; copy it to another folder first" in done.stdout
