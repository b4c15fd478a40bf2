"""Work by formula: floating point operations of a chunk, stage by stage.

A multiplication and an addition count as two. Norms, rotations and sums are left out: they are
bound by memory. S tokens per latent frame, D model width, W tokens of the window.
"""

from dataclasses import dataclass

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.schedule import StepSchedule
from liveact_cli.wan.keymaps import VaeSizes

_TAPS = 27
"""Weights of a 3x3x3 convolution for each pair of channels."""


@dataclass(frozen=True)
class CallWork:
    """One call of the transformer: in its blocks' matrices, in attention, and at its two ends."""

    linear: int
    self_attention: int
    cross_attention: int
    ends: int

    @property
    def attention(self) -> int:
        """All three attentions."""
        return self.self_attention + self.cross_attention

    @property
    def total(self) -> int:
        """Everything."""
        return self.linear + self.attention + self.ends


def call_work(
    config: TransformerConfig,
    policy: MemoryPolicy,
    tokens_per_frame: int,
    *,
    chunk: int = 2,
    audio: bool = True,
    image_tokens: int = 257,
) -> CallWork:
    """Return the work of one step on chunk number `chunk`; `audio` says whether the step listens.

    Text and picture are projected once per prompt and not counted; nor is the sound's projection.
    """
    d, layers = config.dim, config.layers
    frames = policy.chunk_size(chunk)
    tokens = frames * tokens_per_frame
    window = policy.current(chunk).stop * tokens_per_frame
    # The very first latent frame, the still picture, hears nothing.
    heard = (frames - (chunk == 0)) * tokens_per_frame if audio else 0
    context = config.text_len + (image_tokens if config.image_dim else 0)
    linear = 2 * tokens * d * (3 * d + d + 2 * d + 2 * config.ffn_dim) + 2 * heard * 2 * d * d
    cross = 4 * d * (tokens * context + heard * config.audio_tokens)
    patch = config.patch[0] * config.patch[1] * config.patch[2]
    ends = 2 * tokens * d * patch * (config.in_dim + config.out_dim)
    ends += 2 * (config.freq_dim * d + d * d + 6 * d * d)  # time, once for all tokens
    return CallWork(layers * linear, layers * 4 * tokens * window * d, layers * cross, ends)


def chunk_work(
    config: TransformerConfig,
    policy: MemoryPolicy,
    tokens_per_frame: int,
    schedule: StepSchedule,
    *,
    image_tokens: int = 257,
) -> CallWork:
    """Return the work of all steps on a chunk with a full window."""
    calls = [
        call_work(config, policy, tokens_per_frame, audio=step.audio, image_tokens=image_tokens)
        for step in schedule.steps
    ]
    return CallWork(
        sum(call.linear for call in calls),
        sum(call.self_attention for call in calls),
        sum(call.cross_attention for call in calls),
        sum(call.ends for call in calls),
    )


def vae_work(sizes: VaeSizes, frames: int, latent_size: tuple[int, int]) -> int:
    """Return the work of decoding `frames` latent frames that are not a stream's first."""
    height, width = latent_size
    widths = [sizes.decoder_base * factor for factor in reversed(sizes.multipliers)]
    time, first = sizes.temporal[::-1], widths[0]
    pixels = frames * height * width
    total = 2 * pixels * sizes.latent * (sizes.latent + _TAPS * first)
    total += 2 * pixels * _TAPS * first * first * 4  # the middle: two blocks of two convolutions
    total += 2 * pixels * first * 4 * first + 4 * pixels * height * width * first  # and attention
    inputs = first
    for level, outputs in enumerate(widths):
        for block in range(sizes.res_blocks + 1):
            entering = inputs if block == 0 else outputs
            total += 2 * pixels * _TAPS * outputs * (entering + outputs)
            total += 2 * pixels * entering * outputs * (entering != outputs)
        inputs = outputs
        if level < len(widths) - 1:
            if time[level]:
                total += 2 * pixels * 3 * outputs * 2 * outputs
                pixels *= 2
            pixels *= 4
            total += 2 * pixels * 9 * outputs * (outputs // 2)
            inputs = outputs // 2
    return total + 2 * pixels * _TAPS * widths[-1] * 3
