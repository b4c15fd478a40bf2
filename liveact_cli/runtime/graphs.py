"""CUDA graphs around a whole call of the transformer: one launch instead of a thousand.

A graph replays the same kernels on the same addresses. What changes from chunk to chunk is copied
to places of its own first; the memory's windows never move. Only calls on a full window are
captured: from then on every chunk does the same. Each step has a bank, and so a graph, of its own.

Nothing is captured at the first such call, which lets kernels be chosen and compiled.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import torch
from torch import Tensor

from liveact_cli.model.memory import Bank
from liveact_cli.model.transformer import Audio, Context, LiveActTransformer
from liveact_cli.runtime.fallbacks import fall_back

Graphs = Literal["auto", "on", "off"]
GRAPHS: Final = ("auto", "on", "off")
ATTACHED: Final = "graphs"


class Graph(Protocol):
    """Work that was recorded once and can be done again."""

    def capture(self, run: Callable[[], Tensor]) -> Tensor:
        """Record what `run` does, without doing it; return where its result will lie."""
        ...

    def replay(self) -> None:
        """Do it."""
        ...


class CudaGraph:
    """A `Graph` of the device; all share one pool of memory, since one runs at a time."""

    _pools: dict[int, Any] = {}  # noqa: RUF012  (one for each device, for the whole process)

    def __init__(self, device: torch.device) -> None:
        """Record on a device."""
        index = device.index or 0
        if index not in self._pools:
            self._pools[index] = torch.cuda.graph_pool_handle()
        self._graph, self._pool = torch.cuda.CUDAGraph(), self._pools[index]

    def capture(self, run: Callable[[], Tensor]) -> Tensor:
        """Record; another thread that draws meanwhile may go on allocating."""
        with torch.cuda.graph(self._graph, self._pool, capture_error_mode="thread_local"):
            return run()

    def replay(self) -> None:
        """Launch all of it on the current stream."""
        self._graph.replay()


@dataclass
class _Place:
    """Where an input lies for the graphs, and which tensor it holds now."""

    tensor: Tensor
    holds: Callable[[], Tensor | None]

    def put(self, value: Tensor) -> None:
        """Copy, unless this very tensor was copied the last time."""
        if self.holds() is not value:
            self.tensor.copy_(value)
            self.holds = weakref.ref(value)


class GraphedForward:
    """Stands for `LiveActTransformer.forward`, and replays it where it can."""

    def __init__(
        self, forward: Callable[..., Tensor], make: Callable[[torch.device], Graph] = CudaGraph
    ) -> None:
        """`make` makes an empty graph."""
        self._forward, self._make = forward, make
        self._graphs: weakref.WeakKeyDictionary[Bank, dict[Any, tuple[Graph, Tensor] | None]] = (
            weakref.WeakKeyDictionary()
        )
        self._places: dict[Any, _Place] = {}
        self._paused = self._failed = False
        self.replays = 0

    def __call__(
        self,
        x: Tensor,
        time: float,
        context: Context,
        audio: Audio | None,
        bank: Bank,
        y: Tensor | None = None,
    ) -> Tensor:
        """Return the velocity of one chunk; see `LiveActTransformer.forward`."""
        given = (x, context, audio, y)
        if self._paused or self._failed or not _steady(bank):
            return self._forward(x, time, context, audio, bank, y)
        known, key = self._graphs.setdefault(bank, {}), (time, _shapes(given))
        if key not in known:
            known[key] = None
            return self._forward(x, time, context, audio, bank, y)
        found = known[key] or self._captured(given, time, bank)
        if found is None:
            return self._forward(x, time, context, audio, bank, y)
        known[key] = found
        self._put(given)
        graph, result = found
        graph.replay()
        self.replays += 1
        return result.clone()

    def forget(self) -> None:
        """Record anew from here on: weights or kernels are others."""
        self._graphs.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Run kernel by kernel, for whoever looks inside."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def _captured(
        self, given: tuple[Any, ...], time: float, bank: Bank
    ) -> tuple[Graph, Tensor] | None:
        """Record a call; None where that fails, and nothing is recorded any more."""
        try:
            x, context, audio, y = _with(given, iter(self._put(given)))
            graph = self._make(x.device)
            result = graph.capture(lambda: self._forward(x, time, context, audio, bank, y))
        except Exception as error:  # noqa: BLE001  (drivers have many kinds; memory is one of them)
            # Recording does nothing, so the memory is as it was and the call can be made.
            fall_back("CUDA graphs", "kernel after kernel", error)
            self._failed = True
            self.forget()
            self._places.clear()
            return None
        return graph, result

    def _put(self, given: tuple[Any, ...]) -> list[Tensor]:
        """Copy the inputs to their places, which all graphs for inputs of these sizes share."""
        placed = []
        for number, value in enumerate(_tensors(given)):
            key = (number, tuple(value.shape), value.dtype, value.device)
            if key not in self._places:
                self._places[key] = _Place(torch.empty_like(value), lambda: None)
            place = self._places[key]
            place.put(value)
            placed.append(place.tensor)
        return placed


def use_graphs(
    transformer: LiveActTransformer, make: Callable[[torch.device], Graph] = CudaGraph
) -> None:
    """Have a finished transformer replay graphs; its memories must lie on its device."""
    graphed = GraphedForward(transformer.forward, make)
    transformer.forward = graphed  # type: ignore[method-assign]
    transformer.attached[ATTACHED] = graphed


def stop_graphs(transformer: LiveActTransformer) -> None:
    """Have it run kernel by kernel again."""
    if transformer.attached.pop(ATTACHED, None) is not None:
        transformer.__dict__.pop("forward")


def graphs_of(transformer: LiveActTransformer) -> GraphedForward | None:
    """Return what replays a transformer's graphs, if something does."""
    found: GraphedForward | None = transformer.attached.get(ATTACHED)
    return found


def _steady(bank: Bank) -> bool:
    """Whether the next chunk does what every later one does: the window is full, and stays."""
    return type(bank) is Bank and all(layer.filled == layer.policy.window for layer in bank.layers)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _tensors(part)


def _with(value: Any, tensors: Iterator[Tensor]) -> Any:
    """Return the same with other tensors."""
    if isinstance(value, Tensor):
        return next(tensors)
    if not isinstance(value, tuple):
        return value
    parts = [_with(part, tensors) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    return tuple(_shapes(part) for part in value) if isinstance(value, tuple) else value
