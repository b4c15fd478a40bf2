"""Processes that render side by side: started, told, listened to, and ended when they must.

What happens in one costs only the order that it works on: a crash, a loss of memory or a hang ends
that process, and a new one takes its place. `dispatch.py` decides what is done next.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import IO, Any, Final, Protocol, Self

from liveact_cli.core.errors import DeviceError, ExitCode
from liveact_cli.studio.messages import ENDINGS, Do, Failure, News, Stop
from liveact_cli.studio.orders import RenderOrder

_LAST_WORDS: Final = 2000
_FAREWELL: Final = 5.0
"""Seconds that a process has to end by itself once nobody needs it."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place for one worker: its name, and the variables that give it its devices."""

    name: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What was told about the order `key`."""

    key: str
    news: News


class Workers(Protocol):
    """Something that carries out several orders at once, here or elsewhere."""

    def __enter__(self) -> Self:
        """Return itself; the end of the with block ends everything."""
        ...

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End everything at once."""
        ...

    @property
    def free(self) -> int:
        """How many orders could be begun now."""
        ...

    def begin(self, key: str, order: RenderOrder) -> str:
        """Begin an order; return who does it, for people."""
        ...

    def stop(self, key: str) -> None:
        """Ask for an end after the chunk that is being made."""
        ...

    def kill(self, key: str, why: Failure) -> None:
        """End the work on an order at once; `why` is told about it."""
        ...

    def news(self, seconds: float) -> list[Told]:
        """Return what has happened, after `seconds` at most."""
        ...


class _Worker:
    """One process, the pipe to it, and what it works on."""

    def __init__(self, seat: Seat) -> None:
        """Raise DeviceError when no process can be started."""
        self.seat = seat
        self.key: str | None = None
        self.why: Failure | None = None
        self._number = 0
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by dismiss)
        ours, theirs = socket.socketpair()
        # The same modules as here, however they are found; and a process group of its own, because
        # Ctrl-C is for this process to answer. In the same session, though: when this process dies,
        # the system wakes and ends even a worker that is stopped (an orphaned process group).
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        command = [sys.executable, "-P", "-m", "liveact_cli.studio.worker", str(theirs.fileno())]
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "PYTHONPATH": paths, **seat.variables},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    process_group=0,
                )
            except OSError as error:
                ours.close()
                raise DeviceError(
                    f"another process cannot be started: {error.strerror}", "--jobs 1"
                ) from error
        self.pipe: Connection[Any, Any] = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def begin(self, key: str, order: RenderOrder) -> None:
        """Hand it an order."""
        self.key, self._number = key, self._number + 1
        self._send(Do(self._number, order))

    def stop(self) -> None:
        """Ask it to stop what it works on."""
        self._send(Stop(self._number))

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()

    def receive(self) -> News | None:
        """Return the next message; None for an old one. Raises EOFError or OSError at its end."""
        number, news = self.pipe.recv()
        return news if number == self._number and self.key is not None else None

    def dismiss(self) -> None:
        """Close its pipe, which ends it, and wait for that."""
        self.pipe.close()
        try:
            self._process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def obituary(self) -> Failure:
        """Return what its end means for the order that it worked on."""
        self._process.wait()
        if self.why is not None:
            return self.why
        code = self._process.returncode
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LAST_WORDS))
        trace = self._log.read().decode("utf-8", "replace").strip()
        hint = ""
        if code < 0:
            with contextlib.suppress(ValueError):
                code_name = signal.Signals(-code).name
                if code == -signal.SIGKILL:
                    hint = "the system does that when memory runs out; fewer --jobs need less"
                message = f"its process was killed by {code_name}"
                return Failure(message, hint, int(ExitCode.DEVICE), trace)
        return Failure(f"its process ended with status {code}", hint, int(ExitCode.BUG), trace)

    def _send(self, message: Do | Stop) -> None:
        # A process that has ended already is noticed where its pipe is read.
        with contextlib.suppress(OSError):
            self.pipe.send(message)


class LocalWorkers:
    """Processes on this machine, one for each seat; they are started when they are needed."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = list(seats)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End every process; what they were at can be gone on with."""
        for worker in self._workers:
            if worker.key is not None:
                worker.kill()
        for worker in self._workers:
            worker.dismiss()
        self._workers = []

    @property
    def free(self) -> int:
        """How many orders could be begun now."""
        return len(self._seats) - sum(worker.key is not None for worker in self._workers)

    def begin(self, key: str, order: RenderOrder) -> str:
        """Hand the order to a process that waits, or to a new one; return its number."""
        worker = next((worker for worker in self._workers if worker.key is None), None)
        if worker is None:
            taken = {id(worker.seat) for worker in self._workers}
            worker = _Worker(next(seat for seat in self._seats if id(seat) not in taken))
            self._workers.append(worker)
        worker.begin(key, order)
        return str(worker.pid)

    def stop(self, key: str) -> None:
        """Ask the process that has this order to stop."""
        for worker in self._of(key):
            worker.stop()

    def kill(self, key: str, why: Failure) -> None:
        """Kill the process that has this order."""
        for worker in self._of(key):
            worker.why = why
            worker.kill()

    def news(self, seconds: float) -> list[Told]:
        """Return what the processes tell, and which of them have ended."""
        pipes = {worker.pipe: worker for worker in self._workers}
        if not pipes:
            time.sleep(seconds)
            return []
        found = []
        for pipe in wait(list(pipes), seconds):
            worker = pipes[pipe]  # type: ignore[index]
            key = worker.key
            try:
                news = worker.receive()
            except (EOFError, OSError):
                news = worker.obituary()
                self._let_go(worker)
            if key is None or news is None:
                continue
            if isinstance(news, ENDINGS):
                worker.key = None
                if isinstance(news, Failure) and news.fatal:
                    self._let_go(worker)
            found.append(Told(key, news))
        return found

    def _of(self, key: str) -> list[_Worker]:
        return [worker for worker in self._workers if worker.key == key]

    def _let_go(self, worker: _Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)
            worker.dismiss()
