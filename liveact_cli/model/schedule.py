"""Denoising steps as data: noise levels, whether the sound is heard, and how a step is taken."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor

TIME_SCALE = 1000.0
"""The transformer is told time in thousandths: t = 1000 sigma."""

Sampler = Literal["renoise", "euler"]


@dataclass(frozen=True)
class Step:
    """One denoising step: from noise level `sigma` to `next_sigma`; `index` names its memory."""

    index: int
    sigma: float
    next_sigma: float
    audio: bool

    @property
    def time(self) -> float:
        """The time t in [0, 1000] that the transformer is given."""
        return TIME_SCALE * self.sigma


@dataclass(frozen=True)
class StepSchedule:
    """The steps of a chunk. The default is the released one: shift 5 of 1, 0.75 and 0.5.

    "renoise" goes to the clean estimate and mixes in fresh noise (the released offline path);
    "euler" follows the velocity (the released demo).
    """

    sigmas: tuple[float, ...] = (1.0, 0.9375, 5 / 6)
    audio: tuple[bool, ...] = (False, True, True)
    sampler: Sampler = "renoise"

    def __post_init__(self) -> None:
        """Refuse steps that do not descend from at most 1 towards 0."""
        if not self.sigmas or len(self.sigmas) != len(self.audio):
            raise ValueError(f"{len(self.sigmas)} noise levels for {len(self.audio)} audio flags")
        levels = (1.0, *self.sigmas, 0.0)
        if any(a < b for a, b in pairwise(levels)) or self.sigmas[-1] <= 0:
            raise ValueError(f"noise levels {self.sigmas} do not descend from 1 to above 0")

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order; the last ends at noise level 0."""
        following = (*self.sigmas[1:], 0.0)
        rows = zip(self.sigmas, following, self.audio, strict=True)
        return tuple(Step(index, *row) for index, row in enumerate(rows))

    def renews(self, step: Step) -> bool:
        """Whether a step mixes in fresh noise."""
        return self.sampler == "renoise" and step.next_sigma > 0

    def advance(
        self, x: Tensor, velocity: Tensor, step: Step, fresh: Callable[[], Tensor]
    ) -> Tensor:
        """Take one step; `fresh` draws noise of the shape of `x` and is asked only when needed.

        Flow matching: x = (1 - sigma) x0 + sigma noise and velocity = noise - x0.
        """
        if self.sampler == "euler":
            return x - velocity * (step.sigma - step.next_sigma)
        clean = x - step.sigma * velocity
        if step.next_sigma == 0.0:
            return clean
        return (1.0 - step.next_sigma) * clean + step.next_sigma * fresh().to(x)


def shifted_sigmas(levels: tuple[float, ...], shift: float) -> tuple[float, ...]:
    """Return `shift s / (1 + (shift - 1) s)` of each level s in [0, 1]."""
    return tuple(shift * s / (1 + (shift - 1) * s) for s in levels)
