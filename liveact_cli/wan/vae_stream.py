"""The Wan VAE's decoder as a pure function of latents and state.

diffusers' modules hold the weights; their forward keeps its state in a list of tensors, strings
and None, whose shapes change from call to call. Here the state is one tensor of two frames for
each causal convolution, all zeros before the stream begins (which is exactly the padding that a
stream's start sees), so that every call after the first has the same shapes.

Shape letters: B batch, C channels, T frames (at the layer's own rate), H, W pixels (at its own
scale).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = dict[str, Tensor]


class StreamDecoder:
    """Steps a diffusers WanDecoder3d through a stream; the state belongs to the caller."""

    def __init__(self, decoder: nn.Module) -> None:
        # Any: diffusers' modules have no types that a checker could follow.
        self._decoder: Any = decoder

    def stem(self, z_BCTHW: Tensor, state: State) -> Tensor:
        """First convolution and middle block, at latent resolution; it attends to whole frames."""
        x = _causal(self._decoder.conv_in, z_BCTHW, state, "conv_in")
        mid = self._decoder.mid_block
        x = _residual(mid.resnets[0], x, state, "mid.0")
        x = mid.attentions[0](x)
        return _residual(mid.resnets[1], x, state, "mid.1")

    def body(self, x_BCTHW: Tensor, state: State, first: bool) -> Tensor:
        """The rest, all of it local: features -> video `[B, 3, T', 8H, 8W]`, not clamped."""
        x = x_BCTHW
        for level, block in enumerate(self._decoder.up_blocks):
            for at, resnet in enumerate(block.resnets):
                x = _residual(resnet, x, state, f"up.{level}.{at}")
            for sampler in block.upsamplers or ():
                x = _upsample(sampler, x, state, f"up.{level}.time", first)
        x = F.silu(self._decoder.norm_out(x))
        return _causal(self._decoder.conv_out, x, state, "conv_out")


def _causal(conv: Any, x_BCTHW: Tensor, state: State, name: str) -> Tensor:
    """A convolution over time that sees its own past: the last two frames of the call before."""
    past = conv.kernel_size[0] - 1
    kept = state.get(name)
    if kept is None:
        shape = list(x_BCTHW.shape)
        shape[2] = past
        kept = x_BCTHW.new_zeros(shape)
    x = torch.cat([kept, x_BCTHW], dim=2)
    state[name] = x[:, :, -past:].clone()  # a view would keep all of x alive
    pad = conv.kernel_size[1] // 2
    return F.conv3d(x, conv.weight, conv.bias, padding=(0, pad, pad))


def _residual(block: Any, x_BCTHW: Tensor, state: State, name: str) -> Tensor:
    shortcut = block.conv_shortcut(x_BCTHW)
    x = _causal(block.conv1, F.silu(block.norm1(x_BCTHW)), state, f"{name}.conv1")
    x = _causal(block.conv2, F.silu(block.norm2(x)), state, f"{name}.conv2")
    return torch.add(x, shortcut)


def _upsample(sampler: Any, x_BCTHW: Tensor, state: State, name: str, first: bool) -> Tensor:
    """Twice the pixels; twice the frames too where the layer has a `time_conv`.

    The stream's first latent frame is one video frame: it is not doubled, and the time
    convolution of what follows sees zeros in its place.
    """
    x = x_BCTHW
    if hasattr(sampler, "time_conv") and not first:
        x = _causal(sampler.time_conv, x, state, name)
        batch, doubled, frames, *size = x.shape
        x = x.view(batch, 2, doubled // 2, frames, *size).movedim(1, 3).flatten(2, 3)
    frames = x.shape[2]
    x = x.movedim(2, 1).flatten(0, 1)
    x = F.interpolate(x, scale_factor=2.0, mode="nearest-exact")
    x = sampler.resample[1](x)
    return x.view(-1, frames, *x.shape[1:]).movedim(1, 2)
