"""`liveact podcast`: several people in one picture, from one recording or from everybody's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liveact_cli.cli.apps import new_app

if TYPE_CHECKING:
    from liveact_cli.cli.context import Environment
    from liveact_cli.core.events import Finished
    from liveact_cli.studio.plan import EpisodePlan

app = new_app()

YAML = (".yaml", ".yml")


def _flag(help_text: str, metavar: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar)


@app.command()
def podcast(
    ctx: typer.Context,
    episode: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EPISODE...",
            help="The recording, one for each person in the order of the cast, or episode.yaml.",
        ),
    ] = None,
    host: Annotated[str | None, _flag("The host's portrait.", "[NAME=]IMAGE", "--host")] = None,
    guest: Annotated[
        list[str] | None, _flag("A guest's portrait; may be repeated.", "[NAME=]IMAGE", "--guest")
    ] = None,
    output: Annotated[
        str | None,
        _flag("The video; by default EPISODE's name with .mp4, here.", "FILE", "-o", "--output"),
    ] = None,
    turns: Annotated[
        str | None,
        _flag(
            "Who speaks when: RTTM, or SRT or WebVTT with names; `stereo`: a person a side.",
            "FILE|stereo",
        ),
    ] = None,
    sound: Annotated[
        str | None, _flag("What is heard, where each person has a recording.", "FILE")
    ] = None,
    layout: Annotated[
        str | None,
        _flag("speaker (default), side-by-side, grid or picture-in-picture.", "NAME"),
    ] = None,
    size: Annotated[str | None, _flag("The video's size (1280x720).", "WxH")] = None,
    background: Annotated[str | None, _flag("What is behind the panels.", "IMAGE|COLOUR")] = None,
    no_captions: Annotated[
        bool, typer.Option("--no-captions", help="Do not write names into the picture.")
    ] = False,
    font: Annotated[str | None, _flag("The font of names and cards (.ttf, .otf).", "FILE")] = None,
    shortest_shot: Annotated[
        str | None, _flag("No shot is shorter than this (2.5s).", "TIME")
    ] = None,
    no_reactions: Annotated[
        bool, typer.Option("--no-reactions", help="Show no listeners in between.")
    ] = False,
    preset: Annotated[
        str | None, _flag("Everybody's manner: podcast (default), talkshow, ...", "NAME")
    ] = None,
    model: Annotated[str | None, _flag("liveact-mini (default), ...", "NAME|DIR")] = None,
    fps: Annotated[str | None, _flag("Frames per second, 10 to 60 (25).", "N")] = None,
    seed: Annotated[str | None, _flag("The same seed gives the same file.", "N")] = None,
    start: Annotated[str | None, _flag("Where in the recording to start.", "TIME")] = None,
    duration: Annotated[str | None, _flag("How much of it to use.", "TIME")] = None,
    crf: Annotated[str | None, _flag("x264's quality, 0 (best) to 51 (18).", "N")] = None,
    label: Annotated[
        bool, typer.Option("--label", help="Write a small 'generated' mark into the picture.")
    ] = False,
    jobs: Annotated[
        str | None, _flag("People rendered at once; by default what cores and memory allow.", "N")
    ] = None,
    keep_state: Annotated[
        bool, typer.Option("--keep-state", help="Keep everybody's own video when it is finished.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show who speaks when and what it takes; write nothing."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what is wrong.")] = False,
) -> None:
    """Make a show of several people who speak and listen.

    Who speaks when is heard on everybody's own recording or side, or read from --turns. After a
    crash, a kill or Ctrl-C the same command goes on.
    """
    from liveact_cli.cli.casting import Looks, cast_from_file, cast_from_flags
    from liveact_cli.config.edge import refuse_unused, resolve_settings
    from liveact_cli.core.errors import UsageError
    from liveact_cli.studio.plan import plan_episode
    from liveact_cli.studio.podcast import unfinished_episode

    environment: Environment = ctx.obj
    if not episode:
        raise UsageError("missing argument 'EPISODE'", "liveact podcast SOUND --host A --guest B")
    looks = Looks(layout, size, background, not no_captions, font, shortest_shot, not no_reactions)
    one_file = len(episode) == 1 and episode[0].lower().endswith(YAML)
    if one_file:
        given = {"--host": host, "--guest": guest, "--turns": turns, "--sound": sound,
                 "--preset": preset}  # fmt: skip
        show = cast_from_file(environment, episode[0], looks, given)
    else:
        people = [*([host] if host else []), *(guest or [])]
        show = cast_from_flags(environment, episode, people, turns, sound, preset, looks)
    flags = {
        "model": model, "fps": fps, "seed": seed, "start": start, "duration": duration, "crf": crf,
        "label": label or None,
    }  # fmt: skip
    settings = resolve_settings(flags, environment.variables, environment.directory)
    target = environment.path(output or f"{Path(episode[0]).stem}.mp4")
    at_once = _count(jobs)
    before = unfinished_episode(target)
    chosen = before["seed"] if settings.seed is None and before is not None else settings.seed
    plan = plan_episode(
        show,
        target,
        settings,
        chosen,
        environment.variables,
        environment.directory,
        force=force or dry_run,
    )
    refuse_unused(flags, plan.model.row)
    if dry_run:
        _show_plan(plan, environment, as_json=as_json)
        return
    finished = _make(plan, environment, at_once, force=force, keep=keep_state, quiet=quiet)
    if as_json:
        environment.result_json({"ok": True, **_summary(plan, finished)})
    else:
        environment.result(str(finished.output))


def _count(text: str | None) -> int | None:
    from liveact_cli.core.errors import UsageError

    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 64):
        raise UsageError(f"--jobs {text}: write a number from 1 to 64", "--jobs 2")
    return int(text)


def _make(
    plan: "EpisodePlan",
    environment: "Environment",
    jobs: int | None,
    *,
    force: bool,
    keep: bool,
    quiet: bool,
) -> "Finished":
    from liveact_cli.cli.casting import watcher_for
    from liveact_cli.core.errors import Interrupted
    from liveact_cli.core.events import Finished
    from liveact_cli.core.units import counted, format_time
    from liveact_cli.studio.podcast import kept_of, make_episode
    from liveact_cli.studio.seats import seats_of

    finished: Finished | None = None
    row, settings = plan.model.row, plan.settings
    on_gpus = row.device == "cuda" and settings.device != "cpu"
    seats = seats_of(jobs, len(plan.roles), row, settings.gpus or 1, on_gpus)
    if not quiet:
        environment.say(_plan_lines(plan))
    try:
        with watcher_for(environment, plan, quiet=quiet) as watcher:
            for event in make_episode(plan, seats, force=force, keep=keep):
                watcher.show(event)
                if isinstance(event, Finished):
                    finished = event
    except KeyboardInterrupt:
        left = kept_of(plan.output)
        raise Interrupted(left, "the same command goes on from there") from None
    if finished is None:
        raise RuntimeError("the episode ended without an end")
    if not quiet:
        environment.say(
            f"{finished.output.name}: {format_time(finished.duration)} with "
            f"{counted(len(plan.roles), 'person', 'people')} in "
            f"{format_time(finished.seconds)} (seed {plan.seed})"
        )
    return finished


def _summary(plan: "EpisodePlan", finished: "Finished") -> dict[str, object]:
    from liveact_cli.diagnose.bench import peak_rss

    return {
        "output": str(finished.output),
        **_facts(plan),
        "seconds": round(finished.seconds, 3),
        "frames_before": finished.before,
        "peak_rss_bytes": peak_rss(),
    }


def _facts(plan: "EpisodePlan") -> dict[str, object]:
    width, height = plan.episode.size
    people = [
        {
            "name": role.person.name,
            "picture": str(role.person.picture),
            "width": role.size.width,
            "height": role.size.height,
            "speaks_seconds": round(share, 2),
        }
        for role, share in zip(plan.roles, plan.shares, strict=True)
    ]
    return {
        "model": plan.model.row.name,
        "seed": plan.seed,
        "frames": plan.frames,
        "fps": float(plan.fps),
        "duration": float(plan.frames / plan.fps),
        "width": width,
        "height": height,
        "layout": str(plan.episode.layout),
        "cast": people,
        "shots": len(plan.shots),
    }


def _show_plan(plan: "EpisodePlan", environment: "Environment", *, as_json: bool) -> None:
    if not as_json:
        environment.result(_plan_lines(plan))
        return
    names = plan.episode.names
    turns = [
        {"start": round(turn.start, 3), "stop": round(turn.stop, 3), "name": names[turn.person]}
        for turn in plan.talk.turns
    ]
    shots = [
        {
            "start_frame": shot.start,
            "stop_frame": shot.stop,
            "front": [names[person] for person in shot.view.front],
        }
        for shot in plan.shots
    ]
    environment.result_json(
        {
            "ok": True,
            "output": str(plan.output),
            **_facts(plan),
            "shots": shots,
            "turns": turns,
            "estimated_seconds": round(plan.estimated_seconds, 1),
        }
    )


def _plan_lines(plan: "EpisodePlan") -> str:
    from liveact_cli.core.units import counted, format_bytes, format_time
    from liveact_cli.studio.plan import bytes_needed

    episode, row = plan.episode, plan.model.row
    length = float(plan.frames / plan.fps)
    lines = [
        ("video", f"{plan.output}, {episode.size}, {float(plan.fps):g} frames/s, "
                  f"{plan.frames} frames ({format_time(length)}), seed {plan.seed}"),
        ("turns", f"{len(plan.talk.turns)}, {plan.talk.how}"),
        *(
            (role.person.name, f"{role.person.picture.name}, speaks {format_time(share)}, "
                               f"drawn at {role.size}")
            for role, share in zip(plan.roles, plan.shares, strict=True)
        ),
        ("picture", f"{episode.layout}, {counted(len(plan.shots), 'shot', 'shots')}"),
        ("estimate", f"{format_time(plan.estimated_seconds)} on {row.estimate.measured_on}, "
                     f"at most {format_bytes(bytes_needed(plan))} of disk"),
    ]  # fmt: skip
    width = max(10, *(len(name) + 2 for name, _ in lines))
    return "\n".join(f"{name:{width}}{text}" for name, text in lines)
