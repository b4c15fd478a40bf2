"""What the engine asks of its codecs; both model families fulfil these protocols.

Tensors appear only as type names here: `core` imports the standard library alone.
Legend: F latent frames, H W picture size, h w latent size, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from liveact_cli.core.geometry import ChunkSpan


class AudioRows(Protocol):
    """Audio features, one row per model video frame, computed as they are asked for."""

    def window(self, start: int, stop: int) -> Tensor:
        """Return rows `[stop - start, layers, channels]`; indices are clamped to the recording.

        `start` never decreases by more than 64 between calls, so memory stays bounded.
        """
        ...


class AudioEncoder(Protocol):
    """Turns sound into one row of features per video frame."""

    layers: int
    channels: int

    def stream(self, blocks: Iterator[NDArray[np.float32]], frames: int, fps: float) -> AudioRows:
        """Return the rows of a recording given as blocks (any length) of 16 kHz mono samples.

        `frames` is the number of rows in the recording, `fps` their rate.
        """
        ...


class PromptEncoder(Protocol):
    """Turns a prompt into text tokens."""

    def encode(self, prompt: str) -> Tensor:
        """Return `[L, D]`, L at most the model's text length."""
        ...


class PromptTrack(Protocol):
    """Direction over time: which text a chunk is given."""

    def context(self, span: ChunkSpan) -> Tensor:
        """Return `[L, D]` for the whole chunk, or `[F, L, D]` with one text per latent frame."""
        ...


class FrameDecoder(Protocol):
    """Turns latents into video frames as one causal stream."""

    def decode(self, latent: Tensor) -> Iterator[NDArray[np.uint8]]:
        """Yield RGB frames `[H, W, 3]` for the next chunk's latent `[C, F, h, w]`.

        The number of frames may lag behind the latents by a look-ahead.
        """
        ...

    def flush(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames that the look-ahead still holds."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return what must be saved so that decoding can go on later."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved state."""
        ...


class NoiseSource(Protocol):
    """Gaussian noise by position, not by history: resuming needs no generator state."""

    def initial(self, chunk: int, shape: tuple[int, ...]) -> Tensor:
        """Return the noise that chunk number `chunk` starts from, float32 on the CPU."""
        ...

    def renoise(self, chunk: int, step: int, shape: tuple[int, ...]) -> Tensor:
        """Return the fresh noise mixed in after step number `step` of a chunk."""
        ...
