"""What people do while they listen: sparse nods, glances and smiles, never two in step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from liveact_cli.script.models import Event
from liveact_cli.script.performance import PRESET_LAYER
from liveact_cli.script.problems import Place
from liveact_cli.script.resolve import Placed
from liveact_cli.script.timing import Duration, Origin, TimePoint
from liveact_cli.studio.turns import Turn, pauses

PLACE: Final = Place("reactions")
SHORTEST_LISTENING: Final = 2.0
APART: Final = 1.6
"""Seconds between the nods of two people: closer ones look rehearsed."""
BEAT_SECONDS: Final = 0.25
"""A silence that invites a reaction: the end of a phrase."""
_EVERY: Final = (2.5, 6.0)
_CLEAR: Final = 0.4
_REACH: Final = 1.5
_AT_BEATS: Final = (("nod", 0.55), ("smile", 0.25), ("raise eyebrows", 0.2))
_BETWEEN: Final = (
    ("glance", 0.35), ("nod", 0.25), ("smile", 0.15), ("tilt head", 0.15), ("raise eyebrows", 0.1),
)  # fmt: skip
_SECONDS: Final = {
    "nod": (0.9, 1.4),
    "smile": (1.4, 2.4),
    "raise eyebrows": (0.7, 1.1),
    "tilt head": (1.4, 2.2),
    "look left": (0.9, 1.8),
    "look right": (0.9, 1.8),
    "laugh": (1.2, 2.0),
}
_INTENSITY: Final = (0.35, 0.65)


@dataclass(frozen=True, slots=True, order=True)
class Reaction:
    """Person number `person` does `action` from `start` to `stop` (seconds)."""

    start: float
    stop: float
    person: int
    action: str
    intensity: float

    def placed(self) -> Placed:
        """Return the event of a script, underneath what the person's own script says."""
        length = Duration(round((self.stop - self.start) * 1000))
        event = Event(
            at=TimePoint(Origin.START, round(self.start * 1000)),
            for_=length,
            action=self.action,
            intensity=round(self.intensity, 2),
            fade=Duration(min(300, length.ms)),
        )
        return Placed(event, PRESET_LAYER, PLACE)


def reactions(
    turns: Sequence[Turn],
    people: int,
    seconds: float,
    seed: int,
    laughs: Sequence[tuple[float, float]] = (),
) -> list[Reaction]:
    """Return what everybody does while others speak, in order; the same for the same seed."""
    beats = [start for start, _ in pauses(turns, seconds, BEAT_SECONDS)]
    found: list[Reaction] = []
    for person in range(people):
        random = Random(f"{seed}/{person}")
        own = [turn for turn in turns if turn.person == person]
        others = [turn for turn in turns if turn.person != person]
        for start, stop in _listening(own, others, seconds):
            found += _during(random, person, others, beats, laughs, start, stop)
    return list(_out_of_step(sorted(found)))


def _listening(
    own: Sequence[Turn], others: Sequence[Turn], seconds: float
) -> Iterator[tuple[float, float]]:
    """Yield the stretches between a person's own turns in which somebody else is heard."""
    for start, stop in pauses(own, seconds, SHORTEST_LISTENING):
        if any(turn.start < stop and start < turn.stop for turn in others):
            yield start, stop


def _during(
    random: Random,
    person: int,
    others: Sequence[Turn],
    beats: Sequence[float],
    laughs: Sequence[tuple[float, float]],
    start: float,
    stop: float,
) -> Iterator[Reaction]:
    """Yield what a person does in one stretch of listening."""
    now = start + random.uniform(0.8, 3.5)
    while now < stop - _CLEAR:
        laugh = next((at for at, _ in laughs if abs(at - now) < _REACH), None)
        beat = next((at for at in beats if now <= at < now + _REACH), None)
        if laugh is not None:
            now, action = max(now, laugh + random.uniform(0.1, 0.5)), "laugh"
        elif beat is not None:
            now, action = beat + random.uniform(0.05, 0.3), _draw(random, _AT_BEATS)
        else:
            action = _draw(random, _BETWEEN)
        if action == "glance":
            action = _towards(person, others, now)
        end = now + random.uniform(*_SECONDS[action])
        intensity = random.uniform(*_INTENSITY)
        if end < stop - _CLEAR:
            yield Reaction(now, end, person, action, intensity)
        now = end + random.uniform(*_EVERY)


def _draw(random: Random, table: Sequence[tuple[str, float]]) -> str:
    return random.choices([name for name, _ in table], [weight for _, weight in table])[0]


def _towards(person: int, others: Sequence[Turn], now: float) -> str:
    """Return the glance at whoever speaks: the cast sits in its order from left to right."""
    speaker = max(
        (turn for turn in others if turn.start <= now), key=lambda turn: turn.stop, default=None
    )
    who = speaker.person if speaker is not None else others[0].person
    return "look right" if who > person else "look left"


def _out_of_step(found: Sequence[Reaction]) -> Iterator[Reaction]:
    """Yield the reactions without nods that come too soon after another person's."""
    last: Reaction | None = None
    for reaction in found:
        if reaction.action == "nod":
            other = last is not None and last.person != reaction.person
            if last is not None and other and reaction.start < last.stop + APART:
                continue
            last = reaction
        yield reaction
