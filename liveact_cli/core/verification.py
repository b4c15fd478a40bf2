"""Comparing with recorded numbers: what a golden file is, and what came out.

A golden file is a safetensors file whose tensors tell its kind. Each layer that can replay
something offers a `Kind`; the engine gathers them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Golden:
    """A recorded file: tensors by name, and the settings from its metadata."""

    path: Path
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, str]

    @property
    def chunks(self) -> int:
        """Number of chunks recorded."""
        return sum(name.endswith(".noise_init") for name in self.tensors)


@dataclass(frozen=True)
class RollOutInputs:
    """What a recorded roll-out is conditioned on, besides its noise.

    `rows` is `[frames, layers, channels]`, `text` (and `other_text`, used in `other_chunks`) is
    `[L, text_dim]`, `image` is `[tokens, image_dim]`, `y` is `[y_dim, window, h, w]`.
    """

    rows: Tensor
    text: Tensor
    image: Tensor | None
    y: Tensor | None
    other_text: Tensor | None = None
    other_chunks: frozenset[int] = frozenset()
    mean_memory: bool = False
    audio_guidance: float = 1.0


class Subject(Protocol):
    """What is verified: a checkpoint folder on a device at a precision."""

    @property
    def checkpoint(self) -> Path:
        """The folder."""
        ...

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Precision to compute in."""
        ...

    def roll_out(self, golden: Golden, inputs: RollOutInputs) -> Iterator[dict[str, Tensor]]:
        """Decode the chunks whose noise is recorded.

        Yields for each chunk its results under the golden format's names
        (`chunkC.stepI.velocity`, `chunkC.latent`), at last the memory (`final_cache...`).
        """
        ...


@dataclass(frozen=True)
class Comparison:
    """One recorded tensor and how far ours is from it, relative to its largest value."""

    name: str
    error: float


@dataclass(frozen=True)
class Kind:
    """A kind of golden file: how it is known, how far it may be off, how it is replayed.

    `compare` yields a comparison for every recorded result, as it is replayed.
    """

    name: str
    matches: Callable[[Golden], bool]
    tolerance: float
    compare: Callable[[Subject, Golden], Iterator[Comparison]]


@dataclass(frozen=True)
class Verified:
    """The outcome for one file."""

    file: Path
    kind: str
    tolerance: float
    comparisons: tuple[Comparison, ...]

    @property
    def worst(self) -> Comparison:
        """The comparison with the largest error; one that is not a number is the worst."""
        return max(self.comparisons, key=lambda c: (c.error != c.error, c.error))

    @property
    def max_rel_error(self) -> float:
        """The largest relative error of any recorded tensor."""
        return self.worst.error

    @property
    def ok(self) -> bool:
        """Whether every tensor is within the tolerance."""
        return self.max_rel_error <= self.tolerance


def relative_error(ours: Tensor, recorded: Tensor) -> float:
    """Return max |ours - recorded| / max |recorded|; infinity when the sizes differ."""
    if ours.numel() != recorded.numel():
        return float("inf")
    expected = recorded.detach().cpu().double()
    difference = (ours.detach().cpu().double().reshape(expected.shape) - expected).abs().max()
    return float(difference / expected.abs().max().clamp_min(1e-30))
