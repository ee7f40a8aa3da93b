"""Runs with images from a server: killed and continued, and updated."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from fetching import cached_files, kept_images
from neurovault_ica.runtime.tables import read_table
from neurovault_server import Archive, Faults, Server, nifti
from workflow_runs import copy_project, make_maps, rules_run, snakemake, write_config

SMALL = {
    "mask_images": {"resolution_mm": 4},
    "run_ica": {"n_components": 4, "n_restarts": 2, "n_bootstraps": 2},
    "match_networks": {"reference": None},
    "stack_images": {
        "quality": dict.fromkeys(
            ["max_outside_fraction", "max_misplaced_fraction", "max_displaced_fraction", "max_peak"]
        )
    },
    "batches": 2,
}


def kill_when(condition, folder, *arguments):
    """Start Snakemake and kill it with its children as soon as `condition` is true."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments], cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not condition() and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.long
def test_a_killed_run_downloads_only_what_is_missing(tmp_path):
    archive = Archive.of_cache(make_maps(tmp_path / "served", n_images=12, n_sources=4))
    with Server(archive, faults=Faults(unordered=True)) as server:
        first = copy_project(tmp_path / "first")
        source = {"source": "neurovault", "url": server.url, "neurosynth_url": server.url}
        overlay = write_config(first, archive=source, **SMALL)
        server.misbehave("map_1011", always="silence")
        kill_when(lambda: len(kept_images(first / "data")) >= 3, first, "--configfile", overlay)
        server.misbehave("map_1011")
        kept = kept_images(first / "data")
        assert 3 <= len(kept) < 12
        server.asked.clear()
        done = snakemake(first, "--nolock", "--configfile", overlay, "--until", "download_images")
        assert server.images_asked() == set(archive.images) - kept
        assert "of 6 images present and intact" in done.stdout
    rows = [row for batch in "01" for row in read_table(first / f"results/download_images/status-{batch}.tsv")]
    assert sorted(int(row["image_id"]) for row in rows if row["status"] == "ok") == list(range(1000, 1012))


FETCH = """
import sys
from pathlib import Path
from types import SimpleNamespace
from fetching import Run
run = Run(Path(sys.argv[1]), server=SimpleNamespace(url=sys.argv[2]))
run.select(batches=2, max_images_per_collection=4)
run.terms()
run.download()
"""


def fetch(folder, server):
    """Start the three stages that fetch data, in a process of their own."""
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, folder, server.url], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )


@pytest.mark.long
def test_fetching_that_is_killed_at_random_gives_the_same_files(tmp_path):
    """The kills hit listings, the time between two images, and an image that is sent slowly."""
    archive = Archive.small(dict.fromkeys(range(1, 7), 5), content=nifti(shape=(16, 16, 16)))
    with Server(archive) as server:
        assert fetch(tmp_path / "whole", server).wait() == 0
        server.misbehave("map_103", always="slow")
        chance, codes = random.Random(0), []
        for _ in range(4):
            server.asked.clear()
            process, after = fetch(tmp_path / "killed", server), chance.randrange(1, 15)
            while len(server.asked) < after and process.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.random() / 20)
            process.kill()
            codes.append(process.wait())
        assert codes.count(-signal.SIGKILL) >= 2
        assert fetch(tmp_path / "killed", server).wait() == 0
    assert cached_files(tmp_path / "killed") == cached_files(tmp_path / "whole")


@pytest.mark.long
def test_an_update_reruns_what_depends_on_new_answers_and_nothing_else(tmp_path):
    archive = Archive.of_cache(make_maps(tmp_path / "served", n_images=12, n_sources=4))
    new = archive.images.pop(1011)
    with Server(archive) as server:
        server.misbehave("neurovault=1002", always="404")
        run = copy_project(tmp_path / "run")
        source = {"source": "neurovault", "url": server.url, "neurosynth_url": server.url}
        overlay = write_config(run, archive=source, **SMALL)
        snakemake(run, "--configfile", overlay)
        before = times_of(run)

        done = snakemake(run, "--configfile", overlay)
        assert "Nothing to be done" in done.stdout
        assert f"To look for new images: snakemake --cores 2 update --configfile {overlay}" in done.stdout
        assert rules_run(snakemake(run, "update", "-n", "--configfile", overlay)) == {"look_again", "update"}
        assert times_of(run) == before
        done = snakemake(run, "update", "--configfile", overlay)
        assert " was last read on " not in done.stdout
        assert changed_rules(before, times_of(run)) == {"look_again"}

        # The server has the terms of one more image. Later it also has a new image.
        server.misbehave("neurovault=1002")
        before = times_of(run)
        snakemake(run, "update", "--configfile", overlay)
        after = times_of(run)
        assert changed_rules(before, after) >= {"look_again", "fetch_terms", "project_terms", "render_report"}
        assert not changed_rules(before, after) & {"fetch_metadata", "download_images", "run_ica"}
        terms = [row for batch in "01" for row in read_table(run / f"results/fetch_terms/status-{batch}.tsv")]
        assert [row["reason"] for row in terms] == [None] * 11

        archive.images[1011] = new
        archive.collections[102]["modify_date"] = "2026-02-03"
        server.asked.clear()
        # The clock was two days ahead during all this, and is corrected now.
        for path in [*(run / "results").rglob("*"), *(run / "logs").iterdir()]:
            moment = path.stat().st_mtime_ns + 2 * 86_400 * 10**9
            os.utime(path, ns=(moment, moment))
        # A plain run continues an update that was stopped.
        snakemake(run, "update", "--configfile", overlay, "--until", "look_again")
        snakemake(run, "--configfile", overlay, "--until", "stack_images")
        assert server.images_asked() == {1011}
        images = read_table(run / "results/stack_images/images.tsv")
        assert [int(row["image_id"]) for row in images] == list(range(1000, 1012))
        # The next update finds nothing new. Its log no longer has the sizes of the tables that the last one replaced.
        snakemake(run, "update", "--configfile", overlay, "--until", "look_again")
        snakemake(run, "--configfile", overlay, "--until", "stack_images")


def times_of(folder):
    """Return when each result of a rule was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "results").glob("*/**/*") if path.is_file()}


def changed_rules(before, after):
    """Return the rules with results that were written again or removed."""
    changed = [path for path in before | after if before.get(path) != after.get(path)]
    return {path.parts[path.parts.index("results") + 1] for path in changed}
