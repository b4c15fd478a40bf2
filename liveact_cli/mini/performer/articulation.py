"""Phones to mouth shapes: dominance blending, then the rules that speech never breaks.

Every phone pulls the articulators (jaw, lip seal, rounding, spreading, tongue) towards its shape
with a dominance that decays around it (Cohen and Massaro 1993). Afterwards come the hard rules of
JALI (Edwards et al. 2016): bilabials close, labiodentals touch, sibilants narrow the jaw. Rounding
starts early and ends late because its dominance decays slowly; tongue-only phones hardly pull.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from scipy.ndimage import gaussian_filter1d

from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS, NUM_CHANNELS, lip_aperture

if TYPE_CHECKING:
    from numpy.typing import NDArray

TICKS: Final = 4
"""Articulation is computed at 100 Hz: four ticks per motion frame."""
TICK: Final = 1.0 / (MOTION_FPS * TICKS)
REACH: Final = 0.45
"""Seconds over which a phone's dominance is followed to either side."""


class Phone(Protocol):
    """A timed phone: `viseme` names its class, `start` and `stop` are seconds."""

    @property
    def viseme(self) -> str:
        """Name of the viseme class."""
        ...

    @property
    def start(self) -> float:
        """Start in seconds."""
        ...

    @property
    def stop(self) -> float:
        """End in seconds."""
        ...


SHAPE_CHANNELS: Final = (
    "jawOpen",
    "mouthClose",
    "mouthPress",
    "mouthRollUpper",
    "mouthRollLower",
    "mouthFunnel",
    "mouthPucker",
    "mouthUpperUp",
    "mouthLowerDown",
    "mouthSmile",
    "mouthStretch",
    "tongueOut",
)
ARTICULATORS: Final = {
    "jaw": slice(0, 1),
    "seal": slice(1, 5),
    "round": slice(5, 7),
    "spread": slice(7, 11),
    "tongue": slice(11, 12),
}
DECAY: Final = {
    "jaw": (0.030, 0.030),
    "seal": (0.025, 0.025),
    "round": (0.060, 0.045),
    "spread": (0.070, 0.070),
    "tongue": (0.030, 0.030),
}
"""Seconds by which a pull falls to 1/e before and after its phone."""

#        jaw  close press rollU rollL funnel pucker upper lower smile stretch tongue
SHAPES: Final[dict[str, tuple[float, ...]]] = {
    "sil": (0.02, 0.12, 0.00, 0.00, 0.00, 0.00, 0.02, 0.00, 0.00, 0.00, 0.00, 0.00),
    "PBM": (0.05, 1.00, 0.55, 0.20, 0.20, 0.00, 0.05, 0.00, 0.00, 0.02, 0.00, 0.00),
    "FV": (0.09, 0.15, 0.00, 0.00, 0.75, 0.00, 0.02, 0.14, 0.00, 0.04, 0.06, 0.00),
    "TH": (0.20, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.08, 0.18, 0.02, 0.14, 0.40),
    "TDN": (0.17, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.08, 0.16, 0.03, 0.12, 0.06),
    "L": (0.25, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.06, 0.16, 0.02, 0.10, 0.22),
    "SZ": (0.10, 0.00, 0.00, 0.00, 0.00, 0.02, 0.00, 0.16, 0.28, 0.10, 0.26, 0.00),
    "SH": (0.13, 0.00, 0.00, 0.00, 0.00, 0.52, 0.42, 0.14, 0.16, 0.00, 0.00, 0.00),
    "KG": (0.24, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.05, 0.12, 0.01, 0.08, 0.00),
    "R": (0.19, 0.00, 0.00, 0.00, 0.00, 0.30, 0.38, 0.04, 0.10, 0.00, 0.00, 0.00),
    "W": (0.12, 0.05, 0.00, 0.05, 0.05, 0.26, 0.88, 0.00, 0.02, 0.00, 0.00, 0.00),
    "AA": (0.66, 0.00, 0.00, 0.00, 0.00, 0.02, 0.00, 0.12, 0.26, 0.03, 0.08, 0.00),
    "AE": (0.50, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.16, 0.26, 0.10, 0.20, 0.00),
    "IY": (0.21, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.16, 0.24, 0.28, 0.36, 0.00),
    "OW": (0.42, 0.00, 0.00, 0.00, 0.00, 0.50, 0.55, 0.03, 0.08, 0.00, 0.00, 0.00),
    "UW": (0.17, 0.00, 0.00, 0.00, 0.00, 0.36, 0.88, 0.00, 0.03, 0.00, 0.00, 0.00),
    "AX": (0.30, 0.00, 0.00, 0.00, 0.00, 0.03, 0.04, 0.08, 0.16, 0.03, 0.08, 0.00),
}
#        jaw  seal round spread tongue
DOMINANCE: Final[dict[str, tuple[float, ...]]] = {
    "sil": (0.60, 0.60, 0.45, 0.50, 0.30),
    "PBM": (0.60, 1.00, 0.15, 0.45, 0.20),
    "FV": (0.70, 1.00, 0.15, 0.45, 0.20),
    "TH": (0.60, 0.60, 0.15, 0.40, 1.00),
    "TDN": (0.55, 0.60, 0.12, 0.25, 0.30),
    "L": (0.50, 0.60, 0.12, 0.25, 0.50),
    "SZ": (0.95, 0.60, 0.22, 0.70, 0.20),
    "SH": (0.95, 0.60, 0.90, 0.60, 0.20),
    "KG": (0.30, 0.60, 0.10, 0.15, 0.10),
    "R": (0.50, 0.60, 0.60, 0.40, 0.20),
    "W": (0.75, 0.60, 1.00, 0.80, 0.20),
    "AA": (1.00, 0.50, 0.45, 0.80, 0.20),
    "AE": (1.00, 0.50, 0.45, 0.80, 0.20),
    "IY": (0.90, 0.50, 0.60, 1.00, 0.20),
    "OW": (1.00, 0.50, 1.00, 0.80, 0.20),
    "UW": (0.90, 0.50, 1.00, 0.80, 0.20),
    "AX": (0.55, 0.50, 0.20, 0.40, 0.20),
}
NAMES: Final = tuple(SHAPES)
_SHAPE_TABLE: Final = np.array([SHAPES[name] for name in NAMES])
_PULL_TABLE: Final = np.array([DOMINANCE[name] for name in NAMES])

OPEN_FLOOR: Final = 0.11
"""Aperture under which lips look closed; only bilabials and silence may go below it."""
SIBILANT_JAW: Final = {"SZ": 0.12, "SH": 0.15}
LOUDNESS_GAIN: Final = 0.03
"""Share by which the jaw opens wider per decibel above the voice's usual loudness."""
LOUDNESS_SPREAD: Final = 12.0
"""Frames of smoothing of that loudness: who speaks up opens wider, but a vowel that is louder than
its neighbours is so because it is open already, and its shape says so."""


def with_silences(
    phones: Sequence[Phone], seconds: float
) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    """Return viseme numbers `[n]` and times `[n, 2]` in seconds with the gaps filled by silence."""
    kinds: list[int] = []
    times: list[tuple[float, float]] = []
    clock = 0.0
    for phone in phones:
        start = max(clock, float(phone.start))
        stop = min(seconds, float(phone.stop))
        if stop <= start:
            continue
        if start > clock + TICK:
            kinds.append(NAMES.index("sil"))
            times.append((clock, start))
        kinds.append(NAMES.index(phone.viseme))
        times.append((start, stop))
        clock = stop
    if seconds > clock + TICK:
        kinds.append(NAMES.index("sil"))
        times.append((clock, seconds))
    return np.array(kinds, np.int64), np.array(times, np.float64).reshape(-1, 2)


def speech_activity(
    kinds: "NDArray[np.int64]", times: "NDArray[np.float64]", frames: int, gap: float = 0.25
) -> "NDArray[np.float32]":
    """Return 1 where there is speech `[frames]`; pauses under `gap` seconds count as speech."""
    activity = np.ones(frames, np.float32)
    silent = NAMES.index("sil")
    for kind, (start, stop) in zip(kinds, times, strict=True):
        edge = start <= 0.0 or stop >= frames / MOTION_FPS - TICK
        if kind == silent and (stop - start >= gap or edge):
            activity[round(start * MOTION_FPS) : round(stop * MOTION_FPS)] = 0.0
    return activity


def blend(
    kinds: "NDArray[np.int64]", times: "NDArray[np.float64]", frames: int
) -> "NDArray[np.float32]":
    """Blend the phones' shapes by dominance to `[frames, len(SHAPE_CHANNELS)]`."""
    ticks = frames * TICKS
    centre = times.mean(axis=1)
    core = 0.2 * (times[:, 1] - times[:, 0])
    spans = np.maximum(REACH, 0.5 * (times[:, 1] - times[:, 0]) + 0.2)
    shape = np.zeros((ticks, len(SHAPE_CHANNELS)))
    total = np.full((ticks, len(ARTICULATORS)), 1e-9)
    for i, kind in enumerate(kinds):
        first = max(0, int((centre[i] - spans[i]) / TICK))
        last = min(ticks, int((centre[i] + spans[i]) / TICK) + 1)
        offset = (np.arange(first, last) + 0.5) * TICK - centre[i]
        distance = np.maximum(0.0, np.abs(offset) - max(core[i], spans[i] - REACH))
        for a, (name, columns) in enumerate(ARTICULATORS.items()):
            before, after = DECAY[name]
            pull = _PULL_TABLE[kind, a] * np.exp(-distance / np.where(offset < 0, before, after))
            shape[first:last, columns] += pull[:, None] * _SHAPE_TABLE[kind, columns]
            total[first:last, a] += pull
    for a, columns in enumerate(ARTICULATORS.values()):
        shape[:, columns] /= total[:, a : a + 1]
    smooth = gaussian_filter1d(shape, 1.5, axis=0, mode="nearest")
    return smooth.reshape(frames, TICKS, -1).mean(axis=1).astype(np.float32)


def mouth(
    kinds: "NDArray[np.int64]",
    times: "NDArray[np.float64]",
    loudness: "NDArray[np.float32]",
    openness: float,
) -> "NDArray[np.float32]":
    """Return motion `[frames, NUM_CHANNELS]` with the mouth channels of these phones filled in.

    `loudness [frames]` is in decibels relative to the voice's usual; `openness` scales the jaw.
    """
    frames = len(loudness)
    shape = blend(kinds, times, frames)
    level = gaussian_filter1d(np.clip(loudness, -8.0, 8.0), LOUDNESS_SPREAD, mode="nearest")
    gain = openness * np.clip(1.0 + LOUDNESS_GAIN * level, 0.8, 1.25)
    motion = np.zeros((frames, NUM_CHANNELS), np.float32)
    for column, name in enumerate(SHAPE_CHANNELS):
        scaled = name in ("jawOpen", "mouthLowerDown", "mouthUpperUp")
        values = shape[:, column] * (gain if scaled else 1.0)
        for side in (name,) if name in CHANNEL_INDEX else (f"{name}Left", f"{name}Right"):
            motion[:, CHANNEL_INDEX[side]] = values
    return motion


def _middle_frames(start: float, stop: float, lead: float, tail: float, frames: int) -> range:
    """Frames whose centre lies in the phone less a share at either end; at least the middle."""
    length = stop - start
    first = int(np.ceil((start + lead * length) * MOTION_FPS - 0.5))
    last = int(np.floor((stop - tail * length) * MOTION_FPS - 0.5))
    if last < first:
        first = last = int((start + (0.5 + 0.5 * (lead - tail)) * length) * MOTION_FPS)
    return range(max(0, min(first, frames - 1)), min(frames, last + 1))


def _touched_frames(start: float, stop: float, frames: int) -> range:
    """Frames that share at least a tick with the phone."""
    first = int(np.floor((start + TICK) * MOTION_FPS))
    last = int(np.ceil((stop - TICK) * MOTION_FPS))
    return range(max(0, min(first, frames - 1)), min(frames, max(last, first + 1)))


def enforce(
    motion: "NDArray[np.float32]", kinds: "NDArray[np.int64]", times: "NDArray[np.float64]"
) -> None:
    """Impose the hard rules on `motion [frames, NUM_CHANNELS]` in place, whatever was mixed in."""
    frames = len(motion)
    index = CHANNEL_INDEX
    may_close = np.zeros(frames, bool)
    for kind, (start, stop) in zip(kinds, times, strict=True):
        name = NAMES[kind]
        if name in ("sil", "PBM"):
            first, last = int(start * MOTION_FPS) - 1, int(stop * MOTION_FPS) + 2
            may_close[max(0, first) : last] = True
        if name in SIBILANT_JAW:
            for f in _middle_frames(start, stop, 0.2, 0.2, frames):
                motion[f, index["jawOpen"]] = min(motion[f, index["jawOpen"]], SIBILANT_JAW[name])
    _keep_open(motion, ~may_close)
    for kind, (start, stop) in zip(kinds, times, strict=True):
        if NAMES[kind] == "FV":
            _touch(motion, _middle_frames(start, stop, 0.2, 0.2, frames))
    for kind, (start, stop) in zip(kinds, times, strict=True):
        if NAMES[kind] == "PBM":
            _close(motion, _touched_frames(start, stop, frames))


def _keep_open(motion: "NDArray[np.float32]", rows: "NDArray[np.bool_]") -> None:
    missing = np.maximum(0.0, OPEN_FLOOR - lip_aperture(motion)) * rows
    for name in ("mouthLowerDown", "mouthUpperUp"):
        motion[:, CHANNEL_INDEX[name]] += missing
    press = CHANNEL_INDEX["mouthPress"]
    motion[rows, press] = np.minimum(motion[rows, press], 0.1)


def _touch(motion: "NDArray[np.float32]", rows: range) -> None:
    index = CHANNEL_INDEX
    for f in rows:
        motion[f, index["mouthRollLower"]] = max(motion[f, index["mouthRollLower"]], 0.65)
        motion[f, index["jawOpen"]] = min(motion[f, index["jawOpen"]], 0.11)
        motion[f, index["mouthLowerDown"]] = min(motion[f, index["mouthLowerDown"]], 0.02)
        motion[f, index["mouthUpperUp"]] = min(motion[f, index["mouthUpperUp"]], 0.12)
        motion[f, index["mouthFunnel"]] = min(motion[f, index["mouthFunnel"]], 0.05)


def _close(motion: "NDArray[np.float32]", rows: range) -> None:
    index = CHANNEL_INDEX
    for f in rows:
        motion[f, index["jawOpen"]] = min(motion[f, index["jawOpen"]], 0.10)
        motion[f, index["mouthClose"]] = 1.0
        motion[f, index["mouthPress"]] = max(motion[f, index["mouthPress"]], 0.5)
        for name in ("mouthUpperUp", "mouthLowerDown", "mouthFunnel", "tongueOut"):
            motion[f, index[name]] = 0.0
        for name in ("mouthRollUpper", "mouthRollLower"):
            motion[f, index[name]] = min(motion[f, index[name]], 0.25)
