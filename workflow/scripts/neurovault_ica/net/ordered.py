"""Map a function over items in threads, with the results in order."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int
) -> Generator[Result, None, None]:
    """Map `function` over `items` in threads; results come in order.

    Parameters
    ----------
    function : function
    items : iterable
    threads : int
    ahead : int
        Largest number of items that may be started while an earlier item is not finished. With a larger number, a slow
        item delays fewer others.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="connection")
    try:
        waiting: list[Future[Result]] = [pool.submit(function, item) for item in islice(source, ahead)]
        while waiting:
            result = waiting.pop(0).result()
            waiting += [pool.submit(function, item) for item in islice(source, 1)]
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
