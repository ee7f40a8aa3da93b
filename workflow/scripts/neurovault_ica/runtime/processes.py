"""Run independent tasks in several processes.

Processes are forked, so they share memory and need not import matplotlib again. Forking is safe if no other thread is
running: OpenBLAS stops its threads before a fork, and matplotlib reopens its fonts after it. Each process gets all its
tasks at the start, so no process waits forever if another one is killed.
"""

import gc
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any, NamedTuple

from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.memory import keep_freed_memory

Task = Callable[[], Any]


class Failure(NamedTuple):
    """The reason why a task failed."""

    reason: str


def run_tasks(tasks: Mapping[str, Task], n_processes: int) -> dict[str, Any]:
    """Call each task, in up to `n_processes` processes, and return the results by task name.

    The results do not depend on the number of processes.

    Raises
    ------
    RuntimeError
        If a task failed or its process was killed. The message has the task's name and the reason; the traceback is
        in the log.
    OSError
        If a task could not read or write a file. This is the task's own error, which names the file.
    """
    # Each figure leaves 20 MB of garbage. Freeze the existing objects, so that the collector need not search them. They
    # stay frozen, which saves half a second when a process with matplotlib ends.
    gc.freeze()
    keep_freed_memory()
    # On other operating systems, system libraries may fail in forked processes.
    n_workers = min(n_processes, len(tasks)) if sys.platform == "linux" else 1
    if n_workers > 1:
        return _run_forked(tasks, n_workers)
    named = progress(tasks.items(), total=len(tasks), unit="task")
    return {name: _result(name, _attempt(task)) for name, task in named}


def _run_forked(tasks: Mapping[str, Task], n_workers: int) -> dict[str, Any]:
    context = multiprocessing.get_context("fork")
    workers: list[ForkProcess] = []
    receivers: list[Connection] = []
    try:
        for first in range(n_workers):
            receiver, sender = context.Pipe(duplex=False)
            receivers.append(receiver)
            share = list(tasks.values())[first::n_workers]
            worker = context.Process(target=_work, args=(share, sender, receivers), daemon=True)
            worker.start()
            # Close our copy before the next fork. Otherwise the pipe would stay open after this worker has died.
            sender.close()
            workers.append(worker)
        numbered = enumerate(progress(tasks, total=len(tasks), unit="task"))
        return {
            name: _result(name, _receive(receivers[number % n_workers], workers[number % n_workers]))
            for number, name in numbered
        }
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.join()


def _work(share: Sequence[Task], sender: Connection, receivers: Sequence[Connection]) -> None:
    """Run the tasks of one worker until the parent process stops listening."""
    # Ctrl-C reaches all processes. The parent process handles it and stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for receiver in receivers:
        receiver.close()
    for task in share:
        try:
            sender.send(_attempt(task))
        except BrokenPipeError:
            return


def _attempt(task: Task) -> Any:
    """Run a task. Return its result, a `Failure`, or its OSError."""
    try:
        return task()
    except OSError as error:
        traceback.print_exc()
        return error
    except Exception as error:  # noqa: BLE001  the parent process reports every error
        traceback.print_exc()
        known = isinstance(error, ValueError | RuntimeError)
        return Failure(str(error) if known else f"{type(error).__name__}: {error}")
    finally:
        gc.collect()


def _receive(receiver: Connection, worker: ForkProcess) -> Any:
    try:
        return receiver.recv()
    except (EOFError, OSError):
        # The worker ended before it had sent the whole result.
        worker.join()
        if worker.exitcode == -signal.SIGKILL:
            return Failure("its process was killed, probably because memory ran out; use more memory or fewer cores")
        return Failure(f"its process ended with exit code {worker.exitcode}; see the log")


def _result(name: str, outcome: Any) -> Any:
    if isinstance(outcome, OSError):
        raise outcome
    if isinstance(outcome, Failure):
        raise RuntimeError(f"{name}: {outcome.reason}")
    return outcome
