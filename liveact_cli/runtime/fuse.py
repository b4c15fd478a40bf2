"""Swap what lies between the matrix products of a finished transformer for fused kernels.

The blocks keep their parameters and their names; only how they are run changes. Rows that feed an
FP8 layer are rounded by the kernel that makes them, once for all that read them.

Shapes: B batch, T tokens, D model dim.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from liveact_cli.model.attention import (
    Attend,
    AudioAttention,
    ContextKeys,
    CrossAttention,
    Kernel,
    KeysValues,
    attend_memory,
    grouped,
    split,
)
from liveact_cli.model.block import Block
from liveact_cli.model.memory import LayerMemory
from liveact_cli.model.rope import RopeTable
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.fp8 import FP8Linear
from liveact_cli.runtime.fp8_memory import FP8LayerMemory
from liveact_cli.runtime.fp8_numbers import Quantised
from liveact_cli.runtime.kernels import Kernels
from liveact_cli.runtime.thirds import Thirds

Rows = Tensor | Quantised


def fuse(transformer: LiveActTransformer, kernels: Kernels, *, staged: bool = False) -> None:
    """Run the blocks of a transformer, for inference, with `kernels`.

    An `attend` that others have put in keeps its place: then only q and k are normalised here.
    `staged`: that one says when q, k and v are projected.
    """
    whole = transformer.attend is attend_memory
    if whole:
        transformer.attend = FusedAttend(kernels)
    for block in transformer.blocks:
        run = FusedBlock(cast(Block, block), kernels, whole, staged)
        # An instance's own `forward` is what a module's call runs.
        object.__setattr__(block, "forward", run)


def unfuse(transformer: LiveActTransformer) -> None:
    """Run the blocks as they were written."""
    if isinstance(transformer.attend, FusedAttend):
        transformer.attend = attend_memory
    for block in transformer.blocks:
        block.__dict__.pop("forward", None)


@dataclass(frozen=True)
class FusedAttend:
    """Self-attention over the memory from the packed projection, in the place of three tensors."""

    kernels: Kernels

    def __call__(
        self,
        qkv: Tensor,
        *,
        norms: tuple[Tensor, Tensor],
        eps: float,
        memory: LayerMemory,
        rope: RopeTable,
        kernel: Kernel,
    ) -> Tensor:
        """Normalise, remember, rotate and attend; `[B, T, 3·D]` -> `[B, T, N, H]`."""
        if isinstance(memory, FP8LayerMemory):
            return kernel(*self.kernels.remember_rounded(qkv, *norms, eps, memory, rope))
        return kernel(*self.kernels.remember(qkv, *norms, eps, memory, rope))


class FusedBlock:
    """`Block.forward` with one pass over memory between two matrix products."""

    def __init__(self, block: Block, kernels: Kernels, whole: bool, staged: bool) -> None:
        """`whole`: the injected attend takes the packed projection (`FusedAttend`); `staged`: it
        takes what makes its parts."""
        self._block, self._kernels, self._whole, self._staged = block, kernels, whole, staged

    def __call__(
        self,
        x_BTD: Tensor,
        time_B6D: Tensor,
        attend: Attend,
        context: ContextKeys,
        audio: KeysValues | None,
        silent: int,
        dtype: torch.dtype,
    ) -> Tensor:
        """Run the block; see `Block.forward`."""
        block, x = self._block, x_BTD
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            (block.modulation + time_B6D).unsqueeze(2).unbind(1)
        )
        norm = partial(self._kernels.residual_norm, eps=block.eps)
        qkv = block.self_attn.qkv
        x, rows = norm(x, None, None, 1 + scale1, shift1, out=_input(qkv, dtype))
        y = self._self_attention(rows, attend)
        cross, affine = block.cross_attn, block.norm_context
        x, rows = norm(x, y, gate1, affine.weight, affine.bias, out=_input(cross.q, dtype))
        y, gate, skip = self._cross_attention(cross, rows, context), None, 0
        if audio is not None:
            x, rows = self._before_audio(norm, x, y, dtype)
            y, skip = self._audio_attention(block.audio_attn, rows, audio, silent), silent
        first, second = block.ffn[0], block.ffn[2]
        x, rows = norm(x, y, gate, 1 + scale2, shift2, out=_input(first, dtype), skip=skip)
        hidden = self._kernels.gelu(first(rows), out=_input(second, dtype))
        return torch.addcmul(x, gate2, second(hidden).to(x.dtype))

    def _before_audio(
        self, norm: Callable[..., Any], x: Tensor, y: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Rows]:
        block = self._block
        affine, out = block.norm_audio, _input(block.audio_attn.q, dtype)
        if isinstance(affine, nn.LayerNorm):
            return norm(x, y, None, affine.weight, affine.bias, out=out)
        ones = x.new_ones(x.shape[-1])
        return norm(x, y, None, ones, torch.zeros_like(ones), out=out, normalise=False)

    def _self_attention(self, rows: Rows, attend: Attend) -> Tensor:
        layer = self._block.self_attn
        if self._staged:
            thirds = Thirds(layer, rows)
            lazy = cast(Callable[..., Tensor], attend)
            return self._project(layer.o, lazy(thirds.q, thirds.k, thirds.v))
        qkv = layer.qkv(rows)
        norms, eps = (layer.norm_q.weight, layer.norm_k.weight), layer.norm_q.eps
        if self._whole:
            packed = cast(Callable[..., Tensor], attend)
            return self._project(layer.o, packed(qkv, norms=norms, eps=eps))
        q, k = self._kernels.rms_norm_pair(qkv, *norms, cast(float, eps))
        v = qkv[..., 2 * q.shape[-1] :]
        return self._project(layer.o, attend(*(split(t, layer.heads) for t in (q, k, v))))

    def _cross_attention(self, layer: CrossAttention, rows: Rows, context: ContextKeys) -> Tensor:
        q = split(layer.norm_q(layer.q(rows)), layer.heads)
        out = grouped(layer.kernel, q, context.text)
        if context.image is not None:
            out = out + grouped(layer.kernel, q, context.image)
        return self._project(layer.o, out)

    def _audio_attention(
        self, layer: AudioAttention, rows: Rows, audio: KeysValues, silent: int
    ) -> Tensor:
        if isinstance(rows, Quantised):
            rows = Quantised(*(part[:, silent:].contiguous() for part in rows))
        else:
            rows = rows[:, silent:]
        q = split(layer.q(rows), layer.heads)
        return self._project(layer.o, grouped(layer.kernel, q, audio))

    def _project(self, linear: nn.Module, out_BTNH: Tensor) -> Tensor:
        rows = out_BTNH.flatten(2)
        quantise = self._kernels.quantise_rows
        return linear(quantise(rows) if isinstance(linear, FP8Linear) else rows)


def _input(linear: nn.Module, dtype: torch.dtype) -> torch.dtype | None:
    """What a layer reads: e4m3 rows (None) or numbers of `dtype`."""
    return None if isinstance(linear, FP8Linear) else dtype
