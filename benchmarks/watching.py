"""Run a command and measure time and memory of its processes."""

import os
import re
import time
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil

# Seconds between measurements of the running processes.
POLL_S = 0.05

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
        # Includes the CPU time of processes between their last measurement and their end.
        "cpu_s": after.children_user + after.children_system - before.children_user - before.children_system,
        "peak_mb": max(row["peak_mb"] for row in seen.values()),
    }
    return [whole, *seen.values()], (folder / "stdout.txt").read_text()


def _rule_of(command: Sequence[str]) -> str:
    """Return the rule from the name of the script's copy in .snakemake/scripts; "" for other commands."""
    names = [re.fullmatch(r".*/\.snakemake/scripts/tmp\w+\.(\w+)\.py", argument) for argument in command]
    return next((name[1] for name in names if name), "")


def add_up(part: str, processes: Sequence[Row]) -> Row:
    """Combine processes: wall time while any of them ran, sum of CPU seconds, and largest memory of one process."""
    return {
        "part": part,
        "wall_s": wall_of(processes),
        "cpu_s": sum(row["cpu_s"] for row in processes),
        "peak_mb": max(row["peak_mb"] for row in processes),
    }


def wall_of(processes: Iterable[Row]) -> float:
    """Return the time during which at least one process ran. Batches may run at the same time."""
    wall = reached = 0.0
    for row in sorted(processes, key=itemgetter("began")):
        wall += max(row["ended"] - max(row["began"], reached), 0)
        reached = max(reached, row["ended"])
    return wall
