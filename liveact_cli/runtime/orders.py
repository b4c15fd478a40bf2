"""What rank 0 tells the other ranks: words over a pipe, tensors after them by broadcast."""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from liveact_cli.core.errors import LiveActError
from liveact_cli.model.memory import ConvMemory
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.build import follow_plan
from liveact_cli.runtime.fp8 import FP8Plan
from liveact_cli.runtime.ulysses import Team


class Build(Protocol):
    """Makes the same transformer on every rank's device; it is sent to the ranks, so it pickles."""

    def __call__(self, *, device: torch.device) -> LiveActTransformer:
        """Return it."""
        ...


@dataclass(frozen=True, slots=True)
class Post:
    """A rank's place: `port` is where the ranks meet, `patience` the seconds that one exchange
    may take, `overlap` whether they exchange while they compute."""

    rank: int
    ranks: int
    device: torch.device
    port: int
    patience: float
    threads: int
    overlap: bool = True

    @property
    def backend(self) -> str:
        """How tensors travel between devices of this kind."""
        return "nccl" if self.device.type == "cuda" else "gloo"

    def meet(self, store: TCPStore | None = None) -> dist.ProcessGroup:
        """Wait for the other ranks and return the group; rank 0 brings the `store`."""
        patience = timedelta(seconds=self.patience)
        store = store or TCPStore("127.0.0.1", self.port, self.ranks, timeout=patience)
        dist.init_process_group(
            self.backend, store=store, rank=self.rank, world_size=self.ranks, timeout=patience
        )
        assert dist.group.WORLD is not None
        return dist.group.WORLD


def meeting_point(ranks: int) -> TCPStore:
    """Open the place where `ranks` ranks on this machine will meet."""
    return TCPStore("127.0.0.1", 0, ranks, is_master=True, wait_for_workers=False)


@dataclass(frozen=True, slots=True)
class Start:
    """The first message to a rank, and the only one that is not an `Order`."""

    post: Post
    build: Build


@dataclass(frozen=True, slots=True)
class Ready:
    """A rank's answer to Start: its weights are loaded."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A rank's last message: what it ended of; `lost` means that another rank went first."""

    error: LiveActError | None
    sentence: str
    trace: str
    lost: bool


class Make(Protocol):
    """Makes something that all ranks hold and use at the same time; it pickles."""

    def __call__(self, *, team: Team, device: torch.device) -> Any:
        """Return it."""
        ...


@dataclass(slots=True)
class Held:
    """What a rank beside rank 0 holds: weights, its heads of the memories, a chunk's conditions,
    and what else was attached."""

    transformer: LiveActTransformer
    team: Team
    attached: dict[int, Any] = field(default_factory=dict)
    memories: dict[int, ConvMemory] = field(default_factory=dict)
    kept: dict[int | None, Any] = field(default_factory=lambda: {None: None})


class Order(Protocol):
    """Something that every rank does at the same time as rank 0."""

    def run(self, held: Held) -> None:
        """Do it."""
        ...


@dataclass(frozen=True, slots=True)
class NewMemory:
    """Allocate a memory (the arguments of `ConvMemory` without the device)."""

    number: int
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]

    def run(self, held: Held) -> None:
        """Allocate this rank's heads of it."""
        options = {**self.options, "device": held.transformer.device}
        held.memories[self.number] = held.transformer.memory_type(*self.arguments, **options)


@dataclass(frozen=True, slots=True)
class SaveMemory:
    """Take part in `ConvMemory.state`."""

    number: int
    whole: bool

    def run(self, held: Held) -> None:
        """Contribute this rank's heads."""
        held.memories[self.number].state(whole=self.whole)


@dataclass(frozen=True, slots=True)
class LoadMemory:
    """Take part in `ConvMemory.load_state`."""

    number: int
    state: dict[str, Tensor]

    def run(self, held: Held) -> None:
        """Take this rank's heads."""
        held.memories[self.number].load_state(self.state)


@dataclass(frozen=True, slots=True)
class ClearMemory:
    """Take part in `ConvMemory.clear`."""

    number: int

    def run(self, held: Held) -> None:
        """Forget this rank's heads."""
        held.memories[self.number].clear()


@dataclass(frozen=True, slots=True)
class FollowPlan:
    """Give layers that an FP8 plan does not name their precision back."""

    plan: FP8Plan
    checkpoint: Path

    def run(self, held: Held) -> None:
        """Do it with this rank's weights."""
        transformer = held.transformer
        follow_plan(transformer, self.plan, self.checkpoint, transformer.device)


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep a condition for the calls to come."""

    number: int
    value: Any

    def run(self, held: Held) -> None:
        """Keep it."""
        held.kept[self.number] = self.value


@dataclass(frozen=True, slots=True)
class Attach:
    """Hold something else."""

    number: int
    make: Make

    def run(self, held: Held) -> None:
        """Make it."""
        held.attached[self.number] = self.make(team=held.team, device=held.transformer.device)


@dataclass(frozen=True, slots=True)
class Perform:
    """Call a method of what was attached."""

    number: int
    method: str
    arguments: tuple[Any, ...]

    def run(self, held: Held) -> None:
        """Take part."""
        getattr(held.attached[self.number], self.method)(*self.arguments)


@dataclass(frozen=True, slots=True)
class Forget:
    """Let go of what rank 0 does not use any more."""

    memories: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    attached: tuple[int, ...] = ()

    def run(self, held: Held) -> None:
        """Free them."""
        for number in self.memories:
            del held.memories[number]
        for number in self.kept:
            del held.kept[number]
        for number in self.attached:
            del held.attached[number]


@dataclass(frozen=True, slots=True)
class Forward:
    """Run the transformer; conditions and memory by their numbers."""

    x: Tensor
    time: float
    context: int | None
    audio: int | None
    memory: int
    step: int
    y: int | None

    def run(self, held: Held) -> None:
        """Do this rank's share of the work."""
        kept, bank = held.kept, held.memories[self.memory].bank(self.step)
        held.transformer(
            self.x, self.time, kept[self.context], kept[self.audio], bank, kept[self.y]
        )


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more will come."""

    def run(self, held: Held) -> None:
        """Leave the group at the same time as the others."""
        dist.destroy_process_group()


class _Packer(pickle.Pickler):
    """Writes sizes and types in the place of tensors, and collects the tensors."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.tensors: list[Tensor] = []

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Tensor):
            return None
        self.tensors.append(obj)
        return tuple(obj.shape), obj.dtype


class _Unpacker(pickle.Unpickler):
    """Receives each tensor where its size and type stand."""

    def __init__(self, payload: bytes, team: Team, device: torch.device) -> None:
        super().__init__(io.BytesIO(payload))
        self._team, self._device = team, device

    def persistent_load(self, pid: Any) -> Tensor:
        shape, dtype = pid
        return self._team.spread(torch.empty(shape, dtype=dtype, device=self._device))


def pack(order: Order) -> tuple[bytes, list[Tensor]]:
    """Return the words of an order, and the tensors that must follow in this sequence."""
    file = io.BytesIO()
    packer = _Packer(file)
    packer.dump(order)
    return file.getvalue(), packer.tensors


def unpack(payload: bytes, team: Team, device: torch.device) -> Order:
    """Return the order, receiving its tensors from rank 0."""
    order: Order = _Unpacker(payload, team, device).load()
    return order
