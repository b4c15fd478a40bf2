"""Ulysses: one transformer on several ranks, applied from outside to the finished module.

Every rank works on its share of every frame's tokens; the memory is shared by heads. An all-to-all
before the self-attention gives each rank all tokens of its heads, one after it gives the tokens
back. The fold never mixes channels, so it stays exact, and P ranks equal one rank. Everything else
(cross- and audio attention, feed-forward, norms) works on tokens one by one.

Before the attention V travels while Q is projected, and Q while K is; a team that does not
`overlap` projects all three first and sends them in one piece. Both give the same numbers.

Every rank must call the transformer, `new_memory`, `state` and `load_state` in the same order.
`forward_chain` (training) is not shared. Shapes: P ranks, F latent frames, S tokens per frame,
s of them on this rank, N heads, n = N/P of them on this rank, H head dim.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from liveact_cli.core.errors import UsageError
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.core.sharing import check_heads, shares
from liveact_cli.model.attention import Attend, Kernel, SelfAttention
from liveact_cli.model.memory import ConvMemory, FoldWeights, LayerMemory, Storage
from liveact_cli.model.rope import RopeTable
from liveact_cli.model.transformer import AllTokens, LiveActTransformer
from liveact_cli.runtime.fuse import FusedAttend, fuse, unfuse
from liveact_cli.runtime.thirds import Thirds, can_be_cut


class WindowAttention(Protocol):
    """What `LiveActTransformer.attend` is."""

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        memory: LayerMemory,
        rope: RopeTable,
        kernel: Kernel,
    ) -> Tensor:
        """Remember k and v, and attend to the window."""
        ...


@dataclass(frozen=True)
class Sent:
    """A tensor that travels while other things are computed; it is waited for when it is read."""

    read: Callable[[], Sequence[Tensor]]
    work: Any
    source: Tensor
    """What is sent, kept alive until it has arrived."""

    def arrived(self) -> Tensor:
        """Return `[B, F·S, n, H]`; on a GPU what computes from here on waits, not the host."""
        self.work.wait()
        return self.read()[0]


@dataclass(frozen=True)
class Team:
    """The ranks that share a transformer, and their exchanges.

    `overlap`: what is to be exchanged is sent as soon as it is there, part by part.
    """

    group: dist.ProcessGroup
    overlap: bool = True

    @property
    def ranks(self) -> int:
        """How many they are."""
        return self.group.size()

    @property
    def rank(self) -> int:
        """Which one this process is."""
        return self.group.rank()

    def heads(self, total: int) -> slice:
        """Return the heads of this rank."""
        check_heads(total, self.ranks)
        own = total // self.ranks
        return slice(self.rank * own, (self.rank + 1) * own)

    def to_heads(self, tensors: Sequence[Tensor], size: int) -> tuple[Tensor, ...]:
        """Exchange own tokens of all heads for all tokens of own heads.

        Takes tensors `[B, F·s, N, H]` where frames have `size` tokens in all, returns as many
        `[B, F·S, n, H]`; they travel in one exchange.
        """
        read, _, _ = self._to_heads(tensors, size, wait=True)
        return tuple(read())

    def begin_to_heads(self, x_BtNH: Tensor, size: int) -> Sent:
        """Begin the same for one tensor; every rank begins what it sends in the same order."""
        return Sent(*self._to_heads([x_BtNH], size, wait=False))

    def _to_heads(
        self, tensors: Sequence[Tensor], size: int, *, wait: bool
    ) -> tuple[Callable[[], Sequence[Tensor]], Any, Tensor]:
        parts = shares(size, self.ranks)
        by_rank = [torch.unflatten(t, 2, (self.ranks, -1)).movedim(2, 0) for t in tensors]
        sent = torch.stack(by_rank, 1)  # P tensors B F·s n H
        frames = sent.shape[3] // parts[self.rank]
        unit = sent[0].numel() // parts[self.rank]
        expected = [unit * part for part in parts]
        received, work = self.exchange(
            sent.flatten(), [sent[0].numel()] * self.ranks, expected, wait=wait
        )
        before, after = sent.shape[1:3], sent.shape[4:]

        def read() -> Sequence[Tensor]:
            pieces = [
                piece.view(*before, frames, part, *after)
                for piece, part in zip(received, parts, strict=True)
            ]
            return torch.cat(pieces, 3).flatten(2, 3).unbind(0)

        return read, work, sent

    def to_tokens(self, x_BTnH: Tensor, size: int) -> Tensor:
        """Exchange all tokens of own heads for own tokens of all heads: `[B, F·s, N, H]`."""
        parts = shares(size, self.ranks)
        pieces = torch.split(torch.unflatten(x_BTnH, 1, (-1, size)), parts, 2)
        sent = torch.cat([piece.flatten() for piece in pieces])
        own = pieces[self.rank]
        received, _ = self.exchange(
            sent, [piece.numel() for piece in pieces], [own.numel()] * self.ranks, wait=True
        )
        return torch.cat([piece.view(own.shape) for piece in received], 3).flatten(1, 2)

    def all_of(self, x: Tensor, axis: int, parts: Sequence[int]) -> Tensor:
        """Put together what the ranks hold of `axis`: `parts` says how much each."""
        largest, last = max(parts), x.dim() - 1
        padding = [0] * (2 * (last - axis)) + [0, largest - x.shape[axis]]
        mine = F.pad(x, padding).contiguous()
        everything = mine.new_empty((self.ranks, *mine.shape))
        dist.all_gather([_bytes(piece) for piece in everything], _bytes(mine), group=self.group)
        held = (piece.narrow(axis, 0, part) for piece, part in zip(everything, parts, strict=True))
        return torch.cat(tuple(held), axis)

    def spread(self, x: Tensor) -> Tensor:
        """Send rank 0's contiguous tensor to all others, which receive it in place."""
        if x.numel():
            dist.broadcast(_bytes(x), group_src=0, group=self.group)
        return x

    def exchange(
        self, sent: Tensor, sizes: list[int], expected: list[int], *, wait: bool
    ) -> tuple[list[Tensor], Any]:
        """Send `sizes` numbers of a flat tensor to each rank, and receive `expected` of each.

        Without `wait` what is received may be read after the second result's `wait()`.
        """
        received = sent.new_empty(sum(expected))
        work = dist.all_to_all_single(
            received, sent, expected, sizes, group=self.group, async_op=not wait
        )
        return list(torch.split(received, expected)), work


def _bytes(x: Tensor) -> Tensor:
    # Not every backend knows every type (gloo no float8), and moving them needs no arithmetic.
    return x.view(-1).view(torch.uint8)


class SharedTokens(AllTokens):
    """This rank's share of the tokens of every frame."""

    def __init__(self, team: Team) -> None:
        self._team = team

    def split(self, x_BFSD: Tensor) -> Tensor:
        """Take this rank's tokens; neighbours in the raster stay together."""
        parts = shares(x_BFSD.shape[2], self._team.ranks)
        return torch.split(x_BFSD, parts, 2)[self._team.rank]

    def join(self, x_BFsD: Tensor, size: int) -> Tensor:
        """Gather the tokens of all ranks, on every rank."""
        return self._team.all_of(x_BFsD, 2, shares(size, self._team.ranks))


class HeadMemory(ConvMemory):
    """This rank's heads of the memory; what is saved and loaded are all heads."""

    def __init__(
        self,
        team: Team,
        policy: MemoryPolicy,
        tokens_per_frame: int,
        folds: Sequence[FoldWeights],
        *,
        steps: Iterable[int],
        heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        storage: Storage | None = None,
    ) -> None:
        """Allocate this rank's part of a memory of `heads` heads."""
        if tokens_per_frame < team.ranks:
            raise UsageError(
                f"a frame of {tokens_per_frame} tokens cannot be shared by {team.ranks} GPUs",
                "--size of a larger picture, or fewer --gpus",
            )
        self._team, self._heads, self._device = team, team.heads(heads), device
        super().__init__(
            policy,
            tokens_per_frame,
            [FoldWeights(*map(self._own, fold)) for fold in folds],
            steps=steps,
            heads=heads // team.ranks,
            head_dim=head_dim,
            dtype=dtype,
            device=device,
            storage=storage,
        )

    def state(self, *, whole: bool = False) -> dict[str, Tensor]:
        """Return copies of all that is remembered, of all heads, on every rank."""
        own = [self._heads.stop - self._heads.start] * self._team.ranks
        return {
            name: self._team.all_of(x.to(self._device), 2, own).to(x.device)
            for name, x in super().state(whole=whole).items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state()`, however many ranks made it."""
        super().load_state({name: value[:, :, self._heads] for name, value in state.items()})

    def _own(self, weight_RNH: Tensor | None) -> Tensor | None:
        return None if weight_RNH is None else weight_RNH[:, self._heads]


Projection = Callable[[], Tensor]
"""Makes q, k or v `[B, F·s, N, H]` when it is called."""


def attend_shared(
    q: Tensor | Projection,
    k: Tensor | Projection,
    v: Tensor | Projection,
    *,
    team: Team,
    attend: WindowAttention,
    memory: LayerMemory,
    rope: RopeTable,
    kernel: Kernel,
) -> Tensor:
    """Attend with all tokens of this rank's heads.

    Projections that are still to be made are made one after the other while the ones before them
    travel: V first, which needs no norm.
    """
    size = memory.tokens_per_frame
    if callable(q) and callable(k) and callable(v):
        sent_v, sent_q, sent_k = (team.begin_to_heads(make(), size) for make in (v, q, k))
        heads = sent_q.arrived(), sent_k.arrived(), sent_v.arrived()
    else:
        q, k, v = cast(tuple[Tensor, Tensor, Tensor], (q, k, v))
        one, two, three = team.to_heads((q, k, v), size)
        heads = one, two, three
    return team.to_tokens(attend(*heads, memory=memory, rope=rope, kernel=kernel), size)


@dataclass(frozen=True)
class StagedSelfAttention:
    """`SelfAttention.forward` that leaves it to the attend when q, k and v are projected."""

    layer: SelfAttention

    def __call__(self, x_BTD: Tensor, attend: Attend) -> Tensor:
        """Mix the tokens with each other and with the past."""
        thirds = Thirds(self.layer, x_BTD)
        lazy = cast(Callable[..., Tensor], attend)
        out: Tensor = self.layer.o(lazy(thirds.q, thirds.k, thirds.v).flatten(2))
        return out


def parallelize(
    transformer: LiveActTransformer, group: dist.ProcessGroup, *, overlap: bool = True
) -> Team:
    """Share the work of a finished transformer and its memories among the ranks of `group`.

    Every rank holds the same weights and is given the same inputs; each returns the whole
    velocity. Blocks that run with fused kernels go on doing so; blocks that torch has compiled
    project everything at once, and so do layers that cannot be cut. Raises UsageError when the
    heads cannot be shared evenly.
    """
    check_heads(transformer.config.heads, group.size())
    compiled = any("forward" in block.__dict__ for block in transformer.blocks)
    fused = transformer.attend.kernels if isinstance(transformer.attend, FusedAttend) else None
    layers = [cast(SelfAttention, block.self_attn) for block in transformer.blocks]
    staged = overlap and all(can_be_cut(layer.qkv) for layer in layers)
    team = Team(group, staged and (fused is not None or not compiled))
    if fused is not None:
        unfuse(transformer)
    transformer.attend = partial(attend_shared, team=team, attend=transformer.attend)
    transformer.tokens = SharedTokens(team)
    transformer.memory_type = partial(HeadMemory, team, storage=transformer.storage)
    if fused is not None:
        # Its attention takes the packed projection, which holds all heads of few tokens; a fused
        # block that finds another one normalises by itself and leaves the rest to it.
        fuse(transformer, fused, staged=team.overlap)
    elif team.overlap:
        for layer in layers:
            object.__setattr__(layer, "forward", StagedSelfAttention(layer))
    transformer.facts["exchange"] = "part by part" if team.overlap else "at once"
    return team
