"""The performer writes the motion that liveact-mini learns from phones, prosody and direction.

It sees the whole recording at once and is used only to make training targets and reference motion.
"""

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_CHANNELS, MOTION_FPS
from liveact_cli.mini.performer import articulation, liveliness
from liveact_cli.mini.performer.articulation import Phone
from liveact_cli.mini.performer.direction import NO_DIRECTION, Cue, Direction, context_track
from liveact_cli.mini.performer.expression import (
    Expression,
    act,
    action_frames,
    express,
    slow_noise,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "NO_DIRECTION",
    "Cue",
    "Direction",
    "Phone",
    "action_frames",
    "context_track",
    "perform",
]

HEAD = slice(CHANNEL_INDEX["yaw"], CHANNEL_INDEX["scale"] + 1)
SIGNED = frozenset({"gazeX", "gazeY", "yaw", "pitch", "roll", "tx", "ty", "scale"})
LAUGH_HERTZ = 4.6


def perform(
    phones: Sequence[Phone],
    loudness: "NDArray[np.float32]",
    pitch: "NDArray[np.float32]",
    voice: str,
    frames: int,
    seed: int,
    direction: Direction = NO_DIRECTION,
) -> "NDArray[np.float32]":
    """Return motion `[frames, NUM_CHANNELS]` at 25 fps for a recording.

    `phones` are in order, times in seconds; `loudness` (dB) and `pitch` (semitones), `[frames]`,
    are relative to the voice's usual. `voice` names the speaker and sets how wide he speaks.
    """
    rng = np.random.default_rng([seed, zlib.crc32(voice.encode())])
    manner = np.random.default_rng(zlib.crc32(voice.encode()))
    openness = float(manner.uniform(0.93, 1.07))
    temper = liveliness.Temper.draw(rng)
    kinds, times = articulation.with_silences(phones, frames / MOTION_FPS)
    speech = articulation.speech_activity(kinds, times, frames)
    said = liveliness.Voice(loudness * speech, pitch * speech, speech)
    expression = express(direction, frames, rng)
    actions, owned = act(direction, frames)

    motion = articulation.mouth(kinds, times, said.loudness, openness)
    _mix_mouth(motion, said, expression, rng)
    motion *= 1.0 - (owned * (1.0 - 0.6 * speech))[:, None]
    motion += actions
    motion[:, HEAD] += liveliness.head(said, expression, temper, rng) + expression.face[:, HEAD]
    raised = liveliness.brows(said, expression, temper, rng)
    for name, share in (
        ("browInnerUp", 0.85),
        ("browOuterUpLeft", 1.0),
        ("browOuterUpRight", 0.95),
    ):
        motion[:, CHANNEL_INDEX[name]] += share * raised
    _laugh(motion, expression, speech, rng)
    target = liveliness.gaze_targets(said, expression, rng)
    liveliness.eyes(motion, liveliness.blinks(said, expression, temper, rng), target)
    _limit(motion)
    articulation.enforce(motion, kinds, times)
    return motion


def _mix_mouth(
    motion: "NDArray[np.float32]",
    said: liveliness.Voice,
    expression: Expression,
    rng: np.random.Generator,
) -> None:
    """Lay the emotions over the speaking mouth in place: a smile widens, but rounding survives."""
    frames = len(motion)
    index = CHANNEL_INDEX
    quiet = 1.0 - gaussian_filter1d(said.speech.astype(np.float64), 2.5, mode="nearest")
    motion[:, index["jawOpen"]] *= expression.openness
    rounding = np.maximum(motion[:, index["mouthPucker"]], motion[:, index["mouthFunnel"]])
    face = expression.face.copy()
    face[:, HEAD] = 0.0
    for name in MOTION_CHANNELS[index["mouthSmileLeft"] : index["mouthFrownRight"] + 1]:
        face[:, index[name]] *= 1.0 - 0.55 * rounding
    smile = face[:, index["mouthSmileLeft"]] + face[:, index["mouthSmileRight"]]
    motion[:, index["mouthPucker"]] *= 1.0 - 0.10 * np.clip(smile, 0.0, 1.5)
    motion += face + expression.rest * quiet[:, None]
    press = 0.16 * np.maximum(0.0, mouth_fidgets(frames, rng)) * quiet
    motion[:, index["mouthPress"]] += press.astype(np.float32)
    for name, level in (("mouthSmileLeft", 0.03), ("mouthSmileRight", 0.03)):
        motion[:, index[name]] += level


def mouth_fidgets(frames: int, rng: np.random.Generator) -> "NDArray[np.float64]":
    """Return occasional bursts `[frames]`: lips pressed in thought, a swallow."""
    bursts = np.zeros(frames, np.float32)
    now = rng.uniform(0.5, 6.0) * MOTION_FPS
    while now < frames:
        liveliness.add_pulse(bursts, now, rng.uniform(0.5, 1.6), 0.25, 0.45)
        now += rng.uniform(3.0, 12.0) * MOTION_FPS
    return bursts.astype(np.float64)


def _laugh(
    motion: "NDArray[np.float32]",
    expression: Expression,
    speech: "NDArray[np.float32]",
    rng: np.random.Generator,
) -> None:
    """Shake jaw and head with laughter in place, in bursts that speech damps."""
    if not expression.laughter.any():
        return
    frames = len(motion)
    bursts = np.clip(0.6 + slow_noise(frames, 1.2, rng), 0.0, 1.0)
    strength = expression.laughter * bursts * (1.0 - 0.75 * speech)
    phase = 2.0 * np.pi * LAUGH_HERTZ * np.arange(frames) / MOTION_FPS + rng.uniform(0, 6.28)
    shake = strength * np.sin(phase)
    motion[:, CHANNEL_INDEX["jawOpen"]] += (0.07 * (shake + strength)).astype(np.float32)
    motion[:, CHANNEL_INDEX["pitch"]] += (0.7 * shake).astype(np.float32)
    motion[:, CHANNEL_INDEX["ty"]] += (0.05 * shake).astype(np.float32)


def _limit(motion: "NDArray[np.float32]") -> None:
    """Keep every channel within its range, in place."""
    for i, name in enumerate(MOTION_CHANNELS):
        low = -1.0 if name in ("gazeX", "gazeY") else 0.0
        if name not in SIGNED or low < 0.0:
            np.clip(motion[:, i], low, 1.0, out=motion[:, i])
