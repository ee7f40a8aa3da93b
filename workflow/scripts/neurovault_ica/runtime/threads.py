"""Compute in threads, with results that do not depend on the number of threads.

numpy releases Python's interpreter lock while it computes, so threads use several cores. In each of them, BLAS must use
a single thread. With more, it would split sums in another way and change the last digit of results.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

from neurovault_ica.runtime.memory import keep_freed_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
# OpenBLAS, which numpy and scipy contain, reads its number of threads from this variable when it is loaded.
AT_LOADING = "OPENBLAS_NUM_THREADS"


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Give BLAS one thread in a ``with`` block. With more, the last digit would depend on the number of cores.

    The limit also applies to libraries that are loaded in the block, and these keep it. scipy has a BLAS library of its
    own, which some modules load when they need it.
    """
    before = os.environ.get(AT_LOADING)
    os.environ[AT_LOADING] = "1"
    try:
        with threadpool_limits(1):
            yield
    finally:
        del os.environ[AT_LOADING]
        if before is not None:
            os.environ[AT_LOADING] = before


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Apply `function` to every item in `threads` threads and yield the results in the order of the items.

    Results may be large, so at most about one result per thread waits. Items are taken only when needed.
    """
    if threads == 1:
        yield from map(function, items)
        return
    # The memory of a thread goes back to the system even sooner than that of the process.
    keep_freed_memory()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
