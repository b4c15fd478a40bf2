"""How liveact-mini answers a word: what its motion does from the latent frame that is told it on.

Measured on the weights (`tools/direction_response.py`) and shipped beside them, so that direction
knows what the transformer does by itself. For other weights, what the performer does: their
teacher.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS, NUM_CHANNELS, motion_vector
from liveact_cli.mini.performer.expression import (
    ACTION_TEMPLATES,
    MANNERS,
    OFFSET,
    ONSET,
    action_frames,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESPONSE_NAME: Final = "liveact-mini-response.safetensors"
EMOTION_FRAMES: Final = 48
"""Frames after which an emotion is there, or gone."""
BEFORE: Final = 16
"""Frames before it that may know: the latent frames of a chunk see each other."""
ACTION_TAIL: Final = 16
"""Frames after an action's cue in which it may still be seen."""
KNOWN_LATE: Final = 1
"""A cue began, on average, one frame after the first frame of the latent frame that is told it."""


@dataclass(frozen=True)
class Response:
    """Offsets by frame, from `BEFORE` frames before the first told latent frame, at intensity 1.

    `onsets[word]` and `offsets[word]` are `[BEFORE + EMOTION_FRAMES, NUM_CHANNELS]`, the way of an
    emotion to its lasting offset and back to nothing; `actions[word]` is `[BEFORE + frames +
    ACTION_TAIL, NUM_CHANNELS]` for a cue of the action's own length.
    """

    onsets: "Mapping[str, NDArray[np.float32]]"
    offsets: "Mapping[str, NDArray[np.float32]]"
    actions: "Mapping[str, NDArray[np.float32]]"

    @classmethod
    def of_performer(cls) -> Self:
        """Return the answer of the performer itself."""
        t = (np.arange(-BEFORE, EMOTION_FRAMES) - KNOWN_LATE + 0.5) / MOTION_FPS
        up, down = (smooth(t / seconds)[:, None] for seconds in (ONSET, OFFSET))
        lasting = {word: manner_offset(word) for word in MANNERS}
        return cls(
            {word: (up * offset).astype(np.float32) for word, offset in lasting.items()},
            {word: ((1 - down) * offset).astype(np.float32) for word, offset in lasting.items()},
            {word: _performed(word) for word in ACTION_TEMPLATES},
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote."""
        tables: dict[str, dict[str, NDArray[np.float32]]] = {"on": {}, "off": {}, "act": {}}
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118
                kind, _, word = name.partition(".")
                tables[kind][word] = file.get_tensor(name).astype(np.float32)
        return cls(tables["on"], tables["off"], tables["act"])

    def save(self, path: Path, weights: Path) -> None:
        """Write everything in half precision, and which weights it was measured on."""
        tables = {"on": self.onsets, "off": self.offsets, "act": self.actions}
        tensors = {
            f"{kind}.{word}": values.astype(np.float16)
            for kind, table in tables.items()
            for word, values in table.items()
        }
        save_file(tensors, path, {"weights": _fingerprint(weights)})


def response_of(weights: Path) -> Response:
    """Return what was measured on a weights file, from beside it, else the performer's answer."""
    path = weights.parent / RESPONSE_NAME
    if path.is_file():
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        if metadata.get("weights") == _fingerprint(weights):
            return Response.load(path)
    return Response.of_performer()


def _fingerprint(weights: Path) -> str:
    return hashlib.sha256(weights.read_bytes()).hexdigest()


@cache
def manner_offset(word: str) -> "NDArray[np.float32]":
    """Return what an emotion adds to every channel while it lasts, `[NUM_CHANNELS]`."""
    manner = MANNERS[word]
    return motion_vector(manner.face) + motion_vector(manner.head)


def template_offsets(word: str, phase: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """Return an action's offsets `[n, NUM_CHANNELS]` at phases; nothing outside 0..1."""
    offsets = np.zeros((len(phase), NUM_CHANNELS))
    inside = (phase >= 0.0) & (phase < 1.0)
    for name, values in ACTION_TEMPLATES[word].curves(np.asarray(phase[inside], float)).items():
        for side in (name,) if name in CHANNEL_INDEX else (f"{name}Left", f"{name}Right"):
            offsets[inside, CHANNEL_INDEX[side]] = values
    return offsets


def channels_of(word: str) -> "NDArray[np.int64]":
    """Return the channels that a word moves."""
    if word in MANNERS:
        return np.flatnonzero(manner_offset(word))
    return np.flatnonzero(np.abs(_performed(word)).max(axis=0))


def smooth(x: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """Return a step from 0 to 1 over 0..1 without corners."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x), np.float64)


@cache
def _performed(word: str) -> "NDArray[np.float32]":
    length = action_frames(word)
    t = np.arange(-BEFORE, length + ACTION_TAIL) - KNOWN_LATE + 0.5
    return template_offsets(word, t / length).astype(np.float32)
