"""Threads give what one thread gives, in its order, and take no more at a time than they need."""

import threading

import pytest
from neurovault_ica.runtime.threads import in_order


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
def test_results_come_in_the_order_of_the_items(threads):
    later = threading.Event()

    def wait_for_a_later_item(item):
        # With more than one thread the first item is done last.
        if item == 0 and threads > 1:
            assert later.wait(10)
        elif item == 1:
            later.set()
        return item * item

    assert list(in_order(wait_for_a_later_item, range(7), threads)) == [0, 1, 4, 9, 16, 25, 36]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_items_are_taken_as_they_are_needed(threads):
    taken = []
    results = in_order(str, (taken.append(item) or item for item in range(100)), threads)
    for _ in range(10):
        next(results)
    assert len(taken) <= 10 + threads
    results.close()
    assert len(taken) <= 10 + threads, "what nobody wants any more is not begun"


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_out(threads):
    results = in_order(lambda item: 1 // item, [1, 0, 1], threads)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_so_many_work_at_once():
    together = threading.Barrier(3)
    # Breaks, if fewer than three come to it.
    assert list(in_order(lambda _: together.wait(10) >= 0, range(3), 3)) == [True] * 3
