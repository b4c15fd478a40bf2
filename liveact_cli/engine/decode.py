"""THE loop: chunk after chunk, step after step, each step with its own memory (Neighbor Forcing).

Paper section 3: a chunk at noise level s attends to the keys and values that its neighbours left
at the same level. At inference that is one expression: `memory.bank(step.index)`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from liveact_cli.core.geometry import ChunkPlan, ChunkSpan, MemoryPolicy
from liveact_cli.core.protocols import NoiseSource
from liveact_cli.engine.conditioning import ChunkConditions, Conditioner
from liveact_cli.model.memory import ConvMemory, Fold
from liveact_cli.model.schedule import StepSchedule
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.streams import sent


@dataclass(frozen=True)
class DecodeSettings:
    """How chunks are denoised; `audio_guidance` above 1 exaggerates what the sound adds."""

    schedule: StepSchedule = field(default_factory=StepSchedule)
    fold: Fold = "shared"
    audio_guidance: float = 1.0

    @property
    def guided(self) -> bool:
        """Whether every listening step also runs on silence."""
        return self.audio_guidance != 1.0


@dataclass(frozen=True)
class DecodedChunk:
    """A finished chunk: its latent `[C, F, h, w]` (float32) and the velocity of every step."""

    span: ChunkSpan
    latent: Tensor
    velocities: tuple[Tensor, ...]


class DecodeMemory:
    """All that decoding remembers: the memory and, under audio guidance, the one of the silence."""

    def __init__(
        self,
        transformer: LiveActTransformer,
        policy: MemoryPolicy,
        latent_size: tuple[int, int],
        settings: DecodeSettings,
    ) -> None:
        """Allocate everything up front; silence needs banks only for the steps that listen."""
        steps = settings.schedule.steps
        every = [step.index for step in steps]
        listening = [step.index for step in steps if step.audio]
        self.latent_size = latent_size
        self.main = transformer.new_memory(policy, latent_size, every, settings.fold)
        self.silent: ConvMemory | None = None
        if settings.guided:
            self.silent = transformer.new_memory(policy, latent_size, listening, settings.fold)

    @property
    def nbytes(self) -> int:
        """Bytes held; constant whatever the length of the recording."""
        return self.main.nbytes + (self.silent.nbytes if self.silent else 0)

    def clear(self) -> None:
        """Forget everything; it is as new."""
        self.main.clear()
        if self.silent:
            self.silent.clear()

    def state(self) -> dict[str, Tensor]:
        """Return copies of everything, to go on from later with `decode_chunks(start=...)`."""
        state = {f"main.{name}": value for name, value in self.main.state().items()}
        if self.silent:
            state |= {f"silent.{name}": value for name, value in self.silent.state().items()}
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state()` made with the same settings."""
        for prefix, memory in (("main.", self.main), ("silent.", self.silent)):
            if memory:
                memory.load_state(
                    {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
                )


def decode_chunks(
    transformer: LiveActTransformer,
    plan: ChunkPlan,
    conditioner: Conditioner,
    noise: NoiseSource,
    memory: DecodeMemory,
    settings: DecodeSettings,
    *,
    start: int = 0,
) -> Iterator[DecodedChunk]:
    """Yield the chunks of `plan` from number `start` on, each as soon as it is done.

    To resume, pass a `memory` that has loaded the state after chunk `start - 1`. Noise depends on
    position alone, so a resumed video equals an uninterrupted one.
    """
    for span in plan.spans(start):
        yield _decode(transformer, span, conditioner.chunk(span), noise, memory, settings)


@torch.inference_mode()
def _decode(
    transformer: LiveActTransformer,
    span: ChunkSpan,
    given: ChunkConditions,
    noise: NoiseSource,
    memory: DecodeMemory,
    settings: DecodeSettings,
) -> DecodedChunk:
    shape = (1, transformer.config.out_dim, span.latents, *memory.latent_size)
    schedule, device = settings.schedule, transformer.device
    # All that has to travel goes before the first step: nothing waits for the device inside.
    x = sent(noise.initial(span.index, shape), device)
    fresh = {
        step.index: sent(noise.renoise(span.index, step.index, shape), device)
        for step in schedule.steps
        if schedule.renews(step)
    }
    velocities = []
    for step in schedule.steps:
        audio = given.audio if step.audio else None
        bank = memory.main.bank(step.index)
        velocity = transformer(x, step.time, given.context, audio, bank, given.y)
        if step.audio and memory.silent:
            bank = memory.silent.bank(step.index)
            silent = transformer(x, step.time, given.context, given.silence, bank, given.y)
            velocity = silent + settings.audio_guidance * (velocity - silent)
        velocities.append(velocity[0])
        x = schedule.advance(x, velocity, step, partial(fresh.__getitem__, step.index))
    return DecodedChunk(span, x[0], tuple(velocities))
