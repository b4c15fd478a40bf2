"""Who speaks when, heard: voice activity of tracks that each belong to one person.

Microphones in one room hear everybody. How much of one voice leaks into another's track is measured
first (while that voice is the loudest), and a track counts as speaking only when it is clearly
louder than what leaks into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Final

import numpy as np

from liveact_cli.core.errors import MediaError
from liveact_cli.script.sound import Sound
from liveact_cli.studio.turns import Turn, tidy

if TYPE_CHECKING:
    from numpy.typing import NDArray

ON_DB: Final = 6.0
"""A turn begins this far above what leaks into a track, and ends at `OFF_DB`: hysteresis."""
OFF_DB: Final = 3.0
LOUD_RANGE: Final = 30.0
"""A voice lies within this many dB of its own loud moments."""
NOISE_MARGIN: Final = 9.0
SHORTEST_SOUND: Final = 0.14
"""Seconds; less is a click or a breath."""
HANGOVER: Final = 0.35
"""Seconds of silence inside a turn: between words."""
LEAD: Final = 0.06
"""Seconds by which a turn begins earlier and ends later than it is loud."""
_SMOOTH: Final = 5
_ALIKE_DB: Final = 1.5


@dataclass(frozen=True)
class Heard:
    """Levels in dB, `[tracks, hops]`, and the seconds between them."""

    decibels: "NDArray[np.float64]"
    hop: float
    seconds: float

    @classmethod
    def of(cls, sounds: Sequence[Sound]) -> "Heard":
        """Lay the loudness of tracks beside each other; shorter ones end in silence."""
        hops = max(len(sound.decibels) for sound in sounds)
        levels = np.full((len(sounds), hops), -100.0)
        for row, sound in zip(levels, sounds, strict=True):
            row[: len(sound.decibels)] = _smooth(sound.decibels.astype(np.float64))
        return cls(levels, sounds[0].hop, max(sound.seconds for sound in sounds))


def turns_heard(sounds: Sequence[Sound]) -> tuple[Turn, ...]:
    """Return who speaks when, one track a person."""
    heard = Heard.of(sounds)
    floor = np.stack([_floor(row) for row in heard.decibels])
    leaked = _leaked(heard.decibels, floor)
    turns = []
    for person, levels in enumerate(heard.decibels):
        on = (levels > floor[person] + 3.0) & (levels > leaked[person] + ON_DB)
        off = (levels < floor[person]) | (levels < leaked[person] + OFF_DB)
        for start, stop in _held(on, off, heard.hop):
            begin, end = start * heard.hop - LEAD, stop * heard.hop + LEAD
            turns.append(Turn(begin, end, person))
    return tidy(turns, heard.seconds)


def check_apart(sounds: Sequence[Sound], what: str, hint: str) -> None:
    """Raise MediaError when the tracks carry one sound, so that they say nothing of who speaks."""
    levels = Heard.of(sounds).decibels
    loud = levels.max(0) > max(levels.max() - LOUD_RANGE, -60.0)
    if not loud.any():
        raise MediaError(f"{what} is silent", "check the recording")
    spread = np.ptp(levels[:, loud], axis=0)
    if np.percentile(spread, 90) < _ALIKE_DB:
        raise MediaError(f"{what} carries the same sound for everybody", hint)


def _floor(levels: "NDArray[np.float64]") -> float:
    """Return the level above which a track is not silent, from its loud and quiet moments."""
    quiet, loud = np.percentile(levels, (10, 99.5))
    return float(max(loud - LOUD_RANGE, min(quiet + NOISE_MARGIN, loud - 12.0), -70.0))


def _leaked(levels: "NDArray[np.float64]", floor: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return how loud the other voices are in each track, `[tracks, hops]` in dB."""
    leaked = np.full_like(levels, 1e-12)  # powers, which add up
    loudest = levels.argmax(0)
    for own, other in permutations(range(len(levels)), 2):
        alone = (loudest == other) & (levels[other] > floor[other] + 3.0)
        if alone.any():
            share = float(np.median((levels[own] - levels[other])[alone]))
            # While the other is silent nothing leaks; noise must not pass for it.
            voice = 10.0 ** ((levels[other] + share) / 10.0)
            leaked[own] += np.where(levels[other] > floor[other], voice, 0.0)
    return np.asarray(10.0 * np.log10(leaked))


def _held(on: "NDArray[np.bool_]", off: "NDArray[np.bool_]", hop: float) -> list[tuple[int, int]]:
    """Return stretches that begin at `on` and end where it is `off` for longer than `HANGOVER`."""
    patience, shortest = round(HANGOVER / hop), round(SHORTEST_SOUND / hop)
    found: list[tuple[int, int]] = []
    quiet = off & ~on
    # Between a begin and the next silence the stretch holds, whatever lies between the two levels.
    begins = np.flatnonzero(on)
    ends = np.append(np.flatnonzero(quiet), len(on))
    i = 0
    while i < len(begins):
        start = int(begins[i])
        stop = int(ends[np.searchsorted(ends, start)])
        if found and start - found[-1][1] <= patience:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
        i = int(np.searchsorted(begins, stop))
    return [(start, stop) for start, stop in found if stop - start >= shortest]


def _smooth(levels: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Average the power of a tenth of a second."""
    power = 10.0 ** (levels / 10.0)
    kernel = np.full(_SMOOTH, 1.0 / _SMOOTH)
    return np.asarray(10.0 * np.log10(np.convolve(power, kernel, "same") + 1e-12))
