"""The kernels of `video_eager` in Triton, on channels-last tensors.

A program reads all channels of some pixels of one frame, so the norm over the channels needs no
second pass. Everything is computed in float32. Shapes as in `video_eager`.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# What a kernel's arguments are is Triton's business: pointers, numbers, constants.

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from liveact_cli.runtime.kernels.video_eager import Prepared

name: Final = "triton"

_ELEMENTS: Final = 4096
"""Numbers that one program holds."""

_LAST: Final = torch.channels_last_3d


@triton.jit
def _prepare(
    y, bias, skip, gamma, past, rows, kept, total, pixels, count, width, root,
    FRAMES: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_SKIP: tl.constexpr, HAS_PAST: tl.constexpr,
    NORM: tl.constexpr, TOTAL: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, BLOCK)
    inside = (pixel < pixels)[:, None] & (channel < width)[None, :]
    at = pixel.to(tl.int64)[:, None] * width + channel[None, :]
    size = pixels * width
    value = tl.zeros((ROWS, BLOCK), dtype=tl.float32)
    if frame < FRAMES:
        if HAS_PAST:
            source = (batch * FRAMES + frame) * size
            value = tl.load(past + source + at, mask=inside, other=0.0).to(tl.float32)
    else:
        source = (batch * count + frame - FRAMES) * size
        value = tl.load(y + source + at, mask=inside, other=0.0).to(tl.float32)
        if HAS_BIAS:
            value += tl.load(bias + channel, mask=channel < width, other=0.0)[None, :]
        if HAS_SKIP:
            value += tl.load(skip + source + at, mask=inside, other=0.0).to(tl.float32)
        if TOTAL:
            tl.store(total + source + at, value.to(total.dtype.element_ty), mask=inside)
        if NORM:
            length = tl.maximum(tl.sqrt(tl.sum(value * value, 1)), 1e-12)
            scale = tl.load(gamma + channel, mask=channel < width, other=0.0) * root
            value = value / length[:, None] * scale[None, :]
            value *= tl.sigmoid(value)
    target = (batch * (count + FRAMES) + frame) * size
    tl.store(rows + target + at, value.to(rows.dtype.element_ty), mask=inside)
    if FRAMES > 0:  # noqa: SIM102 (the outer one is decided while compiling)
        if frame >= count:
            target = (batch * FRAMES + frame - count) * size
            tl.store(kept + target + at, value.to(kept.dtype.element_ty), mask=inside)


def prepare(
    y: Tensor,
    bias: Tensor | None,
    skip: Tensor | None,
    gamma: Tensor | None,
    past: Tensor | None,
    frames: int,
    total: bool,
) -> Prepared:
    """Add up, normalise, activate, and set the result behind the frames of the call before."""
    batch, width, count, height, across = y.shape
    y = y.contiguous(memory_format=_LAST)

    def room(length: int) -> Tensor:
        shape = (batch, width, length, height, across)
        return torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=_LAST)

    rows = room(frames + count)
    kept = room(frames) if frames else None
    sums = room(count) if total else None
    block, pixels = _power_of_two(width), height * across
    per_program = max(1, _ELEMENTS // block)
    _prepare[(-(-pixels // per_program), frames + count, batch)](
        y,
        y if bias is None else bias,
        y if skip is None else skip.contiguous(memory_format=_LAST),
        y if gamma is None else gamma,
        y if past is None else past.contiguous(memory_format=_LAST),
        rows,
        rows if kept is None else kept,
        rows if sums is None else sums,
        pixels,
        count,
        width,
        width**0.5,
        FRAMES=frames,
        HAS_BIAS=bias is not None,
        HAS_SKIP=skip is not None,
        HAS_PAST=past is not None,
        NORM=gamma is not None,
        TOTAL=total,
        ROWS=per_program,
        BLOCK=block,
    )
    return Prepared(rows, kept, sums)


def beginning(y: Tensor, frames: int) -> Tensor:
    """Return what a stream that begins has kept: zeros, laid out as `prepare` keeps frames."""
    zeros = y.new_zeros((*y.shape[:2], frames, *y.shape[3:]))
    return zeros.contiguous(memory_format=_LAST)


@triton.jit
def _enlarge(
    y, bias, skip, out, height, across, count, width,
    DOUBLED: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_SKIP: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, BLOCK)
    inside = (pixel < 4 * height * across)[:, None] & (channel < width)[None, :]
    row, column = pixel // (2 * across), pixel % (2 * across)
    seen = (row // 2) * across + column // 2
    packed = width
    first = 0
    source_frame = frame
    if DOUBLED:
        packed = 2 * width
        first = (frame % 2) * width
        source_frame = frame // 2
    source = (batch * count + source_frame) * height * across
    at = (source + seen.to(tl.int64))[:, None] * packed + first + channel[None, :]
    value = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += tl.load(bias + first + channel, mask=channel < width, other=0.0)[None, :]
    if HAS_SKIP:
        value += tl.load(skip + at, mask=inside, other=0.0).to(tl.float32)
    frames = count
    if DOUBLED:
        frames = 2 * count
    target = (batch * frames + frame) * 4 * height * across
    at = (target + pixel.to(tl.int64))[:, None] * width + channel[None, :]
    tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)


def enlarge(y: Tensor, bias: Tensor | None, skip: Tensor | None, doubled: bool) -> Tensor:
    """Add up, then repeat every pixel twice each way; `doubled` makes two frames of one."""
    batch, packed, count, height, across = y.shape
    width, frames = (packed // 2, 2 * count) if doubled else (packed, count)
    y = y.contiguous(memory_format=_LAST)
    shape = (batch, width, frames, 2 * height, 2 * across)
    out = torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=_LAST)
    block = _power_of_two(width)
    per_program = max(1, _ELEMENTS // block)
    _enlarge[(-(-4 * height * across // per_program), frames, batch)](
        y,
        y if bias is None else bias,
        y if skip is None else skip.contiguous(memory_format=_LAST),
        out,
        height,
        across,
        count,
        width,
        DOUBLED=doubled,
        HAS_BIAS=bias is not None,
        HAS_SKIP=skip is not None,
        ROWS=per_program,
        BLOCK=block,
    )
    return out


def _power_of_two(width: int) -> int:
    """Return the next one: in plain integers, so that torch's compiler sees through it."""
    return 1 << (width - 1).bit_length()
