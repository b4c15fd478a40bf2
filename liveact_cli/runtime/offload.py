"""Weights and memory in the host's memory, brought to the device a layer at a time.

Both work alike: what a layer needs has a home in pinned host memory, and two places on the device
take turns. While a layer computes, a stream of its own brings what the next one needs; after the
last block comes the first again, for the next step. On a CPU the same copies are made by the same
code, one after the other, and change no result.

Applied from outside to a finished module: nothing here is known to it.
"""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from liveact_cli.core.budget import ALIGNMENT, PLACES
from liveact_cli.model.block import Block
from liveact_cli.model.memory import Bank, LayerMemory, Storage, Window
from liveact_cli.model.transformer import LiveActTransformer

RESIDENT: Final = ("self_attn.fold_k", "self_attn.fold_v", "audio_attn.kv")
"""What stays on the device: memories hold the fold weights, and every chunk's sound is projected by
all layers at once."""

CONTEXT: Final = ("cross_attn.kv", "cross_attn.norm_k")
"""What only a new prompt needs."""


class Lane:
    """A stream of copies beside the computing stream; on a CPU things simply happen in order."""

    def __init__(self, device: torch.device) -> None:
        # torch leaves the constructor without types.
        self._stream: Any = (
            torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        )

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Copy, after what was copied before."""
        if self._stream is None:
            target.copy_(source)
            return
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)

    def after_computing(self) -> None:
        """Let what is copied from here on wait for what computes now."""
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))

    def mark(self) -> Any:
        """Return a mark behind what was copied so far."""
        return None if self._stream is None else self._stream.record_event()

    def compute_after(self, mark: Any) -> None:
        """Let what computes from here on wait for a mark."""
        if self._stream is not None and mark is not None:
            torch.cuda.current_stream(self._stream.device).wait_event(mark)

    def finish(self) -> None:
        """Wait until all copies are made."""
        if self._stream is not None:
            self._stream.synchronize()


class _Turns(ABC):
    """Which of many things lie in the few places on the device; subclasses move them.

    `around` says that the first thing is wanted again after the last one.
    """

    def __init__(self, count: int, lane: Lane, *, around: bool) -> None:
        self._count, self._lane, self._around = count, lane, around
        self._held: list[int | None] = [None] * PLACES
        self._marks: list[Any] = [None] * PLACES
        self._current: int | None = None

    def bring(self, index: int) -> None:
        """Make a thing ready to be used until the next one is brought."""
        if index == self._current:
            return
        place = self._load(index)
        self._lane.compute_after(self._marks[place])
        self._current = index
        self._enter(index, place)
        if self._around or index + 1 < self._count:
            self._load((index + 1) % self._count)

    def _load(self, index: int) -> int:
        if index in self._held:
            return self._held.index(index)
        place = self._held.index(None) if None in self._held else self._oldest()
        # What computes up to now may still use this place.
        self._lane.after_computing()
        self._evict(place)
        self._fetch(index, place)
        self._held[place], self._marks[place] = index, self._lane.mark()
        return place

    def _oldest(self) -> int:
        return next(p for p, held in enumerate(self._held) if held != self._current)

    def _evict(self, place: int) -> None:
        index, self._held[place] = self._held[place], None
        if index is not None:
            self._leave(index, place)

    @abstractmethod
    def _enter(self, index: int, place: int) -> None:
        """Let the thing use its place."""

    @abstractmethod
    def _leave(self, index: int, place: int) -> None:
        """Send home what has to be kept of a place."""

    @abstractmethod
    def _fetch(self, index: int, place: int) -> None:
        """Copy from the home to a place."""


# Weights -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """A parameter inside the flat home of its unit."""

    parameter: nn.Parameter
    start: int
    stop: int

    def view(self, flat: Tensor) -> Tensor:
        data = self.parameter.data
        return flat[self.start : self.stop].view(data.dtype).view(data.shape)


def _layout(parameters: Iterable[nn.Parameter]) -> tuple[list[_Piece], int]:
    pieces, start = [], 0
    for parameter in parameters:
        pieces.append(_Piece(parameter, start, start + parameter.nbytes))
        start += -(-parameter.nbytes // ALIGNMENT) * ALIGNMENT
    return pieces, start


class StreamedWeights(_Turns):
    """Parameters of many like modules in host memory; those in use lie on the device."""

    def __init__(self, units: Sequence[Sequence[nn.Parameter]], device: torch.device) -> None:
        super().__init__(len(units), Lane(device), around=True)
        self._units: list[list[_Piece]] = []
        self._homes: list[Tensor] = []
        largest = 0
        for unit in units:
            pieces, size = _layout(unit)
            home = host_empty(size, device)
            for piece in pieces:
                view = piece.view(home)
                view.copy_(piece.parameter.data)
                piece.parameter.data = view
            self._units.append(pieces)
            self._homes.append(home)
            largest = max(largest, size)
        self._places = [
            torch.empty(largest, dtype=torch.uint8, device=device) for _ in range(PLACES)
        ]

    @property
    def host_bytes(self) -> int:
        """Bytes in the host's memory."""
        return sum(home.nbytes for home in self._homes)

    @property
    def device_bytes(self) -> int:
        """Bytes on the device."""
        return sum(place.nbytes for place in self._places)

    def go_home(self) -> None:
        """Let all parameters lie in the host's memory, for whoever changes them."""
        for place in range(PLACES):
            self._evict(place)
        self._current = None

    def _enter(self, index: int, place: int) -> None:
        for piece in self._units[index]:
            piece.parameter.data = piece.view(self._places[place])

    def _leave(self, index: int, place: int) -> None:
        # Weights do not change: what is on the device is forgotten.
        for piece in self._units[index]:
            piece.parameter.data = piece.view(self._homes[index])

    def _fetch(self, index: int, place: int) -> None:
        home = self._homes[index]
        self._lane.copy(self._places[place][: home.numel()], home)


class OffloadedBlocks:
    """A transformer whose blocks' weights lie in host memory; `undo` ends that."""

    def __init__(self, transformer: LiveActTransformer, device: torch.device) -> None:
        """Take the blocks' weights home and stream them to `device`, where the rest lies."""
        blocks = [block for block in transformer.blocks if isinstance(block, Block)]
        steps, contexts = [], []
        for block in blocks:
            step, context = [], []
            for name, parameter in block.named_parameters():
                if name.startswith(RESIDENT):
                    parameter.data = parameter.data.to(device)
                elif name.startswith(CONTEXT):
                    context.append(parameter)
                else:
                    step.append(parameter)
            steps.append(step)
            contexts.append(context)
        self.steps = StreamedWeights(steps, device)
        self.contexts = StreamedWeights(contexts, device)
        self._hooks: list[Any] = []
        for index, block in enumerate(blocks):
            self._hook(block, self.steps, index)
            for linear in (block.cross_attn.kv, block.cross_attn.kv_image):
                if linear is not None:
                    self._hook(linear, self.contexts, index)

    @property
    def host_bytes(self) -> int:
        """Bytes of weights in the host's memory."""
        return self.steps.host_bytes + self.contexts.host_bytes

    @property
    def device_bytes(self) -> int:
        """Bytes of the places on the device."""
        return self.steps.device_bytes + self.contexts.device_bytes

    def undo(self) -> None:
        """Leave the weights in the host's memory, where they can be changed."""
        for hook in self._hooks:
            hook.remove()
        self.steps.go_home()
        self.contexts.go_home()

    def _hook(self, module: nn.Module, stream: StreamedWeights, index: int) -> None:
        def before(_: nn.Module, arguments: object) -> None:
            stream.bring(index)

        self._hooks.append(module.register_forward_pre_hook(before))


# The memory --------------------------------------------------------------------------------------


class HostStorage(Storage):
    """Keeps windows in host memory, as another storage would on the device."""

    def __init__(self, inner: Storage | None = None) -> None:
        self._inner = inner or Storage()
        self._streams: dict[tuple[object, ...], _WindowPlaces] = {}

    def layer(self, window: Window) -> LayerMemory:
        """Allocate the window of one layer at one step in host memory."""
        device = window.device
        home = torch.device("cpu") if device.type == "cuda" else device
        made = self._inner.layer(replace(window, device=home))
        for buffer in made.buffers().values():
            pin(buffer, device)
        return made

    def bank(self, layers: Sequence[LayerMemory], device: torch.device) -> Bank:
        """Join the windows of one step; all banks of a size share the places on the device."""
        shapes = tuple((n, tuple(x.shape), x.dtype) for n, x in layers[0].buffers().items())
        key = (device, shapes)
        if key not in self._streams:
            self._streams[key] = _WindowPlaces(layers[0], device)
        return HostBank(layers, self._streams[key])


class _WindowPlaces:
    """The places on the device for windows of one size, and who uses them."""

    def __init__(self, like: LayerMemory, device: torch.device) -> None:
        self.lane = Lane(device)
        self.buffers = [
            {name: torch.empty_like(x, device=device) for name, x in like.buffers().items()}
            for _ in range(PLACES)
        ]
        self.user: HostBank | None = None

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return sum(x.nbytes for place in self.buffers for x in place.values())

    def use(self, bank: "HostBank") -> None:
        """Let a bank have the places; what another one has there goes home."""
        if self.user is not bank:
            if self.user is not None:
                self.user.leave()
            self.user = bank


class HostBank(Bank, _Turns):
    """The windows of one step, in host memory but for those that are used."""

    def __init__(self, layers: Sequence[LayerMemory], places: _WindowPlaces) -> None:
        Bank.__init__(self, layers)
        # The next step has a bank of its own: the last window is followed by none of this one.
        _Turns.__init__(self, len(self.layers), places.lane, around=False)
        self._homes = [layer.buffers() for layer in self.layers]
        self.places = places

    def layer(self, index: int) -> LayerMemory:
        """Return a window, on the device until the next one is asked for."""
        self.places.use(self)
        self.bring(index)
        return self.layers[index]

    def leave(self) -> None:
        """Send all windows home; who has the places next copies after that."""
        self._lane.after_computing()
        for place in range(PLACES):
            self._evict(place)
        self._current = None

    def settle(self) -> None:
        """Bring all windows home, and wait until they are there."""
        self.leave()
        self._lane.finish()

    def _held_part(self, index: int, buffer: Tensor) -> Tensor:
        layer = self.layers[index]
        return buffer[:, : layer.filled * layer.tokens_per_frame]

    def _enter(self, index: int, place: int) -> None:
        self.layers[index].set_buffers(self.places.buffers[place])

    def _leave(self, index: int, place: int) -> None:
        home, layer = self._homes[index], self.layers[index]
        if layer.k is home["k"]:  # it was fetched and never used
            return
        layer.set_buffers(home)
        for name, buffer in self.places.buffers[place].items():
            self._copy(index, home[name], buffer)

    def _fetch(self, index: int, place: int) -> None:
        for name, buffer in self._homes[index].items():
            self._copy(index, self.places.buffers[place][name], buffer)

    def _copy(self, index: int, target: Tensor, source: Tensor) -> None:
        self._lane.copy(self._held_part(index, target), self._held_part(index, source))


def host_empty(size: int, device: torch.device) -> Tensor:
    """Return `size` bytes of host memory from where a device can fetch without a detour."""
    where = device if device.type == "meta" else torch.device("cpu")
    home = torch.empty(size, dtype=torch.uint8, device=where)
    pin(home, device)
    return home


def pin(home: Tensor, device: torch.device) -> None:
    """Lock host memory in its place, so that `device` copies from and to it beside its work.

    torch's own pinned memory comes in powers of two, up to twice what is asked for. Where the
    system does not allow it, copies are slower and as right.
    """
    if device.type != "cuda" or not home.nbytes:
        return
    runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    storage = home.untyped_storage()
    if int(runtime.cudaHostRegister(storage.data_ptr(), storage.nbytes(), 0)) == 0:
        weakref.finalize(storage, runtime.cudaHostUnregister, storage.data_ptr()).atexit = False
