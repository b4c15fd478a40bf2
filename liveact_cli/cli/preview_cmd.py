"""`liveact preview`: a moment of a directed render, for trying things out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liveact_cli.cli.apps import new_app
from liveact_cli.core.errors import UsageError

if TYPE_CHECKING:
    from liveact_cli.cli.context import Environment

app = new_app()

SOUNDS = (".wav", ".mp3", ".m4a", ".flac", ".ogg", ".opus", ".mp4")


def _flag(help_text: str, metavar: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar)


@app.command()
def preview(
    ctx: typer.Context,
    ref: Annotated[str, _flag("The portrait.", "IMAGE", "--ref")],
    audio: Annotated[
        str | None,
        typer.Argument(metavar="[AUDIO]", help="The recording; by default named like the script."),
    ] = None,
    script: Annotated[str | None, _flag("Timed emotions and actions.", "FILE")] = None,
    at: Annotated[str, _flag("Where in the recording.", "TIME", "--at")] = "0",
    length: Annotated[str, _flag("How much of it.", "TIME", "--for")] = "3s",
    output: Annotated[
        str | None, _flag("The clip; by default AUDIO's name with .preview.mp4.", "FILE", "-o")
    ] = None,
    sheet: Annotated[
        str | None, _flag("Write a sheet of frames instead of a clip.", "FILE", "--sheet")
    ] = None,
    preset: Annotated[str | None, _flag("A manner: podcast, talkshow, ...", "NAME")] = None,
    prompt: Annotated[str | None, _flag("What the person feels and does.", "TEXT")] = None,
    emotion: Annotated[str | None, _flag("The emotion throughout.", "WORD")] = None,
    action: Annotated[list[str] | None, _flag('"nod@3s"; may be repeated.', "WORD@TIME")] = None,
    model: Annotated[str | None, _flag("liveact-mini (default), ...", "NAME|DIR")] = None,
    size: Annotated[str | None, _flag("Crop around the face to this size.", "WxH")] = None,
    fps: Annotated[str | None, _flag("Frames per second (25).", "N")] = None,
    seed: Annotated[str | None, _flag("The seed of the full render.", "N")] = None,
    face: Annotated[str | None, _flag("Which face; 1 is the largest.", "N")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Render just a moment of a script.

    The model's memory begins 5 s before the moment, so it may differ a little from the full render.
    """
    from liveact_cli.cli.directing import directed, performance_of
    from liveact_cli.config.edge import resolve_settings
    from liveact_cli.engine.prepare import prepare
    from liveact_cli.engine.preview import Moment, render_clip
    from liveact_cli.script.performance import Orders

    environment: Environment = ctx.obj
    recording = environment.path(audio) if audio else _beside(environment, script)
    moment = Moment(_seconds("--at", at), max(0.1, _seconds("--for", length)))
    orders = Orders(preset, prompt, emotion, tuple(action or ()))
    performance = performance_of(environment, script, orders, model)
    flags = {"prompt": prompt, "model": model, "size": size, "fps": fps, "seed": seed, "face": face}
    underneath = performance.settings() if performance else None
    variables, directory = environment.variables, environment.directory
    settings = moment.settings(resolve_settings(flags, variables, directory, preset=underneath))
    clip = environment.path(output or f"{recording.stem}.preview.mp4")
    forced = force or sheet is not None
    job = prepare(recording, environment.path(ref), clip, settings, variables, force=forced)
    if performance is not None:
        job = directed(job, performance, environment)
    if sheet is not None:
        _write_sheet(environment, job, moment, sheet, force=force)
        return
    made = render_clip(job, moment, clip, force=force)
    environment.say(
        f"first frame after {made.first_frame:.1f} s, {made.frames} frames after"
        f" {made.seconds:.1f} s; memory began at {moment.begin:g} s, so the full render may"
        f" differ a little (seed {job.plan.seed})"
    )
    if as_json:
        summary = {"output": str(clip), "frames": made.frames, "first_frame": made.first_frame}
        environment.result_json({"ok": True, **summary, "seconds": made.seconds})
    else:
        environment.result(str(clip))


def _write_sheet(
    environment: "Environment", job: Any, moment: Any, sheet: str, *, force: bool
) -> None:
    from liveact_cli.cli.directing import picture_file
    from liveact_cli.engine.preview import sheet_frames
    from liveact_cli.script.sheet import draw_sheet

    target = picture_file(environment, sheet, force=force)
    frames = sheet_frames(job, moment, 12)
    draw_sheet(frames, job.script, moment.begin).save(target)
    environment.result(str(target))


def _beside(environment: "Environment", script: str | None) -> Path:
    """Return the recording that is named like the script."""
    if script is None or script == "-":
        raise UsageError("which recording?", "liveact preview AUDIO --ref IMAGE --script FILE")
    path = environment.path(script)
    for suffix in SOUNDS:
        if path.with_suffix(suffix).is_file():
            return path.with_suffix(suffix)
    raise UsageError(
        f"there is no recording named like {path.name} beside it",
        f"name it: liveact preview AUDIO --script {script}",
    )


def _seconds(flag: str, text: str) -> float:
    from liveact_cli.core.units import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}", f"{flag} 0:05") from None
