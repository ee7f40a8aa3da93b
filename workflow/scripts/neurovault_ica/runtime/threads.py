"""Compute in threads, with results that do not depend on the number of threads.

numpy releases Python's interpreter lock while it computes, so threads use several cores. In each of them, BLAS must use
a single thread. With more, it would split sums in another way and change the last digit of results.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

from neurovault_ica.runtime.memory import keep_freed_memory

Item = TypeVar("Item")
Result = TypeVar("Result")


def one_blas_thread() -> threadpool_limits:
    """Give BLAS one thread in a ``with`` block. With more, the last digit would depend on the number of cores.

    The limit applies to the libraries that are loaded already. scipy has a BLAS library of its own.
    """
    return threadpool_limits(1)


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
