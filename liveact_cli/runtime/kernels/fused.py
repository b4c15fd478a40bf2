"""The kernels of `eager` in one pass over memory each, in Triton.

A row is a token: one program reads it whole, so a norm, a modulation and a rounding cost one read
and one write. Everything is computed in float32. Tensors are contiguous, the batch is folded into
the tokens. Shapes as in `eager`.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# What a kernel's arguments are is Triton's business: pointers, numbers, constants.

from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.memory import LayerMemory, tokens_of
from liveact_cli.model.rope import RopeTable
from liveact_cli.runtime.fp8_memory import FP8LayerMemory
from liveact_cli.runtime.fp8_numbers import E4M3, Quantised

name: Final = "triton"

_ROWS: Final = 32
_CHANNELS: Final = 32
_MEAN_ROWS: Final = 128


@triton.jit
def _store_row(out, scale, row, i, inside, width, value, FP8: tl.constexpr):
    """Store a row as it is, or as e4m3 with its scale."""
    if FP8:
        largest = tl.max(tl.abs(value), 0)
        step = tl.where(largest > 0, tl.div_rn(largest, 448.0), 1.0)
        tl.store(scale + row, step)
        x = tl.minimum(tl.maximum(tl.div_rn(value, step), -448.0), 448.0)
        # Rounded here to the nearest e4m3 number (ties to even), so that the cast is exact:
        # Triton's interpreter loses the carry into the exponent. 2**-6 begins the normal ones;
        # below it a step is 2**-9, which is what a float32 has beside 1.5 * 2**14.
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFFF + ((bits >> 20) & 1)) & 0xFFF00000
        small = (x + 24576.0) - 24576.0
        x = tl.where(tl.abs(x) < 0.015625, small, bits.to(tl.float32, bitcast=True))
        tl.store(out + row * width + i, x.to(tl.float8e4nv), mask=inside)
    else:
        tl.store(out + row * width + i, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _residual_norm(
    x, y, gate, mul, add, new_x, out, scale, tokens, skip, width, eps, gate_batch, mul_batch,
    HAS_Y: tl.constexpr, HAS_GATE: tl.constexpr, NORM: tl.constexpr, FP8: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    batch, token = row // tokens, row % tokens
    i = tl.arange(0, BLOCK)
    inside = i < width
    value = tl.load(x + row * width + i, mask=inside, other=0.0).to(tl.float32)
    if HAS_Y:
        source = batch * (tokens - skip) + token - skip
        step = tl.load(y + source * width + i, mask=inside & (token >= skip), other=0.0)
        step = step.to(tl.float32)
        if HAS_GATE:
            step *= tl.load(gate + batch * gate_batch + i, mask=inside, other=0.0).to(tl.float32)
        value += step
        tl.store(new_x + row * width + i, value.to(new_x.dtype.element_ty), mask=inside)
    if NORM:
        centred = tl.where(inside, value - tl.sum(value, 0) / width, 0.0)
        value = centred * tl.rsqrt(tl.sum(centred * centred, 0) / width + eps)
    a = tl.load(mul + batch * mul_batch + i, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(add + batch * mul_batch + i, mask=inside, other=0.0).to(tl.float32)
    _store_row(out, scale, row, i, inside, width, value * a + b, FP8)


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
    """Add `gate * y` to the residual stream, normalise, then `mul * x + add`."""
    batch, tokens, width = x.shape
    x = x.contiguous()
    new_x = x if y is None else torch.empty_like(x)
    result, scale = _room(x.shape, out, x.device)
    mul, add = mul.contiguous(), add.contiguous()
    _residual_norm[(batch * tokens,)](
        x,
        x if y is None else y.contiguous(),
        x if gate is None else gate.contiguous(),
        mul,
        add,
        new_x,
        result,
        scale,
        tokens,
        skip,
        width,
        eps,
        width if gate is not None and gate.numel() > width else 0,
        width if mul.numel() > width else 0,
        HAS_Y=y is not None,
        HAS_GATE=gate is not None,
        NORM=normalise,
        FP8=out is None,
        **_row(width),
    )
    return new_x, result if out is not None else Quantised(result, scale)


@triton.jit
def _rms_rotated(x, weight, cos, sin, i, inside, width, head, position, eps, dtype: tl.constexpr):
    """Return a row normalised as it is stored, and the same rotated to a position."""
    value = tl.load(x + i, mask=inside, other=0.0).to(tl.float32)
    other = tl.load(x + (i ^ 1), mask=inside, other=0.0).to(tl.float32)
    factor = tl.rsqrt(tl.sum(value * value, 0) / width + eps)
    value *= factor * tl.load(weight + i, mask=inside, other=0.0).to(tl.float32)
    other *= factor * tl.load(weight + (i ^ 1), mask=inside, other=0.0).to(tl.float32)
    stored = value.to(dtype)
    c = tl.load(cos + position * head + i % head, mask=inside, other=0.0)
    s = tl.load(sin + position * head + i % head, mask=inside, other=0.0)
    turned = stored.to(tl.float32) * c + other.to(dtype).to(tl.float32) * s
    return stored, turned.to(dtype)


@triton.jit
def _remember(
    qkv, norm_q, norm_k, cos, sin, memory_k, memory_v, q_out, k_out, past, width, head, eps,
    BLOCK: tl.constexpr,
):  # fmt: skip
    position = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    inside = i < width
    here = position * width + i
    dtype: tl.constexpr = q_out.dtype.element_ty
    if position < past:
        old = memory_k + position * width
        value = tl.load(old + i, mask=inside, other=0.0).to(tl.float32)
        other = tl.load(old + (i ^ 1), mask=inside, other=0.0).to(tl.float32)
        c = tl.load(cos + position * head + i % head, mask=inside, other=0.0)
        s = tl.load(sin + position * head + i % head, mask=inside, other=0.0)
        tl.store(k_out + here, (value * c + other * s).to(dtype), mask=inside)
    else:
        row = position - past
        new = qkv + row * 3 * width
        _, q = _rms_rotated(new, norm_q, cos, sin, i, inside, width, head, position, eps, dtype)
        tl.store(q_out + row * width + i, q, mask=inside)
        stored, k = _rms_rotated(
            new + width, norm_k, cos, sin, i, inside, width, head, position, eps, dtype
        )
        tl.store(memory_k + here, stored, mask=inside)
        tl.store(k_out + here, k, mask=inside)
        v = tl.load(new + 2 * width + i, mask=inside, other=0.0)
        tl.store(memory_v + here, v, mask=inside)


def remember(
    qkv: Tensor,
    norm_q: Tensor,
    norm_k: Tensor,
    eps: float,
    memory: LayerMemory,
    rope: RopeTable,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise q and k over the full width, write k and v to the memory, rotate q and the window.

    For one video (B = 1), as the memory is.
    """
    room = memory.make_room(qkv.shape[1], compress)
    k_all, v_all = memory.filled_part()
    heads, head = k_all.shape[2:]
    width = heads * head
    q = torch.empty(1, qkv.shape[1], heads, head, dtype=qkv.dtype, device=qkv.device)
    rotated = torch.empty_like(k_all)
    _remember[(room.stop,)](
        qkv.contiguous(), norm_q, norm_k, rope.cos, rope.sin, memory.k, memory.v, q, rotated,
        room.start, width, head, eps, **_row(width),
    )  # fmt: skip
    return q, rotated, v_all


@triton.jit
def _read_rounded(values, scale, at, position, i, inside, width, head, dtype: tl.constexpr):
    """Return part of a row of the memory as it is read: e4m3 times its head's scale."""
    heads = width // head
    step = tl.load(scale + position * heads + i // head, mask=inside, other=0.0)
    value = tl.load(values + at, mask=inside, other=0.0).to(tl.float32) * step
    return value.to(dtype).to(tl.float32)


@triton.jit
def _read_window(
    q, k, v, memory_k, scale_k, memory_v, scale_v, cos, sin, q_out, k_out, v_out,
    past, width, head, BLOCK: tl.constexpr,
):  # fmt: skip
    position = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    inside = i < width
    here = position * width + i
    there = position * width + (i ^ 1)
    dtype: tl.constexpr = q_out.dtype.element_ty
    c = tl.load(cos + position * head + i % head, mask=inside, other=0.0)
    s = tl.load(sin + position * head + i % head, mask=inside, other=0.0)
    if position < past:
        key = _read_rounded(memory_k, scale_k, here, position, i, inside, width, head, dtype)
        other = _read_rounded(memory_k, scale_k, there, position, i ^ 1, inside, width, head, dtype)
        value = _read_rounded(memory_v, scale_v, here, position, i, inside, width, head, dtype)
        tl.store(k_out + here, (key * c + other * s).to(dtype), mask=inside)
        tl.store(v_out + here, value.to(dtype), mask=inside)
    else:
        row = (position - past) * width
        for part in tl.static_range(2):
            source = q if part == 0 else k
            value = tl.load(source + row + i, mask=inside, other=0.0).to(tl.float32)
            other = tl.load(source + row + (i ^ 1), mask=inside, other=0.0).to(tl.float32)
            turned = (value * c + other * s).to(dtype)
            if part == 0:
                tl.store(q_out + row + i, turned, mask=inside)
            else:
                tl.store(k_out + here, turned, mask=inside)
        new = tl.load(v + row + i, mask=inside, other=0.0)
        tl.store(v_out + here, new, mask=inside)


def remember_rounded(
    qkv: Tensor,
    norm_q: Tensor,
    norm_k: Tensor,
    eps: float,
    memory: FP8LayerMemory,
    rope: RopeTable,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise, write to a memory in FP8, rotate; for one video (B = 1)."""
    heads, head = memory.k.shape[2:]
    width, tokens = heads * head, qkv.shape[1]
    q, k = rms_norm_pair(qkv, norm_q, norm_k, eps)
    v = qkv[..., 2 * width :].contiguous()
    room = memory.make_room(tokens)
    rows = (quantise_rows(torch.unflatten(x, -1, (heads, head))) for x in (k, v))
    memory.write(room, *rows)
    shape = (1, room.stop, heads, head)
    q_out = qkv.new_empty(1, tokens, heads, head)
    k_out, v_out = (qkv.new_empty(shape) for _ in range(2))
    _read_window[(room.stop,)](
        q, k, v, memory.k, memory.k_scale, memory.v, memory.v_scale, rope.cos, rope.sin,
        q_out, k_out, v_out, room.start, width, head, **_row(width),
    )  # fmt: skip
    return q_out, k_out, v_out


@triton.jit
def _rms_pair(qkv, norm_q, norm_k, q_out, k_out, width, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    inside = i < width
    for part in tl.static_range(2):
        source = qkv + row * 3 * width + part * width
        weight = norm_q if part == 0 else norm_k
        out = q_out if part == 0 else k_out
        value = tl.load(source + i, mask=inside, other=0.0).to(tl.float32)
        factor = tl.rsqrt(tl.sum(value * value, 0) / width + eps)
        value *= factor * tl.load(weight + i, mask=inside, other=0.0).to(tl.float32)
        tl.store(out + row * width + i, value.to(out.dtype.element_ty), mask=inside)


def rms_norm_pair(qkv: Tensor, norm_q: Tensor, norm_k: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Normalise the first two thirds of `[B, T, 3·D]`, each over its full width."""
    batch, tokens, packed = qkv.shape
    width = packed // 3
    q, k = (qkv.new_empty(batch, tokens, width) for _ in range(2))
    _rms_pair[(batch * tokens,)](qkv.contiguous(), norm_q, norm_k, q, k, width, eps, **_row(width))
    return q, k


@triton.jit
def _gelu(x, out, scale, width, ACT: tl.constexpr, FP8: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    inside = i < width
    value = tl.load(x + row * width + i, mask=inside, other=0.0).to(tl.float32)
    if ACT:
        # tanh(u) is 2 sigmoid(2u) - 1, so the half and the one cancel.
        value *= tl.sigmoid(1.5957691216057308 * (value + 0.044715 * value * value * value))
    _store_row(out, scale, row, i, inside, width, value, FP8)


def gelu(x: Tensor, *, out: torch.dtype | None) -> Tensor | Quantised:
    """GELU (tanh), computed in float32."""
    return _by_rows(x, out, act=True)


def quantise_rows(x: Tensor) -> Quantised:
    """Round the last axis to e4m3 with a scale per row."""
    rounded = _by_rows(x, None, act=False)
    assert isinstance(rounded, Quantised)
    return rounded


def _by_rows(x: Tensor, out: torch.dtype | None, act: bool) -> Tensor | Quantised:
    width = x.shape[-1]
    result, scale = _room(x.shape, out, x.device)
    _gelu[(x.numel() // width,)](
        x.contiguous(), result, scale, width, ACT=act, FP8=out is None, **_row(width)
    )
    return result if out is not None else Quantised(result, scale)


@triton.jit
def _compress(
    buffer, weight, width, anchor, folded, source, recent, recent_source, recent_target,
    LEARNED: tl.constexpr, RATIO: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One program owns some channels and goes through the tokens in order: what it overwrites it
    has read, so nothing needs a copy."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel[None, :] < width
    rows = tl.arange(0, ROWS)
    for start in range(0, folded, ROWS):
        row = (start + rows)[:, None]
        mask = inside & (row < folded)
        total = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
        for r in tl.static_range(RATIO):
            at = (source + row * RATIO + r).to(tl.int64) * width + channel[None, :]
            value = tl.load(buffer + at, mask=mask, other=0.0).to(tl.float32)
            if LEARNED:
                w = tl.load(weight + r * width + channel, mask=channel < width, other=0.0)
                value *= w.to(tl.float32)[None, :]
            total += value
        if not LEARNED:
            total /= RATIO
        tl.debug_barrier()  # other threads may still read what is overwritten here
        at = (anchor + row).to(tl.int64) * width + channel[None, :]
        tl.store(buffer + at, total.to(buffer.dtype.element_ty), mask=mask)
        tl.debug_barrier()
    for start in range(0, recent, ROWS):
        row = (start + rows)[:, None]
        mask = inside & (row < recent)
        at = (recent_source + row).to(tl.int64) * width + channel[None, :]
        value = tl.load(buffer + at, mask=mask, other=0.0)
        tl.debug_barrier()
        at = (recent_target + row).to(tl.int64) * width + channel[None, :]
        tl.store(buffer + at, value, mask=mask)
        tl.debug_barrier()


def compress(buffer: Tensor, weight: Tensor | None, policy: MemoryPolicy, size: int) -> None:
    """Fold a full window `[1, tokens, N, H]` in place and move its recent frames."""
    width = buffer.shape[2] * buffer.shape[3]
    target, source = tokens_of(policy.folded_slots, size), tokens_of(policy.fold_source, size)
    recent = tokens_of(policy.recent_source, size)
    _compress[(triton.cdiv(width, _CHANNELS),)](
        buffer,
        buffer if weight is None else weight.contiguous(),
        width,
        target.start,
        target.stop - target.start,
        source.start,
        recent.stop - recent.start,
        recent.start,
        policy.recent_slots.start * size,
        LEARNED=weight is not None,
        RATIO=policy.ratio,
        ROWS=_ROWS,
        CHANNELS=_CHANNELS,
    )


@triton.jit
def _partial_sums(x, out, tokens, width, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    block, batch = tl.program_id(0), tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    row = block * ROWS + tl.arange(0, ROWS)
    at = (batch * tokens + row)[:, None] * width + channel[None, :]
    inside = (row < tokens)[:, None] & (channel < width)[None, :]
    total = tl.sum(tl.load(x + at, mask=inside, other=0.0).to(tl.float32), 0)
    where = (batch * tl.num_programs(0) + block) * width + channel
    tl.store(out + where, total, mask=channel < width)


def token_mean(x: Tensor) -> Tensor:
    """Return the mean over the tokens of `[B, T, N, H]` in float32: `[B, 1, N, H]`."""
    batch, tokens, heads, head = x.shape
    width, blocks = heads * head, triton.cdiv(tokens, _MEAN_ROWS)
    parts = torch.empty(batch, blocks, heads, head, device=x.device)
    _partial_sums[(blocks, triton.cdiv(width, _CHANNELS), batch)](
        x.contiguous(), parts, tokens, width, ROWS=_MEAN_ROWS, CHANNELS=_CHANNELS
    )
    return parts.sum(1, keepdim=True) / tokens


def _row(width: int) -> dict[str, Any]:
    block = triton.next_power_of_2(width)
    return {"BLOCK": block, "num_warps": min(16, max(1, block // 512))}


def _room(
    shape: torch.Size, out: torch.dtype | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    result = torch.empty(shape, dtype=out or E4M3, device=device)
    rows = (*shape[:-1], 1) if out is None else (1,)
    return result, torch.empty(rows, dtype=torch.float32, device=device)
