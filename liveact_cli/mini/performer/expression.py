"""Emotions as facial action offsets plus a manner of moving; actions as short motion templates.

Offsets name ARKit channels (a name of both sides sets both) at intensity 1. Those above 1 are for
scripts: what the transformer learns from ends at 1. Which action units make which emotion follows
EMFACS (Friesen and Ekman 1983), as listed in the comments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.ndimage import gaussian_filter1d

from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS, NUM_CHANNELS, motion_vector
from liveact_cli.mini.performer.direction import Direction

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Manner:
    """One emotion: `face` while speaking or not, `rest` only where the mouth is free.

    `head` holds lasting head offsets; `sway`, `blinks`, `brows` and `openness` multiply the head's
    motion, the blink rate, brow activity and the jaw; `aversion` is added to the chance of looking
    away, towards `gaze`.
    """

    face: Mapping[str, float] = field(default_factory=dict)
    rest: Mapping[str, float] = field(default_factory=dict)
    head: Mapping[str, float] = field(default_factory=dict)
    sway: float = 1.0
    blinks: float = 1.0
    brows: float = 1.0
    openness: float = 1.0
    aversion: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    laughter: float = 0.0


MANNERS: Final[dict[str, Manner]] = {
    "neutral": Manner(),
    # AU 6+12
    "happy": Manner(
        face={"mouthSmile": 1.30, "cheekSquint": 1.00, "browInnerUp": 0.06, "browOuterUp": 0.12},
        rest={"mouthUpperUp": 0.20},
        head={"pitch": -0.6},
        sway=1.15,
        brows=1.2,
    ),
    "warm": Manner(
        face={"mouthSmile": 0.90, "cheekSquint": 0.60, "browInnerUp": 0.25},
        head={"roll": 2.5, "scale": 0.01},
        sway=0.9,
    ),
    # AU 1+4+15
    "sad": Manner(
        face={
            "browInnerUp": 1.55,
            "browDown": 0.35,
            "mouthFrown": 1.30,
            "mouthStretch": 0.25,
            "eyeBlink": 0.06,
        },
        rest={"mouthPress": 0.15},
        head={"pitch": 3.0, "roll": 1.0, "ty": 0.25},
        sway=0.6,
        blinks=0.85,
        brows=0.4,
        openness=0.88,
        aversion=0.25,
        gaze=(0.0, 0.28),
    ),
    # AU 4+5+7+23
    "angry": Manner(
        face={
            "browDown": 1.60,
            "noseSneer": 0.55,
            "eyeWide": 0.60,
            "cheekSquint": 0.60,
            "mouthFrown": 0.25,
        },
        rest={"mouthPress": 0.70, "mouthRollUpper": 0.20, "mouthRollLower": 0.20},
        head={"pitch": 1.4, "scale": 0.015},
        sway=1.35,
        blinks=0.75,
        brows=0.4,
        openness=1.08,
    ),
    # AU 1+2+5+26
    "surprised": Manner(
        face={
            "browInnerUp": 1.10,
            "browOuterUp": 1.20,
            "eyeWide": 1.70,
            "jawOpen": 0.52,
        },
        rest={"jawOpen": 0.18, "mouthFunnel": 0.10},
        head={"pitch": -1.4, "scale": -0.012},
        blinks=0.7,
        brows=0.5,
        openness=1.06,
    ),
    # AU 9+10
    "disgusted": Manner(
        face={
            "noseSneer": 1.60,
            "mouthUpperUp": 0.70,
            "browDown": 1.25,
            "cheekSquint": 0.85,
            "mouthFrown": 0.40,
        },
        rest={"mouthPress": 0.1},
        head={"pitch": -1.4, "yaw": 1.5, "scale": -0.01},
        sway=0.9,
        brows=0.5,
    ),
    # AU 1+2+4+5+20
    "afraid": Manner(
        face={
            "browInnerUp": 1.15,
            "browOuterUp": 0.90,
            "browDown": 0.14,
            "eyeWide": 1.70,
            "mouthStretch": 0.85,
            "mouthLowerDown": 0.25,
            "mouthUpperUp": 0.10,
        },
        rest={"jawOpen": 0.10},
        head={"pitch": -0.8, "scale": -0.03},
        sway=0.8,
        blinks=1.3,
        brows=0.5,
        aversion=0.1,
    ),
    # one-sided AU 12+14
    "contempt": Manner(
        face={
            "mouthSmileLeft": 1.15,
            "mouthFrownRight": 0.25,
            "cheekSquintLeft": 0.55,
            "browOuterUpRight": 0.85,
            "mouthPress": 0.60,
        },
        head={"pitch": -2.2, "roll": 2.0, "yaw": 1.0},
        sway=0.8,
        brows=0.7,
    ),
    # AU 6+12+25+26 with laughter
    "laughing": Manner(
        face={
            "mouthSmile": 1.40,
            "cheekSquint": 1.40,
            "mouthUpperUp": 0.20,
            "eyeBlink": 0.20,
            "browOuterUp": 0.12,
        },
        rest={"mouthUpperUp": 0.25, "jawOpen": 0.22, "mouthLowerDown": 0.15},
        head={"pitch": -2.4},
        sway=1.3,
        brows=1.0,
        laughter=1.0,
    ),
    # AU 12 without 6, held back by 24, the head and the gaze averted (Keltner 1995)
    "embarrassed": Manner(
        face={
            "mouthSmileLeft": 0.75,
            "mouthSmileRight": 0.50,
            "browInnerUp": 0.70,
            "cheekSquint": 0.20,
        },
        rest={"mouthPress": 0.45, "mouthRollLower": 0.25},
        head={"pitch": 3.6, "roll": 3.4, "yaw": -2.5},
        sway=0.9,
        blinks=1.25,
        aversion=0.40,
        gaze=(-0.15, 0.35),
    ),
    # AU 4+7+24, one brow raised, looking up and aside (Rozin and Cohen 2003)
    "thinking": Manner(
        face={
            "browDownRight": 1.50,
            "browDownLeft": 0.45,
            "browOuterUpLeft": 1.20,
            "cheekSquintRight": 0.45,
            "cheekSquintLeft": 0.25,
            "mouthPress": 0.35,
        },
        rest={"mouthPress": 0.10, "mouthPucker": 0.15},
        head={"roll": 3.6, "yaw": 2.5, "pitch": -1.6},
        sway=0.7,
        blinks=0.85,
        brows=0.7,
        aversion=0.45,
        gaze=(0.30, -0.32),
    ),
    "excited": Manner(
        face={
            "mouthSmile": 1.05,
            "cheekSquint": 0.55,
            "browOuterUp": 0.85,
            "browInnerUp": 0.65,
            "eyeWide": 1.20,
        },
        rest={"mouthUpperUp": 0.18, "jawOpen": 0.05},
        head={"scale": 0.018},
        sway=1.6,
        blinks=1.1,
        brows=1.5,
        openness=1.12,
    ),
    "calm": Manner(
        face={"mouthSmile": 0.62, "mouthLowerDown": 0.06, "eyeBlink": 0.26, "cheekSquint": 0.40},
        sway=0.55,
        blinks=0.8,
        brows=0.5,
    ),
}


def _bump(
    phase: "NDArray[np.float64]", rise: float = 0.25, fall: float = 0.35
) -> "NDArray[np.float64]":
    """0 to 1 and back over phase 0..1, smooth, with a plateau between."""
    up = np.clip(phase / rise, 0.0, 1.0)
    down = np.clip((1.0 - phase) / fall, 0.0, 1.0)
    ramp = np.minimum(up, down)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def _beats(phase: "NDArray[np.float64]", count: float) -> "NDArray[np.float64]":
    """Damped half-sine beats that start and end at rest."""
    return np.sin(2.0 * np.pi * count * phase) * _bump(phase, 0.1, 0.5)


Template = Callable[["NDArray[np.float64]"], dict[str, "NDArray[np.float64]"]]


@dataclass(frozen=True, slots=True)
class Action:
    """A motion template of `seconds` at intensity 1: phase 0..1 -> channel values."""

    seconds: float
    curves: Template
    speaks: bool = True
    """Whether speech goes on during it; otherwise the template owns the mouth."""


ACTION_TEMPLATES: Final[dict[str, Action]] = {
    "nod": Action(
        1.1, lambda p: {"pitch": 7.0 * np.abs(np.sin(2 * np.pi * p)) * _bump(p, 0.1, 0.6)}
    ),
    "shake": Action(1.5, lambda p: {"yaw": 6.5 * _beats(p, 2.0)}),
    "bow": Action(
        2.0,
        lambda p: {
            "pitch": 11.0 * _bump(p, 0.35, 0.4),
            "ty": 0.9 * _bump(p, 0.35, 0.4),
            "gazeY": 0.35 * _bump(p, 0.3, 0.4),
            "eyeBlink": 0.35 * _bump(p, 0.3, 0.4),
        },
    ),
    "tilt": Action(1.8, lambda p: {"roll": 8.0 * _bump(p), "tx": 0.25 * _bump(p)}),
    "look_left": Action(
        1.6, lambda p: {"gazeX": -0.7 * _bump(p, 0.08, 0.1), "yaw": -5.0 * _bump(p, 0.3, 0.35)}
    ),
    "look_right": Action(
        1.6, lambda p: {"gazeX": 0.7 * _bump(p, 0.08, 0.1), "yaw": 5.0 * _bump(p, 0.3, 0.35)}
    ),
    "look_up": Action(
        1.6, lambda p: {"gazeY": -0.8 * _bump(p, 0.08, 0.1), "pitch": -6.5 * _bump(p, 0.3, 0.35)}
    ),
    "look_down": Action(
        1.6,
        lambda p: {
            "gazeY": 0.75 * _bump(p, 0.08, 0.1),
            "pitch": 6.0 * _bump(p, 0.3, 0.35),
            "eyeBlink": 0.25 * _bump(p, 0.08, 0.1),
        },
    ),
    "wink": Action(
        0.7,
        lambda p: {
            "eyeBlinkLeft": 1.0 * _bump(p, 0.25, 0.3),
            "cheekSquintLeft": 0.85 * _bump(p, 0.25, 0.3),
            "mouthSmileLeft": 0.55 * _bump(p, 0.3, 0.4),
            "roll": -1.5 * _bump(p, 0.3, 0.4),
        },
    ),
    "raise_brows": Action(
        1.0, lambda p: {"browInnerUp": 1.05 * _bump(p), "browOuterUp": 1.20 * _bump(p)}
    ),
    "frown": Action(1.6, lambda p: {"browDown": 1.45 * _bump(p), "mouthFrown": 1.05 * _bump(p)}),
    "smile": Action(2.2, lambda p: {"mouthSmile": 1.25 * _bump(p), "cheekSquint": 0.90 * _bump(p)}),
    "pout": Action(
        1.6,
        lambda p: {
            "mouthPucker": 0.65 * _bump(p),
            "mouthFrown": 1.05 * _bump(p),
            "browInnerUp": 0.45 * _bump(p),
            "pitch": 1.5 * _bump(p),
        },
        speaks=False,
    ),
    "lean_in": Action(
        2.2, lambda p: {"scale": 0.09 * _bump(p, 0.3, 0.35), "pitch": -1.0 * _bump(p)}
    ),
    "lean_back": Action(
        2.2, lambda p: {"scale": -0.07 * _bump(p, 0.3, 0.35), "pitch": -1.5 * _bump(p)}
    ),
    "close_eyes": Action(1.6, lambda p: {"eyeBlink": 1.0 * _bump(p, 0.12, 0.16)}),
    "laugh": Action(
        2.0,
        lambda p: {
            "mouthSmile": 1.40 * _bump(p),
            "cheekSquint": 1.40 * _bump(p),
            "mouthUpperUp": 0.4 * _bump(p),
            "mouthLowerDown": 0.2 * _bump(p),
            "jawOpen": (0.28 + 0.12 * np.sin(2 * np.pi * 9.0 * p)) * _bump(p),
            "eyeBlink": 0.3 * _bump(p),
            "pitch": (-2.0 + 0.9 * np.sin(2 * np.pi * 9.0 * p + 1.0)) * _bump(p),
        },
        speaks=False,
    ),
    "sigh": Action(
        2.2,
        lambda p: {
            "jawOpen": 0.13 * _bump(p, 0.3, 0.4),
            "pitch": -3.0 * _bump(np.clip(p / 0.45, 0, 1))
            + 5.5 * _bump(np.clip(2 * p - 0.8, 0, 1)),
            "ty": -0.25 * _bump(np.clip(p / 0.45, 0, 1)) + 0.3 * _bump(np.clip(2 * p - 0.8, 0, 1)),
            "browInnerUp": 0.40 * _bump(p),
            "eyeBlink": 0.3 * _bump(p, 0.4, 0.3),
        },
        speaks=False,
    ),
    "yawn": Action(
        3.4,
        lambda p: {
            "jawOpen": 0.95 * _bump(p, 0.35, 0.3),
            "mouthFunnel": 0.25 * _bump(p, 0.35, 0.3),
            "eyeBlink": 0.9 * _bump(p, 0.4, 0.2),
            "browInnerUp": 0.35 * _bump(p),
            "noseSneer": 0.50 * _bump(p),
            "pitch": -4.0 * _bump(p, 0.4, 0.3),
        },
        speaks=False,
    ),
    "kiss": Action(
        1.1,
        lambda p: {
            "mouthPucker": 1.0 * _bump(p, 0.35, 0.3),
            "mouthPress": 0.35 * _bump(p, 0.35, 0.4),
            "eyeBlink": 0.35 * _bump(p),
            "pitch": 1.0 * _bump(p),
            "scale": 0.02 * _bump(p),
        },
        speaks=False,
    ),
}

ONSET: Final = 0.55
OFFSET: Final = 0.85
"""Seconds in which an emotion appears and fades."""


def action_frames(word: str) -> int:
    """Return how many frames an action's template lasts at 25 fps."""
    return round(ACTION_TEMPLATES[word].seconds * MOTION_FPS)


@dataclass(frozen=True, slots=True)
class Expression:
    """Emotions over time, blended: offsets for the face and factors for everything that moves.

    `face` and `rest` are `[frames, NUM_CHANNELS]`; the factors and `aversion`, `laughter` are
    `[frames]`; `gaze` is `[frames, 2]`.
    """

    face: "NDArray[np.float32]"
    rest: "NDArray[np.float32]"
    sway: "NDArray[np.float32]"
    blinks: "NDArray[np.float32]"
    brows: "NDArray[np.float32]"
    openness: "NDArray[np.float32]"
    aversion: "NDArray[np.float32]"
    gaze: "NDArray[np.float32]"
    laughter: "NDArray[np.float32]"


def envelope(
    start: int, stop: int, frames: int, onset: float, offset: float
) -> "NDArray[np.float64]":
    """Return a smooth 0..1 window `[frames]` that opens after `start` and closes after `stop`."""
    t = np.arange(frames)
    up = np.clip((t - start) / (onset * MOTION_FPS), 0.0, 1.0)
    down = np.clip((t - stop) / (offset * MOTION_FPS), 0.0, 1.0)
    if start <= 0:
        up = np.ones(frames)
    ramp = up * (1.0 - down)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def express(direction: Direction, frames: int, rng: np.random.Generator) -> Expression:
    """Blend the emotions of `direction` over `frames`, each a little uneven as on a living face."""
    face = np.zeros((frames, NUM_CHANNELS), np.float32)
    rest = np.zeros((frames, NUM_CHANNELS), np.float32)
    factors = {
        name: np.ones(frames, np.float32) for name in ("sway", "blinks", "brows", "openness")
    }
    added = {name: np.zeros(frames, np.float32) for name in ("aversion", "laughter")}
    gaze = np.zeros((frames, 2), np.float32)
    for cue in direction.cues:
        if not cue.is_emotion:
            continue
        manner = MANNERS[cue.word]
        weight = (
            cue.intensity
            * envelope(cue.start, cue.stop, frames, ONSET, OFFSET)
            * (1.0 + 0.12 * slow_noise(frames, 1.2, rng))
        ).astype(np.float32)
        face += weight[:, None] * (motion_vector(manner.face) + motion_vector(manner.head))
        rest += weight[:, None] * motion_vector(manner.rest)
        for name, values in factors.items():
            values *= 1.0 + weight * (getattr(manner, name) - 1.0)
        for name, values in added.items():
            values += weight * getattr(manner, name)
        gaze += weight[:, None] * np.array(manner.gaze, np.float32)
    return Expression(face, rest, gaze=gaze, **factors, **added)


def act(direction: Direction, frames: int) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Return the actions' motion `[frames, NUM_CHANNELS]` and share of the mouth `[frames]`."""
    motion = np.zeros((frames, NUM_CHANNELS), np.float32)
    owned = np.zeros(frames, np.float32)
    for cue in direction.cues:
        if cue.is_emotion:
            continue
        template = ACTION_TEMPLATES[cue.word]
        rows = np.arange(max(0, cue.start), min(frames, cue.stop))
        phase = (rows - cue.start + 0.5) / (cue.stop - cue.start)
        for name, values in template.curves(phase).items():
            for side in (name,) if name in CHANNEL_INDEX else (f"{name}Left", f"{name}Right"):
                motion[rows, CHANNEL_INDEX[side]] += cue.intensity * values
        if not template.speaks:
            owned[rows] = np.maximum(owned[rows], _bump(phase, 0.15, 0.2))
    return motion, owned


def slow_noise(frames: int, seconds: float, rng: np.random.Generator) -> "NDArray[np.float64]":
    """Return unit-variance Gaussian noise `[frames]` with a correlation time of about `seconds`."""
    sigma = 0.5 * seconds * MOTION_FPS
    pad = int(4 * sigma) + 1
    noise = gaussian_filter1d(rng.standard_normal(frames + 2 * pad), sigma)[pad : pad + frames]
    return noise * np.sqrt(2.0 * np.sqrt(np.pi) * sigma)
