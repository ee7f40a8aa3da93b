"""Threads give the same results as one thread, in the same order, and read items only when needed."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT
from neurovault_ica.runtime.threads import in_order


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
def test_results_come_in_the_order_of_the_items(threads):
    later = threading.Event()

    def wait_for_a_later_item(item):
        # With more than one thread, the first item waits for the second.
        if item == 0 and threads > 1:
            assert later.wait(60)
        elif item == 1:
            later.set()
        return item * item

    assert list(in_order(wait_for_a_later_item, range(7), threads)) == [0, 1, 4, 9, 16, 25, 36]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_items_are_read_only_when_needed(threads):
    taken = []
    results = in_order(str, (taken.append(item) or item for item in range(100)), threads)
    for _ in range(10):
        next(results)
    assert len(taken) <= 10 + threads
    results.close()
    assert len(taken) <= 10 + threads, "no item is started after the results are closed"


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_is_raised_when_its_result_is_due(threads):
    results = in_order(lambda item: 1 // item, [1, 0, 1], threads)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_all_threads_work_at_the_same_time():
    together = threading.Barrier(3)
    # The barrier breaks if fewer than three threads reach it.
    assert list(in_order(lambda _: together.wait(60) >= 0, range(3), 3)) == [True] * 3


def test_blas_that_is_loaded_later_has_one_thread_too():
    """scipy has its own BLAS. Picard loads it after the limit was set; its results then depended on the cores."""
    code = (
        "import os, numpy\n"
        "from neurovault_ica.runtime.threads import one_blas_thread\n"
        "from threadpoolctl import threadpool_info\n"
        "numbers = lambda: [library['num_threads'] for library in threadpool_info()]\n"
        "before = max(numbers())\n"
        "with one_blas_thread():\n"
        "    import scipy.linalg\n"
        "    assert set(numbers()) == {1}, threadpool_info()\n"
        "assert max(numbers()) == before, 'the limit ends with the block'\n"
        "assert os.environ['OPENBLAS_NUM_THREADS'] == '2'\n"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": str(Path(ROOT) / "workflow" / "scripts")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
