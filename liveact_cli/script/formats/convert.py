"""From any known form of directions to a script, and from a script to any of them."""

from pathlib import Path
from typing import Final, Literal, get_args

from liveact_cli.core.errors import UsageError
from liveact_cli.core.geometry import ChunkPlan
from liveact_cli.script.direct import Direction
from liveact_cli.script.formats.released import RELEASED_POLICY, format_released, read_released
from liveact_cli.script.formats.subtitles import (
    Cue,
    Transcript,
    format_srt,
    format_vtt,
    parse_transcript,
)
from liveact_cli.script.formats.table import format_table, read_table
from liveact_cli.script.formats.write import format_script
from liveact_cli.script.models import Event, Script
from liveact_cli.script.parse import parse_script
from liveact_cli.script.problems import did_you_mean, quoted
from liveact_cli.script.resolved import DEFAULT_PROMPT
from liveact_cli.script.source import Source
from liveact_cli.script.timing import Duration, Origin, TimePoint
from liveact_cli.script.vocabulary import standard
from liveact_cli.script.words import Kind

Form = Literal["yaml", "json", "srt", "vtt", "csv"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
TIMED: Final = ("json", "srt", "vtt")
"""Forms that need the recording: they hold times or chunks, no rules."""
_SUFFIXES: Final[dict[str, Form]] = {
    ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".srt": "srt", ".vtt": "vtt", ".csv": "csv",
    ".tsv": "csv",
}  # fmt: skip
_PROMPT: Final = "prompt:"


def form_of(name: str | Path) -> Form:
    """Return the form that a file's name stands for; raises `UsageError` for another."""
    suffix = Path(name).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    near = did_you_mean(suffix, list(_SUFFIXES))
    raise UsageError(
        f"{quoted(Path(name).name)} has no known form", near or f"name it {', '.join(_SUFFIXES)}"
    )


def read_form(source: Source, form: Form, fps: float) -> Script:
    """Return the script in a file of `form`; chunk numbers count frames at `fps`.

    Raises `ScriptError` with everything that is wrong.
    """
    if form == "json":
        return read_released(source, fps)
    if form == "csv":
        return read_table(source)
    if form == "yaml":
        return parse_script(source).script
    return from_transcript(parse_transcript(source))


def from_transcript(transcript: Transcript) -> Script:
    """Return a script from subtitles.

    With spoken text the script refers to the file, whose [bracket] cues become events by
    themselves; a file of nothing but cues becomes a timeline.
    """
    if transcript.words():
        return Script(liveact=1, transcript=Path(transcript.name).name)
    events = []
    for text, start, stop, _ in transcript.brackets():
        event = _cue_event(text, start, stop)
        if event is not None:
            events.append(event)
    return Script(liveact=1, timeline=tuple(events))


def _cue_event(text: str, start: float, stop: float) -> Event | None:
    at = TimePoint(Origin.START, round(start * 1000))
    length = Duration(max(1, round((stop - start) * 1000)))
    if text.lower().startswith(_PROMPT) and text[len(_PROMPT) :].strip():
        return Event(at=at, for_=length, prompt=text[len(_PROMPT) :])
    if standard().find(Kind.EMOTION, text) is not None:
        return Event(at=at, for_=length, emotion=text)
    if standard().find(Kind.ACTION, text) is not None:
        return Event(at=at, for_=length, action=text)
    return None


def write_form(script: Script, form: Form, direction: Direction | None = None) -> str:
    """Return `script` in `form`; `TIMED` forms need it placed on a recording.

    Raises `UsageError` when the recording is missing.
    """
    if form == "yaml":
        return format_script(script)
    if form == "csv":
        return format_table(script)
    if direction is None:
        raise UsageError(
            f"{form} holds times, and this script has times that depend on the recording",
            "name it: --audio RECORDING",
        )
    if form == "json":
        resolved = direction.script
        plan = ChunkPlan(RELEASED_POLICY, resolved.frames)
        return format_released(direction.texts(plan, "chunk"), resolved.prompt or DEFAULT_PROMPT)
    cues = [
        Cue(span.seconds[0], span.seconds[1], _bracket(span.kind, span.text))
        for span in sorted(direction.script.spans, key=lambda span: (span.start, span.order))
    ]
    return format_srt(cues) if form == "srt" else format_vtt(cues)


def _bracket(kind: Kind, text: str) -> str:
    inner = f"{_PROMPT} {text}" if kind is Kind.PROMPT else text
    return f"[{inner.replace('[', '(').replace(']', ')')}]"
