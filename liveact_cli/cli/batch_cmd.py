"""`liveact batch`: a manifest of renders, worked through unattended."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from liveact_cli.cli.apps import new_app
from liveact_cli.core.errors import ExitCode, Interrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from liveact_cli.cli.context import Environment
    from liveact_cli.studio.batch import Batch
    from liveact_cli.studio.manifest import Manifest
    from liveact_cli.studio.workers import Seat, Workers

RUN: Final = "run"
MOST_JOBS: Final = 256
MOST_RETRIES: Final = 100


class BatchGroup(TyperGroup):
    """`liveact batch MANIFEST` runs a manifest; a first word that is a command is that command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `run` before anything that is not a command."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = [RUN, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show what `run` takes, and the other commands below."""
        run = self.commands[RUN]
        inner = run.make_context("batch", [], parent=ctx.parent, resilient_parsing=True)
        run.format_help(inner, formatter)
        with formatter.section("Commands"):
            others = [(name, c.get_short_help_str(80)) for name, c in self.commands.items()]
            formatter.write_dl([line for line in others if line[0] != RUN])


app = new_app("Render what a manifest lists, as many at once as the machine can.")
app.info.cls = BatchGroup

ManifestArgument = Annotated[
    str,
    typer.Argument(
        metavar="MANIFEST", help="YAML, CSV, JSON lines, or a folder of recordings (docs/batch.md)."
    ),
]
RefOption = Annotated[
    str | None,
    typer.Option("--ref", metavar="IMAGE", help="The portrait of jobs that name none."),
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "-o", "--output", metavar="TEMPLATE", help='Names of the videos: "out/{stem}-{ref}.mp4".'
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting for every job; may be repeated."),
]
JobsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[JOB]...", help="Names or numbers, as `status` shows them."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command(name=RUN, hidden=True)
def run(
    ctx: typer.Context,
    manifest: ManifestArgument,
    ref: RefOption = None,
    output: OutputOption = None,
    set_: SetOption = None,
    jobs: Annotated[
        str | None,
        typer.Option(
            "--jobs",
            metavar="N",
            help="Renders at once; by default what cores, memory or GPUs allow.",
        ),
    ] = None,
    timeout: Annotated[
        str,
        typer.Option(
            "--timeout", metavar="TIME", help="End a job that makes no chunk for so long."
        ),
    ] = "10m",
    retries: Annotated[
        str,
        typer.Option(
            "--retries", metavar="N", help="More attempts for a job that crashed or hung."
        ),
    ] = "1",
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="ADDRESS",
            help="Hand the jobs to this Ray cluster, which has the same files. Ray asks nobody "
            "for a password: whoever reaches its ports runs programs on it. Name only one that "
            "you trust, in a closed network.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show time, disk and memory; render nothing.")
    ] = False,
    as_json: JsonOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace videos that this batch did not make.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what is wrong.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
) -> int:
    """Render what a manifest lists, as many at once as the machine can.

    Run it again, and only what is missing or has changed is done. A job that crashes or hangs
    costs only itself. Ctrl-C stops; the same command goes on. The report lies beside MANIFEST.
    """
    from liveact_cli.studio.batch import Batch, batch_store

    environment: Environment = ctx.obj
    count = None if jobs is None else _number("--jobs", jobs, 1, MOST_JOBS)
    patience, more = _seconds(timeout), _number("--retries", retries, 0, MOST_RETRIES)
    found = _manifest(environment, manifest, ref, output, set_)
    if dry_run:
        if cluster is not None:
            environment.say("note: what is shown is for this machine; the cluster is not asked")
        return _dry_run(environment, found, count, as_json=as_json)
    with batch_store(found.path) as store:
        batch = Batch(found, store, environment.variables, force=force)
        with _workers(environment, found, batch, count, cluster, quiet=quiet) as workers:
            _work(environment, found, batch, workers, patience, more, quiet, verbose, as_json)
        return _end(environment, found, batch, as_json=as_json, quiet=quiet)


@app.command()
def check(
    ctx: typer.Context,
    manifest: ManifestArgument,
    ref: RefOption = None,
    output: OutputOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Open every file of every job, look for the faces, and say what cannot be rendered."""
    from liveact_cli.cli.batch_show import show_survey
    from liveact_cli.studio.survey import survey

    environment: Environment = ctx.obj
    found = _manifest(environment, manifest, ref, output, set_)
    surveyed = list(survey(found, environment.variables, faces=True))
    return show_survey(environment, surveyed, None, as_json=as_json)


@app.command()
def status(
    ctx: typer.Context,
    manifest: ManifestArgument,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing it until the run ends.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what every job is at."""
    from liveact_cli.cli.batch_show import show_status, watch_status
    from liveact_cli.studio.batch import known_store

    environment: Environment = ctx.obj
    if watch and as_json:
        raise UsageError("--watch and --json do not go together", "take one of them out")
    with known_store(environment.path(manifest)) as store:
        if watch:
            watch_status(environment, store)
        else:
            show_status(environment, store, as_json=as_json)


@app.command()
def cancel(
    ctx: typer.Context,
    manifest: ManifestArgument,
    jobs: JobsArgument = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every job that waits or runs.")
    ] = False,
) -> None:
    """Leave jobs out, also of a run that goes on; `retry` takes them in again."""
    from liveact_cli.studio.batch import known_store

    environment: Environment = ctx.obj
    if not jobs and not everything:
        raise UsageError("cancel which jobs?", "liveact batch cancel MANIFEST JOB..., or --all")
    with known_store(environment.path(manifest)) as store:
        names = _names(store, jobs) if jobs else [row.name for row in store.rows()]
        _tell_moved(environment, store.cancel(names), "cancelled")


@app.command()
def retry(ctx: typer.Context, manifest: ManifestArgument, jobs: JobsArgument = None) -> None:
    """Let jobs be done again: those named, or all that failed or were cancelled.

    A run that goes on takes them up; otherwise the next one does. Videos that are there and named
    here are made anew.
    """
    from liveact_cli.studio.batch import known_store
    from liveact_cli.studio.jobrow import State

    environment: Environment = ctx.obj
    with known_store(environment.path(manifest)) as store:
        failed = (State.FAILED, State.CANCELLED)
        names = [row.name for row in store.rows() if row.state in failed]
        chosen = _names(store, jobs) if jobs else names
        _tell_moved(environment, store.retry(chosen), "to be done again")


def _manifest(
    environment: "Environment",
    manifest: str,
    ref: str | None,
    output: str | None,
    settings: list[str] | None,
) -> "Manifest":
    from liveact_cli.studio.manifest import parse_overrides, read_manifest

    portrait = None if ref is None else environment.path(ref)
    overrides = parse_overrides(portrait, output, settings or (), environment.directory)
    return read_manifest(environment.path(manifest), environment.variables, overrides)


def _dry_run(
    environment: "Environment", found: "Manifest", count: int | None, *, as_json: bool
) -> int:
    from liveact_cli.cli.batch_show import show_survey
    from liveact_cli.studio.seats import seats_for
    from liveact_cli.studio.survey import estimate, survey

    surveyed = list(survey(found, environment.variables, faces=False))
    seats = seats_for(found, count, environment.variables)
    return show_survey(environment, surveyed, (estimate(surveyed, seats), seats), as_json=as_json)


@contextmanager
def _workers(
    environment: "Environment",
    found: "Manifest",
    batch: "Batch",
    count: int | None,
    cluster: str | None,
    *,
    quiet: bool,
) -> "Iterator[Workers]":
    """Give those who will work, and note the run in the store."""
    import os
    import socket

    from liveact_cli.studio.seats import seats_for
    from liveact_cli.studio.workers import LocalWorkers

    made: Workers
    if cluster is not None:
        from liveact_cli.studio.cluster import RayWorkers
        from liveact_cli.studio.seats import demand_of

        row, group, on_gpus = demand_of(found, environment.variables)
        made = RayWorkers(cluster, count, row, group if on_gpus else 0)
        about = f"{made.room} at once on the cluster {cluster}"
    else:
        seats = seats_for(found, count, environment.variables)
        made, about = LocalWorkers(seats), _about(seats)
    if not quiet:
        total = len(found.jobs)
        done = f"{batch.kept} of {total} need nothing, " if batch.kept else ""
        environment.say(f"{found.path.name}: {done}{batch.waiting} to do, {about}")
    batch.store.begin_run(os.getpid(), socket.gethostname(), about)
    try:
        with made as workers:
            yield workers
    finally:
        batch.store.end_run()


def _about(seats: "Sequence[Seat]") -> str:
    if seats[0].variables:
        return f"{len(seats)} at once on {', '.join(seat.name for seat in seats)}"
    return f"{len(seats)} at once"


def _work(
    environment: "Environment",
    found: "Manifest",
    batch: "Batch",
    workers: "Workers",
    timeout: float,
    retries: int,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    from liveact_cli.cli.batch_show import batch_watcher
    from liveact_cli.cli.interrupt import stop_requested

    def tell() -> None:
        environment.say(
            "\nstopping after the chunks that are being made; Ctrl-C again ends at once"
        )

    shown = batch_watcher(
        environment, found, batch, quiet=quiet, verbose=verbose, paths=not as_json
    )
    try:
        with stop_requested(tell, lambda: True) as stop, shown as watcher:
            for happening in batch.run(workers, timeout=timeout, retries=retries, stop=stop):
                watcher.show(happening)
    except KeyboardInterrupt:
        batch.store.recover()
        raise Interrupted(batch.summary().sentence(), "the same command goes on") from None


def _end(
    environment: "Environment", found: "Manifest", batch: "Batch", *, as_json: bool, quiet: bool
) -> int:
    from liveact_cli.cli.batch_show import save_report
    from liveact_cli.core.units import format_time
    from liveact_cli.studio.jobrow import format_speed

    summary = batch.summary()
    report = save_report(environment, found, batch)
    if summary.exit_code is ExitCode.INTERRUPTED:
        raise Interrupted(summary.sentence(), "the same command goes on")
    if not quiet:
        speed = ""
        if summary.made:
            video, wall = summary.video_seconds, summary.wall_seconds
            speed = f"; {format_time(video)} of video in {format_time(wall)}, "
            speed += f"{format_speed(video / wall)} real time"
        environment.say(f"{found.path.name}: {summary.sentence()}{speed}")
        if report is not None:
            environment.say(f"report: {report}")
    if as_json:
        environment.result_json(
            {
                "ok": summary.exit_code is ExitCode.OK,
                "counts": {str(state): count for state, count in summary.counts.items()},
                "made": summary.made,
                "kept": summary.kept,
                "video_seconds": round(summary.video_seconds, 3),
                "wall_seconds": round(summary.wall_seconds, 3),
                "report": None if report is None else str(report),
                "jobs": [row.as_json() for row in batch.store.rows()],
            }
        )
    return int(summary.exit_code)


def _names(store: Any, wanted: list[str]) -> list[str]:
    """Return the names of jobs given by name or number; raises UsageError for others."""
    from liveact_cli.script.problems import did_you_mean

    rows = store.rows()
    known = {row.name: row.name for row in rows} | {str(row.position): row.name for row in rows}
    for text in wanted:
        if text not in known:
            hint = did_you_mean(text, [row.name for row in rows])
            raise UsageError(
                f"there is no job {text!r}", hint or "liveact batch status MANIFEST shows them"
            )
    return [known[text] for text in wanted]


def _tell_moved(environment: "Environment", names: list[str], what: str) -> None:
    for name in names:
        environment.result(name)
    count = "1 job is" if len(names) == 1 else f"{len(names)} jobs are"
    environment.say(f"{count} {what}")


def _number(flag: str, text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise UsageError(f"{flag} {text}: write a number from {least} to {most}", f"{flag} 2")
    return int(text)


def _seconds(text: str) -> float:
    from liveact_cli.core.units import parse_time

    try:
        seconds = parse_time(text)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}", "--timeout 10m") from None
    if seconds <= 0:
        raise UsageError("--timeout must be more than 0", "--timeout 10m")
    return seconds
