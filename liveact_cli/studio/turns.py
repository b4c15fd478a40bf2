"""Who speaks when: turns in seconds, and the files that say so (RTTM, SRT, WebVTT)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Final

from liveact_cli.script.formats.subtitles import Transcript, parse_transcript
from liveact_cli.script.problems import (
    Place,
    Problem,
    ScriptError,
    Severity,
    did_you_mean,
    quoted,
)
from liveact_cli.script.source import Source, read_source

JOINED_GAP: Final = 0.3
"""Seconds of silence that do not end a turn: a breath."""
SHORTEST_TURN: Final = 0.08
_RTTM_FIELDS: Final = 8
_FORM: Final = "write SPEAKER file 1 12.34 3.2 <NA> <NA> name <NA> <NA>"
_PREFIX: Final = re.compile(r"\s*[-–—>]*\s*([^\W\d_][^:：\[\]()]{0,39}?)\s*[:：](?=\s)")


class EpisodeError(ScriptError):
    """An episode's file cannot be used; `problems` lists everything that is wrong with it."""

    advice = "docs/podcast.md shows episodes and the forms of turns"


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """Person number `person` speaks from `start` to `stop` (seconds)."""

    start: float
    stop: float
    person: int


@dataclass(frozen=True, slots=True)
class Named:
    """A stretch of speech under the name that a file gives it, and where it stands there."""

    start: float
    stop: float
    name: str
    place: Place
    line: str = ""


def tidy(turns: Iterable[Turn], seconds: float, gap: float = JOINED_GAP) -> tuple[Turn, ...]:
    """Return turns inside the recording, in order; of one person none that touch or overlap."""
    ends: dict[int, list[Turn]] = {}
    for turn in sorted(turns):
        start, stop = max(0.0, turn.start), min(turn.stop, seconds)
        if stop - start < min(SHORTEST_TURN, seconds):
            continue
        own = ends.setdefault(turn.person, [])
        if own and start - own[-1].stop < gap:
            last = own.pop()
            start, stop = last.start, max(last.stop, stop)
        own.append(Turn(start, stop, turn.person))
    return tuple(sorted(turn for own in ends.values() for turn in own))


def read_turns(
    path: Path, names: Sequence[str], seconds: float
) -> tuple[tuple[Turn, ...], Transcript | None]:
    """Return who of `names` speaks when as an RTTM, SRT or WebVTT file says, and its transcript.

    Speakers are found by name, whatever the case; where the file knows none of the names, the first
    to speak is the first of the cast. Raises `EpisodeError` for anything that does not fit.
    """
    source = read_source(path)
    is_rttm = path.suffix.lower() == ".rttm" or (
        "-->" not in source.text and source.text.lstrip().startswith(("SPEAKER ", ";;"))
    )
    transcript = None
    if is_rttm:
        named = parse_rttm(source)
    else:
        transcript = parse_transcript(source)
        named = list(speakers_of(transcript, names, source))
    return tidy(_assigned(named, names, source.name), seconds), transcript


def parse_rttm(source: Source) -> list[Named]:
    """Return the SPEAKER lines of an RTTM file (NIST); raises `EpisodeError` with all bad ones."""
    found: list[Named] = []
    problems: list[Problem] = []
    for number, line in enumerate(source.lines, start=1):
        fields = [(match[0], match.start() + 1) for match in re.finditer(r"\S+", line)]
        if not fields or fields[0][0] != "SPEAKER":
            if fields and not fields[0][0].startswith(";;") and "SPEAKER" in fields[0][0].upper():
                problems.append(_error(source, number, 1, "a line begins with SPEAKER", ""))
            continue
        if len(fields) < _RTTM_FIELDS:
            message = f"{len(fields)} fields; a turn has {_RTTM_FIELDS} or more"
            problems.append(_error(source, number, 1, message, _FORM))
            continue
        times = [_number(fields[i][0]) for i in (3, 4)]
        if None in times:
            word, column = fields[3 + times.index(None)]
            message = f"{quoted(word)} is not a time in seconds"
            problems.append(_error(source, number, column, message, _FORM))
            continue
        start, length = (time or 0.0 for time in times)
        place = Place(source.name, number, fields[7][1])
        found.append(Named(start, start + length, fields[7][0], place, line))
    if problems:
        raise EpisodeError(problems)
    if not found:
        raise EpisodeError([_error(source, 0, 0, "there is no SPEAKER line in it", _FORM)])
    return found


def speakers_of(transcript: Transcript, names: Sequence[str], source: Source) -> Iterator[Named]:
    """Yield the stretches of a transcript under the names of who speaks.

    Names are `<v Name>` or `Name:`; a cue without one goes on with the speaker before it. Raises
    `EpisodeError` when there are none, or when the first cue has none.
    """
    voiced = any(cue.voices for cue in transcript.cues)
    known = {_key(name) for name in names}
    heads = [head for cue in transcript.cues for _, head in _head(cue.text)]
    # With names of the cast in it, `Note:` is a word, and `Hots:` a typing error.
    named = any(_key(head) in known for head in heads)
    listing = "|".join(re.escape(name) for name in names)
    inside = re.compile(rf"(?<=\s)[-–—]*\s*({listing})\s*[:：](?=\s)", re.IGNORECASE)
    current: str | None = None
    for cue in transcript.cues:
        if voiced:
            marks = list(cue.voices)
        else:
            marks = [mark for mark in _head(cue.text) if not named or _is_near(mark[1], known)]
            if named:
                marks += [(match.start(), match[1]) for match in inside.finditer(cue.text)]
        if not marks and current is None:
            if cue.text.strip().startswith(("[", "(", "♪")):
                continue
            message = "this cue does not say who speaks"
            hint = "begin it with `Name:` (SRT) or <v Name> (WebVTT)"
            raise EpisodeError([_error(source, cue.line, 1, message, hint)])
        if current is not None and (not marks or marks[0][0] > 0):
            marks = [(0, current), *marks]
        ends = [*(cue.time_at(position) for position, _ in marks[1:]), cue.stop]
        starts = [cue.start, *ends[:-1]]
        place, line = Place(source.name, cue.line, 1), source.line(cue.line + 1)
        for (_, name), start, stop in zip(marks, starts, ends, strict=True):
            yield Named(start, stop, name, place, line)
            current = name


def pauses(turns: Sequence[Turn], seconds: float, shortest: float) -> list[tuple[float, float]]:
    """Return the stretches of `shortest` seconds or more in which nobody speaks."""
    edges = [(0.0, 0.0), *((turn.start, turn.stop) for turn in turns), (seconds, seconds)]
    found, end = [], 0.0
    for (_, before), (start, _) in pairwise(edges):
        end = max(end, before)
        if start - end >= shortest:
            found.append((end, start))
    return found


def format_rttm(turns: Iterable[Turn], names: Sequence[str], file: str) -> str:
    """Return turns as an RTTM file; spaces in names become underscores."""
    stem = "_".join(file.split()) or "episode"
    return "".join(
        f"SPEAKER {stem} 1 {turn.start:.3f} {turn.stop - turn.start:.3f} <NA> <NA> "
        f"{'_'.join(names[turn.person].split())} <NA> <NA>\n"
        for turn in turns
    )


def _head(text: str) -> list[tuple[int, str]]:
    """Return the `Name:` that a cue begins with, as a list of one or none."""
    match = _PREFIX.match(text)
    return [(0, " ".join(match[1].split()))] if match else []


def _is_near(name: str, known: set[str]) -> bool:
    return _key(name) in known or bool(did_you_mean(_key(name), sorted(known), cutoff=0.7))


def _assigned(named: Sequence[Named], names: Sequence[str], file: str) -> Iterator[Turn]:
    """Yield turns with numbers for names."""
    said = list(dict.fromkeys(_key(part.name) for part in named))
    cast = {_key(name): number for number, name in enumerate(names)}
    if not any(name in cast for name in said):
        if len(said) > len(names):
            listing = ", ".join(dict.fromkeys(quoted(part.name) for part in named))
            message = f"{len(said)} people speak ({listing}), the cast has {len(names)}"
            hint = "give every speaker a picture (--guest NAME=IMAGE), or use their names"
            raise EpisodeError([Problem(Severity.ERROR, message, Place(file), hint=hint)])
        cast = {name: number for number, name in enumerate(said)}
    unknown = {key: part for part in reversed(named) if (key := _key(part.name)) not in cast}
    if unknown:
        listing = ", ".join(names)
        raise EpisodeError(
            [
                Problem(
                    Severity.ERROR,
                    f"nobody in the cast is called {quoted(part.name)}",
                    part.place,
                    part.line,
                    did_you_mean(key, list(cast)) or f"the cast is {listing}",
                )
                for key, part in unknown.items()
            ]
        )
    yield from (Turn(part.start, part.stop, cast[_key(part.name)]) for part in named)


def _key(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and value >= 0 else None


def _error(source: Source, line: int, column: int, message: str, hint: str) -> Problem:
    place = Place(source.name, line, column)
    return Problem(Severity.ERROR, message, place, source.line(line), hint)
