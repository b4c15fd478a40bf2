"""Working ahead keeps order, errors and ends."""

import threading
import time
from collections.abc import Iterator

import pytest

from liveact_cli.engine.ahead import work_ahead


def test_order_and_end() -> None:
    assert list(work_ahead(lambda: iter(range(50)), 3)) == list(range(50))


def test_it_really_works_ahead() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    items = work_ahead(source)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made[:2] == [0, 1]
    assert list(items) == [1, 2]


def test_errors_arrive_in_their_place() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    items = work_ahead(source)
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_stopping_early_closes_the_source_and_ends_the_thread() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    items = work_ahead(source)
    assert next(items) == 0
    items.close()
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "work-ahead"]
