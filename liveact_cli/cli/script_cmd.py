"""`liveact script`: check, look at, begin and convert directions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liveact_cli.cli.apps import new_app
from liveact_cli.cli.directing import check_free, picture_file
from liveact_cli.core.errors import ExitCode, UsageError
from liveact_cli.weights.registry import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from liveact_cli.cli.context import Environment
    from liveact_cli.core.geometry import ChunkPlan
    from liveact_cli.script.direct import Direction
    from liveact_cli.script.performance import Performance
    from liveact_cli.script.problems import Problem
    from liveact_cli.script.resolve import Recording
    from liveact_cli.weights.registry import ModelRow

# The rate in which frames are counted for a model that has none of its own.
_FPS = 25.0

app = new_app("Direct a performance: timed emotions and actions in YAML.")

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="The script; - reads standard input.")
]
AudioOption = Annotated[
    str | None, typer.Option("--audio", metavar="AUDIO", help="The recording it is for.")
]
ModelOption = Annotated[
    str, typer.Option("--model", metavar="NAME", help="The model that will play it.")
]
OutputOption = Annotated[
    str | None, typer.Option("-o", "--output", metavar="FILE", help="Write it here.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]


@app.command()
def check(
    ctx: typer.Context,
    file: FileArgument,
    audio: AudioOption = None,
    model: ModelOption = DEFAULT_MODEL,
    as_json: JsonOption = False,
) -> int:
    """Say everything that is wrong with a script, and what is doubtful; exit 3 on errors.

    With the recording, times are checked too: what lies outside, overlaps, pauses, and what the
    model cannot play as written.
    """
    from liveact_cli.script.problems import ScriptError, Severity
    from liveact_cli.weights.registry import find_model

    environment: Environment = ctx.obj
    row = find_model(model)
    found: list[Problem] = []
    try:
        performance = _performance(environment, file, row)
        found += performance.problems
        if audio is not None:
            direction, plan = _directed(environment, performance, audio, row)
            found = [*direction.problems, *direction.model_notes(plan, reads_text=row.reads_text)]
    except ScriptError as error:
        if not as_json:
            raise
        found += error.problems
    errors = [problem for problem in found if problem.severity is Severity.ERROR]
    if as_json:
        problems = [problem.as_json() for problem in found]
        environment.result_json({"ok": not errors, "file": file, "problems": problems})
    else:
        _tell(environment, found)
        environment.result(f"{file}: ok" + (f", {_remarks(len(found))}" if found else ""))
    return ExitCode.BAD_MEDIA if errors else ExitCode.OK


@app.command()
def show(
    ctx: typer.Context,
    file: FileArgument,
    audio: AudioOption = None,
    output: OutputOption = None,
    model: ModelOption = DEFAULT_MODEL,
    as_json: JsonOption = False,
    force: ForceOption = False,
) -> None:
    """Draw the timeline of a script on its recording; -o timeline.png draws a picture."""
    from liveact_cli.script.timeline import event_lines
    from liveact_cli.weights.registry import find_model

    environment: Environment = ctx.obj
    if audio is None:
        raise UsageError("a timeline needs the recording", "add --audio RECORDING")
    row = find_model(model)
    target = None if output is None else picture_file(environment, output, force=force)
    performance = _performance(environment, file, row)
    recording = _recording(environment, audio, row, needs_sound=True)
    direction, plan = _placed(performance, recording, row)
    if target is not None:
        from liveact_cli.script.picture import draw_picture

        draw_picture(direction.script, plan, recording.sound).save(target)
    if as_json:
        environment.result_json(_timeline_json(direction, plan))
    elif target is not None:
        environment.result(str(target))
    else:
        _draw(environment, direction, plan, recording)
        for line in event_lines(direction.script):
            environment.result(line)
    _tell(environment, direction.problems)


@app.command()
def new(
    ctx: typer.Context,
    audio: AudioOption = None,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="NAME", help="What lies underneath.")
    ] = None,
    transcript: Annotated[
        str | None, typer.Option("--transcript", metavar="FILE", help="SRT or WebVTT.")
    ] = None,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Write a commented script to start from, with suggestions from the sound."""
    from liveact_cli.config.presets import find_preset
    from liveact_cli.script.formats.subtitles import read_transcript
    from liveact_cli.script.suggest import suggest_script
    from liveact_cli.weights.registry import find_model

    environment: Environment = ctx.obj
    if audio is None:
        raise UsageError("suggestions need the recording", "add --audio RECORDING")
    if preset is not None:
        find_preset(preset, environment.variables)
    words = None if transcript is None else read_transcript(environment.path(transcript))
    row = find_model(DEFAULT_MODEL)
    sound = _recording(environment, audio, row, needs_sound=True).sound
    if sound is None:
        raise UsageError("the recording has no sound", "name another one")
    text = suggest_script(
        Path(audio).name, sound, preset=preset, transcript=words, transcript_name=transcript
    )
    _write(environment, text, output, force=force)


@app.command()
def convert(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON, SRT, VTT, CSV or YAML.")],
    output: OutputOption = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FORM", help="yaml, json, srt, vtt or csv.")
    ] = None,
    fps: Annotated[
        float, typer.Option("--fps", metavar="N", help="Frame rate that chunk numbers count in.")
    ] = 24.0,
    audio: AudioOption = None,
    force: ForceOption = False,
) -> None:
    """Convert the released system's JSON edits, subtitles or a table into a script, and back.

    JSON, SRT and VTT hold times only, so a script needs its recording (--audio) to become one.
    """
    from liveact_cli.script.formats.convert import (
        FORMS,
        TIMED,
        form_of,
        read_form,
        write_form,
    )
    from liveact_cli.script.source import read_source
    from liveact_cli.weights.registry import find_model

    environment: Environment = ctx.obj
    source_form = form_of(file)
    target_form = to or (form_of(output) if output else "yaml")
    if target_form not in FORMS:
        raise UsageError(f"there is no form {to!r}", f"write --to {', '.join(FORMS)}")
    if not 1.0 <= fps <= 240.0:
        raise UsageError(f"--fps {fps:g} is not possible", "the released system uses 24")
    source = read_source(environment.path(file))
    script = read_form(source, source_form, fps)
    direction = None
    if target_form in TIMED and audio is not None:
        performance = _assembled(environment, source, script)
        row = find_model("liveact-18b")
        recording = _recording(
            environment, audio, row, needs_sound=performance.needs_sound, fps=fps
        )
        direction, _ = _placed(performance, recording, row)
    _write(environment, write_form(script, target_form, direction), output, force=force)


@app.command()
def vocabulary(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="Only words that match.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the emotions and actions, their synonyms, and how the models show them."""
    from liveact_cli.script.vocabulary import standard

    environment: Environment = ctx.obj
    chosen = standard().matching(words or [])
    if words and not chosen:
        raise UsageError(f"no word matches {' '.join(words)!r}", "liveact script vocabulary")
    if as_json:
        entries = [
            {
                "name": word.name,
                "kind": str(word.kind),
                "synonyms": {"en": list(word.english), "zh": list(word.chinese)},
                "liveact-18b": word.text,
                "liveact-mini": dict(word.motion),
                "exact": word.exact,
                "seconds": word.seconds,
            }
            for word in chosen
        ]
        environment.result_json({"ok": True, "words": entries})
        return
    kind = None
    for word in chosen:
        if word.kind is not kind:
            kind = word.kind
            environment.result(f"{kind}s")
        motion = " + ".join(f"{name} {weight:g}" for name, weight in word.motion)
        nearest = "" if word.exact else f"  [liveact-mini: {motion}]"
        environment.result(f"  {word.name:15} {word.text}{nearest}")
        environment.result(f"  {'':15} {', '.join((*word.english, *word.chinese))}")


@app.command()
def schema(ctx: typer.Context, output: OutputOption = None, force: ForceOption = False) -> None:
    """Print the JSON Schema, with which editors complete and check scripts."""
    import json

    from liveact_cli.script.models import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    _write(ctx.obj, text, output, force=force)


def _performance(environment: "Environment", file: str, row: "ModelRow") -> "Performance":
    from functools import partial

    from liveact_cli.config.presets import find_preset
    from liveact_cli.script.performance import load_performance

    path: str | Path = file if file == "-" else environment.path(file)
    finder = partial(find_preset, variables=environment.variables)
    return load_performance(path, finder, reads_text=row.reads_text)


def _assembled(environment: "Environment", source: Any, script: Any) -> "Performance":
    from functools import partial

    from liveact_cli.config.presets import find_preset
    from liveact_cli.script.formats.write import format_script
    from liveact_cli.script.parse import parse_script
    from liveact_cli.script.performance import assemble
    from liveact_cli.script.source import Source

    parsed = parse_script(Source(format_script(script), source.name, source.folder))
    finder = partial(find_preset, variables=environment.variables)
    return assemble(parsed, finder, reads_text=True)


def _recording(
    environment: "Environment",
    audio: str,
    row: "ModelRow",
    *,
    needs_sound: bool,
    fps: float | None = None,
) -> "Recording":
    from liveact_cli.media.audio import AudioSource
    from liveact_cli.script.resolve import Recording
    from liveact_cli.script.sound import listen

    source = AudioSource(environment.path(audio))
    sound = listen(source.blocks()) if needs_sound else None
    return Recording(source.seconds, fps or row.native_fps or _FPS, sound)


def _placed(
    performance: "Performance", recording: "Recording", row: "ModelRow"
) -> "tuple[Direction, ChunkPlan]":
    from liveact_cli.core.geometry import ChunkPlan
    from liveact_cli.script.direct import direct

    return direct(performance, recording), ChunkPlan(row.policy, recording.frames)


def _directed(
    environment: "Environment", performance: "Performance", audio: str, row: "ModelRow"
) -> "tuple[Direction, ChunkPlan]":
    needs_sound = performance.needs_sound
    recording = _recording(environment, audio, row, needs_sound=needs_sound)
    return _placed(performance, recording, row)


def _remarks(count: int) -> str:
    return "1 remark" if count == 1 else f"{count} remarks"


def _tell(environment: "Environment", problems: "Iterable[Problem]") -> None:
    for problem in problems:
        environment.say(str(problem))


def _draw(
    environment: "Environment", direction: "Direction", plan: "ChunkPlan", recording: "Recording"
) -> None:
    from rich.console import Console

    from liveact_cli.script.timeline import draw_timeline

    console = Console(file=environment.stdout, no_color=not environment.color, highlight=False)
    width = console.width if environment.stdout.isatty() else 100
    for line in draw_timeline(direction.script, plan, recording.sound, width):
        console.print(line, no_wrap=True, crop=False, overflow="ignore")


def _timeline_json(direction: "Direction", plan: "ChunkPlan") -> dict[str, Any]:
    from liveact_cli.script.direct import grid

    script = direction.script
    return {
        "ok": True,
        "fps": script.fps,
        "frames": script.frames,
        "chunks": grid(plan, "chunk"),
        "prompt": script.prompt,
        "events": [
            {
                "kind": str(span.kind),
                "name": span.name,
                "start": round(span.seconds[0], 3),
                "stop": round(span.seconds[1], 3),
                "frames": [span.start, span.stop],
                "intensity": span.intensity,
                "from": str(span.place),
            }
            for span in script.spans
        ],
        "problems": [problem.as_json() for problem in direction.problems],
    }


def _write(environment: "Environment", text: str, output: str | None, *, force: bool) -> None:
    """Write to a file under a temporary name first, or to stdout."""
    if output is None:
        environment.stdout.write(text)
        environment.stdout.flush()
        return
    target = environment.path(output)
    check_free(target, force=force)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)
    environment.result(str(target))
