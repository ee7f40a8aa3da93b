"""Tasks in several processes: the same results as in one, errors that name the task, and no process left over."""

import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import ROOT
from neurovault_ica.runtime.processes import run_tasks


def draw(seed):
    return np.random.default_rng(seed).standard_normal(100_000), os.getpid()


@pytest.fixture
def alone():
    """Check after the test that it has left no process."""
    before = psutil.Process().children()
    yield
    assert psutil.Process().children() == before


def refuse(kind, *arguments):
    raise kind(*arguments)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("n_processes", [1, 2, 3, 9])
def test_results_do_not_depend_on_the_number_of_processes(n_processes):
    tasks = {f"ICA_{seed:02d}": partial(draw, seed) for seed in range(5)}
    done = run_tasks(tasks, n_processes)
    assert list(done) == list(tasks)
    for seed, (values, _) in enumerate(done.values()):
        np.testing.assert_array_equal(values, draw(seed)[0])
    processes = {process for _, process in done.values()}
    assert len(processes) == min(n_processes, 5)
    assert (os.getpid() in processes) == (n_processes == 1)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("n_processes", [1, 2])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        ((ValueError, "all values are the same"), "ICA_01: all values are the same"),
        ((ZeroDivisionError, "float division"), "ICA_01: ZeroDivisionError: float division"),
    ],
)
def test_an_error_names_its_task_and_keeps_its_traceback(n_processes, error, message, capfd):
    tasks = {"ICA_00": partial(draw, 0), "ICA_01": partial(refuse, *error), "ICA_02": partial(draw, 0)}
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        run_tasks(tasks, n_processes)
    assert "in refuse" in capfd.readouterr().err


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_error_of_the_disk_keeps_its_type_and_file(n_processes):
    full = partial(refuse, OSError, errno.ENOSPC, os.strerror(errno.ENOSPC), "results/ICA_00.png")
    with pytest.raises(OSError, match=r"results/ICA_00\.png") as caught:
        run_tasks({"ICA_00": full, "ICA_01": partial(draw, 0)}, n_processes)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "ICA_01: its process was killed, probably because"),
        (lambda: os._exit(3), "ICA_01: its process ended with exit code 3"),
    ],
)
def test_a_dead_process_is_reported_while_others_still_work(end, message):
    tasks = {"ICA_00": partial(draw, 0), "ICA_01": end, "ICA_02": partial(time.sleep, 600), "ICA_03": partial(draw, 0)}
    with pytest.raises(RuntimeError, match=message):
        run_tasks(tasks, 2)


def test_workers_end_after_their_current_task_if_the_parent_is_killed(tmp_path):
    code = """
import os, sys, time
from neurovault_ica.runtime.processes import run_tasks
def task(number):
    open(f"{number}-{os.getpid()}", "w").close()
    while number >= 2 and not os.path.exists("orphaned"):
        time.sleep(0.01)
run_tasks({str(number): (lambda number=number: task(number)) for number in range(100)}, 2)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(ROOT) / "workflow" / "scripts")}
    first = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    while len(list(tmp_path.glob("[23]-*"))) < 2:
        assert first.poll() is None
        time.sleep(0.05)
    others = [psutil.Process(int(path.name.split("-")[1])) for path in tmp_path.glob("[23]-*")]
    first.kill()
    first.wait()
    (tmp_path / "orphaned").touch()
    psutil.wait_procs(others, timeout=60)
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in others)
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["0", "1", "2", "3", "orphaned"]
