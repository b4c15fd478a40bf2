"""From a script and a recording to spans in frames: the only place where times become frames."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from liveact_cli.core.geometry import frames_of
from liveact_cli.script.formats.subtitles import Transcript
from liveact_cli.script.models import Event
from liveact_cli.script.problems import Place, Problem, Severity, quoted
from liveact_cli.script.resolved import Span
from liveact_cli.script.sound import Sound
from liveact_cli.script.timing import Duration
from liveact_cli.script.vocabulary import Vocabulary
from liveact_cli.script.words import Kind

MAX_SPANS: Final = 50_000
FADE_SECONDS: Final = {Kind.EMOTION: 0.4, Kind.ACTION: 0.4, Kind.PROMPT: 0.0}
"""How long an ease takes when nothing is said."""
UNKNOWN_SECONDS: Final = 2.0
"""Length of an action that is not in the vocabulary."""
SAID_SECONDS: Final = 1.0
"""Shortest emotion on words of the transcript."""


@dataclass(frozen=True)
class Recording:
    """What is known of the recording: its length and frame rate, perhaps its sound and its text."""

    seconds: float
    fps: float
    sound: Sound | None = None
    transcript: Transcript | None = None
    seed: int = 0
    heard_from: float = 0.0
    """Where in the recording `sound` begins."""

    @property
    def frames(self) -> int:
        """Video frames of the whole recording."""
        return frames_of(self.seconds, self.fps)


@dataclass(frozen=True)
class Placed:
    """An event with where it came from: a preset, the script, the transcript, the command line."""

    event: Event
    layer: int
    place: Place
    line: str = ""


@dataclass(frozen=True)
class _Moment:
    """One occurrence in seconds; `stop` is None when nothing says how long."""

    start: float
    stop: float | None
    shortest: float = 0.0
    said: bool = False


class Resolver:
    """Places events on one recording; `problems` collects what does not fit."""

    def __init__(self, recording: Recording, vocabulary: Vocabulary) -> None:
        self.recording = recording
        self.vocabulary = vocabulary
        self.spans: list[Span] = []
        self.problems: list[Problem] = []

    def base(self, emotion: str, place: Place) -> None:
        """Add the emotion underneath everything."""
        self.add(Kind.EMOTION, emotion, Event(), 0, place, 0.0, self.recording.seconds, opened=True)

    def place(self, number: int, placed: Placed) -> None:
        """Add every occurrence of an event; `number` makes its jitter its own."""
        event, length = placed.event, self.recording.seconds
        moments = list(self._moments(number, placed))
        inside = [moment for moment in moments if 0.0 <= moment.start < length]
        if len(inside) < len(moments):
            self._warn_outside(placed, moments, len(moments) - len(inside))
        for moment in inside:
            for kind in Kind:
                text = getattr(event, kind)
                if text is not None:
                    self._occurrence(kind, text, placed, moment)

    def finish(self) -> list[Span]:
        """Return the spans in blending order, those until further notice cut where it is given."""
        ordered = sorted(self.spans, key=lambda span: (span.layer, span.start, span.order))
        return _cut_open_ended(ordered)

    def _occurrence(self, kind: Kind, text: str, placed: Placed, moment: _Moment) -> None:
        stop, opened = moment.stop, False
        if stop is None:
            word = self.vocabulary.find(kind, text) if kind is not Kind.PROMPT else None
            if kind is Kind.ACTION:
                stop = moment.start + (word.seconds if word is not None else UNKNOWN_SECONDS)
            elif moment.said:
                stop = moment.start + max(moment.shortest, SAID_SECONDS)
            else:
                stop, opened = self.recording.seconds, True
        start, event = moment.start, placed.event
        self.add(kind, text, event, placed.layer, placed.place, start, stop, opened=opened)

    def add(
        self,
        kind: Kind,
        text: str,
        event: Event,
        layer: int,
        place: Place,
        start: float,
        stop: float,
        *,
        opened: bool,
    ) -> None:
        """Add one span, cut to the recording and at least a frame long."""
        fps, frames = self.recording.fps, self.recording.frames
        if frames < 1:
            return
        first = min(frames_of(start, fps), frames - 1)
        last = min(max(frames_of(stop, fps), first + 1), frames)
        fade = FADE_SECONDS[kind] if event.fade is None else event.fade.seconds
        self.spans.append(
            Span(
                kind,
                text,
                first,
                last,
                (start, min(stop, self.recording.seconds)),
                1.0 if event.intensity is None else event.intensity,
                min(fade * fps, float(last - first)),
                None if kind is Kind.PROMPT else self.vocabulary.find(kind, text),
                layer,
                len(self.spans),
                opened,
                first == 0,
                last == frames,
                place,
            )
        )

    def _moments(self, number: int, placed: Placed) -> Iterator[_Moment]:
        event = placed.event
        if event.every is not None:
            yield from self._repetitions(number, placed, event.every)
        elif event.on is not None:
            yield from self._pauses(placed)
        elif event.say is not None:
            yield from self._said(placed, event.say)
        elif event.at is not None:
            start = event.at.seconds(self.recording.seconds)
            stop = None
            if event.for_ is not None:
                stop = start + event.for_.seconds
            elif event.until is not None:
                stop = event.until.seconds(self.recording.seconds)
                if stop <= start:
                    message = f"it ends at {event.until}, before its beginning at {event.at}"
                    self._warn(placed, f"{message} in this recording", "move one of them")
                    return
            yield _Moment(start, stop)

    def _repetitions(self, number: int, placed: Placed, every: Duration) -> Iterator[_Moment]:
        event, length = placed.event, self.recording.seconds
        first = event.at.seconds(length) if event.at is not None else every.seconds
        last = min(length, event.until.seconds(length) if event.until is not None else length)
        jitter = event.jitter.seconds if event.jitter is not None else 0.0
        count = int((last - first) / every.seconds) + 1 if last > first else 0
        if len(self.spans) + count > MAX_SPANS:
            message = f"every: {every} gives {count:,} events, together more than {MAX_SPANS:,}"
            self._fail(placed, message, "make every: longer")
            return
        for i in range(count):
            chance = random.Random(f"{self.recording.seed}/{placed.layer}/{number}/{i}")
            moved = max(0.0, first + i * every.seconds + jitter * chance.uniform(-1.0, 1.0))
            if moved < last:
                yield _Moment(moved, moved + event.for_.seconds if event.for_ else None)

    def _pauses(self, placed: Placed) -> Iterator[_Moment]:
        event, sound = placed.event, self.recording.sound
        if sound is None:
            return
        if not sound.pauses:
            self._warn(placed, "on: pause: this recording has no pause", "")
        for early, late in sound.pauses:
            start, stop = (self.recording.heard_from + t for t in (early, late))
            if event.for_ is not None:
                yield _Moment(start, start + event.for_.seconds)
            elif event.action is not None:
                yield _Moment(start, None)
            else:
                yield _Moment(start, stop)

    def _said(self, placed: Placed, phrase: str) -> Iterator[_Moment]:
        transcript, event = self.recording.transcript, placed.event
        if transcript is None:
            return
        found = transcript.find(phrase)
        if not found:
            name = transcript.name
            self._warn(placed, f"say: {quoted(phrase)} is not in {name}", "copy words from there")
        for start, stop in found:
            end = start + event.for_.seconds if event.for_ is not None else None
            yield _Moment(start, end, stop - start, said=True)

    def _warn_outside(self, placed: Placed, moments: Sequence[_Moment], count: int) -> None:
        length = self.recording.seconds
        where = moments[0].start if len(moments) == 1 else max(m.start for m in moments)
        times = "" if count == 1 else f" ({count} times)"
        message = f"this event lies outside the recording: {where:.2f} s of {length:.2f} s{times}"
        self._warn(placed, message, "move it, or count back from the end: end-3s")

    def _warn(self, placed: Placed, message: str, hint: str) -> None:
        problem = Problem(Severity.WARNING, message, placed.place, placed.line, hint)
        self.problems.append(problem)

    def _fail(self, placed: Placed, message: str, hint: str) -> None:
        self.problems.append(Problem(Severity.ERROR, message, placed.place, placed.line, hint))


def _cut_open_ended(spans: list[Span]) -> list[Span]:
    """Let spans until further notice end where the next such span of their kind hides them.

    They last until that one is fully open, so that the two cross without a dip.
    """
    kept: list[Span] = []
    following: dict[tuple[Kind, int], Span] = {}
    for span in reversed(spans):
        key = (span.kind, span.layer)
        if span.open_ended:
            later = following.get(key)
            following[key] = span
            if later is not None:
                hidden = math.ceil(later.start + later.fade / 2 + span.fade / 2) + 1
                stop = max(span.start + 1, min(span.stop, hidden))
                to_end = span.to_end and stop == span.stop
                fade = min(span.fade, float(stop - span.start))
                span = replace(span, stop=stop, to_end=to_end, fade=fade)
        kept.append(span)
    return kept[::-1]
