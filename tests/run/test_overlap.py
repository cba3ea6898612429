import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count, islice
from threading import Barrier, Event

import pytest

from tubedet.run.overlap import Overlap

PATIENCE_S = 20.0


def doubled(items: Iterable[int]) -> Iterator[int]:
    for item in items:
        yield 2 * item


def own_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("tubedet")]


def test_items_come_in_order_through_any_number_of_stages() -> None:
    with Overlap() as overlap:
        items: Iterator[int] = iter(range(200))
        for most in (1, 2, 5):
            items = overlap.ahead(doubled(items), most)
        assert list(items) == [8 * number for number in range(200)]
    assert own_threads() == []


def test_both_sides_work_at_the_same_time() -> None:
    both = Barrier(2, timeout=PATIENCE_S)

    def met() -> Iterator[int]:
        yield 0
        both.wait()  # while whoever took item 0 is at it
        yield 1

    with Overlap() as overlap:
        items = overlap.ahead(met(), 1)
        assert next(items) == 0
        both.wait()
        assert next(items) == 1


def test_a_stage_is_so_many_items_ahead_and_no_more() -> None:
    made: list[int] = []
    third = Event()

    def told() -> Iterator[int]:
        for number in count():
            made.append(number)
            if number == 3:
                third.set()
            yield number

    with Overlap() as overlap:
        items = overlap.ahead(told(), 3)
        assert made == []
        assert next(items) == 0
        assert third.wait(PATIENCE_S)
        assert not threading.Event().wait(0.05)
        assert made == [0, 1, 2, 3]


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def failing() -> Iterator[int]:
        yield 0
        yield 1
        raise ValueError("of item 2")

    with Overlap() as overlap:
        items = overlap.ahead(doubled(overlap.ahead(failing(), 4)), 4)
        assert (next(items), next(items)) == (0, 2)
        with pytest.raises(ValueError, match="of item 2"):
            next(items)
    assert own_threads() == []


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_whoever_leaves_the_block_leaves_no_thread_behind(taken: int) -> None:
    ended = []

    def endless() -> Iterator[int]:
        try:
            yield from count()
        finally:
            ended.append("endless")

    def wait_for_more(items: Iterable[int]) -> Iterator[int]:
        """Most of its time it waits for the stage before it."""
        for item in items:
            if item % 5 == 0:
                yield item

    with suppress(KeyboardInterrupt), Overlap() as overlap:
        items = overlap.ahead(wait_for_more(overlap.ahead(endless(), 2)), 2)
        assert list(islice(items, taken)) == [5 * number for number in range(taken)]
        raise KeyboardInterrupt
    assert own_threads() == []
    del items
    assert ended == ["endless"] * bool(taken)


def test_results_come_in_order_up_to_so_many_behind() -> None:
    taken: list[int] = []

    def told() -> Iterator[int]:
        for number in range(6):
            taken.append(number)
            yield number

    with Overlap() as overlap:
        results = overlap.behind(told(), lambda number: 10 * number, 2)
        assert next(results) == 0
        assert taken == [0, 1, 2]
        assert list(results) == [10, 20, 30, 40, 50]
    assert own_threads() == []


def test_work_behind_goes_on_while_the_next_item_is_made() -> None:
    both = Barrier(2, timeout=PATIENCE_S)

    def met() -> Iterator[int]:
        yield 0
        both.wait()  # while item 0 is worked on
        yield 1

    def meet(number: int) -> int:
        if number == 0:
            both.wait()
        return number

    with Overlap() as overlap:
        assert list(overlap.behind(met(), meet, 2)) == [0, 1]


def test_what_was_taken_is_done_even_where_the_next_item_fails() -> None:
    done: list[int] = []
    begun = Event()

    def failing() -> Iterator[int]:
        yield 0
        yield 1
        begun.set()
        raise KeyboardInterrupt

    def slow(number: int) -> None:
        assert begun.wait(PATIENCE_S)
        done.append(number)

    with Overlap() as overlap, suppress(KeyboardInterrupt):
        list(overlap.behind(failing(), slow, 2))
        raise AssertionError
    assert done == [0, 1]


def test_nothing_is_done_behind_an_item_that_fails() -> None:
    done: list[int] = []

    def fail(number: int) -> int:
        if number == 2:
            raise OSError("item 2")
        done.append(number)
        return number

    with Overlap() as overlap:
        results = overlap.behind(range(9), fail, 3)
        assert (next(results), next(results)) == (0, 1)
        with pytest.raises(OSError, match="item 2"):
            next(results)
    assert done == [0, 1]
    assert own_threads() == []


def test_whoever_leaves_while_work_is_behind_waits_for_it() -> None:
    done: list[int] = []
    with Overlap() as overlap:
        results = overlap.behind(range(9), done.append, 3)
        next(results)
        results.close()
        assert done == [0, 1, 2, 3]


def test_work_that_was_never_begun_is_not_waited_for_after_the_block() -> None:
    begun = Event()
    with Overlap() as overlap:
        results = overlap.behind(range(100), lambda number: begun.wait(0.2), 3)
        next(results)
    results.close()
    assert own_threads() == []
