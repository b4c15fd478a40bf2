"""Many orders through few workers: who is next, who is tried again, who was silent too long."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from liveact_cli.core.errors import ExitCode
from liveact_cli.core.events import ChunkDone, Event
from liveact_cli.core.units import format_time
from liveact_cli.studio.messages import Failure, Made, Opened, Stopped, Where
from liveact_cli.studio.orders import RenderOrder
from liveact_cli.studio.workers import Workers

TIMEOUT: Final = 600.0
"""Seconds without a chunk after which a job counts as hung."""
STARTING: Final = 300.0
"""Seconds that a job has to its first chunk, at least: loading a large model takes minutes."""
RETRIES: Final = 1
_GRACE: Final = 30.0
_POLL: Final = 0.25


@dataclass(frozen=True, slots=True)
class Begun:
    """Work on an order has begun, for the `attempt`th time (from 1) in this run, by `worker`."""

    key: str
    attempt: int
    worker: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What is told about an order that is being carried out."""

    key: str
    event: Event | Opened | Where


@dataclass(frozen=True, slots=True)
class Done:
    """An order is carried out."""

    key: str
    made: Made


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt failed; `final` says that there is no other one."""

    key: str
    failure: Failure
    final: bool


@dataclass(frozen=True, slots=True)
class Halted:
    """An order was stopped or cancelled; the same order goes on where progress was saved."""

    key: str


Happening = Begun | Progress | Done | Failed | Halted


@dataclass(slots=True)
class _Job:
    key: str
    order: RenderOrder
    attempt: int = 0
    last_sign: float = 0.0
    patience: float = 0.0
    stop_at: float | None = None


def dispatch(
    workers: Workers,
    orders: Iterable[tuple[str, RenderOrder]],
    *,
    timeout: float = TIMEOUT,
    retries: int = RETRIES,
    stop: Callable[[], bool] = lambda: False,
    cancelled: Callable[[], Iterable[str]] = tuple,
) -> Generator[Happening, None, None]:
    """Carry out all orders (each with a key of its own) and yield what happens.

    `orders` is asked for the next one when a worker is free. An order whose failure may pass is
    tried `retries` times more, after the others. `cancelled` names orders that are not wanted any
    more; when `stop` says yes all end after their chunk. Afterwards `workers` may be used again.
    """
    return _Dispatch(workers, iter(orders), timeout, retries).run(stop, cancelled)


class _Dispatch:
    def __init__(
        self,
        workers: Workers,
        orders: Iterator[tuple[str, RenderOrder]],
        timeout: float,
        retries: int,
    ) -> None:
        self._workers, self._orders = workers, orders
        self._timeout, self._retries = timeout, retries
        self._later: deque[_Job] = deque()
        self._running: dict[str, _Job] = {}

    def run(
        self, stop: Callable[[], bool], cancelled: Callable[[], Iterable[str]]
    ) -> Generator[Happening, None, None]:
        """Yield what happens until nothing is left to do."""
        stopping = False
        while True:
            stopping = stopping or stop()
            if stopping:
                self._halt(self._running)
            else:
                self._halt(cancelled())
                yield from self._begin()
            if not self._running:
                return
            for told in self._workers.news(_POLL):
                if told.key in self._running:
                    yield self._take(self._running[told.key], told.news)
            self._look_for_the_silent()

    def _begin(self) -> Iterator[Happening]:
        while self._workers.free and (job := self._next()) is not None:
            job.attempt += 1
            job.last_sign, job.stop_at = time.monotonic(), None
            job.patience = max(STARTING, self._timeout)
            self._running[job.key] = job
            yield Begun(job.key, job.attempt, self._workers.begin(job.key, job.order))

    def _next(self) -> _Job | None:
        found = next(self._orders, None)
        if found is not None:
            return _Job(*found)
        return self._later.popleft() if self._later else None

    def _halt(self, keys: Iterable[str]) -> None:
        for key in keys:
            job = self._running.get(key)
            if job is not None and job.stop_at is None:
                job.stop_at = time.monotonic() + _GRACE
                self._workers.stop(key)

    def _take(self, job: _Job, news: object) -> Happening:
        job.last_sign = time.monotonic()
        if isinstance(news, Failure | Made | Stopped):
            del self._running[job.key]
        if isinstance(news, Made):
            return Done(job.key, news)
        if isinstance(news, Stopped) or (isinstance(news, Failure) and job.stop_at is not None):
            return Halted(job.key)
        if isinstance(news, Failure):
            again = news.again and job.attempt <= self._retries
            if again:
                self._later.append(job)
            return Failed(job.key, news, final=not again)
        if isinstance(news, ChunkDone):
            job.patience = self._timeout
        return Progress(job.key, news)  # type: ignore[arg-type]

    def _look_for_the_silent(self) -> None:
        now = time.monotonic()
        for job in self._running.values():
            if job.stop_at is not None and now > job.stop_at:
                self._workers.kill(job.key, Failure("it did not stop when it was asked to"))
            elif now - job.last_sign > job.patience:
                what = f"it hung: nothing came from it for {format_time(job.patience)}"
                hint = "a longer --timeout waits longer"
                self._workers.kill(job.key, Failure(what, hint, int(ExitCode.FAILURE)))
