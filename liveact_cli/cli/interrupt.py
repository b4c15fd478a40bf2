"""Ctrl-C as a wish: the first one asks the work to stop tidily, the second one stops it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requested(
    tell: Callable[[], None], worthwhile: Callable[[], bool]
) -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C was pressed or a polite kill came in.

    `tell` is called once, when it happens, in a thread of its own: what the signal came upon may be
    writing to the terminal itself. While there is nothing `worthwhile` to keep, the first signal
    already raises KeyboardInterrupt. Outside the main thread signals belong to others, and nothing
    changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    wanted, awake = False, threading.Event()

    def wait_and_tell() -> None:
        awake.wait()
        if wanted:
            tell()

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal wanted
        if wanted or not worthwhile():
            raise KeyboardInterrupt
        wanted = True
        awake.set()

    # Started before any signal: a handler that starts a thread can meet a lock that its own
    # thread holds.
    teller = threading.Thread(target=wait_and_tell, name="telling", daemon=True)
    teller.start()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield lambda: wanted
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        awake.set()
        teller.join()
