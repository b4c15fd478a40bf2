"""A small decoder for the same latents: TAEHV's architecture as trained for Wan 2.1 (taew2_1).

Two-dimensional convolutions that see the frame before them. It takes normalised latents and gives
pictures in [0, 1]; every latent frame becomes four video frames, and of a stream's first only the
last of the four is a picture. Names and order of the layers are those of the published file.

Shape letters: C latent channels, F latent frames, h, w latent pixels, T frames (at the layer's own
rate), D width, H, W pixels (at the layer's own scale).
"""

import math
from collections.abc import Iterator, Mapping
from itertools import count, pairwise
from pathlib import Path
from typing import Final, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from liveact_cli.core.errors import WeightsError
from liveact_cli.wan import checkpoint
from liveact_cli.wan.vae_decoder import LATENT_MEAN
from liveact_cli.wan.vae_stream import State

_STAGES: Final = 3
_BLOCKS: Final = 3
"""Blocks with memory of one stage; after them come the upsampler, the growth in time, a Conv."""

_FIRST: Final = 1
"""Place of the first convolution; before it the latents are squashed, after it comes a ReLU."""

_SOFT_LIMIT: Final = 3.0
_OTHER_PARTS: Final = ("encoder.",)

TEMPORAL_STRIDE: Final = 4
SPATIAL_STRIDE: Final = 1 << _STAGES

TINY_WIDTHS: Final = (256, 128, 64, 64)
"""The published widths, for measuring without the file; loading reads the tensors."""

HINT: Final = "taew2_1.pth is published with TAEHV; other small decoders have other layers"


class _Stage(NamedTuple):
    """Places of one stage's layers in the published order, and its widths."""

    blocks: tuple[int, ...]
    grow: int
    conv: int
    width: int
    next_width: int


class TinyDecoder:
    """The decoder as one pure function, `step`; states belong to the caller."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        origin: str,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> None:
        """Take the published tensors; those of the encoder are left aside.

        Raises WeightsError naming `origin` for what is missing, left over or of another shape.
        """
        own = {n: v for n, v in tensors.items() if not n.startswith(_OTHER_PARTS)}
        self.latent, self._stages = _stages(own, origin)
        _check(own, shapes(self.latent, self._stages, self._growths(own)), origin)
        self._strides = self._growths(own)
        if self.latent != len(LATENT_MEAN):
            raise WeightsError(
                f"{origin} has {self.latent} latent channels; Wan 2.1 has {len(LATENT_MEAN)}", HINT
            )
        if (made := math.prod(self._strides)) != TEMPORAL_STRIDE:
            raise WeightsError(
                f"{origin} makes {made} video frames of a latent frame; Wan 2.1 has"
                f" {TEMPORAL_STRIDE}",
                HINT,
            )
        self.device, self.dtype = torch.device(device), dtype
        last = self.device.type == "cuda"
        layout = torch.channels_last if last else torch.contiguous_format
        self._tensors = {
            name: value.to(device, dtype).contiguous(memory_format=layout)
            if value.dim() == 4
            else value.to(device, dtype)
            for name, value in own.items()
        }

    @classmethod
    def from_file(cls, path: Path, device: torch.device | str, dtype: torch.dtype) -> Self:
        """Read a published file (`.pth` or `.safetensors`)."""
        return cls(checkpoint.read_tensors(path), path.name, device, dtype)

    @classmethod
    def random(
        cls,
        device: torch.device | str,
        dtype: torch.dtype,
        widths: tuple[int, ...] = TINY_WIDTHS,
        latent: int = 16,
        strides: tuple[int, ...] = (1, 2, 2),
    ) -> Self:
        """Make weights (the published sizes unless told otherwise), for measuring and tests."""
        wanted = shapes(latent, tuple(_places(widths)), strides)
        tensors = {
            name: torch.randn(shape, device=device) * max(1, shape[1:].numel()) ** -0.5
            for name, shape in ((n, torch.Size(s)) for n, s in wanted.items())
        }
        return cls(tensors, "random weights", device, dtype)

    def step(self, latent: Tensor, state: State) -> tuple[Tensor, State]:
        """Normalised latents `[C, F, h, w]` -> video `[3, T, 8h, 8w]` in [-1, 1], and the state.

        A stream begins with an empty state; its first latent frame gives one video frame.
        """
        after: State = {}
        x_TDHW = latent.movedim(1, 0).to(self.device, self.dtype)
        x_TDHW = torch.tanh(x_TDHW / _SOFT_LIMIT) * _SOFT_LIMIT
        x_TDHW = F.relu(self._conv(f"decoder.{_FIRST}", x_TDHW))
        for stage, stride in zip(self._stages, self._strides, strict=True):
            for block in stage.blocks:
                x_TDHW, after[str(block)] = self._remember(block, x_TDHW, state.get(str(block)))
            x_TDHW = F.interpolate(x_TDHW, scale_factor=2.0, mode="nearest-exact")
            x_TDHW = self._conv(f"decoder.{stage.grow}.conv", x_TDHW)
            x_TDHW = torch.unflatten(x_TDHW, 1, (stride, -1)).flatten(0, 1)
            x_TDHW = self._conv(f"decoder.{stage.conv}", x_TDHW)
        video = self._conv(f"decoder.{self._stages[-1].conv + 2}", F.relu(x_TDHW)).float()
        if not state:
            video = video[TEMPORAL_STRIDE - 1 :]
        return video.movedim(0, 1).clamp(0.0, 1.0) * 2.0 - 1.0, after

    def _remember(self, block: int, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Three convolutions over each frame and the one before it, beside a shortcut."""
        before = torch.zeros_like(x[:1]) if before is None else before
        y = torch.cat([x, torch.cat([before, x[:-1]])], 1)
        for layer in (0, 2, 4):
            y = self._conv(f"decoder.{block}.conv.{layer}", y if layer == 0 else F.relu(y))
        return F.relu(y + x), x[-1:].clone()

    def _conv(self, name: str, x: Tensor) -> Tensor:
        weight = self._tensors[f"{name}.weight"]
        return F.conv2d(x, weight, self._tensors.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def _growths(self, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
        """Frames that each stage makes of one."""
        weights = [tensors.get(f"decoder.{stage.grow}.conv.weight") for stage in self._stages]
        return tuple(1 if w is None else max(1, w.shape[0] // w.shape[1]) for w in weights)


def _places(widths: tuple[int, ...]) -> Iterator[_Stage]:
    numbers = count(_FIRST + 2)  # the first convolution and its ReLU come before
    for width, next_width in pairwise(widths):
        blocks = tuple(next(numbers) for _ in range(_BLOCKS))
        next(numbers)  # the upsampler has no weights
        yield _Stage(blocks, next(numbers), next(numbers), width, next_width)


def _stages(tensors: Mapping[str, Tensor], origin: str) -> tuple[int, tuple[_Stage, ...]]:
    """Read latent channels and widths off the tensors."""
    places = list(_places((0,) * (_STAGES + 1)))
    names = [f"decoder.{_FIRST}.weight", *(f"decoder.{stage.conv}.weight" for stage in places)]
    for name in names:
        if name not in tensors or tensors[name].dim() != 4:
            raise WeightsError(f"{origin} lacks the tensor {name!r} of a taew2_1 decoder", HINT)
    widths = tuple(tensors[name].shape[0] for name in names)
    return tensors[names[0]].shape[1], tuple(_places(widths))


def shapes(
    latent: int, stages: tuple[_Stage, ...], strides: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Return every tensor of the decoder by name."""
    result: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inputs: int, outputs: int, side: int = 3, bias: bool = True) -> None:
        result[f"{name}.weight"] = (outputs, inputs, side, side)
        if bias:
            result[f"{name}.bias"] = (outputs,)

    conv(f"decoder.{_FIRST}", latent, stages[0].width)
    for stage, stride in zip(stages, strides, strict=True):
        for block in stage.blocks:
            for layer, inputs in ((0, 2 * stage.width), (2, stage.width), (4, stage.width)):
                conv(f"decoder.{block}.conv.{layer}", inputs, stage.width)
        conv(f"decoder.{stage.grow}.conv", stage.width, stride * stage.width, 1, bias=False)
        conv(f"decoder.{stage.conv}", stage.width, stage.next_width, bias=False)
    conv(f"decoder.{stages[-1].conv + 2}", stages[-1].next_width, 3)
    return result


def _check(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], origin: str
) -> None:
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    if given == wanted:
        return
    wrong = [
        f"{name} {list(given[name])} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in given and given[name] != shape
    ]
    missing = [f"{name} is missing" for name in wanted if name not in given]
    more = [f"{name} has no place" for name in given if name not in wanted]
    told = [*missing, *more, *wrong]
    raise WeightsError(
        f"{origin} does not have taew2_1's layout: {'; '.join(told[:4])}"
        f"{f' and {len(told) - 4} more' if len(told) > 4 else ''}",
        HINT,
    )
