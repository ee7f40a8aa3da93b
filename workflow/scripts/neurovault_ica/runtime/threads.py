"""Work in threads, with results that do not depend on their number.

numpy lets go of the interpreter while it computes, so threads that multiply use as many cores. BLAS itself must keep to
one thread in each: how it shares out a sum depends on the number of cores, and so would the last digit.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Apply `function` to every item, in so many threads, and give the results in the order of the items.

    No more than one result a thread waits, since results may be large; so `items` are taken as they are needed.
    """
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
