"""What is allowed but perhaps not meant: overlaps, moved events, words a model cannot show."""

import heapq
from collections.abc import Iterator, Sequence
from typing import Final

from liveact_cli.script.performance import PRESET_LAYER
from liveact_cli.script.problems import Place, Problem, Severity, quoted
from liveact_cli.script.resolved import ResolvedScript, Span, snap
from liveact_cli.script.words import NO_HANDS, Kind

MAX_OVERLAPS: Final = 20
MOVED_SECONDS: Final = 0.1
"""Shifts below this are not worth a line: half a latent frame is 0.08 s."""


def overlap_problems(script: ResolvedScript) -> Iterator[Problem]:
    """Yield a warning for every pair of events of one kind and layer that hide each other.

    A preset's small gestures may meet: nobody has asked for each of them.
    """
    told: set[tuple[Place, Place]] = set()
    for kind in Kind:
        spans = [
            s
            for s in script.spans
            if s.kind is kind and not s.open_ended and s.layer > PRESET_LAYER
        ]
        active: list[tuple[int, int, Span]] = []
        for i, span in enumerate(sorted(spans, key=lambda s: (s.start, s.order))):
            while active and active[0][0] <= span.start:
                heapq.heappop(active)
            for _, _, earlier in active:
                pair = (earlier.place, span.place)
                if earlier.layer == span.layer and pair not in told and len(told) < MAX_OVERLAPS:
                    told.add(pair)
                    yield _overlap(script, earlier, span)
            heapq.heappush(active, (span.stop, i, span))


def _overlap(script: ResolvedScript, earlier: Span, later: Span) -> Problem:
    seconds = (min(earlier.stop, later.stop) - later.start) / script.fps
    other = f" (line {earlier.place.line})" if earlier.place.line else ""
    message = (
        f"{later.kind} {quoted(later.name)} covers {quoted(earlier.name)}{other}"
        f" for {seconds:.2f} s"
    )
    return Problem(Severity.WARNING, message, later.place, hint="the later one is seen")


def shown_problems(script: ResolvedScript) -> Iterator[Problem]:
    """Yield a note, once a word, for what liveact-mini cannot show as it is."""
    told: set[str] = set()
    for span in script.spans:
        if span.name in told:
            continue
        if span.kind is Kind.PROMPT:
            told.add(span.name)
            message = f"liveact-mini reads no text: {quoted(span.text)} has no effect"
            yield Problem(Severity.NOTE, message, span.place, hint="use emotion: and action:")
        elif span.word is not None and not span.word.exact:
            told.add(span.name)
            yield Problem(Severity.NOTE, _nearest(span), span.place)


def _nearest(span: Span) -> str:
    word = span.word
    motion = word.motion if word is not None else ()
    if not motion:
        return f"liveact-mini cannot show {quoted(span.name)}, and like: names nothing near it"
    nearest = " + ".join(name.replace("_", " ") for name, _ in motion)
    why = NO_HANDS if span.kind is Kind.ACTION else "is more than liveact-mini can show"
    return f"{quoted(span.name)} {why}: it plays {nearest}"


def moved_problems(script: ResolvedScript, bounds: Sequence[int], unit: str) -> Iterator[Problem]:
    """Yield a note for every event that a grid of chunks or latent frames moves noticeably."""
    told: set[Place] = set()
    for span in script.spans:
        if span.place in told:
            continue
        start, stop = snap(span, bounds)
        early = (bounds[start] - span.start) / script.fps
        late = (bounds[stop] - span.stop) / script.fps
        if max(abs(early), abs(late)) >= MOVED_SECONDS:
            told.add(span.place)
            message = (
                f"{span.kind} {quoted(span.name)} is moved to {unit}s: "
                f"begins {_shift(early)}, ends {_shift(late)}"
            )
            yield Problem(Severity.NOTE, message, span.place)


def _shift(seconds: float) -> str:
    if abs(seconds) < 0.005:
        return "on time"
    return f"{abs(seconds):.2f} s {'later' if seconds > 0 else 'earlier'}"


def fade_problems(script: ResolvedScript, requested: dict[Place, float]) -> Iterator[Problem]:
    """Yield a warning for events that are shorter than the fade they ask for."""
    told: set[Place] = set()
    for span in script.spans:
        wanted = requested.get(span.place, 0.0)
        length = (span.stop - span.start) / script.fps
        if span.place not in told and wanted > length + 1e-9:
            told.add(span.place)
            message = f"fade: {wanted:g} s is longer than the event ({length:.2f} s)"
            yield Problem(Severity.WARNING, message, span.place, hint="it is shortened to fit")
