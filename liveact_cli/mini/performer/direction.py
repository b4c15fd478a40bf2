"""What the performer is told over time: emotions and actions with start, end and intensity."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from liveact_cli.mini.codec import STRIDE, latent_frames, video_frames
from liveact_cli.mini.vocabulary import EMOTIONS, VOCABULARY, WORD_INDEX, context_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Cue:
    """One emotion or action of `VOCABULARY` on frames `start..stop` (25 fps), intensity 0..1."""

    word: str
    start: int
    stop: int
    intensity: float = 1.0

    def __post_init__(self) -> None:
        if self.word not in VOCABULARY:
            raise ValueError(f"{self.word!r} is none of {', '.join(VOCABULARY)}")
        if not (self.stop > self.start and 0.0 < self.intensity <= 1.0):
            raise ValueError(
                f"cue {self.word!r} spans {self.start}..{self.stop} at intensity {self.intensity}"
            )

    @property
    def is_emotion(self) -> bool:
        """Whether the word is an emotion rather than an action."""
        return self.word in EMOTIONS


@dataclass(frozen=True, slots=True)
class Direction:
    """All cues of a recording, in any order."""

    cues: tuple[Cue, ...] = ()


NO_DIRECTION: Final = Direction()


def intensity_track(direction: Direction, frames: int) -> "NDArray[np.float32]":
    """Return every word's intensity at every video frame `[frames, len(VOCABULARY)]`."""
    track = np.zeros((frames, len(VOCABULARY)), np.float32)
    for cue in direction.cues:
        rows = track[max(0, cue.start) : max(0, cue.stop), WORD_INDEX[cue.word]]
        np.maximum(rows, np.float32(cue.intensity), out=rows)
    track[~track[:, : len(EMOTIONS)].any(axis=1), WORD_INDEX["neutral"]] = 1.0
    return track


def sampled_frames(latents: int) -> "NDArray[np.int64]":
    """Return the video frame that speaks for each of `latents` latent frames: its third of four."""
    return np.maximum(0, STRIDE * np.arange(latents) - STRIDE // 2 + 1)


def context_track(direction: Direction, frames: int) -> "NDArray[np.float32]":
    """Return contexts `[F, CONTEXT_ROWS, len(VOCABULARY)]`, one per latent frame of `frames`."""
    latents = latent_frames(frames)
    track = intensity_track(direction, video_frames(latents))
    return context_rows(track[sampled_frames(latents)])
