"""A commented script to start from, with suggestions from the sound and the transcript."""

from collections.abc import Iterator, Sequence
from typing import Final

from liveact_cli.script.formats.subtitles import Cue, Transcript
from liveact_cli.script.formats.write import quote
from liveact_cli.script.sound import PAUSE_SECONDS, Sound
from liveact_cli.script.timing import Duration, format_clock

MAX_EACH: Final = 8
"""Suggestions of one sort: a start, not a score."""
LONGEST: Final = 8.0
QUESTION_SIGNS: Final = ("?", "？", "؟")
_REMARK: Final = 60

_HEAD: Final = """\
# A direction for {name} ({length}). Times: 2, 2.5, 2s, 1500ms, 0:02, 1:02:03.250, 25%, end-3s.
# `liveact script vocabulary` lists the words, docs/directing.md explains the rest.
liveact: 1
"""


def suggest_script(
    name: str,
    sound: Sound,
    *,
    preset: str | None = None,
    transcript: Transcript | None = None,
    transcript_name: str | None = None,
) -> str:
    """Return the YAML of a script for the recording `name`; it parses as it is.

    `transcript_name` is how the script names the transcript, from its own folder on.
    """
    length = format_clock(round(sound.seconds * 1000))
    lines = [_HEAD.format(name=" ".join(name.split()), length=length).rstrip()]
    if preset is not None:
        lines.append(f"preset: {quote(preset)}")
    else:
        lines.append("# preset: podcast     # liveact preset list")
        lines.append("prompt: A person speaks to the camera.   # for models that read text")
        lines.append("emotion: warm         # until something else is said")
    if transcript_name is not None:
        lines.append(f"transcript: {quote(transcript_name)}   # [laughing] in it becomes an event")
    events = [*_pauses(sound, preset), *_moments(sound, transcript)]
    lines.append("timeline:" if events else "timeline: []")
    if not events:
        lines += ["#  - at: 0:02", "#    action: nod"]
    return "\n".join((*lines, *events)) + "\n"


def _pauses(sound: Sound, preset: str | None) -> Iterator[str]:
    pauses = sound.pauses
    if not pauses or preset is not None:
        return
    times = ", ".join(format_clock(round(start * 1000)) for start, _ in pauses[:MAX_EACH])
    more = " ..." if len(pauses) > MAX_EACH else ""
    yield f"  # {len(pauses)} silences longer than {PAUSE_SECONDS} s: {times}{more}"
    yield "  - on: pause"
    yield "    action: look down"
    yield "    intensity: 0.5"


def _moments(sound: Sound, transcript: Transcript | None) -> list[str]:
    """Return the events that stand at a time, in order."""
    bursts = _spread(sound.bursts)
    loud = _spread([span for span in sound.loud_passages if not _touches(span, bursts)])
    found: list[tuple[float, list[str]]] = []
    for start, stop in loud:
        found.append((start, _event("loud here", start, stop, "emotion: excited", "0.6")))
    for start, stop in bursts:
        remark = "bursts like laughter: listen, and keep it if it is"
        found.append((start, _event(remark, start, stop, "emotion: laughing", "0.8")))
    for cue in _questions(transcript):
        text = cue.text if len(cue.text) <= _REMARK else cue.text[: _REMARK - 1] + "…"
        remark = f"a question: {' '.join(text.split())}"
        late = max(cue.start, cue.stop - 1.0)
        found.append((late, _event(remark, late, late + 1.0, "action: raise eyebrows", "0.7")))
    return [line for _, lines in sorted(found, key=lambda item: item[0]) for line in lines]


def _event(remark: str, start: float, stop: float, direction: str, intensity: str) -> list[str]:
    length = Duration(round(max(0.5, min(stop - start, LONGEST)) * 1000))
    return [
        f"  # {remark}",
        f"  - at: {format_clock(round(start * 1000))}",
        f"    for: {length}",
        f"    {direction}",
        f"    intensity: {intensity}",
    ]


def _questions(transcript: Transcript | None) -> list[Cue]:
    if transcript is None:
        return []
    return _evenly([cue for cue in transcript.cues if cue.text.rstrip().endswith(QUESTION_SIGNS)])


def _spread(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    longest = sorted(spans, key=lambda span: span[0] - span[1])[:MAX_EACH]
    return sorted(longest)


def _evenly(cues: list[Cue]) -> list[Cue]:
    step = max(1, -(-len(cues) // MAX_EACH))
    return cues[::step]


def _touches(span: tuple[float, float], others: Sequence[tuple[float, float]]) -> bool:
    return any(span[0] < stop and start < span[1] for start, stop in others)
