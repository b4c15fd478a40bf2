"""A script with all it refers to: preset, transcript, definitions, the command line's orders."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from liveact_cli.core.errors import LiveActError, UsageError
from liveact_cli.script.definitions import define_words, word_problem
from liveact_cli.script.formats.subtitles import Transcript, read_transcript
from liveact_cli.script.models import Event, Script
from liveact_cli.script.parse import Parsed, parse_preset
from liveact_cli.script.presets import Preset
from liveact_cli.script.problems import Place, Problem, ScriptError, Severity, quoted
from liveact_cli.script.resolve import Placed
from liveact_cli.script.salvage import salvage_script
from liveact_cli.script.source import Source, read_source
from liveact_cli.script.timing import Duration, Origin, TimePoint, parse_point
from liveact_cli.script.vocabulary import Vocabulary, standard
from liveact_cli.script.words import Kind

PRESET_LAYER, CUE_LAYER, SCRIPT_LAYER, ORDER_LAYER = 1, 2, 3, 4
"""What hides what: orders the script, the script its transcript's cues, all of them a preset."""
PRESET_SUFFIXES: Final = (".yaml", ".yml")
EMPTY: Final = Source("liveact: 1", "command line")
PresetFinder = Callable[[str], Path]
"""Turns the name of a preset into its file; raises `UsageError` for a name that does not exist."""
FoundT = TypeVar("FoundT")


@dataclass(frozen=True)
class Orders:
    """What the command line says beside a script file: words, `nod@3s`, text."""

    preset: str | None = None
    prompt: str | None = None
    emotion: str | None = None
    actions: tuple[str, ...] = ()


NO_ORDERS: Final = Orders()


@dataclass(frozen=True)
class Performance:
    """All that is directed, without the recording it is directed on."""

    script: Parsed[Script]
    preset: Parsed[Preset] | None
    transcript: Transcript | None
    vocabulary: Vocabulary
    orders: Orders = NO_ORDERS
    problems: tuple[Problem, ...] = ()
    added: tuple[Placed, ...] = ()
    """Events of a program's own, such as what people do while they listen."""

    @property
    def needs_sound(self) -> bool:
        """Whether an event waits for the sound."""
        return any(placed.event.on is not None for placed in self.placed())

    def placed(self) -> Iterator[Placed]:
        """Yield every event with its layer and place."""
        if self.preset is not None:
            yield from _idle_events(self.preset)
            yield from _timeline(self.preset, PRESET_LAYER)
        yield from self.added
        if self.transcript is not None:
            yield from _cue_events(self.transcript, self.vocabulary)
        yield from _timeline(self.script, SCRIPT_LAYER)
        yield from (_ordered_action(action) for action in self.orders.actions)

    def settings(self) -> dict[str, object]:
        """Return what the preset sets for a render, by the names of the settings."""
        return self.preset.script.settings() if self.preset is not None else {}

    def base_emotion(self) -> tuple[str, Place, str] | None:
        """Return the emotion underneath everything with its place and line."""
        if self.orders.emotion is not None:
            return self.orders.emotion, Place("--emotion"), ""
        origins: list[Parsed[Script] | Parsed[Preset]] = [self.script]
        if self.preset is not None:
            origins.append(self.preset)
        for origin in origins:
            if origin.script.emotion is not None:
                place = origin.place(("emotion",))
                return origin.script.emotion, place, origin.line(place)
        return None

    def base_prompt(self) -> str:
        """Return the text that the whole video is described with."""
        preset = self.preset.script if self.preset is not None else None
        prompt = self.orders.prompt or self.script.script.prompt
        if preset is None:
            return prompt or ""
        parts = (prompt or preset.prompt, preset.framing.shot)
        return " ".join(_sentence(part) for part in parts if part)

    def line(self, place: Place) -> str:
        """Return the source line of a place in the script or the preset."""
        if place.file == self.script.document.source.name:
            return self.script.line(place)
        if self.preset is not None and place.file == self.preset.document.source.name:
            return self.preset.line(place)
        return ""


def load_performance(
    script: str | Path | None,
    find_preset: PresetFinder,
    *,
    orders: Orders = NO_ORDERS,
    reads_text: bool = False,
) -> Performance:
    """Read a script (None: an empty one) with everything it refers to.

    `reads_text`: whether the model reads text, so that unknown words are allowed. Raises
    `ScriptError` with everything that is wrong, `UsageError` for the orders.
    """
    source = EMPTY if script is None else read_source(script)
    return read_performance(source, find_preset, orders=orders, reads_text=reads_text)


def read_performance(
    source: Source,
    find_preset: PresetFinder,
    *,
    orders: Orders = NO_ORDERS,
    reads_text: bool = False,
) -> Performance:
    """Return the script in `source` as `load_performance` does."""
    parsed, wrong = salvage_script(source)
    if parsed is None:
        raise ScriptError(wrong)
    return assemble(parsed, find_preset, orders=orders, reads_text=reads_text, wrong=wrong)


def assemble(
    parsed: Parsed[Script],
    find_preset: PresetFinder,
    *,
    orders: Orders = NO_ORDERS,
    reads_text: bool = False,
    wrong: Sequence[Problem] = (),
) -> Performance:
    """Return a parsed script with everything it refers to.

    `wrong` is what is known to be wrong with it already. Raises `ScriptError` with everything that
    is wrong, `UsageError` for the orders.
    """
    problems: list[Problem] = []
    preset = _collect(problems, lambda: _preset_of(parsed, orders, find_preset))
    transcript = _collect(problems, lambda: _transcript_of(parsed))
    vocabulary = standard()
    origins: list[Parsed[Script] | Parsed[Preset]] = [parsed]
    if preset is not None:
        origins.insert(0, preset)
    for origin in origins:
        vocabulary, found = define_words(origin, vocabulary)
        problems += found
    performance = Performance(parsed, preset, transcript, vocabulary, orders)
    notes = list(_word_problems(performance, reads_text=reads_text))
    problems += [p for p in notes if p.severity is Severity.ERROR]
    if wrong:
        # What stands in a line that is not YAML was guessed.
        broken = parsed.document.broken_lines
        problems = [*wrong, *(p for p in problems if p.place.line not in broken)]
    if problems:
        raise ScriptError(problems)
    return replace(performance, problems=(*notes, *_unknown_cues(performance)))


def _collect(problems: list[Problem], look: Callable[[], FoundT]) -> FoundT | None:
    try:
        return look()
    except ScriptError as error:
        problems += error.problems
        return None


def _preset_of(
    parsed: Parsed[Script], orders: Orders, find_preset: PresetFinder
) -> Parsed[Preset] | None:
    if orders.preset is not None:
        return parse_preset(read_source(preset_file(orders.preset, Path(), find_preset)))
    name = parsed.script.preset
    if name is None:
        return None
    place = parsed.place(("preset",))
    try:
        path = preset_file(name, parsed.folder, find_preset)
    except LiveActError as error:
        line = parsed.line(place)
        problem = Problem(Severity.ERROR, error.message, place, line, error.hint)
        raise ScriptError([problem]) from None
    return parse_preset(read_source(path))


def preset_file(name: str, folder: Path, find_preset: PresetFinder) -> Path:
    """Return the file of a preset: of a path ending in .yaml, from `folder` on, or of a name."""
    if name.endswith(PRESET_SUFFIXES):
        return folder / Path(name).expanduser()
    return find_preset(name)


def _transcript_of(parsed: Parsed[Script]) -> Transcript | None:
    name = parsed.script.transcript
    if name is None:
        return None
    try:
        return read_transcript(parsed.folder / name)
    except ScriptError as error:
        place = parsed.place(("transcript",))
        first = error.problems[0]
        if first.place.line:
            raise
        line = parsed.line(place)
        hint = "name an SRT or WebVTT file beside the script, or take transcript: out"
        raise ScriptError([replace(first, place=place, text=line, hint=hint)]) from None


def _timeline(origin: Parsed[Script] | Parsed[Preset], layer: int) -> Iterator[Placed]:
    for i, event in enumerate(origin.script.timeline):
        place = origin.place(("timeline", i))
        yield Placed(event, layer, place, origin.line(place))


def _idle_events(preset: Parsed[Preset]) -> Iterator[Placed]:
    """Yield the preset's small gestures: each idle action takes its turn, at irregular times."""
    energy, actions = preset.script.energy, preset.script.idle or ()
    if energy.gestures <= 0 or not actions:
        return
    period = 60_000 / energy.gestures
    every = Duration(round(period * len(actions)))
    place = preset.place(("idle",))
    for i, action in enumerate(actions):
        event = Event(
            at=TimePoint(Origin.START, round(period * (i + 0.5))),
            every=every,
            jitter=Duration(round(period * 0.45)),
            action=action,
            intensity=energy.intensity,
        )
        yield Placed(event, PRESET_LAYER, place, preset.line(place))


def _cue_events(transcript: Transcript, vocabulary: Vocabulary) -> Iterator[Placed]:
    """Yield an event for every [bracket] whose words are an emotion or an action."""
    for text, start, stop, cue in transcript.brackets():
        place = Place(transcript.name, cue.line, 1)
        at = TimePoint(Origin.START, round(start * 1000))
        length = Duration(round((stop - start) * 1000)) if stop > start else None
        if vocabulary.find(Kind.EMOTION, text) is not None:
            event = Event(at=at, for_=length or Duration(2000), emotion=text)
        elif vocabulary.find(Kind.ACTION, text) is not None:
            event = Event(at=at, for_=length, action=text)
        else:
            continue
        yield Placed(event, CUE_LAYER, place, f"[{text}]")


def _unknown_cues(performance: Performance) -> Iterator[Problem]:
    told: set[str] = set()
    transcript = performance.transcript
    for text, _, _, cue in transcript.brackets() if transcript is not None else ():
        known = any(performance.vocabulary.find(k, text) for k in (Kind.EMOTION, Kind.ACTION))
        if not known and text not in told and transcript is not None:
            told.add(text)
            message = f"the cue [{quoted(text)[1:-1]}] is no emotion or action: it does nothing"
            yield Problem(Severity.NOTE, message, Place(transcript.name, cue.line, 1))


def _ordered_action(text: str) -> Placed:
    """Return the event of `nod@3s`."""
    word, at, time = text.rpartition("@")
    hint = 'write a word and its time: --action "nod@3s"'
    if not at or not word.strip():
        raise UsageError(f"--action {text!r} has no time", hint)
    try:
        event = Event(at=parse_point(time), action=word)
    except ValueError as error:
        message = str(error).partition("; ")[0] if " " in str(error) else str(error)
        raise UsageError(f"--action {text!r}: {message}", hint) from None
    return Placed(event, ORDER_LAYER, Place(f"--action {text}"))


def _word_problems(performance: Performance, *, reads_text: bool) -> Iterator[Problem]:
    """Yield what is wrong with the words of every event, each word of a file once."""
    vocabulary = performance.vocabulary
    for kind, text, place, line in _words_used(performance):
        problem = word_problem(vocabulary, kind, text, place, line, reads_text=reads_text)
        if problem is not None:
            yield problem


def _words_used(performance: Performance) -> Iterator[tuple[Kind, str, Place, str]]:
    """Yield every emotion and action with the place and the line where it stands."""
    base = performance.base_emotion()
    if base is not None:
        yield Kind.EMOTION, *base
    for origin in (performance.script, performance.preset):
        for i, event in enumerate(origin.script.timeline if origin is not None else ()):
            for kind in (Kind.EMOTION, Kind.ACTION):
                text = getattr(event, kind)
                if text is not None and origin is not None:
                    place = origin.place(("timeline", i, kind))
                    yield kind, text, place, origin.line(place)
    for placed in map(_ordered_action, performance.orders.actions):
        yield Kind.ACTION, placed.event.action or "", placed.place, placed.line
    if performance.preset is not None:
        for i, name in enumerate(performance.preset.script.idle or ()):
            place = performance.preset.place(("idle", i))
            yield Kind.ACTION, name, place, performance.preset.line(place)


def _sentence(text: str) -> str:
    return text if text[-1] in ".!?。！？" else f"{text}."
