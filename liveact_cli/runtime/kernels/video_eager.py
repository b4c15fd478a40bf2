"""What the video decoder's fused kernels compute, in torch's words.

Shapes: B batch, C channels, T frames, H, W pixels.
"""

from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

name: Final = "eager"


class Prepared(NamedTuple):
    """What a convolution reads, what the next call needs of it, and the sum that it was made of.

    `rows` is `[B, C, past + T, H, W]`, `kept` `[B, C, past, H, W]`, `total` `[B, C, T, H, W]`.
    """

    rows: Tensor
    kept: Tensor | None
    total: Tensor | None


def prepare(
    y: Tensor,
    bias: Tensor | None,
    skip: Tensor | None,
    gamma: Tensor | None,
    past: Tensor | None,
    frames: int,
    total: bool,
) -> Prepared:
    """Add up, normalise, activate, and set the result behind the frames of the call before.

    `y` and `skip` are `[B, C, T, H, W]`, `bias` and `gamma` `[C]` in float32. Without `gamma` there
    is no norm and no SiLU. `past` holds the last `frames` frames of the call before; None is a
    stream's beginning, which sees zeros. `total` asks for the sum too.
    """
    value = _sum(y, bias, skip)
    rows = value
    if gamma is not None:
        scale = gamma * y.shape[1] ** 0.5
        rows = F.silu(F.normalize(value, dim=1) * scale.view(-1, 1, 1, 1))
    rows, kept = rows.to(y.dtype), None
    if frames:
        past = beginning(rows, frames) if past is None else past
        rows = torch.cat([past, rows], 2)
        kept = rows[:, :, -frames:].clone()  # a view would keep all of the rows alive
    return Prepared(rows, kept, value.to(y.dtype) if total else None)


def beginning(y: Tensor, frames: int) -> Tensor:
    """Return what a stream that begins has kept: zeros, laid out as `prepare` keeps frames."""
    return y.new_zeros((*y.shape[:2], frames, *y.shape[3:]))


def enlarge(y: Tensor, bias: Tensor | None, skip: Tensor | None, doubled: bool) -> Tensor:
    """Add up, then repeat every pixel twice each way.

    `doubled` takes `[B, 2·C, T, H, W]` as two frames of C channels each, the earlier one first.
    Returns `[B, C, T or 2·T, 2·H, 2·W]`.
    """
    x = _sum(y, bias, skip).to(y.dtype)
    if doubled:
        x = torch.unflatten(x, 1, (2, -1)).movedim(1, 3).flatten(2, 3)
    return x.repeat_interleave(2, 3).repeat_interleave(2, 4)


def _sum(y: Tensor, bias: Tensor | None, skip: Tensor | None) -> Tensor:
    value = y.to(torch.promote_types(y.dtype, torch.float32))
    if bias is not None:
        value = value + bias.view(-1, 1, 1, 1)
    return value if skip is None else value + skip.to(value)
