"""What the sound itself says: loudness over time, pauses, loud passages, bursts like laughter."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE: Final = 16_000
HOP: Final = 320
"""Samples between loudness values: 20 ms."""
FRAME: Final = 2 * HOP
PAUSE_SECONDS: Final = 0.8
"""Silence longer than this is a pause."""
BLIP_SECONDS: Final = 0.08
"""Sound shorter than this does not end a pause: a click, a breath."""
FLOOR_DB: Final = -100.0
_BLOCK_HOPS: Final = 3_000


@dataclass(frozen=True)
class Sound:
    """Loudness of a recording: `decibels` (full scale) every `hop` seconds, 0.7 MB an hour."""

    decibels: "NDArray[np.float32]"
    seconds: float
    hop: float = HOP / SAMPLE_RATE

    @cached_property
    def threshold(self) -> float:
        """The level in dB below which it is silent, from its own loud and quiet parts."""
        if not len(self.decibels):
            return FLOOR_DB
        quiet, loud = np.percentile(self.decibels, (5, 95))
        return float(max(loud - 32.0, min(quiet + 8.0, loud - 15.0)))

    @cached_property
    def pauses(self) -> tuple[tuple[float, float], ...]:
        """Start and stop in seconds of every silence longer than `PAUSE_SECONDS`."""
        silent = self.decibels < self.threshold
        silent = ~_without_short(~silent, round(BLIP_SECONDS / self.hop))
        spans = self._spans(silent)
        return tuple((a, b) for a, b in spans if b - a > PAUSE_SECONDS)

    @cached_property
    def loud_passages(self) -> tuple[tuple[float, float], ...]:
        """Start and stop of passages of a second or more well above the usual level of speech."""
        spoken = self.decibels[self.decibels >= self.threshold]
        if len(spoken) < 50:
            return ()
        level = _smooth(self.decibels, round(0.8 / self.hop))
        usual, spread = float(np.median(spoken)), float(np.std(spoken))
        spans = self._spans(level > usual + max(2.0, 0.6 * spread))
        return tuple((a, b) for a, b in spans if b - a >= 1.0)

    @cached_property
    def bursts(self) -> tuple[tuple[float, float], ...]:
        """Start and stop of regular bursts at 4 to 6 Hz, which is how laughter sounds."""
        width, step = round(1.2 / self.hop), round(0.2 / self.hop)
        marks = np.zeros(len(self.decibels), np.bool_)
        for start in range(0, len(self.decibels) - width, step):
            part = self.decibels[start : start + width]
            if part.max() > self.threshold + 6.0 and _is_bursty(part, self.hop):
                marks[start : start + width] = True
        return tuple((a, b) for a, b in self._spans(marks) if b - a >= 1.0)

    def _spans(self, marks: "NDArray[np.bool_]") -> Iterator[tuple[float, float]]:
        edges = np.flatnonzero(np.diff(np.concatenate(([False], marks, [False])).astype(np.int8)))
        for start, stop in edges.reshape(-1, 2):
            yield float(start * self.hop), float(min(stop * self.hop, self.seconds))


def listen(blocks: "Iterable[NDArray[np.float32]]") -> Sound:
    """Return the loudness of 16 kHz mono `blocks` of any length; memory does not grow with them."""
    levels: list[NDArray[np.float64]] = []
    samples = 0
    rest = np.zeros(0, np.float32)
    for block in blocks:
        samples += len(block)
        rest = np.concatenate((rest, np.nan_to_num(block)))
        hops = (len(rest) - FRAME) // HOP + 1
        if hops >= _BLOCK_HOPS:
            levels.append(rms_of(rest[: (hops - 1) * HOP + FRAME]))
            rest = rest[hops * HOP :]
    padded = np.concatenate((rest, np.zeros(FRAME, np.float32)))
    levels.append(rms_of(padded))
    rms = np.concatenate(levels)[: -(-samples // HOP)]
    decibels = 20.0 * np.log10(np.maximum(rms, 10.0 ** (FLOOR_DB / 20.0)))
    return Sound(decibels.astype(np.float32), samples / SAMPLE_RATE)


def rms_of(samples: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Return the loudness of every whole frame of `FRAME` samples, `HOP` apart, as librosa has it.

    librosa itself takes two seconds to import, half of what a preview needs for its first frame.
    """
    hops = samples[: len(samples) // HOP * HOP].reshape(-1, HOP).astype(np.float64)
    energy = np.square(hops).sum(axis=1)
    return np.asarray(np.sqrt((energy[1:] + energy[:-1]) / FRAME))


def _smooth(values: "NDArray[np.float32]", width: int) -> "NDArray[np.float32]":
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    total = np.concatenate(([0.0], np.cumsum(padded, dtype=np.float64)))
    return ((total[width:] - total[:-width]) / width).astype(np.float32)


def _without_short(marks: "NDArray[np.bool_]", shortest: int) -> "NDArray[np.bool_]":
    """Return `marks` without runs of fewer than `shortest` values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marks, [False])).astype(np.int8)))
    kept = marks.copy()
    for start, stop in edges.reshape(-1, 2):
        if stop - start < shortest:
            kept[start:stop] = False
    return kept


def _is_bursty(part: "NDArray[np.float32]", hop: float) -> bool:
    """Whether loudness swings by 9 dB or more, three times with one period of 160 to 260 ms."""
    swing = part - part.mean()
    power = float(np.dot(swing, swing))
    if power <= 0.0 or float(np.std(swing)) < 4.5:
        return False

    def alike(lag: int) -> float:
        return float(np.dot(swing[lag:], swing[:-lag])) / power

    best = max(range(round(0.16 / hop), round(0.26 / hop) + 1), key=alike)
    return alike(best) > 0.45 and alike(2 * best) > 0.3 and alike(best // 2) < 0.0
