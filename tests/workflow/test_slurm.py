"""The workflow on a real Slurm cluster of one node, which these tests start."""

import os
import subprocess
from typing import NamedTuple

import pytest
from slurm_node import running_slurm, why_not
from workflow_runs import ROOT, copy_demo, copy_project, digest, small_config, snakemake, write_config
from yte import process_yaml

SHORT_PAUSES = ("--slurm-init-seconds-before-status-checks", "1")


@pytest.mark.parametrize(("answers", "command"), [(True, "sacct"), (False, "squeue")])
def test_squeue_is_used_if_there_is_no_accounting(tmp_path, monkeypatch, answers, command):
    (tmp_path / "sacct").write_text(f"#!/bin/sh\nexit {0 if answers else 1}\n")
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    profile = process_yaml((ROOT / "profiles/slurm/config.yaml").read_text(), require_use_yte=True)
    assert profile["slurm-status-command"] == command


@pytest.fixture(scope="module")
def slurm():
    """Start Slurm, and return the folder of its logs."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs the plugin: make .venv/slurm")
    if why_not():
        pytest.skip(why_not())
    with running_slurm() as folder:
        yield folder


def run_on_slurm(folder, *arguments, site=None, check=True):
    write_config(folder, "mycluster.yaml", **(site or {"default-resources": {"slurm_partition": "long"}}))
    return snakemake(
        folder, "--workflow-profile", "profiles/slurm", "--profile", "mycluster.yaml", *SHORT_PAUSES, *arguments,
        cores=None, check=check,
    )  # fmt: skip


class Job(NamedTuple):
    """A job in the records of Slurm."""

    partition: str
    processors: int
    memory_mb: int
    minutes: int
    end: str


def jobs_of(rule):
    """List the Slurm jobs of a rule or group, in the order of submission."""
    done = subprocess.run(
        ["squeue", "--noheader", "--states=all", "--sort=i", "--format=%k|%P|%C|%m|%l|%T"],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return [
        Job(partition, int(processors), megabytes(memory), minutes(time), end)
        for comment, partition, processors, memory, time, end in rows
        if rule in comment
    ]


def megabytes(memory):
    return int(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]]


def minutes(time):
    days, _, clock = time.rpartition("-")
    hours, minute, _ = ["0", *clock.split(":")][-3:]
    return 1440 * int(days or 0) + 60 * int(hours) + int(minute)


@pytest.mark.long
@pytest.mark.usefixtures("slurm")
def test_the_demo_on_slurm_gives_the_same_results(tmp_path, demo):
    folder = copy_demo(tmp_path / "run")
    write_config(folder, "partitions.yaml", partitions={"short": {"max_runtime": 20}, "long": {"max_runtime": 6000}})
    run_on_slurm(folder, site={"slurm-partition-config": "partitions.yaml"})
    assert digest(folder) == digest(demo)
    assert [job.end for job in jobs_of("rule_mask_images")] == 2 * ["COMPLETED"]
    assert jobs_of("rule_download_images") == []
    assert [job.processors for job in jobs_of("rule_plot_components")] == [4]
    assert [job.processors for job in jobs_of("rule_report")] == [3]
    assert [job.partition for job in jobs_of("rule_build_demo_archive")] == ["short"]
    assert [job.partition for job in jobs_of("rule_run_ica")] == ["long"]


@pytest.mark.long
@pytest.mark.usefixtures("slurm")
def test_jobs_killed_for_memory_or_time_are_retried_with_more(tmp_path, small_archive):
    folder, undisturbed = copy_project(tmp_path / "run"), copy_project(tmp_path / "undisturbed")
    edit(folder / "workflow/rules/images.smk", "runtime=growing(30, per_mb=0.02)", "runtime=growing(1)")
    edit(folder / "workflow/scripts/stack_images.py", "    log_to(", "    __import__('time').sleep(75)\n    log_to(")
    hog = "    hog = b'x' * 3_600_000_000\n    __import__('time').sleep(5)\n    log_to("
    edit(folder / "workflow/scripts/reduce_images.py", "    log_to(", hog)
    target = "results/reduce_images/variance.tsv"
    run_on_slurm(folder, target, "--configfile", small_config(folder, small_archive))
    *_, killed, ended = jobs_of("rule_stack_images")
    assert (killed.partition, killed.minutes, killed.end) == ("long", 1, "TIMEOUT")
    assert (ended.minutes, ended.end) == (2, "COMPLETED")
    *_, killed, ended = jobs_of("rule_reduce_images")
    assert killed.end in ("OUT_OF_MEMORY", "FAILED", "CANCELLED")
    assert (ended.memory_mb, ended.end) == (2 * killed.memory_mb, "COMPLETED")
    snakemake(undisturbed, target, "--configfile", small_config(undisturbed, small_archive))
    assert digest(folder) == digest(undisturbed)


@pytest.mark.long
@pytest.mark.usefixtures("slurm")
def test_the_logs_of_a_failed_job_are_named(tmp_path, small_archive):
    folder = copy_project(tmp_path / "run")
    overlay = small_config(folder, small_archive, run_ica={"n_components": 30})
    target = "results/reduce_images/variance.tsv"
    done = run_on_slurm(folder, target, "--configfile", overlay, "--retries", "0", check=False)
    assert done.returncode != 0
    assert "logs/reduce_images.log: 24 images are left, but run_ica.n_components is 30" in done.stdout
    named = done.stdout.partition("log: logs/reduce_images.log, ")[2].partition(" ")[0]
    assert "24 images are left" in (folder / named).read_text()


# A stand-in for the accounting, which the cluster of the tests does not have. Its answers 2 to 15 are errors.
SACCT = """\
#!/bin/sh
echo >>{calls}
n=$(wc -l <{calls})
if [ $n -gt 1 ] && [ $n -lt 16 ]; then exit 1; fi
for run; do :; done
if [ $n -gt 1 ]; then squeue --noheader --states=all --name "$run" --format "%i|%T"; fi
"""


@pytest.mark.long
@pytest.mark.usefixtures("slurm")
def test_a_run_continues_after_slurm_did_not_answer(tmp_path, small_archive, monkeypatch):
    folder, calls = copy_project(tmp_path / "run"), tmp_path / "calls"
    (tmp_path / "sacct").write_text(SACCT.format(calls=calls))
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    target = "results/mask_images/quality-0.tsv"
    run_on_slurm(folder, target, "--configfile", small_config(folder, small_archive))
    assert (folder / target).is_file()
    assert len(calls.read_text()) > 15


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
