"""Kernels of a causal video decoder: what lies between two convolutions, in one pass over memory.

`video_eager` says in torch's words what every kernel computes, `video_fused` computes it with
Triton on channels-last tensors. A convolution's bias and the residual connection are added by
whoever reads the result next, because a pass of its own for each costs as much as the norm.
"""

from typing import Protocol

import torch
from torch import Tensor

from liveact_cli.runtime import kernels
from liveact_cli.runtime.kernels import video_eager
from liveact_cli.runtime.kernels.video_eager import Prepared


class VideoKernels(Protocol):
    """The functions that both modules have; `video_eager` documents them."""

    name: str

    def prepare(
        self,
        y: Tensor,
        bias: Tensor | None,
        skip: Tensor | None,
        gamma: Tensor | None,
        past: Tensor | None,
        frames: int,
        total: bool,
    ) -> Prepared: ...

    def beginning(self, y: Tensor, frames: int) -> Tensor: ...

    def enlarge(
        self, y: Tensor, bias: Tensor | None, skip: Tensor | None, doubled: bool
    ) -> Tensor: ...


def resolve(device: torch.device, name: str = "auto") -> VideoKernels:
    """Choose as `kernels.resolve` does, with the same proofs and errors."""
    fused = kernels.fused_module(device, name, "video_fused")
    if fused is None:
        return video_eager
    from liveact_cli.runtime.kernels import proofs

    found: VideoKernels = kernels.proven_on(device, fused, video_eager, [proofs.VIDEO])
    return found
