"""The prompts of a script for a model that reads text."""

from collections.abc import Sequence

import torch
from torch import Tensor

from liveact_cli.core.geometry import ChunkPlan, ChunkSpan
from liveact_cli.core.protocols import PromptEncoder
from liveact_cli.script.direct import Granularity, grid
from liveact_cli.script.resolved import ResolvedScript


class TextTrack:
    """The script of a model that reads text (a `PromptTrack`): one prompt a chunk or latent frame.

    Every distinct text is encoded once, at the beginning: the encoder may leave after that.
    """

    def __init__(
        self,
        encoder: PromptEncoder,
        script: ResolvedScript,
        plan: ChunkPlan,
        granularity: Granularity = "chunk",
    ) -> None:
        """Lay the prompts of `script` on the chunks of `plan`."""
        self._granularity = granularity
        self._texts = script.texts(grid(plan, granularity))
        self._encoded = {text: encoder.encode(text) for text in dict.fromkeys(self._texts)}

    @property
    def texts(self) -> Sequence[str]:
        """The prompt of every chunk or latent frame."""
        return self._texts

    def context(self, span: ChunkSpan) -> Tensor:
        """Return `[L, D]` for a chunk, or `[F, L, D]` with one text per latent frame."""
        if self._granularity == "chunk":
            return self._encoded[self._texts[min(span.index, len(self._texts) - 1)]]
        last = len(self._texts) - 1
        frames = [
            self._encoded[self._texts[min(latent, last)]]
            for latent in range(span.latent_start, span.latent_stop)
        ]
        # Text is padded with zero rows, so shorter contexts may be too.
        return torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
