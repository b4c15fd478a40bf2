"""Signals as wishes: told once, beside whatever the signal came upon, and meant the second time."""

import os
import signal
import threading

import pytest

from liveact_cli.cli.interrupt import stop_requested


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_told_and_the_second_stops(number: int) -> None:
    before = signal.getsignal(number)
    told: list[str] = []

    def tell() -> None:
        told.append(threading.current_thread().name)

    def press_twice() -> None:
        with stop_requested(tell, lambda: True) as stop:
            assert not stop()
            os.kill(os.getpid(), number)
            assert stop()
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert told == ["telling"]
    assert signal.getsignal(number) is before


def test_a_signal_amid_writing_does_not_write_twice_at_once() -> None:
    """The first signal comes while its own thread holds what `tell` needs, as a writer does."""
    writing, told = threading.Lock(), list[bool]()

    def tell() -> None:
        with writing:
            told.append(True)

    with stop_requested(tell, lambda: True) as stop, writing:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        assert not told
    assert told == [True]


def test_nothing_worthwhile_stops_at_once() -> None:
    told: list[int] = []

    def press() -> None:
        with stop_requested(lambda: told.append(1), lambda: False):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        press()
    assert not told
