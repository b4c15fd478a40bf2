"""What a face does besides speaking: head, gaze, blinks, brows and breath, following the voice.

Rates and shapes: blinks up to 26 a minute talking and 17 at rest with log-normal intervals, closing
in 80 ms and opening in 150 ms (Bentivoglio et al. 1997). The head follows pitch and loudness
(Munhall et al. 2004; Busso et al. 2007). Eyes hold a target for one to three seconds and counter
the head. Everything here is drawn from one generator, so a seed fixes the performance.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.ndimage import gaussian_filter1d

from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS
from liveact_cli.mini.performer.expression import Expression, slow_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLINKS_TALKING: Final = 23.0
BLINKS_RESTING: Final = 16.0
"""Blinks per minute before emotions change them."""
BLINK_SPREAD: Final = 0.55
"""Standard deviation of the logarithm of the intervals."""
BLINK_SHORTEST: Final = 0.5
BLINK_CLOSE, BLINK_OPEN = 0.08, 0.16
GAZE_DEGREES: Final = 32.0
"""Eye rotation in degrees at gaze 1, used to turn the eyes against the head."""
NECK: Final = 0.055
"""Centimetres the face shifts per degree, because the head turns about the neck."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What the sound says, per frame at 25 fps, all `[frames]`.

    `loudness` is decibels and `pitch` semitones relative to the voice's usual; `speech` is 0 or 1.
    """

    loudness: "NDArray[np.float32]"
    pitch: "NDArray[np.float32]"
    speech: "NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class Temper:
    """How a speaker moves, drawn once per recording around 1."""

    sway: float
    nods: float
    brows: float
    blinks: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Temper":
        """Draw a temper: nobody is still, nobody is wild."""
        return cls(*np.clip(rng.lognormal(0.0, 0.14, 4), 0.75, 1.35))


def accents(voice: Voice) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    """Return the frames of accented syllables and their strengths 0..1.

    An accent is a local peak of loudness plus pitch that stands out of its second.
    """
    pitch = gaussian_filter1d(np.clip(voice.pitch, -8.0, 10.0), 1.5)
    strength = gaussian_filter1d(np.clip(voice.loudness, -14.0, 9.0), 1.8) + 1.2 * pitch
    strength = strength - gaussian_filter1d(strength, 18.0)
    inner = (strength[1:-1] >= strength[:-2]) & (strength[1:-1] > strength[2:])
    peaks = np.flatnonzero(inner & (strength[1:-1] > 1.5) & (voice.speech[1:-1] > 0.5)) + 1
    return peaks, np.clip(strength[peaks] / 9.0, 0.0, 1.0)


def phrase_ends(speech: "NDArray[np.float32]") -> "NDArray[np.int64]":
    """Return the frames at which speech stops."""
    return np.flatnonzero((speech[:-1] > 0.5) & (speech[1:] < 0.5)) + 1


def add_pulse(
    track: "NDArray[np.float32]", at: float, height: float, rise: float, fall: float
) -> None:
    """Add a smooth pulse to `track [frames]` peaking at frame `at`; `rise`, `fall` in seconds."""
    first = max(0, int(at - rise * MOTION_FPS))
    t = (np.arange(first, min(len(track), int(at + fall * MOTION_FPS) + 1)) - at) / MOTION_FPS
    phase = np.clip(np.where(t < 0, 1.0 + t / rise, 1.0 - t / fall), 0.0, 1.0)
    track[first : first + len(t)] += height * phase * phase * (3.0 - 2.0 * phase)


def blinks(
    voice: Voice, expression: Expression, temper: Temper, rng: np.random.Generator
) -> "NDArray[np.float32]":
    """Return lid closure `[frames]` from blinks alone; blinks like the ends of phrases."""
    frames = len(voice.speech)
    closure = np.zeros(frames, np.float32)
    ends = phrase_ends(voice.speech)
    now = rng.uniform(0.3, 3.0) * MOTION_FPS
    while now < frames:
        for end in ends[np.abs(ends - now) < 0.35 * MOTION_FPS][:1]:
            now = float(end) + rng.uniform(0.0, 3.0)
        at = min(frames - 1, int(now))
        depth = rng.uniform(0.92, 1.0)
        _blink(closure, now, depth, rng.uniform(0.9, 1.15))
        talking = voice.speech[at]
        rate = BLINKS_TALKING * talking + BLINKS_RESTING * (1.0 - talking)
        rate *= temper.blinks * expression.blinks[at]
        mean = max(0.3, 60.0 / rate - BLINK_SHORTEST)
        gap = BLINK_SHORTEST + rng.lognormal(np.log(mean) - 0.5 * BLINK_SPREAD**2, BLINK_SPREAD)
        now += gap * MOTION_FPS
    return closure


def _blink(closure: "NDArray[np.float32]", at: float, depth: float, slowness: float) -> None:
    """Write one blink, sampled four times a frame so that it may lie between frames."""
    first = max(0, int(at) - 1)
    last = min(len(closure), int(at) + 9)
    t = (np.arange(first * 4, last * 4) / 4 + 0.125 - at) / MOTION_FPS / slowness
    up = np.clip(t / BLINK_CLOSE, 0.0, 1.0)
    down = np.clip((t - BLINK_CLOSE - 0.03) / BLINK_OPEN, 0.0, 1.0)
    shape = (up * up * (3 - 2 * up)) * (1.0 - down) ** 1.4
    values = depth * np.minimum(1.0, 1.12 * shape.reshape(-1, 4).mean(axis=1))
    closure[first:last] = np.maximum(closure[first:last], values)


def gaze_targets(
    voice: Voice, expression: Expression, rng: np.random.Generator
) -> "NDArray[np.float32]":
    """Return where the eyes aim in the world `[frames, 2]`: mostly at the camera."""
    frames = len(voice.speech)
    target = np.zeros((frames, 2), np.float32)
    now = 0
    while now < frames:
        away = 0.22 + 0.10 * float(voice.speech[now]) + float(expression.aversion[now])
        if rng.random() < away:
            aim = rng.normal(0.0, (0.24, 0.15)) + expression.gaze[now]
            hold = rng.uniform(0.4, 1.5)
        else:
            aim = rng.normal(0.0, (0.03, 0.02)) + 0.25 * expression.gaze[now]
            hold = rng.lognormal(0.5, 0.45)
        stop = min(frames, now + max(8, int(hold * MOTION_FPS)))
        target[now:stop] = np.clip(aim, -0.8, 0.8)
        now = stop
    kernel = np.array([0.25, 0.55, 0.2], np.float32)
    padded = np.pad(target, ((1, 1), (0, 0)), mode="edge")
    return sum(kernel[k] * padded[k : k + frames] for k in range(3))


def head(
    voice: Voice, expression: Expression, temper: Temper, rng: np.random.Generator
) -> "NDArray[np.float32]":
    """Return yaw, pitch, roll in degrees and tx, ty in cm and scale, `[frames, 6]`."""
    frames = len(voice.speech)
    active = gaussian_filter1d(voice.speech.astype(np.float64), 10.0, mode="nearest")
    sway = (0.55 + 0.45 * active) * expression.sway * temper.sway
    track = np.zeros((frames, 6), np.float32)
    for channel, (slow, quick) in enumerate(((2.0, 0.75), (1.3, 0.55), (1.25, 0.45))):
        noise = slow * slow_noise(frames, 2.6, rng) + quick * slow_noise(frames, 0.8, rng)
        track[:, channel] = noise * sway
    _take_postures(track, voice, sway, rng)
    track[:, 1] += _prosody_pitch(voice) * sway
    peaks, strengths = accents(voice)
    for at, strength in zip(peaks, strengths, strict=True):
        gain = float(sway[at]) * (0.5 + strength)
        if rng.random() < 0.5 * temper.nods:
            add_pulse(track[:, 1], at + rng.uniform(0, 2), gain * rng.uniform(2.0, 4.2), 0.18, 0.34)
        if rng.random() < 0.25:
            add_pulse(track[:, 0], at, gain * rng.normal(0.0, 1.6), 0.25, 0.5)
        if rng.random() < 0.18:
            add_pulse(track[:, 2], at, gain * rng.normal(0.0, 1.4), 0.25, 0.5)
    for end in phrase_ends(voice.speech):
        if rng.random() < 0.45:
            add_pulse(track[:, 1], end + rng.uniform(-3, 4), rng.uniform(1.5, 3.2), 0.3, 0.6)
    _listen(track, voice, rng)
    track[:, 3] = NECK * track[:, 0] + 0.08 * track[:, 2] + 0.16 * slow_noise(frames, 4.0, rng)
    track[:, 4] = NECK * track[:, 1] + 0.08 * slow_noise(frames, 4.0, rng)
    track[:, 5] = 0.012 * slow_noise(frames, 3.5, rng)
    breath = breathing(frames, rng)
    track[:, 1] -= 0.18 * breath
    track[:, 4] -= 0.05 * breath
    return track


def _prosody_pitch(voice: Voice) -> "NDArray[np.float64]":
    """Chin up with rising voice, down with falling: degrees `[frames]`."""
    melody = gaussian_filter1d(np.clip(voice.pitch, -8.0, 10.0), 4.0)
    return -0.28 * (melody - gaussian_filter1d(melody, 60.0, mode="nearest"))


def _take_postures(
    track: "NDArray[np.float32]",
    voice: Voice,
    sway: "NDArray[np.float64]",
    rng: np.random.Generator,
) -> None:
    """Shift to a new posture at some phrase ends and every few seconds otherwise."""
    frames = len(track)
    now = 0.0
    posture = np.zeros((frames, 3))
    ends = phrase_ends(voice.speech)
    held = rng.normal(0.0, (1.2, 0.8, 0.8))
    while now < frames:
        following = now + rng.uniform(2.5, 8.0) * MOTION_FPS
        for end in ends[np.abs(ends - following) < MOTION_FPS][:1]:
            following = float(end)
        posture[int(now) : int(following)] = held
        held = rng.normal(0.0, (1.6, 1.0, 1.0))
        now = max(following, now + MOTION_FPS)
    track[:, :3] += gaussian_filter1d(posture, 7.0, axis=0, mode="nearest") * sway[:, None]


def _listen(track: "NDArray[np.float32]", voice: Voice, rng: np.random.Generator) -> None:
    """Nod a little now and then in pauses longer than a second."""
    edges = np.flatnonzero(np.diff(np.concatenate(([1.0], voice.speech, [1.0]))))
    for start, stop in zip(edges[::2], edges[1::2], strict=False):
        now = start + rng.uniform(0.9, 3.0) * MOTION_FPS
        while now < stop - 0.5 * MOTION_FPS:
            for beat in range(int(rng.integers(1, 4))):
                height = rng.uniform(1.4, 3.0) * 0.75**beat
                add_pulse(track[:, 1], now + beat * 9.0, height, 0.2, 0.28)
            now += rng.uniform(2.2, 6.5) * MOTION_FPS


def breathing(frames: int, rng: np.random.Generator) -> "NDArray[np.float64]":
    """Return breath -1..1 `[frames]`, about 15 a minute and never regular."""
    rate = 0.25 * np.exp(0.15 * slow_noise(frames, 4.0, rng))
    phase = 2.0 * np.pi * (np.cumsum(rate) / MOTION_FPS + rng.random())
    return np.sin(phase) + 0.25 * np.sin(2.0 * phase + 0.6)


def brows(
    voice: Voice, expression: Expression, temper: Temper, rng: np.random.Generator
) -> "NDArray[np.float32]":
    """Return how far the brows rise `[frames]`: with high accents, and a little always."""
    frames = len(voice.speech)
    activity = expression.brows * temper.brows
    track = (0.045 * np.abs(slow_noise(frames, 1.5, rng)) * activity).astype(np.float32)
    pulses = np.zeros(frames, np.float32)
    peaks, strengths = accents(voice)
    for at, strength in zip(peaks, strengths, strict=True):
        if rng.random() < 0.16 + 0.4 * strength:
            height = rng.uniform(0.14, 0.32) * (0.6 + strength) * float(activity[at])
            add_pulse(pulses, at + rng.uniform(-2, 1), height, 0.16, rng.uniform(0.3, 0.55))
    return track + np.minimum(pulses, 0.6)


def eyes(
    motion: "NDArray[np.float32]",
    closure: "NDArray[np.float32]",
    target: "NDArray[np.float32]",
) -> None:
    """Write gaze and lids into `motion` in place: eyes counter the head, lids follow the eyes."""
    index = CHANNEL_INDEX
    yaw, pitch = motion[:, index["yaw"]], motion[:, index["pitch"]]
    motion[:, index["gazeX"]] += target[:, 0] - 0.85 * yaw / GAZE_DEGREES
    motion[:, index["gazeY"]] += target[:, 1] - 0.85 * pitch / GAZE_DEGREES
    droop = 0.22 * np.maximum(0.0, motion[:, index["gazeY"]])
    for side in ("eyeBlinkLeft", "eyeBlinkRight"):
        resting = np.clip(motion[:, index[side]] + droop, 0.0, 1.0)
        motion[:, index[side]] = resting + (1.0 - resting) * closure
    motion[:, index["eyeWide"]] *= 1.0 - closure
