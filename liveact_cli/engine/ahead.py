"""Work ahead in a thread: the next chunk is generated while this one is drawn."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

_POLL = 0.1


@dataclass(frozen=True, slots=True)
class _End(Generic[Item]):
    """The source is exhausted, or failed with `error`."""

    error: BaseException | None


def work_ahead(source: Callable[[], Iterator[Item]], depth: int = 1) -> Generator[Item, None, None]:
    """Yield what `source()` yields, in order, made by one thread at most `depth` items ahead.

    The iterator is made, advanced and closed in that thread. What it raises is raised here; when
    the consumer stops early, the thread ends after the item it is working on.
    """
    items: queue.Queue[Item | _End[Item]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Item | _End[Item]) -> bool:
        while not stopped.is_set():
            try:
                items.put(item, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        iterator = source()
        try:
            for item in iterator:
                if not put(item):
                    return
            put(_End(None))
        except BaseException as error:  # noqa: BLE001  (handed to the consumer, who raises it)
            put(_End(error))
        finally:
            if close := getattr(iterator, "close", None):
                close()

    thread = threading.Thread(target=produce, name="work-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = items.get()
            if not isinstance(item, _End):
                yield item
            elif item.error is None:
                return
            else:
                raise item.error
    finally:
        stopped.set()
        thread.join()
