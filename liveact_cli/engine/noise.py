"""Noise by position: every draw follows from (seed, chunk, draw), never from what was drawn before.

A render that is resumed, cut short or spread over machines needs no generator state.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PhiloxNoise:
    """Gaussian noise from a counter-based generator, the same on every device (a `NoiseSource`)."""

    seed: int

    def initial(self, chunk: int, shape: tuple[int, ...]) -> Tensor:
        """Return the noise that a chunk starts from."""
        return self._draw(chunk, 0, shape)

    def renoise(self, chunk: int, step: int, shape: tuple[int, ...]) -> Tensor:
        """Return the noise that is mixed in after a step."""
        return self._draw(chunk, step + 1, shape)

    def _draw(self, chunk: int, draw: int, shape: tuple[int, ...]) -> Tensor:
        # The generator counts in the lowest of four words; the upper two name the draw.
        bits = np.random.Philox(key=self.seed, counter=(0, 0, draw, chunk))
        values = np.random.Generator(bits).standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(values)


@dataclass(frozen=True)
class RecordedNoise:
    """Noise that somebody recorded, under the names of the golden format (a `NoiseSource`)."""

    tensors: Mapping[str, Tensor]

    def initial(self, chunk: int, shape: tuple[int, ...]) -> Tensor:
        """Return `chunkC.noise_init`."""
        return self.tensors[f"chunk{chunk}.noise_init"].view(shape)

    def renoise(self, chunk: int, step: int, shape: tuple[int, ...]) -> Tensor:
        """Return `chunkC.stepI.renoise`."""
        return self.tensors[f"chunk{chunk}.step{step}.renoise"].view(shape)
