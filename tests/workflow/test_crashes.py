"""Runs that are killed, or that lose disk space, permissions or data, continue and give the same results."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
from workflow_runs import copy_demo, copy_project, digest, small_config, snakemake, start_snakemake

TERMS = "results/project_terms/desc-ICA_terms.tsv"
SMALL = ("--configfile", "overlay.yaml")


def run_and_kill(folder, rng, *arguments, lines=80, orphans=False):
    """Start Snakemake and kill it at a random moment; return its exit code and output.

    Its jobs are killed too, except with `orphans`.
    """
    process = start_snakemake(folder, "--cores", "2", *arguments)
    wanted, said = rng.randrange(lines), []
    while len(said) < wanted and (line := process.stdout.readline()):
        said.append(line)
    time.sleep(rng.uniform(0, 2))
    if orphans:
        process.kill()
    elif process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    rest, _ = process.communicate()
    return process.returncode, "".join(said) + rest


def steps(output):
    """Return the numbers of planned and finished jobs, or None if the run was killed before it printed them."""
    total = re.search(r"^total +(\d+)$", output, re.MULTILINE)
    done = re.findall(r"(\d+) of \d+ steps", output)
    return (int(total[1]), int(done[-1]) if done else 0) if total else None


def check_continues(before, now, output):
    """Check that finished jobs are not repeated. Up to two jobs may have finished just before they were counted."""
    if before and now:
        left = before[0] - before[1]
        assert left - 2 <= now[0] <= left, output


@pytest.fixture
def fresh(tmp_path, small_archive):
    """Make folders with the workflow and the configuration of the small archive, but without results."""

    def make():
        folder = copy_project(tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        small_config(folder, small_archive)
        return folder

    return make


def same_as(folder, other):
    """Check that all results in one folder equal those in another folder, which may have more."""
    found, expected = digest(folder), digest(other)
    assert len(found) > 10
    assert found == {path: expected[path] for path in found}


@pytest.mark.long
def test_a_killed_run_continues(fresh, small_run):
    folder, rng, before = fresh(), random.Random(0), None
    for _ in range(3):
        code, output = run_and_kill(folder, rng, TERMS, *SMALL, lines=40)
        assert code in (0, -signal.SIGKILL), output
        check_continues(before, steps(output), output)
        before = steps(output) or before
    output = snakemake(folder, TERMS, *SMALL).stdout
    check_continues(before, steps(output), output)
    same_as(folder, small_run)


@pytest.mark.long
def test_a_demo_that_is_killed_ten_times_gives_the_same_results(tmp_path, demo):
    folder, rng, before, kills = copy_demo(tmp_path / "run0"), random.Random(1), None, 0
    while kills < 10:
        code, output = run_and_kill(folder, rng)
        check_continues(before, steps(output), output)
        before = steps(output) or before
        kills += code != 0
        if code == 0:
            assert digest(folder) == digest(demo)
            folder, before = copy_demo(tmp_path / f"run{kills}"), None
        else:
            assert code == -signal.SIGKILL, output
    snakemake(folder)
    assert digest(folder) == digest(demo)


@pytest.mark.long
def test_jobs_that_outlive_snakemake_do_not_change_the_results(fresh, small_run):
    folder, rng = fresh(), random.Random(2)
    for _ in range(4):
        run_and_kill(folder, rng, TERMS, *SMALL, orphans=True)
    snakemake(folder, TERMS, *SMALL)
    same_as(folder, small_run)


@pytest.mark.long
def test_after_a_kill_and_a_changed_configuration_the_results_are_those_of_the_last_one(
    fresh, small_run, small_archive
):
    folder, rng = fresh(), random.Random(3)
    for number in range(3):
        small_config(folder, small_archive, run_ica={"n_components": 2 + number, "n_restarts": 2}, batches=3 + number)
        run_and_kill(folder, rng, TERMS, *SMALL)
    small_config(folder, small_archive)
    snakemake(folder, TERMS, *SMALL)
    rules = ["stack_images", "reduce_images", "run_ica", "project_terms"]
    assert digest(folder, *rules) == digest(small_run, *rules)


@pytest.mark.long
def test_a_full_disk_is_reported_and_the_next_run_continues(tmp_path, small_run):
    folder, target, largest = tmp_path / "run", "results/stack_images/matrix.npy", 2_000_000
    shutil.copytree(small_run, folder)
    (folder / target).unlink()
    done = snakemake(
        folder, target, *SMALL, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )  # fmt: skip
    assert done.returncode != 0
    assert "logs/stack_images.log: File too large: results/stack_images/matrix.npy. Fix this" in done.stdout
    assert "Traceback" not in done.stdout
    assert steps(snakemake(folder, target, *SMALL).stdout) == (1, 1)
    same_as(folder, small_run)


@contextmanager
def mounted(folder, *options):
    """Mount a file system in memory at `folder`, or skip the test."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount a small disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        # A lazy unmount also works if a failed test has left a file open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.long
def test_a_small_disk_is_reported_and_the_next_run_continues(fresh, small_run):
    folder = fresh()
    with mounted(folder / "results", "-o", "size=2m"):
        done = snakemake(folder, TERMS, *SMALL, check=False)
        assert done.returncode != 0
        assert f"the disk of {folder / 'results'} is too small" in done.stdout
        subprocess.run(["mount", "-o", "remount,size=100m", str(folder / "results")], check=True)
        snakemake(folder, "results/fetch_metadata/images.tsv", *SMALL)
        # Another file fills the disk.
        other = folder / "results/other"
        other.write_bytes(bytes(shutil.disk_usage(folder / "results").free - 1_000_000))
        done = snakemake(folder, TERMS, *SMALL, check=False)
        assert done.returncode != 0
        assert "No space left on device: results/" in done.stdout
        assert "Traceback" not in done.stdout
        other.unlink()
        snakemake(folder, TERMS, *SMALL)
        same_as(folder, small_run)


@pytest.mark.long
def test_a_read_only_disk_is_reported_and_the_next_run_continues(fresh, small_run):
    folder = fresh()
    with mounted(folder / "results"):
        snakemake(folder, "results/build_mask/mask.nii.gz", *SMALL)
        subprocess.run(["mount", "-o", "remount,ro", str(folder / "results")], check=True)
        done = snakemake(folder, TERMS, *SMALL, check=False)
        assert done.returncode != 0
        assert "Read-only file system: 'results/" in done.stdout
        subprocess.run(["mount", "-o", "remount,rw", str(folder / "results")], check=True)
        snakemake(folder, TERMS, *SMALL)
        same_as(folder, small_run)


def test_truncated_results_stop_the_run(tmp_path, small_run):
    folder = shutil.copytree(small_run, tmp_path / "run")
    cut = ["results/stack_images/images.tsv", "results/stack_images/matrix.npy"]
    lines = (folder / cut[0]).read_text().splitlines(keepends=True)
    (folder / cut[0]).write_text("".join(lines[:-1]))
    os.truncate(folder / cut[1], 1_000_000)
    done = snakemake(folder, TERMS, "-n", *SMALL, check=False)
    assert done.returncode != 0
    assert "these results were truncated or edited after they were written" in done.stdout
    assert (
        re.findall(
            r"^  (\S+) has [\d,]+ bytes?, but [\d,]+ according to logs/stack_images.log", done.stdout, re.MULTILINE
        )
        == cut
    )
