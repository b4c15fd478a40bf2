"""The Wan VAE's decoder as a pure function: latents and state in, frames and state out.

The modules have the names of diffusers' WanDecoder3d and take its tensors; their forward is not
theirs. The state is one tensor of two frames for each causal convolution, zeros before the stream
begins (which is exactly the padding that a stream's start sees), so that every call after the
first has the same inputs and one graph can be compiled. A sum that a convolution leaves open (its
bias, a residual connection) is closed by the kernel that reads it next.

Shape letters: B batch, C channels, T frames (at the layer's own rate), H, W pixels (at its own
scale).
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.runtime.kernels.video import VideoKernels
from liveact_cli.wan.keymaps import VaeSizes

State = dict[str, Tensor]

_PAST = 2
"""Frames that a causal convolution remembers: its three taps in time less one."""

_COLOURS = 3


class Edges(Protocol):
    """The rows of a picture around a part of it (`runtime.rows.RowEdges`)."""

    def extended(self, x_BCTHW: Tensor) -> Tensor:
        """Add one row above and one below."""
        ...


class Open(NamedTuple):
    """A sum not yet added up: a convolution's result, its bias, a residual."""

    y: Tensor
    bias: Tensor | None = None
    skip: Tensor | None = None


class Norm(nn.Module):
    """Weights of an RMS-norm over the channels."""

    def __init__(self, width: int, axes: int) -> None:
        """`axes` counts the axes after the channels, which the stored shape has."""
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width, *[1] * axes))

    @property
    def scale(self) -> Tensor:
        """The weights `[C]`, as the kernels want them."""
        return _wide(self.gamma.flatten())


class Residual(nn.Module):
    """Norm, SiLU, convolution, twice, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """A shortcut has weights only where the width changes."""
        super().__init__()
        self.norm1, self.conv1 = Norm(inputs, 3), nn.Conv3d(inputs, outputs, 3)
        self.norm2, self.conv2 = Norm(outputs, 3), nn.Conv3d(outputs, outputs, 3)
        self.conv_shortcut = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else None


class Attention(nn.Module):
    """One head over the pixels of each frame."""

    def __init__(self, width: int) -> None:
        """Start with fresh weights."""
        super().__init__()
        self.norm = Norm(width, 2)
        self.to_qkv, self.proj = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)


class Middle(nn.Module):
    """What runs at latent resolution and sees whole frames."""

    def __init__(self, width: int) -> None:
        """Start with fresh weights."""
        super().__init__()
        self.resnets = nn.ModuleList(Residual(width, width) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(width)])


class Upsampler(nn.Module):
    """Twice the pixels and half the channels; twice the frames where there is a `time_conv`."""

    def __init__(self, width: int, time: bool) -> None:
        """`time` doubles the frames."""
        super().__init__()
        self.resample = nn.Sequential(nn.Identity(), nn.Conv2d(width, width // 2, 3, padding=1))
        self.time_conv = nn.Conv3d(width, 2 * width, (3, 1, 1)) if time else None


class UpBlock(nn.Module):
    """Residual blocks of one scale, and the way to the next."""

    def __init__(self, inputs: int, outputs: int, blocks: int, upsampler: bool, time: bool) -> None:
        """The last scale has no upsampler."""
        super().__init__()
        self.resnets = nn.ModuleList(
            Residual(inputs if at == 0 else outputs, outputs) for at in range(blocks)
        )
        self.upsamplers = nn.ModuleList([Upsampler(outputs, time)] if upsampler else [])


class VideoDecoder(nn.Module):
    """The decoder's weights under diffusers' names, and the two parts of its run."""

    def __init__(self, sizes: VaeSizes) -> None:
        """Build with fresh weights (on the meta device: with none)."""
        super().__init__()
        widths = [sizes.decoder_base * factor for factor in reversed(sizes.multipliers)]
        self.conv_in = nn.Conv3d(sizes.latent, widths[0], 3)
        self.mid_block = Middle(widths[0])
        blocks, inputs = [], widths[0]
        for level, outputs in enumerate(widths):
            upsampler = level < len(widths) - 1
            time = upsampler and sizes.temporal[::-1][level]
            blocks.append(UpBlock(inputs, outputs, sizes.res_blocks + 1, upsampler, time))
            inputs = outputs // 2
        self.up_blocks = nn.ModuleList(blocks)
        self.norm_out = Norm(widths[-1], 3)
        self.conv_out = nn.Conv3d(widths[-1], _COLOURS, 3)

    def stem(self, kernels: VideoKernels, z_BCTHW: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the first convolution and the middle block, at latent resolution."""
        walk = _Walk(kernels, state)
        first, second = cast(Iterator[Residual], self.mid_block.resnets)
        attention = cast(Attention, self.mid_block.attentions[0])
        x = walk.causal(Open(z_BCTHW), None, self.conv_in, "conv_in")
        x = Open(_attention(attention, walk.residual(x, first, "mid.0")))
        return _closed(walk.residual(x, second, "mid.1")), walk.after

    def body(
        self,
        kernels: VideoKernels,
        x_BCTHW: Tensor,
        state: State,
        first: bool,
        edges: Edges | None = None,
    ) -> tuple[Tensor, State]:
        """Run the rest, all of it local: features -> video `[B, 3, T', 8H, 8W]`, not clamped.

        The video is float32 at any precision: it costs little there and rounds to bytes better.
        `first`: `x_BCTHW` is the stream's first latent frame, which becomes one video frame.
        `edges`: these are some rows of a picture, whose neighbours are asked for when needed.
        """
        walk, x = _Walk(kernels, state, edges), Open(x_BCTHW)
        for level, block in enumerate(cast(Iterator[UpBlock], self.up_blocks)):
            for at, residual in enumerate(cast(Iterator[Residual], block.resnets)):
                x = walk.residual(x, residual, f"up.{level}.{at}")
            for sampler in cast(Iterator[Upsampler], block.upsamplers):
                x = walk.upsample(x, sampler, f"up.{level}.time", first)
        last = walk.causal(x, self.norm_out, self.conv_out, "conv_out")
        return _sum(last).float(), walk.after


class _Walk:
    """One call through the layers: reads the state before it, gathers the state after it."""

    def __init__(self, kernels: VideoKernels, state: State, edges: Edges | None = None) -> None:
        self._kernels, self._before, self._edges = kernels, state, edges
        self.after: State = {}

    def _bordered(self, x: Tensor) -> tuple[Tensor, int]:
        """Return what a convolution of three rows reads, and the rows of zeros to add."""
        return (x, 1) if self._edges is None else (self._edges.extended(x), 0)

    def causal(self, x: Open, norm: Norm | None, conv: nn.Conv3d, name: str) -> Open:
        """Run a convolution that sees its own past, behind a norm and SiLU if there is one."""
        return self._causal(x, norm, conv, name, total=False)[0]

    def _causal(
        self, x: Open, norm: Norm | None, conv: nn.Conv3d, name: str, total: bool
    ) -> tuple[Open, Tensor | None]:
        gamma = None if norm is None else norm.scale
        past = self._before.get(name)
        rows, kept, sums = self._kernels.prepare(*x, gamma, past, _PAST, total)
        assert kept is not None
        self.after[name] = kept
        pad = conv.kernel_size[1] // 2
        rows, pad_rows = self._bordered(rows) if pad else (rows, 0)
        return Open(F.conv3d(rows, conv.weight, padding=(0, pad_rows, pad)), _bias(conv)), sums

    def residual(self, x: Open, block: Residual, name: str) -> Open:
        """Run a residual block; its own sum stays open."""
        y, skip = self._causal(x, block.norm1, block.conv1, f"{name}.conv1", total=True)
        y, _ = self._causal(y, block.norm2, block.conv2, f"{name}.conv2", total=False)
        assert skip is not None
        assert y.bias is not None
        if block.conv_shortcut is None:
            return Open(y.y, y.bias, skip)
        shortcut = block.conv_shortcut
        return Open(y.y, y.bias + _bias(shortcut), F.conv3d(skip, shortcut.weight))

    def upsample(self, x: Open, sampler: Upsampler, name: str, first: bool) -> Open:
        """Twice the pixels; twice the frames too where the layer has a `time_conv`.

        The stream's first latent frame is one video frame: it is not doubled, and the time
        convolution of what follows sees zeros in its place.
        """
        doubled = sampler.time_conv is not None and not first
        if sampler.time_conv is not None:
            if first:
                self.after[name] = self._kernels.beginning(x.y, _PAST)
            else:
                x = self.causal(x, None, sampler.time_conv, name)
        large = self._kernels.enlarge(*x, doubled)
        conv = cast(nn.Conv2d, sampler.resample[1])
        large, pad_rows = self._bordered(large)
        # Frames side by side in the batch: a view where channels come last.
        y = F.conv2d(large.movedim(2, 1).flatten(0, 1), conv.weight, padding=(pad_rows, 1))
        y = torch.unflatten(y, 0, (large.shape[0], large.shape[2])).movedim(1, 2)
        return Open(y, _bias(conv))


def _bias(conv: nn.Conv3d | nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return _wide(conv.bias)


def _sum(x: Open) -> Tensor:
    """Add up in float32."""
    value = _wide(x.y)
    if x.bias is not None:
        value = value + x.bias.view(-1, 1, 1, 1)
    return value if x.skip is None else value + _wide(x.skip)


def _wide(x: Tensor) -> Tensor:
    """Return low precisions as float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _closed(x: Open) -> Tensor:
    """Add up in float32, and round once."""
    return _sum(x).to(x.y.dtype)


def _attention(layer: Attention, x: Open) -> Tensor:
    """Attend over the pixels of each frame; channels last, so that projections are matrices."""
    total = _closed(x)
    batch, width, frames, height, across = total.shape
    tokens = total.permute(0, 2, 3, 4, 1).reshape(batch * frames, height * across, width)
    rows = F.normalize(_wide(tokens), dim=-1) * (layer.norm.scale * width**0.5)
    to_qkv, proj = layer.to_qkv, layer.proj
    qkv = F.linear(rows.to(tokens.dtype), to_qkv.weight.flatten(1), _bias(to_qkv).to(tokens))
    q, k, v = qkv.unsqueeze(1).chunk(3, -1)
    out = F.scaled_dot_product_attention(q, k, v).squeeze(1)
    out = tokens + F.linear(out, proj.weight.flatten(1), _bias(proj).to(tokens))
    return out.view(batch, frames, height, across, width).permute(0, 4, 1, 2, 3)
