"""`liveact render`: a recording and a portrait become a talking video."""

import gc
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liveact_cli.cli.apps import new_app

if TYPE_CHECKING:
    from liveact_cli.cli.context import Environment
    from liveact_cli.cli.progress import Watcher
    from liveact_cli.core.events import ChunkDone, Finished
    from liveact_cli.engine.manifest import RenderPlan
    from liveact_cli.engine.prepare import Job
    from liveact_cli.engine.resume import Keeping

app = new_app()

WARM_UP_CHUNKS = 3
"""The first chunks meet shapes that were never run; what they take is told apart."""


def _flag(help_text: str, metavar: str, *names: str) -> Any:
    # Values stay text here: settings are checked in one place, wherever they come from.
    return typer.Option(*names, help=help_text, metavar=metavar)


@app.command()
def render(
    ctx: typer.Context,
    audio: Annotated[
        str | None, typer.Argument(metavar="AUDIO", help="The recording, or a video.")
    ] = None,
    ref: Annotated[str | None, _flag("The portrait.", "IMAGE", "--ref")] = None,
    output: Annotated[
        str | None,
        _flag("The video; by default AUDIO's name with .mp4, here.", "FILE", "-o", "--output"),
    ] = None,
    prompt: Annotated[str | None, _flag("What the person feels and does.", "TEXT")] = None,
    script: Annotated[
        str | None, _flag("Timed emotions and actions (docs/directing.md); - is stdin.", "FILE")
    ] = None,
    preset: Annotated[str | None, _flag("A manner: podcast, talkshow, singer, ...", "NAME")] = None,
    emotion: Annotated[str | None, _flag("The emotion throughout.", "WORD")] = None,
    action: Annotated[
        list[str] | None, _flag('An action and its time: "nod@3s"; may be repeated.', "WORD@TIME")
    ] = None,
    model: Annotated[
        str | None, _flag("liveact-mini (default), liveact-18b, or a checkpoint.", "NAME|DIR")
    ] = None,
    size: Annotated[str | None, _flag("Crop around the face to this size.", "WxH")] = None,
    fps: Annotated[str | None, _flag("Frames per second, 10 to 60 (25).", "N")] = None,
    seed: Annotated[str | None, _flag("The same seed gives the same file.", "N")] = None,
    start: Annotated[str | None, _flag("Where in the recording to start.", "TIME")] = None,
    duration: Annotated[str | None, _flag("How much of it to use.", "TIME")] = None,
    face: Annotated[str | None, _flag("Which face; 1 is the largest.", "N")] = None,
    crf: Annotated[str | None, _flag("x264's quality, 0 (best) to 51 (18).", "N")] = None,
    audio_guidance: Annotated[
        str | None, _flag("How strongly the sound leads (1); above 1 costs two thirds more.", "F")
    ] = None,
    sampler: Annotated[
        str | None, _flag("renoise (default) or euler, as the released demo.", "NAME")
    ] = None,
    memory: Annotated[
        str | None, _flag("How the past is folded: conv (default) or mean.", "NAME")
    ] = None,
    prompt_granularity: Annotated[
        str | None, _flag("Prompts change with each chunk (default) or frame (0.16 s).", "UNIT")
    ] = None,
    audio_encoder: Annotated[
        str | None, _flag("wav2vec2's folder, if not in or beside the model's.", "DIR")
    ] = None,
    vae_overlap: Annotated[
        bool, typer.Option("--vae-overlap", help="Decode each chunk anew, as the released code.")
    ] = False,
    decoder: Annotated[
        str | None, _flag("wan (default), or the smaller taew2_1 or lightvae.", "NAME")
    ] = None,
    decoder_weights: Annotated[
        str | None, _flag("That decoder's file, if not in the model's folder.", "FILE")
    ] = None,
    gpus: Annotated[
        str | None, _flag("Share the work among N GPUs: auto (default) or N.", "N")
    ] = None,
    precision: Annotated[
        str | None, _flag("Of the weights: auto (default), bf16 or fp8.", "NAME")
    ] = None,
    kv_precision: Annotated[
        str | None, _flag("Of the memory: auto (default), bf16 or fp8.", "NAME")
    ] = None,
    offload: Annotated[
        str | None,
        _flag("Into the host's memory: auto (default), none, cache, blocks or all.", "WHAT"),
    ] = None,
    tiles: Annotated[
        str | None, _flag("Draw in tiles of N pixels, to save memory: auto, off or N.", "N")
    ] = None,
    label: Annotated[
        bool, typer.Option("--label", help="Write a small 'generated' mark into the picture.")
    ] = False,
    resume: Annotated[
        str | None, _flag("Go on with an unfinished render, as it was asked for.", "OUT")
    ] = None,
    state_every: Annotated[
        str | None, _flag("Save progress: auto (default), every N segments, or off.", "N")
    ] = None,
    keep_state: Annotated[
        bool, typer.Option("--keep-state", help="Keep segments and states when it is finished.")
    ] = False,
    progress_file: Annotated[
        str | None, _flag("Keep this JSON file up to date with the progress.", "FILE")
    ] = None,
    events: Annotated[
        str | None, _flag("Write events there as JSON lines; - is stdout.", "FILE")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Download the model's weights where they are missing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what is wrong.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
) -> None:
    """Make a picture speak a recording.

    The result's path goes to stdout, progress to stderr. Ctrl-C keeps what is finished as
    OUT.partial.mp4. After that, or after a crash, the same command goes on.
    """
    from liveact_cli.cli.directing import directed, performance_of
    from liveact_cli.cli.resuming import ask_again, request_of
    from liveact_cli.config.edge import refuse_unused, resolve_settings
    from liveact_cli.core.errors import UsageError
    from liveact_cli.engine.prepare import prepare
    from liveact_cli.script.performance import Orders

    environment: Environment = ctx.obj
    if resume is not None:
        ask_again(ctx, resume)
        return
    if audio is None or ref is None:
        missing = "argument 'AUDIO'" if audio is None else "option '--ref'"
        raise UsageError(f"missing {missing}", "liveact render AUDIO --ref IMAGE")
    if as_json and events == "-":
        raise UsageError("--json and --events - both want stdout", "--events FILE")
    flags = {
        "prompt": prompt, "model": model, "size": size, "fps": fps, "seed": seed, "start": start,
        "duration": duration, "face": face, "crf": crf, "label": label or None,
        "audio_guidance": audio_guidance, "sampler": sampler, "memory": memory,
        "prompt_granularity": prompt_granularity, "vae_overlap": vae_overlap or None,
        "audio_encoder": audio_encoder and environment.path(audio_encoder), "tiles": tiles,
        "gpus": gpus, "precision": precision, "kv_precision": kv_precision, "offload": offload,
        "decoder": decoder,
        "decoder_weights": decoder_weights and environment.path(decoder_weights),
    }  # fmt: skip
    orders = Orders(preset, prompt, emotion, tuple(action or ()))
    performance = performance_of(environment, script, orders, model)
    settings = resolve_settings(
        flags,
        environment.variables,
        environment.directory,
        preset=performance.settings() if performance else None,
    )
    every = _state_every(state_every)
    target = environment.path(output or f"{Path(audio).stem}.mp4")
    if yes and not dry_run:
        from liveact_cli.cli.model_cmd import fetch_missing

        fetch_missing(settings.model, environment)
    job = prepare(
        environment.path(audio),
        environment.path(ref),
        target,
        settings,
        environment.variables,
        force=force or dry_run,
    )
    refuse_unused(flags, job.plan.model.row)
    if performance is not None:
        job = directed(job, performance, environment, quiet=quiet)
    if dry_run:
        _show_plan(job.plan, environment, as_json=as_json)
        return
    if verbose:
        environment.say(_plan_lines(job.plan))
    from liveact_cli.engine.resume import Keeping

    keeping = Keeping(every, keep_state, request_of(ctx, target))
    with _watchers(job.plan, environment, quiet, progress_file, events) as watcher:
        finished, chunks = _run(job, environment, watcher, keeping, force=force, quiet=quiet)
    if as_json:
        environment.result_json({"ok": True, **_summary(finished, chunks, job.plan)})
    elif events != "-":
        environment.result(str(finished.output))


def _state_every(text: str | None) -> int | None:
    """Return after how many segments a state is saved: 0 decides by itself, None never saves."""
    from liveact_cli.core.errors import UsageError

    if text in (None, "auto"):
        return 0
    if text == "off":
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UsageError(
            f"--state-every {text}: write auto, off, or a number of segments", "--state-every auto"
        )
    return int(text)


@contextmanager
def _watchers(
    plan: "RenderPlan",
    environment: "Environment",
    quiet: bool,
    progress_file: str | None,
    events: str | None,
) -> "Iterator[Watcher]":
    """Give what shows the render's events, to people and to programs."""
    from liveact_cli.cli.progress import watcher_for
    from liveact_cli.cli.watching import EventLines, ProgressFile, Several

    with ExitStack() as stack:
        shown = watcher_for(environment, float(plan.settings.fps), plan.frames, quiet=quiet)
        watchers: list[Watcher] = []
        if progress_file is not None:
            watchers.append(ProgressFile(environment.path(progress_file), plan))
        if events is not None:
            stream = environment.stdout
            if events != "-":
                path = environment.path(events)
                stream = stack.enter_context(path.open("w", encoding="utf-8"))
            watchers.append(EventLines(stream, plan))
        yield stack.enter_context(Several([*watchers, shown]))


def _run(
    job: "Job",
    environment: "Environment",
    watcher: "Watcher",
    keeping: "Keeping",
    *,
    force: bool,
    quiet: bool,
) -> "tuple[Finished, deque[ChunkDone]]":
    # Loading makes a million objects and hardly any garbage; looking for it takes half a second.
    gc.disable()
    from liveact_cli.cli.interrupt import stop_requested
    from liveact_cli.core.errors import Interrupted
    from liveact_cli.core.events import ChunkDone, Finished
    from liveact_cli.core.units import format_time
    from liveact_cli.engine.render import render_video

    def tell() -> None:
        environment.say("\nfinishing this chunk; press Ctrl-C again to stop at once")

    plan = job.plan
    finished: Finished | None = None
    # The last minutes are enough for the medians, and an hour's render stays as small.
    chunks: deque[ChunkDone] = deque(maxlen=200)
    try:
        with stop_requested(tell, lambda: bool(chunks)) as stop:
            for event in render_video(job, force=force, stop=stop, keeping=keeping):
                watcher.show(event)
                if isinstance(event, ChunkDone):
                    if not chunks:
                        gc.freeze()
                        gc.enable()
                    chunks.append(event)
                elif isinstance(event, Finished):
                    finished = event
    except KeyboardInterrupt:
        raise Interrupted(*_left_after_a_stop(plan.output)) from None
    finally:
        gc.enable()
    if finished is None:
        raise RuntimeError("the render ended without an end")
    if not quiet:
        environment.say(
            f"{finished.output.name}: {format_time(finished.duration)} of video in "
            f"{format_time(finished.seconds)}, {_times_real_time(finished):.1f}x"
            f" real time (seed {plan.seed})"
        )
    return finished, chunks


def _times_real_time(finished: "Finished") -> float:
    """Return seconds of video per second of work, of this run."""
    made = finished.duration * (1 - finished.before / finished.frames)
    return made / finished.seconds


def _left_after_a_stop(output: Path) -> tuple[str, str]:
    """Return what a second Ctrl-C has left, and what helps."""
    from liveact_cli.engine.unfinished import finished_part, unfinished

    facts = unfinished(output)
    if facts is None:
        return "nothing is kept", ""
    return finished_part(facts), "the same command goes on from there"


def _summary(
    finished: "Finished", chunks: "deque[ChunkDone]", plan: "RenderPlan"
) -> dict[str, object]:
    from liveact_cli.diagnose.bench import median_ms, peak_rss

    chunks_after = [chunk for chunk in chunks if chunk.index >= WARM_UP_CHUNKS] or chunks
    warm_up = sum(sum(c.stages.values()) for c in chunks if c.index < WARM_UP_CHUNKS)
    stages = median_ms([chunk.stages for chunk in chunks_after])
    return {
        "output": str(finished.output),
        "model": plan.model.row.name,
        "seed": plan.seed,
        "frames": finished.frames,
        "duration": finished.duration,
        "seconds": round(finished.seconds, 3),
        "times_real_time": round(_times_real_time(finished), 3),
        "frames_before": finished.before,
        "first_frame_seconds": round(finished.first_frame, 3),
        "warm_up_seconds": round(warm_up, 3),
        "stage_ms_per_chunk": {name: round(ms, 3) for name, ms in stages.items()},
        "peak_rss_bytes": peak_rss(),
    }


def _show_plan(plan: "RenderPlan", environment: "Environment", *, as_json: bool) -> None:
    if not as_json:
        environment.result(_plan_lines(plan))
        return
    width, height = plan.size
    environment.result_json(
        {
            "ok": True,
            "output": str(plan.output),
            "model": plan.model.row.name,
            "seed": plan.seed,
            "duration": plan.seconds,
            "frames": plan.frames,
            "fps": float(plan.settings.fps),
            "width": width,
            "height": height,
            "chunks": plan.chunks.chunks,
            "estimated_seconds": round(plan.estimated_seconds, 1),
            "estimated_memory_bytes": plan.model.row.estimate.memory_bytes,
            **({"placement": plan.placement.to_dict()} if plan.placement else {}),
        }
    )


def _plan_lines(plan: "RenderPlan") -> str:
    from liveact_cli.core.units import format_bytes, format_time

    row, fps = plan.model.row, float(plan.settings.fps)
    rows = [
        ("model", f"{row.name}, {row.summary}"),
        ("sound", f"{plan.audio.name}, {format_time(plan.seconds)} used"),
        ("picture", f"{plan.reference.name}"),
        ("video", f"{plan.output}, {plan.size}, {fps:g} frames/s, {plan.frames} frames"),
        ("work", f"{plan.chunks.chunks} chunks, seed {plan.seed}"),
        (
            "estimate",
            f"{format_time(plan.estimated_seconds)} on {row.estimate.measured_on}, "
            f"{format_bytes(row.estimate.memory_bytes)} of memory",
        ),
    ]
    if plan.placement is not None:
        rows += plan.placement.rows()
    return "\n".join(f"{name:9} {text}" for name, text in rows)
