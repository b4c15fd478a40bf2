"""Stopwatches around functions: on a GPU by events, which wait for nothing while it works."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


class Probe:
    """Gathers how long named stretches of work took on one device."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._spans: list[tuple[str, Any, Any]] = []
        self._added: list[tuple[str, float]] = []

    def around(self, name: str, function: Callable[..., Result]) -> Callable[..., Result]:
        """Return a function that does the same and is timed."""

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Result:
            start = self.mark()
            result = function(*arguments, **options)
            self.span(name, start)
            return result

        return timed

    def mark(self) -> Any:
        """Return this moment in the order of the device's work."""
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def span(self, name: str, start: Any) -> None:
        """Remember that what began at `start` ends now."""
        self._spans.append((name, start, self.mark()))

    def add(self, name: str, milliseconds: float) -> None:
        """Remember a stretch of work that was not the device's."""
        self._added.append((name, milliseconds))

    def take(self) -> dict[str, list[float]]:
        """Return the milliseconds of every stretch by name, in order, and forget them."""
        synchronise(self._device)
        taken: dict[str, list[float]] = defaultdict(list)
        for name, start, stop in self._spans:
            taken[name].append(start.elapsed_time(stop) if self._cuda else 1000 * (stop - start))
        for name, milliseconds in self._added:
            taken[name].append(milliseconds)
        self._spans.clear()
        self._added.clear()
        return dict(taken)


def synchronise(device: torch.device) -> None:
    """Wait until a device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(
    function: Callable[[], object], device: torch.device, repeats: int = 10, warm_up: int = 3
) -> float:
    """Return the median time of a call in seconds, after calls that do not count."""
    probe = Probe(device)
    for _ in range(warm_up):
        function()
    probe.take()
    for _ in range(repeats):
        start = probe.mark()
        function()
        probe.span("", start)
    times = sorted(probe.take()[""])
    return times[len(times) // 2] / 1000
