"""What a chunk attends to: its stretch of the sound, its text, its slice of the picture latents."""

from dataclasses import dataclass

import torch
from torch import Tensor

from liveact_cli.core.geometry import ChunkSpan, MemoryPolicy
from liveact_cli.core.protocols import AudioRows, PromptTrack
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.transformer import Audio, Context, LiveActTransformer


@dataclass(frozen=True)
class Reference:
    """What the reference picture contributes: image tokens `[tokens, image_dim]` and conditioning
    latents `y` `[y_dim, window, h, w]`; a model without them has None."""

    image_tokens: Tensor | None = None
    y: Tensor | None = None


@dataclass(frozen=True)
class ChunkConditions:
    """Everything that one chunk is given, already projected for every layer.

    `silence` is what audio guidance compares with: the same moment with rows of zeros.
    """

    context: Context
    audio: Audio
    silence: Audio | None
    y: Tensor | None


@dataclass(frozen=True)
class FixedPrompt:
    """The same text for the whole video (a `PromptTrack`)."""

    tokens: Tensor

    def context(self, span: ChunkSpan) -> Tensor:
        """Return the text whatever the chunk."""
        return self.tokens


def audio_span(span: ChunkSpan, config: TransformerConfig) -> tuple[int, int]:
    """Return the half-open range of audio rows that a chunk hears; it may leave the recording.

    The released code words this in windows of 53 frames (chunks 0 and 1 look at frames 0..52,
    chunk c at 32(c - 1) .. 32(c - 1) + 52); counted in video frames of the recording it is the
    chunk's own frames and half a window either side. The still first frame hears nothing.
    """
    margin = config.audio_margin
    return max(span.frame_start, 1) - margin, span.frame_stop + margin


def chain_rows(rows: Tensor, config: TransformerConfig) -> Tensor:
    """Pad the rows of a chain's video frames as `LiveActTransformer.forward_chain` wants them.

    `rows` is `[B, frames, layers, channels]` for the 1 + 4(F - 1) video frames of a whole
    recording; the edges are repeated, as clamped indices do. Training crops from inside a
    recording should take the true neighbours instead.
    """
    before, after = config.audio_margin - 1, config.audio_margin
    first, last = rows[:, :1], rows[:, -1:]
    return torch.cat((*[first] * before, rows, *[last] * after), 1)


class Conditioner:
    """Gathers and projects the conditions of each chunk; the text only when it changes."""

    def __init__(
        self,
        transformer: LiveActTransformer,
        policy: MemoryPolicy,
        audio: AudioRows,
        prompts: PromptTrack,
        reference: Reference,
        *,
        guided: bool = False,
    ) -> None:
        """`guided` also prepares the silence that audio guidance compares with."""
        self.transformer = transformer
        self.policy = policy
        self.audio = audio
        self.prompts = prompts
        self.guided = guided
        image, y, device = reference.image_tokens, reference.y, transformer.device
        self._image = None if image is None else image.unsqueeze(0)
        self._y = None if y is None else y.unsqueeze(0).to(device)
        self._text: Tensor | None = None
        self._context: Context | None = None

    @torch.inference_mode()
    def chunk(self, span: ChunkSpan) -> ChunkConditions:
        """Return the conditions of a chunk."""
        rows = self.audio.window(*audio_span(span, self.transformer.config)).unsqueeze(0)
        silence = self.transformer.encode_audio(torch.zeros_like(rows)) if self.guided else None
        return ChunkConditions(
            context=self._context_of(self.prompts.context(span)),
            audio=self.transformer.encode_audio(rows),
            silence=silence,
            y=None if self._y is None else self._y[:, :, self.policy.current(span.index)],
        )

    def _context_of(self, text: Tensor) -> Context:
        # One text repeated over the frames is one text: the same numbers, and less work.
        if text.dim() == 3 and torch.equal(text, text[:1].expand_as(text)):
            text = text[0]
        if self._context is None or self._text is None or not _same(self._text, text):
            grouped = text if text.dim() == 3 else text.unsqueeze(0)
            self._context = self.transformer.encode_context(grouped, self._image)
            self._text = text
        return self._context


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and torch.equal(a, b))
