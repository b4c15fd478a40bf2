"""A process that renders for another one: `python -m liveact_cli.studio.worker FD`.

It carries out the orders that come through the pipe FD, one after the other with one loaded model,
and tells what happens. It ends when the pipe does: whatever happens to its parent, it does not
stay behind.
"""

import contextlib
import faulthandler
import os
import queue
import signal
import sys
import threading
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from liveact_cli.studio.messages import Do, Made, Stop, Stopped
from liveact_cli.studio.perform import Speakers, failure_of, perform

EXPENDABLE: Final = "500"
"""Of 1000: when memory runs out the system ends a worker, and not the process that watches it."""


@dataclass(slots=True)
class _Desk:
    """What has come in: orders to do, and the numbers of those to stop."""

    orders: "queue.SimpleQueue[Do]" = field(default_factory=queue.SimpleQueue)
    stopped: set[int] = field(default_factory=set)


def main() -> int:
    """Work until the pipe ends."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(EXPENDABLE, encoding="ascii")
    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    desk, speakers = _Desk(), Speakers()
    threading.Thread(target=_listen, args=(pipe, desk), daemon=True).start()
    while True:
        _do(desk.orders.get(), desk, speakers, pipe)


def _listen(pipe: "Connection[Any, Any]", desk: _Desk) -> None:
    try:
        while True:
            message = pipe.recv()
            if isinstance(message, Stop):
                desk.stopped.add(message.number)
            else:
                desk.orders.put(message)
    except (EOFError, OSError):
        # Nobody is left to work for. States are on the disk, and our ffmpegs end with us.
        os._exit(0)


def _do(task: Do, desk: _Desk, speakers: Speakers, pipe: "Connection[Any, Any]") -> None:
    number, last = task.number, None
    try:
        for last in perform(task.order, speakers, lambda: number in desk.stopped):
            pipe.send((number, last))
        if not isinstance(last, Made):
            pipe.send((number, Stopped()))
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # noqa: BLE001  (told to whoever gave the order)
        pipe.send((number, failure_of(error, traceback.format_exc())))


if __name__ == "__main__":
    sys.exit(main())
