"""What the fused kernels compute, in torch's words: the reference, and the way on any device.

Shapes: B batch, T tokens, D model dim, N heads, H head dim, R fold ratio.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model import memory as model_memory
from liveact_cli.model.attention import split
from liveact_cli.model.memory import LayerMemory
from liveact_cli.model.rope import RopeTable
from liveact_cli.runtime import fp8_numbers
from liveact_cli.runtime.fp8_memory import FP8LayerMemory
from liveact_cli.runtime.fp8_numbers import Quantised

name: Final = "eager"


def residual_norm(
    x: Tensor,
    y: Tensor | None,
    gate: Tensor | None,
    mul: Tensor,
    add: Tensor,
    eps: float,
    *,
    out: torch.dtype | None,
    skip: int = 0,
    normalise: bool = True,
) -> tuple[Tensor, Tensor | Quantised]:
    """Add `gate * y` to the residual stream, normalise, then `mul * x + add`.

    `x` is `[B, T, D]`, `y` `[B, T - skip, D]` belongs to the last tokens, the rest `[B, 1, D]` or
    `[D]`. Returns the new residual and the result in `out`, or as e4m3 rows where that is None.
    """
    if y is not None:
        step = y.to(x.dtype) if gate is None else gate * y.to(x.dtype)
        x = x + F.pad(step, (0, 0, skip, 0))
    normal = F.layer_norm(x, x.shape[-1:], eps=eps) if normalise else x
    return x, _finish(torch.addcmul(add, normal, mul), out)


def remember(
    qkv: Tensor,
    norm_q: Tensor,
    norm_k: Tensor,
    eps: float,
    memory: LayerMemory,
    rope: RopeTable,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise q and k over the full width, write k and v to the memory, rotate q and the window.

    `qkv` is `[B, T, 3·D]`. Returns q, the window's keys and its values, `[B, tokens, N, H]`; the
    next call may overwrite them.
    """
    heads = memory.k.shape[2]
    q, k = rms_norm_pair(qkv, norm_q, norm_k, eps)
    v = qkv[..., 2 * q.shape[-1] :]
    k_all, v_all = memory.append(split(k, heads), split(v, heads))
    q = split(q, heads)
    return rope.rotate(q, k_all.shape[1] - q.shape[1]), rope.rotate(k_all), v_all


def remember_rounded(
    qkv: Tensor,
    norm_q: Tensor,
    norm_k: Tensor,
    eps: float,
    memory: FP8LayerMemory,
    rope: RopeTable,
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `remember` does with a memory in FP8; the window comes back as it is read."""
    return remember(qkv, norm_q, norm_k, eps, memory, rope)


def rms_norm_pair(qkv: Tensor, norm_q: Tensor, norm_k: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Normalise the first two thirds of `[B, T, 3·D]`, each over its full width."""
    q, k, _ = qkv.chunk(3, -1)
    return F.rms_norm(q, q.shape[-1:], norm_q, eps), F.rms_norm(k, k.shape[-1:], norm_k, eps)


def gelu(x: Tensor, *, out: torch.dtype | None) -> Tensor | Quantised:
    """GELU (tanh), computed in float32; in `out`, or as e4m3 rows where that is None."""
    return _finish(F.gelu(x.float(), approximate="tanh"), out)


def quantise_rows(x: Tensor) -> Quantised:
    """Round the last axis to e4m3 with a scale per row."""
    return fp8_numbers.quantise_rows(x)


def compress(buffer: Tensor, weight: Tensor | None, policy: MemoryPolicy, size: int) -> None:
    """Fold a full window `[1, tokens, N, H]` in place and move its recent frames."""
    model_memory.compress(buffer, weight, policy, size)


def token_mean(x: Tensor) -> Tensor:
    """Return the mean over the tokens of `[B, T, N, H]` in float32: `[B, 1, N, H]`."""
    return x.float().mean(1, keepdim=True)


def _finish(x: Tensor, out: torch.dtype | None) -> Tensor | Quantised:
    return fp8_numbers.quantise_rows(x) if out is None else x.to(out)
