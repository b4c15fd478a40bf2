"""Vowels drawn out as emphasis, hesitation and song do: other sounds keep their length.

Overlap-add of similar waveforms (WSOLA; Verhelst and Roelands 1993), so pitch and timbre stay.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from liveact_cli.training.resample import RATE

_WINDOW, _HOP, _SEARCH = 640, 320, 170
"""Samples: 40 ms windows half overlapped, moved by up to a period of 47 Hz each way."""
Floats = NDArray[np.float64]


def time_map(seconds: float, spans: Sequence[tuple[float, float, float]]) -> tuple[Floats, Floats]:
    """Times before and after each (start, stop, factor) of `spans`, in order, is so prolonged."""
    before, after = [0.0], [0.0]
    for start, stop, factor in spans:
        for time, rate in ((start, 1.0), (stop, factor)):
            after.append(after[-1] + (time - before[-1]) * rate)
            before.append(time)
    after.append(after[-1] + max(0.0, seconds - before[-1]))
    before.append(max(seconds, before[-1]))
    return np.array(before), np.array(after)


def prolong(sound: NDArray[np.float32], before: Floats, after: Floats) -> NDArray[np.float32]:
    """16 kHz sound whose time `before` (seconds, ascending) comes at `after`; up to 10 ms off."""
    count = round(float(after[-1]) * RATE)
    centres = np.arange(0, count + _HOP, _HOP)
    wanted = np.round(np.interp(centres / RATE, after, before) * RATE).astype(int)
    margin = _WINDOW + _SEARCH
    padded = np.pad(sound, (margin, margin + _WINDOW))
    fade = np.hanning(_WINDOW + 1)[:_WINDOW].astype(np.float32)
    result = np.zeros(len(centres) * _HOP + _HOP, np.float32)
    at = margin - 2 * _HOP
    for first, centre in zip(centres, np.minimum(wanted, len(sound)) + margin - _HOP, strict=True):
        at += _HOP  # goes on where it was, or as near to its time as the waveform looks like that
        if abs(at - centre) > _SEARCH:
            goal = padded[at : at + _HOP]
            near = padded[centre - _SEARCH : centre + _SEARCH + _HOP]
            energy = np.convolve(near**2, np.ones(_HOP, np.float32), "valid")
            likeness = np.correlate(near, goal, "valid") / np.sqrt(energy + 1e-6)
            at = int(centre) - _SEARCH + int(likeness.argmax())
        result[first : first + _WINDOW] += fade * padded[at : at + _WINDOW]
    return result[_HOP : _HOP + count]
