"""A ConvKV memory in FP8: e4m3 numbers with a scale per token and head.

Half the bytes of bfloat16. What a chunk has just made it attends to as it is; only the past is
rounded. The past is folded in float32 and rounded once more. Scales never mix heads, so a split
over heads changes nothing.

Shapes: B batch, T tokens, N heads, H head dim, S tokens per frame.
"""

from typing import Self

import torch
from torch import Tensor

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.memory import (
    Compress,
    FoldWeights,
    LayerMemory,
    Storage,
    Window,
    compress,
    fold_tokens,
    tokens_of,
)
from liveact_cli.runtime.fp8_numbers import E4M3, Quantised, quantise_rows


class FP8LayerMemory(LayerMemory):
    """The window of one layer at one step, its numbers rounded where they are stored."""

    def __init__(
        self,
        policy: MemoryPolicy,
        tokens_per_frame: int,
        fold: FoldWeights,
        k: Quantised,
        v: Quantised,
        *,
        dtype: torch.dtype,
        step: int = 0,
        layer: int = 0,
    ) -> None:
        """Take empty buffers of `[B, window * S, N, H]`; what is read from them has `dtype`."""
        super().__init__(policy, tokens_per_frame, fold, k.values, v.values, step=step, layer=layer)
        self.k_scale, self.v_scale = k.scale, v.scale
        self.dtype = dtype

    @classmethod
    def empty(cls, window: Window) -> Self:
        """Allocate a window that remembers nothing yet."""
        shape, device = (1, window.tokens, window.heads), window.device
        k, v = (
            Quantised(
                torch.zeros(*shape, window.head_dim, dtype=E4M3, device=device),
                torch.zeros(*shape, 1, device=device),
            )
            for _ in range(2)
        )
        return cls(
            window.policy,
            window.tokens_per_frame,
            window.fold,
            k,
            v,
            dtype=window.dtype,
            step=window.step,
            layer=window.layer,
        )

    def buffers(self) -> dict[str, Tensor]:
        """Return the numbers and their scales."""
        return {"k": self.k, "k.scale": self.k_scale, "v": self.v, "v.scale": self.v_scale}

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Remember a chunk's keys and values; return the rounded past and the chunk as it is."""
        room = self.make_room(k.shape[1])
        self.write(room, quantise_rows(k), quantise_rows(v))
        past = slice(0, room.start)
        return (
            torch.cat((self._read(self.k, self.k_scale, past), k.to(self.dtype)), 1),
            torch.cat((self._read(self.v, self.v_scale, past), v.to(self.dtype)), 1),
        )

    def write(self, room: slice, k: Quantised, v: Quantised) -> None:
        """Put a chunk's rounded keys and values where `make_room` said."""
        rows = (k.values, k.scale, v.values, v.scale)
        for buffer, value in zip(self.buffers().values(), rows, strict=True):
            buffer[:, room].copy_(value)

    def make_room(self, tokens: int, compress: Compress = compress) -> slice:
        """Fold the past where the window is full; return where a chunk of `tokens` belongs."""

        def nothing(buffer: Tensor, weight: Tensor | None, policy: MemoryPolicy, size: int) -> None:
            """It is done already, for numbers and scales together."""

        if self.filled == self.policy.window:
            self._compress()
        return super().make_room(tokens, nothing)

    def filled_part(self) -> tuple[Tensor, Tensor]:
        """Return what is remembered so far, as it is read."""
        held = slice(0, self.filled * self.tokens_per_frame)
        return self._read(self.k, self.k_scale, held), self._read(self.v, self.v_scale, held)

    def folded(self) -> dict[str, Tensor]:
        """Return what the past folds to, rounded; `append` would leave the same."""
        source = tokens_of(self.policy.fold_source, self.tokens_per_frame)
        folded: dict[str, Tensor] = {}
        for name, values, scale, weight in (
            ("k", self.k, self.k_scale, self.fold.k),
            ("v", self.v, self.v_scale, self.fold.v),
        ):
            past = Quantised(values[:, source], scale[:, source]).dequantised()
            wide = None if weight is None else weight.float()
            rows = quantise_rows(fold_tokens(past, wide, self.policy.ratio))
            folded |= {name: rows.values, f"{name}.scale": rows.scale}
        return folded

    def _compress(self) -> None:
        policy, size = self.policy, self.tokens_per_frame
        folded = self.folded()
        for name, buffer in self.buffers().items():
            recent = buffer[:, tokens_of(policy.recent_source, size)].clone()
            buffer[:, tokens_of(policy.folded_slots, size)].copy_(folded[name])
            buffer[:, tokens_of(policy.recent_slots, size)].copy_(recent)

    def _read(self, values: Tensor, scale: Tensor, tokens: slice) -> Tensor:
        return Quantised(values[:, tokens], scale[:, tokens]).dequantised().to(self.dtype)


class FP8Storage(Storage):
    """Keeps the windows of a memory in FP8."""

    layer_type = FP8LayerMemory
