"""Rotary positions on three axes (time, height, width) inside the memory window.

Positions run over the window's slots, never over the recording, so they stay small for ever
(paper section 3). Tables are computed once per grid, in float64.

Shapes: B batch, T tokens, N heads, H head dim, S tokens per frame.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_BASE = 10000.0


@dataclass(frozen=True)
class RopeTable:
    """Cosines and signed sines for every token of the window, `[window * S, 1, H]`."""

    cos: Tensor
    sin: Tensor

    def rotate(self, x_BTNH: Tensor, first: int = 0) -> Tensor:
        """Rotate tokens that stand at positions `first`, `first + 1`, ... of the window."""
        stop = first + x_BTNH.shape[1]
        x = x_BTNH.to(torch.promote_types(x_BTNH.dtype, self.cos.dtype))
        swapped = torch.unflatten(x, -1, (-1, 2)).flip(-1).flatten(-2)
        turned = torch.addcmul(x * self.cos[first:stop], swapped, self.sin[first:stop])
        return turned.to(x_BTNH.dtype)

    def to(self, device: torch.device) -> "RopeTable":
        """Return the table on another device."""
        return RopeTable(self.cos.to(device), self.sin.to(device))


def rope_table(head_dim: int, window: int, height: int, width: int) -> RopeTable:
    """Build the table for a window of `window` frames of `height` x `width` tokens.

    The head splits into `d - 4(d//6)` channels for time and `2(d//6)` for height and width each;
    neighbouring channels form a complex pair (the released layout).
    """
    side = 2 * (head_dim // 6)
    axes = ((window, head_dim - 2 * side), (height, side), (width, side))
    angles = []
    for axis, (count, channels) in enumerate(axes):
        frequencies = _BASE ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
        angle = torch.outer(torch.arange(count, dtype=torch.float64), frequencies)
        shape = [1, 1, 1, -1]
        shape[axis] = count
        angles.append(angle.view(shape).expand(window, height, width, -1))
    angle_T1H = torch.cat(angles, -1).flatten(0, 2).repeat_interleave(2, -1).unsqueeze(1)
    sign = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(head_dim // 2)
    return RopeTable(angle_T1H.cos().float(), (angle_T1H.sin() * sign).float())
