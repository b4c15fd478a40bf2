"""Processes beside this one, and a pipe to each: torch's elastic launcher underneath.

It starts every process in a session of its own, knows how each ended, and ends the rest when one
fails. What it cannot give is a way to talk: each process connects to a socket in a private folder.
"""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from liveact_cli.core.errors import DeviceError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import PContext, RunProcsResult

    Pipe: TypeAlias = Connection[Any, Any]
else:
    Pipe = Connection  # it has no parameters at run time

_GLANCE: Final = 0.02
"""Seconds between two looks at processes that are about to end."""
_LAST_WORDS: Final = 2.0
"""Seconds in which a process whose pipe has ended is gone itself."""
_LOGGER: Final = "torch.distributed.elastic.multiprocessing.api"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit status (below 0: minus a signal; None: unknown), and whether it
    was not merely ended because another one failed."""

    code: int | None
    by_itself: bool = True


class Launch:
    """Processes `python -m module ADDRESS NUMBER`, numbered from 0; close it in the end."""

    def __init__(self, module: str, count: int) -> None:
        """Start them; raises DeviceError where they cannot meet, OSError where none can start."""
        # It tells of signals and ends that the user is told of in our words.
        logging.getLogger(_LOGGER).setLevel(logging.CRITICAL)
        self._folder = tempfile.TemporaryDirectory(prefix="liveact-", ignore_cleanup_errors=True)
        self._result: RunProcsResult | None = None
        self._lock = threading.Lock()
        address = str(Path(self._folder.name, "meet"))
        self._door = socket.socket(socket.AF_UNIX)
        try:
            self._door.bind(address)
        except OSError as error:
            self._leave()
            raise DeviceError(
                f"processes for further GPUs cannot meet at {address}: {error}",
                "TMPDIR names a folder for temporary files; its name must be short",
            ) from error
        self._door.listen(count)
        self._door.settimeout(_GLANCE)
        self.count = count
        self._context = self._start(module, address)

    def _start(self, module: str, address: str) -> "PContext":
        # torch's part takes its time to import, which only several devices need.
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

        # The same modules as here, however they are found.
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        made: list[PContext | BaseException] = []

        def start() -> None:
            try:
                numbers = range(self.count)
                made.append(
                    start_processes(
                        "liveact",
                        sys.executable,
                        {n: ("-P", "-m", module, address, str(n)) for n in numbers},
                        {n: {"PYTHONPATH": paths} for n in numbers},
                        DefaultLogsSpecs(log_dir=self._folder.name),  # no streams go to files
                    )
                )
            except BaseException as error:  # noqa: BLE001  (raised below, in the thread that asked)
                made.append(error)

        # In the main thread the launcher would take Ctrl-C and polite kills from this process.
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        if isinstance(made[0], BaseException):
            self._leave()
            raise made[0]
        return made[0]

    def pipes(self) -> list[Pipe | None]:
        """Return the pipe to each process, when all have connected; None for those that ended."""
        found: list[Pipe | None] = [None] * self.count
        while None in found:
            try:
                connected, _ = self._door.accept()
            except TimeoutError:
                with self._lock:
                    if self._look(0) is not None:
                        break
                continue
            connected.setblocking(True)
            pipe: Pipe = Connection(connected.detach())
            found[pipe.recv()] = pipe
        return found

    def end_of(self, number: int) -> Ended:
        """Return how a process ended whose pipe has ended; all others are ended with it."""
        with self._lock:
            result = self._look(_LAST_WORDS)
        if result is None:
            return Ended(None)
        codes = {n: failure.exitcode for n, failure in result.failures.items()}
        code = codes.get(number, 0)
        polite = -signal.SIGTERM
        return Ended(code, code != polite or set(codes.values()) == {polite})

    def close(self, patience: float) -> None:
        """Wait so many seconds for the processes to end by themselves, then kill them."""
        with self._lock:
            if patience:
                self._look(patience)
            self._context.close(signal.SIGKILL, timeout=5)
        self._leave()

    def _look(self, seconds: float) -> "RunProcsResult | None":
        if self._result is None:
            self._result = self._context.wait(seconds, _GLANCE)
        return self._result

    def _leave(self) -> None:
        self._door.close()
        self._folder.cleanup()


def connected(arguments: list[str]) -> Pipe:
    """Return the pipe from a process that was started with these arguments to who started it."""
    # Standard output is the command's result: nothing else goes there, nor reads what it is given.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nothing, stream)
    address, number = arguments
    door = socket.socket(socket.AF_UNIX)
    door.connect(address)
    pipe: Pipe = Connection(door.detach())
    pipe.send(int(number))
    return pipe
