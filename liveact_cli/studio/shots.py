"""The cutting plan: who is seen when, from who speaks when, calmly.

Pure arithmetic on frames: interjections do not take the picture, a change waits until the shot has
lasted long enough and the new speaker goes on, long speeches get a look at a listener.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Final

from liveact_cli.studio.cast import Cuts, Layout
from liveact_cli.studio.turns import Turn

INTERJECTION: Final = 1.2
"""Seconds; a shorter turn while somebody else speaks (`mm-hm`) does not take the picture."""
OVERLAP: Final = 1.0
"""Seconds that two must speak at once before both are shown."""
LASTING: Final = 1.0
"""Seconds that a new speaker must go on before the picture follows."""
OPENING: Final = 3.0
"""Seconds of everybody at the beginning and at the end, where the episode is long enough."""
LIT: Final = 1.0
"""Seconds that the line around a panel stays at least."""
REACTION_EVERY: Final = (9.0, 16.0)


@dataclass(frozen=True, slots=True)
class View:
    """Who is shown: `front` large, in the order of the cast; `small` in the corner.

    `speaking` is who has a line around them, where several are shown.
    """

    front: tuple[int, ...]
    small: tuple[int, ...] = ()
    speaking: int | None = None


@dataclass(frozen=True, slots=True)
class Shot:
    """A view on frames `start..stop` (half open)."""

    start: int
    stop: int
    view: View


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the recording in seconds."""

    start: float
    stop: float


def plan_shots(
    turns: Sequence[Turn],
    people: int,
    part: Span,
    frames: int,
    fps: Fraction,
    layout: Layout,
    cuts: Cuts,
    seed: int,
) -> list[Shot]:
    """Return the shots of `frames` frames, without gaps; their frames count from `part.start`.

    No shot is shorter than `cuts.shortest`, unless the whole video is; in layouts that always show
    everybody the picture stays, and only who is marked as speaking changes.
    """
    everybody = tuple(range(people))
    if people == 1:
        return [Shot(0, frames, View(everybody))]
    if layout in (Layout.SIDE_BY_SIDE, Layout.GRID):
        return _lit(turns, everybody, part, frames, fps)
    shortest = max(1, math.ceil(Fraction(cuts.shortest) * fps))
    wanted = list(_wanted(turns, part, pairs=layout is Layout.SPEAKER))
    shots = _cut(wanted, frames, shortest, fps)
    if layout is Layout.PICTURE_IN_PICTURE:
        return [replace(shot, view=_with_corner(shot.view, everybody)) for shot in _joined(shots)]
    shots = list(_opened(shots, everybody, frames, max(shortest, round(OPENING * fps)), shortest))
    if cuts.reactions:
        shots = list(_reactions(shots, people, shortest, fps, Random(f"{seed}/cuts")))
    return list(_joined(shots))


def _lit(
    turns: Sequence[Turn], everybody: tuple[int, ...], part: Span, frames: int, fps: Fraction
) -> list[Shot]:
    """Return one picture throughout, in which the line around the panels follows who speaks."""
    wanted = list(_wanted(turns, part, pairs=False))
    if not wanted:
        return [Shot(0, frames, View(everybody))]
    shots = _cut(wanted, frames, round(LIT * fps), fps)
    return [replace(shot, view=View(everybody, speaking=shot.view.front[0])) for shot in shots]


def _with_corner(view: View, everybody: tuple[int, ...]) -> View:
    front = view.front[:1]
    return View(front, tuple(person for person in everybody if person not in front))


def _wanted(
    turns: Sequence[Turn], part: Span, *, pairs: bool
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Yield when who should be seen, in seconds from the part's start, before any calming."""
    lasting = _without_interjections(turns)
    edges = sorted({part.start, *(t for turn in lasting for t in (turn.start, turn.stop))})
    waiting, speaking = deque(sorted(lasting)), list[Turn]()
    held: tuple[int, ...] = ()
    for start, stop in pairwise([*edges, part.stop]):
        while waiting and waiting[0].start <= start:
            speaking.append(waiting.popleft())
        speaking = [turn for turn in speaking if turn.stop > start]
        people = tuple(sorted({turn.person for turn in speaking}))
        if len(people) > 1 and not (pairs and stop - start >= OVERLAP):
            # Who has the floor keeps it; a short overlap is only a change of speakers.
            people = held if len(held) == 1 and held[0] in people else (max(speaking).person,)
        if people and people != held and stop > part.start and start < part.stop:
            held = people
            yield max(0.0, start - part.start), people


def _without_interjections(turns: Sequence[Turn]) -> list[Turn]:
    """Return the turns but short ones that begin while somebody else goes on speaking."""
    kept: list[Turn] = []
    longest: dict[int, Turn] = {}
    for turn in sorted(turns):
        floor = [other for person, other in longest.items() if person != turn.person]
        short = turn.stop - turn.start < INTERJECTION
        if short and any(turn.stop <= other.stop + INTERJECTION / 2 for other in floor):
            continue
        kept.append(turn)
        if turn.person not in longest or turn.stop > longest[turn.person].stop:
            longest[turn.person] = turn
    return kept


def _cut(
    wanted: Sequence[tuple[float, tuple[int, ...]]], frames: int, shortest: int, fps: Fraction
) -> list[Shot]:
    """Follow the wishes, but never before a shot has lasted, nor for what does not last."""
    if not wanted:
        return [Shot(0, frames, View((0,)))]
    lasting = round(LASTING * fps)
    shots, begun, view = [], 0, View(wanted[0][1])
    marks = [(round(at * fps), people) for at, people in wanted]
    for (at, people), (until, _) in pairwise([*marks, (frames, ())]):
        moment = max(at, begun + shortest)
        if View(people) == view or moment + lasting > until or moment + shortest > frames:
            continue
        shots.append(Shot(begun, moment, view))
        begun, view = moment, View(people)
    return [*shots, Shot(begun, frames, view)]


def _opened(
    shots: Sequence[Shot], everybody: tuple[int, ...], frames: int, opening: int, shortest: int
) -> Iterator[Shot]:
    """Yield the shots with everybody at the beginning and the end, where there is room."""
    shots = list(shots)
    room = frames >= 2 * opening + 2 * shortest
    if room:
        shots = [*_replaced(shots, 0, opening, everybody, shortest)]
        shots = [*_replaced(shots, frames - opening, frames, everybody, shortest)]
    yield from shots


def _replaced(
    shots: Sequence[Shot], start: int, stop: int, people: tuple[int, ...], shortest: int
) -> Iterator[Shot]:
    """Yield the shots with `people` on `start..stop`, longer where a rest would be too short."""
    before = [shot for shot in shots if shot.start < start]
    after = [shot for shot in shots if shot.stop > stop]
    if before:
        last = before[-1]
        if start - last.start < shortest:
            start = last.start
            before.pop()
        else:
            before[-1] = replace(last, stop=start)
    if after:
        first = after[0]
        if first.stop - stop < shortest:
            stop = first.stop
            after.pop(0)
        else:
            after[0] = replace(first, start=stop)
    yield from before
    yield Shot(start, stop, View(people))
    yield from after


def _reactions(
    shots: Sequence[Shot], people: int, shortest: int, fps: Fraction, random: Random
) -> Iterator[Shot]:
    """Yield the shots with looks at a listener inside long ones of a single speaker."""
    for shot in shots:
        begun = shot.start
        while len(shot.view.front) == 1:
            look = begun + max(shortest, round(random.uniform(*REACTION_EVERY) * fps))
            back = look + shortest
            if back + shortest > shot.stop:
                break
            speaker = shot.view.front[0]
            listener = random.choice([p for p in range(people) if p != speaker])
            yield Shot(begun, look, shot.view)
            yield Shot(look, back, View((listener,)))
            begun = back
        yield replace(shot, start=begun)


def _joined(shots: Sequence[Shot]) -> Iterator[Shot]:
    """Yield the shots, those of one view that follow each other as one."""
    held: Shot | None = None
    for shot in shots:
        if held is not None and held.view == shot.view:
            held = replace(held, stop=shot.stop)
            continue
        if held is not None:
            yield held
        held = shot
    if held is not None:
        yield held
