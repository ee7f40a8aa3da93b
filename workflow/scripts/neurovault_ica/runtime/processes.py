"""Do independent pieces of work in several processes.

Processes are forked: they share what is in memory, and do not import matplotlib again. That is safe where no thread
runs: OpenBLAS ends its own before each fork, and matplotlib opens its fonts anew after it. Each process gets its share
of the work when it begins and asks for nothing later, so that none waits for ever when another or the first is killed.
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

Task = Callable[[], Any]


class Failure(NamedTuple):
    """Why a task has no result."""

    reason: str


def run_tasks(tasks: Mapping[str, Task], n_processes: int) -> dict[str, Any]:
    """Call functions, in up to `n_processes` processes, and return what they return by their names.

    Results do not depend on the number of processes, nor which task comes first where tasks are independent.

    Raises
    ------
    RuntimeError
        With a task's name and the reason, where it raised an error, of which the log has the traceback, or where its
        process was killed.
    OSError
        The task's own, which names the file.
    """
    # What there is now need not be looked through for what a task has left: a figure leaves 20 MB.
    gc.freeze()
    try:
        # Elsewhere than on Linux, what the system's libraries do in forked processes is not known.
        n_workers = min(n_processes, len(tasks)) if sys.platform == "linux" else 1
        if n_workers > 1:
            return _run_forked(tasks, n_workers)
        named = progress(tasks.items(), total=len(tasks), unit="task")
        return {name: _result(name, _attempt(task)) for name, task in named}
    finally:
        gc.unfreeze()


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
            # The next worker must not keep it open: its end tells that this one has died.
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
    """Do a worker's share, as long as somebody listens."""
    # Ctrl-C reaches all processes; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for receiver in receivers:
        receiver.close()
    for task in share:
        try:
            sender.send(_attempt(task))
        except BrokenPipeError:
            return


def _attempt(task: Task) -> Any:
    """Return what a task returns, a `Failure`, or the error of a file."""
    try:
        return task()
    except OSError as error:
        traceback.print_exc()
        return error
    except Exception as error:  # noqa: BLE001  whatever it is, the other process must hear of it
        traceback.print_exc()
        known = isinstance(error, ValueError | RuntimeError)
        return Failure(str(error) if known else f"{type(error).__name__}: {error}")
    finally:
        gc.collect()


def _receive(receiver: Connection, worker: ForkProcess) -> Any:
    try:
        return receiver.recv()
    except (EOFError, OSError):
        # It ended before it sent, or while it did.
        worker.join()
        if worker.exitcode == -signal.SIGKILL:
            return Failure("its process was killed, mostly for want of memory; run with more of it or fewer cores")
        return Failure(f"its process ended with code {worker.exitcode}; the log may say why")


def _result(name: str, outcome: Any) -> Any:
    if isinstance(outcome, OSError):
        raise outcome
    if isinstance(outcome, Failure):
        raise RuntimeError(f"{name}: {outcome.reason}")
    return outcome
