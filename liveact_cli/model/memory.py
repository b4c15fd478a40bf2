"""ConvKV memory: what a chunk remembers of its past, at constant size (paper section 3).

Every denoising step has a bank of its own, because a chunk attends to the keys and values that
its neighbours left *at the same step*: that is Neighbor Forcing at inference. Keys are kept
unrotated; positions are given at reading.

Shapes: B batch, S tokens per frame, T tokens, N heads, H head dim, R fold ratio.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self

import torch
from torch import Tensor

from liveact_cli.core.geometry import MemoryPolicy

Fold = Literal["shared", "separate", "mean"]
"""How frames fold: K's learned weights for K and V (as released), a set for each, or the mean."""


ANCHOR: Final = ".anchor"
"""How the names of saved tensors end that never change."""


class FoldWeights(NamedTuple):
    """Depth-wise weights `[R, N, H]` of one layer; None folds by the mean."""

    k: Tensor | None
    v: Tensor | None


def fold_tokens(x_BTNH: Tensor, weight_RNH: Tensor | None, ratio: int) -> Tensor:
    """Merge every `ratio` neighbouring tokens into one: `[B, T, N, H]` -> `[B, T/R, N, H]`.

    A depth-wise convolution with kernel = stride = ratio over the token axis. It never mixes
    channels, so it commutes with any split over heads.
    """
    groups = torch.unflatten(x_BTNH, 1, (-1, ratio))
    return groups.mean(2) if weight_RNH is None else (groups * weight_RNH).sum(2)


def tokens_of(slots: slice, size: int) -> slice:
    """Return the tokens of some frames of `size` tokens."""
    return slice(slots.start * size, slots.stop * size)


def compress(buffer: Tensor, weight: Tensor | None, policy: MemoryPolicy, size: int) -> None:
    """Fold the past of a full window and move the recent frames: a chunk's room becomes free."""
    folded = fold_tokens(buffer[:, tokens_of(policy.fold_source, size)], weight, policy.ratio)
    # The recent frames may overlap their own target when `recent` exceeds a chunk.
    recent = buffer[:, tokens_of(policy.recent_source, size)].clone()
    buffer[:, tokens_of(policy.folded_slots, size)].copy_(folded)
    buffer[:, tokens_of(policy.recent_slots, size)].copy_(recent)


Compress = Callable[[Tensor, Tensor | None, MemoryPolicy, int], None]
"""What `compress` is."""


@dataclass(frozen=True, slots=True)
class Window:
    """The window of one layer at one step before it is allocated: its sizes, precision and place.

    `dtype` is that of the keys and values that are remembered, however they are kept.
    """

    policy: MemoryPolicy
    tokens_per_frame: int
    fold: FoldWeights
    heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device
    step: int = 0
    layer: int = 0

    @property
    def tokens(self) -> int:
        """How many tokens it has room for: window * S."""
        return self.policy.window * self.tokens_per_frame


class LayerMemory:
    """The window of one layer at one step; `append` is its only mutation."""

    def __init__(
        self,
        policy: MemoryPolicy,
        tokens_per_frame: int,
        fold: FoldWeights,
        k: Tensor,
        v: Tensor,
        *,
        step: int = 0,
        layer: int = 0,
    ) -> None:
        """Take empty buffers `k`, `v` of `[B, window * S, N, H]`; `step`, `layer` say whose."""
        self.policy = policy
        self.tokens_per_frame = tokens_per_frame
        self.fold = fold
        self.k = k
        self.v = v
        self.step, self.layer = step, layer
        self.filled = 0

    @classmethod
    def empty(cls, window: Window) -> Self:
        """Allocate a window that remembers nothing yet."""
        shape = (1, window.tokens, window.heads, window.head_dim)
        k, v = (torch.zeros(shape, dtype=window.dtype, device=window.device) for _ in range(2))
        return cls(
            window.policy,
            window.tokens_per_frame,
            window.fold,
            k,
            v,
            step=window.step,
            layer=window.layer,
        )

    def buffers(self) -> dict[str, Tensor]:
        """Return all that is held, by name: `[1, window * S, N, ...]`."""
        return {"k": self.k, "v": self.v}

    def set_buffers(self, buffers: Mapping[str, Tensor]) -> None:
        """Hold the same in other places; shapes and types must stay."""
        for name, buffer in buffers.items():
            setattr(self, name.replace(".", "_"), buffer)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Remember a chunk's keys and values `[B, T, N, H]`; return all that it attends to.

        The returned tensors are views that the next call overwrites.
        """
        room = self.make_room(k.shape[1])
        self.k[:, room].copy_(k)
        self.v[:, room].copy_(v)
        return self.filled_part()

    def make_room(self, tokens: int, compress: Compress = compress) -> slice:
        """Fold the past where the window is full; return where a chunk of `tokens` belongs.

        The caller writes keys and values there before anything else is asked of the memory.
        `compress` may be another function that does the same.
        """
        policy, size = self.policy, self.tokens_per_frame
        chunk = 0 if self.filled == 0 else 1
        if tokens != policy.chunk_size(chunk) * size:
            raise ValueError(
                f"a chunk of {tokens} tokens does not fit: the memory expects "
                f"{policy.chunk_size(chunk)} frames of {size} tokens"
            )
        if self.filled == policy.window:
            compress(self.k, self.fold.k, policy, size)
            compress(self.v, self.fold.v, policy, size)
        slots = policy.current(chunk)
        self.filled = slots.stop
        return tokens_of(slots, size)

    def filled_part(self) -> tuple[Tensor, Tensor]:
        """Return views of the keys and values remembered so far."""
        held = slice(0, self.filled * self.tokens_per_frame)
        return self.k[:, held], self.v[:, held]

    def kept(self) -> dict[str, Tensor]:
        """Return views or results of what the next chunk finds: the anchor, the past folded.

        A full window shrinks to the slots that stay, just as the next `append` would leave them.
        """
        policy, size = self.policy, self.tokens_per_frame
        sink, full = min(policy.sink, self.filled), self.filled == policy.window
        folded = self.folded() if full else {}
        kept: dict[str, Tensor] = {}
        for name, buffer in self.buffers().items():
            rest = buffer[:, tokens_of(slice(sink, self.filled), size)]
            if full:
                rest = joined((folded[name], buffer[:, tokens_of(policy.recent_source, size)]))
            kept |= {name + ANCHOR: buffer[:, : sink * size], name: rest}
        return kept

    def folded(self) -> dict[str, Tensor]:
        """Return what the past of a full window folds to, by the names of the buffers."""
        policy, source = self.policy, tokens_of(self.policy.fold_source, self.tokens_per_frame)
        pairs = (("k", self.k, self.fold.k), ("v", self.v, self.fold.v))
        return {n: fold_tokens(x[:, source], w, policy.ratio) for n, x, w in pairs}

    def restore(self, buffers: Mapping[str, Tensor]) -> None:
        """Go on from what was `kept`, its parts joined; raises ValueError for other sizes."""
        tokens = buffers["k"].shape[1]
        frames, rest = divmod(tokens, self.tokens_per_frame)
        if rest or frames not in (0, self.policy.first_chunk):
            raise ValueError(f"{tokens} tokens are kept, which no memory does")
        self.filled = frames
        for name, buffer in self.buffers().items():
            buffer[:, :tokens].copy_(buffers[name])


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Join tokens; eight-bit numbers too, which not every device can."""
    dtype = parts[0].dtype
    if dtype.itemsize > 1:
        return torch.cat(tuple(parts), 1)
    return torch.cat([part.view(torch.uint8) for part in parts], 1).view(dtype)


class Bank:
    """The memory of all layers at one denoising step."""

    def __init__(self, layers: Sequence[LayerMemory]) -> None:
        """Hold one `LayerMemory` per layer."""
        self.layers = tuple(layers)

    def layer(self, index: int) -> LayerMemory:
        """Return the memory of layer `index`, to be used before the next is asked for."""
        return self.layers[index]

    def settle(self) -> None:
        """Bring everything home that is on its way: `layers` hold the truth then."""


class Storage:
    """How the windows of a memory are kept: as they are, where they are used.

    Others replace it, see `LiveActTransformer.set_storage`.
    """

    layer_type: type[LayerMemory] = LayerMemory

    def layer(self, window: Window) -> LayerMemory:
        """Allocate the window of one layer at one step."""
        return self.layer_type.empty(window)

    def bank(self, layers: Sequence[LayerMemory], device: torch.device) -> Bank:
        """Join the windows of one step, which are used on `device`."""
        return Bank(layers)


class ConvMemory:
    """The whole memory: one bank per denoising step, all buffers allocated up front."""

    def __init__(
        self,
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
        """Allocate for one video (B = 1); `folds` has one entry per layer."""
        self.policy = policy
        keep = storage or Storage()

        def bank(step: int) -> Bank:
            windows = (
                Window(policy, tokens_per_frame, fold, heads, head_dim, dtype, device, step, layer)
                for layer, fold in enumerate(folds)
            )
            return keep.bank([keep.layer(window) for window in windows], device)

        self.banks = {step: bank(step) for step in steps}

    def bank(self, step: int) -> Bank:
        """Return the bank of denoising step number `step`."""
        return self.banks[step]

    @property
    def nbytes(self) -> int:
        """Bytes that the buffers take; they never grow."""
        layers = (layer for bank in self.banks.values() for layer in bank.layers)
        return sum(buffer.nbytes for layer in layers for buffer in layer.buffers().values())

    def clear(self) -> None:
        """Forget everything; the memory is as new."""
        for bank in self.banks.values():
            bank.settle()
            for layer in bank.layers:
                layer.filled = 0

    def state(self, *, whole: bool = False) -> dict[str, Tensor]:
        """Return copies on the CPU of what stays.

        They are named `step{i}.layer{j}.k`, `.v`, `.k.anchor`, `.v.anchor`, and what else the
        windows hold; anchors are the same in every state after the first chunk. `whole` returns
        the whole window instead, `.k` and `.v`.
        """
        state: dict[str, Tensor] = {}
        for name, layer in self._layers():
            parts = dict(zip("kv", layer.filled_part(), strict=True)) if whole else layer.kept()
            for part, value in parts.items():
                state[f"{name}.{part}"] = value.to("cpu", copy=True)
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state()` (not a whole one) of a memory of the same sizes."""
        for name, layer in self._layers():
            try:
                layer.restore(
                    {
                        part: joined((state[f"{name}.{part}{ANCHOR}"], state[f"{name}.{part}"]))
                        for part in layer.buffers()
                    }
                )
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error

    def _layers(self) -> Iterable[tuple[str, LayerMemory]]:
        for step, bank in self.banks.items():
            for index in range(len(bank.layers)):
                yield f"step{step}.layer{index}", bank.layer(index)


def chain_windows(
    x_BTNH: Tensor, policy: MemoryPolicy, tokens_per_frame: int, weight: Tensor | None
) -> list[Tensor]:
    """Return what `LayerMemory.append` would give for each chunk of a whole chain, differentiably.

    The memory is linear in keys and values, so the windows of all chunks follow without running
    the chunks one by one: training needs no roll-out.
    """
    size = tokens_per_frame

    def frames(x: Tensor, slots: slice) -> Tensor:
        return x[:, slots.start * size : slots.stop * size]

    first, chunk = policy.first_chunk * size, policy.chunk * size
    windows = [x_BTNH[:, :first]]
    for start in range(first, x_BTNH.shape[1], chunk):
        past = windows[-1]
        if past.shape[1] > first:
            folded = fold_tokens(frames(past, policy.fold_source), weight, policy.ratio)
            kept = (frames(past, policy.anchor_slots), folded, frames(past, policy.recent_source))
            past = torch.cat(kept, 1)
        windows.append(torch.cat((past, x_BTNH[:, start : start + chunk]), 1))
    return windows
