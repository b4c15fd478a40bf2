"""The same jobs on a Ray cluster: actors instead of processes, the same store, the same report.

Ray asks nobody for a password. So nothing is started here that listens, and nothing is looked for:
only the cluster that the user names is connected to.
"""

import contextlib
import logging
import os
import re
import socket
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import liveact_cli
from liveact_cli.core.errors import ExitCode, LiveActError, UsageError, WeightsError
from liveact_cli.studio.messages import ENDINGS, Failure, Made, News, Stopped, Where
from liveact_cli.studio.orders import RenderOrder
from liveact_cli.studio.seats import ENCODER_BYTES
from liveact_cli.studio.workers import Told
from liveact_cli.weights.registry import ModelRow

_ADDRESS: Final = re.compile(r"([^\s/:\[\]]+|\[[0-9a-fA-F:]+\]):\d{1,5}")
_RENEW, _TELL = 2.0, 20.0
_OUTER_ADDRESSES: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's variable for whether loopback addresses are replaced, on every system."""


def check_address(address: str) -> None:
    """Raise UsageError for anything but the address of one cluster."""
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"--cluster {address}: write the address of a Ray cluster, HOST:PORT",
            "--cluster 127.0.0.1:6379",
        )


def is_loopback(address: str) -> bool:
    """Whether an address is one of this machine that others cannot reach."""
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


class Renderer:
    """What lives on the cluster: carries out one order at a time, with the model kept."""

    def __init__(self) -> None:
        from liveact_cli.studio.perform import Speakers

        self._speakers = Speakers()
        self._stopped: set[int] = set()

    def render(self, number: int, version: str, order: RenderOrder) -> Iterator[News]:
        """Yield what happens, and one of ENDINGS at last."""
        from liveact_cli.studio.perform import failure_of, perform

        yield Where(f"{socket.gethostname()}, process {os.getpid()}")
        if version != liveact_cli.__version__:
            what = f"{socket.gethostname()} has liveact {liveact_cli.__version__}, not {version}"
            yield Failure(what, "install the same version on every node", again=False)
            return
        last: object = None
        try:
            for last in perform(order, self._speakers, lambda: number in self._stopped):
                yield last
            if not isinstance(last, Made):
                yield Stopped()
        except Exception as error:  # noqa: BLE001  (told to whoever gave the order)
            yield failure_of(error, traceback.format_exc())

    def stop(self, number: int) -> None:
        """Stop an order after its chunk."""
        self._stopped.add(number)


@dataclass(slots=True)
class _Actor:
    """A renderer on the cluster, and what it works on; `coming` until the cluster has placed it."""

    handle: Any
    coming: Any
    key: str | None = None
    number: int = 0
    news: Any = None
    why: Failure | None = None

    @property
    def waits_for(self) -> Any:
        """What the next thing it tells will be found in, if it has anything to tell."""
        return self.coming if self.coming is not None else self.news

    @property
    def idle(self) -> bool:
        """Whether it can be given an order."""
        return self.coming is None and self.key is None


class RayWorkers:
    """Renderers on a Ray cluster: as many as it has room for, `wanted` at most."""

    def __init__(self, address: str, wanted: int | None, row: ModelRow, gpus: int) -> None:
        """Connect; `row` is the model that needs most, `gpus` what each job has of them.

        Raises WeightsError without Ray, LiveActError where no cluster answers.
        """
        check_address(address)
        if is_loopback(address):
            # Else Ray puts this machine's outer address in the place of the one that was named.
            os.environ[_OUTER_ADDRESSES] = "0"
        try:
            import ray
        except ModuleNotFoundError as error:
            raise WeightsError(
                "--cluster needs the package ray", "pip install 'liveact-cli[cluster]'"
            ) from error
        self._ray: Any = ray
        self._wanted, self._row = wanted, row
        self._gpus = gpus
        self._actors: list[_Actor] = []
        self._queue: deque[tuple[str, RenderOrder]] = deque()
        self._ended: list[Told] = []
        self._room, self._renew, self._tell_next = 0, 0.0, 0.0
        try:
            ray.init(address=address, logging_level=logging.CRITICAL, log_to_driver=False)
        except Exception as error:  # Ray has no common class for this
            reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise LiveActError(
                f"no Ray cluster can be reached at {address}: {reason[:300]}",
                "run it on a machine that is part of the cluster (ray start --address=HOST:PORT)",
            ) from error
        needed = {"num_gpus": self._gpus} if self._gpus else {}
        memory = 0 if self._gpus else row.estimate.memory_bytes + ENCODER_BYTES
        self._remote = ray.remote(Renderer).options(
            num_cpus=1, memory=memory, max_restarts=0, max_concurrency=2, **needed
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End the renderers, and let the cluster go."""
        for actor in list(self._actors):
            self._let_go(actor)
        self._ray.shutdown()

    @property
    def room(self) -> int:
        """How many renders the cluster has room for, as it is now."""
        now = time.monotonic()
        if now >= self._renew:
            self._renew = now + _RENEW
            there = self._ray.cluster_resources()
            room = int(there.get("CPU", 0))
            if self._gpus:
                room = min(room, int(there.get("GPU", 0)) // self._gpus)
            self._room = room if self._wanted is None else min(room, self._wanted)
        return self._room

    @property
    def free(self) -> int:
        """How many orders could be begun now."""
        busy = sum(actor.key is not None for actor in self._actors)
        return max(0, self.room - busy - len(self._queue))

    def begin(self, key: str, order: RenderOrder) -> str:
        """Hand the order to the next renderer that is there and has nothing to do."""
        self._queue.append((key, order))
        self._hand_out()
        return "cluster"

    def _hand_out(self) -> None:
        """Give orders to idle renderers, and ask the cluster for more of them where it has room.

        No order waits for one certain renderer: a machine may be lost before it can be placed.
        """
        for actor in self._actors:
            if self._queue and actor.idle:
                key, order = self._queue.popleft()
                actor.key, actor.number = key, actor.number + 1
                render = actor.handle.render.options(num_returns="streaming")
                actor.news = render.remote(actor.number, liveact_cli.__version__, order)
        coming = [actor for actor in self._actors if actor.coming is not None]
        for _ in range(min(len(self._queue) - len(coming), self.room - len(self._actors))):
            handle = self._remote.remote()
            self._actors.append(_Actor(handle, handle.__ray_ready__.remote()))
        surplus = len(self._actors) - self.room
        for actor in coming[: max(0, surplus)]:
            self._let_go(actor)

    def stop(self, key: str) -> None:
        """Ask the renderer that has this order to stop."""
        self._withdraw(key, Stopped())
        for actor in self._of(key):
            actor.handle.stop.remote(actor.number)

    def kill(self, key: str, why: Failure) -> None:
        """End the renderer that has this order."""
        self._withdraw(key, why)
        for actor in self._of(key):
            actor.why = why
            self._ray.kill(actor.handle)

    def _withdraw(self, key: str, news: Stopped | Failure) -> None:
        """Take back an order that nobody has yet."""
        for entry in [entry for entry in self._queue if entry[0] == key]:
            self._queue.remove(entry)
            self._ended.append(Told(key, news))

    def news(self, seconds: float) -> list[Told]:
        """Return what the renderers tell, and which of them were lost."""
        found, self._ended = self._ended, []
        self._hand_out()
        found += self._waiting_for_room()
        waiting = {a.waits_for: a for a in self._actors if a.waits_for is not None}
        if not waiting:
            time.sleep(0.0 if found else seconds)
            return found
        ready, _ = self._ray.wait(list(waiting), num_returns=1, timeout=seconds)
        for one in ready:
            actor = waiting[one]
            found += self._arrived(actor) if actor.coming is not None else [self._take(actor)]
        return found

    def _waiting_for_room(self) -> list[Told]:
        """Tell now and then of orders that wait because the cluster is busy: that is no hang."""
        now = time.monotonic()
        if not self._queue or now < self._tell_next:
            return []
        self._tell_next = now + _TELL
        return [Told(key, Where("waiting for the cluster")) for key, _ in self._queue]

    def _arrived(self, actor: _Actor) -> list[Told]:
        """Note that a renderer has its place; if it cannot be, the next order pays for that."""
        try:
            self._ray.get(actor.coming)
        except self._ray.exceptions.RayError as error:
            self._actors.remove(actor)
            return [Told(self._queue.popleft()[0], _lost(error))] if self._queue else []
        actor.coming = None
        return []

    def _take(self, actor: _Actor) -> Told:
        assert actor.key is not None
        key = actor.key
        try:
            news = self._ray.get(next(actor.news))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            news = actor.why or _lost(error)
            self._let_go(actor)
        if isinstance(news, ENDINGS):
            actor.key = actor.news = None
            if isinstance(news, Failure) and news.fatal:
                self._let_go(actor)
        return Told(key, news)

    def _let_go(self, actor: _Actor) -> None:
        if actor in self._actors:
            self._actors.remove(actor)
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor.handle)

    def _of(self, key: str) -> list[_Actor]:
        return [actor for actor in self._actors if actor.key == key]


def _lost(error: BaseException) -> Failure:
    """Return what the end of a renderer means; Ray's first line says which one it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = next((line for line in lines if "died" in line or "Error" in line), "")
    return Failure(
        f"the cluster lost the process or the machine that rendered it ({type(error).__name__})",
        "if it happens again, look at Ray's logs on that machine",
        int(ExitCode.DEVICE),
        trace=f"{reason}\n{error}"[-2000:],
    )
