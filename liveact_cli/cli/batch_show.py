"""What people and programs see of a batch: progress, what a survey found, how things stand."""

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from liveact_cli.core.errors import ExitCode
from liveact_cli.core.events import Caution, ChunkDone, Note, Resumed
from liveact_cli.core.units import format_bytes, format_time

if TYPE_CHECKING:
    from pathlib import Path

    from liveact_cli.cli.context import Environment
    from liveact_cli.studio.batch import Batch
    from liveact_cli.studio.dispatch import Happening
    from liveact_cli.studio.jobrow import JobRow
    from liveact_cli.studio.manifest import Manifest
    from liveact_cli.studio.messages import Failure, Made
    from liveact_cli.studio.store import Store
    from liveact_cli.studio.survey import Estimate, Surveyed
    from liveact_cli.studio.workers import Seat

_REPORT_PAUSE: Final = 5.0
_LONGEST: Final = 100


class BatchWatcher(Protocol):
    """Shows what happens in a batch."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None: ...

    def show(self, happening: "Happening") -> None:
        """Show one thing."""
        ...


class _Lines:
    """One line a job: for pipes and logs, and above the bars of a terminal."""

    def __init__(
        self,
        environment: "Environment",
        found: "Manifest",
        batch: "Batch",
        quiet: bool,
        verbose: bool,
        paths: bool,
    ) -> None:
        self._environment, self._found, self._batch = environment, found, batch
        self._quiet, self._verbose, self._paths = quiet, verbose, paths
        self.total, self.ended = len(found.jobs), batch.kept
        self._outputs = {job.name: job.output for job in found.jobs}
        self._next_report = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Write a line for people."""
        self._environment.say(text)

    def show(self, happening: "Happening") -> None:
        """Write the happening's line; when a job ends, renew the report too."""
        from liveact_cli.studio.dispatch import Begun, Done, Failed, Halted

        name = happening.key
        if isinstance(happening, Begun):
            if self._verbose:
                self.say(f"{name}: attempt {happening.attempt}, {happening.worker}")
            return
        if isinstance(happening, Done):
            self._done(name, happening.made)
        elif isinstance(happening, Failed):
            self._failed(name, happening.failure, final=happening.final)
        elif isinstance(happening, Halted):
            if not self._quiet:
                self.say(f"{name}: stopped")
        else:
            self._told(name, happening.event)
            return
        begun = time.monotonic()
        if begun >= self._next_report:
            save_report(self._environment, self._found, self._batch)
            # A report of thousands of jobs takes its time, but never much of the run's.
            took = time.monotonic() - begun
            self._next_report = begun + max(_REPORT_PAUSE, 50 * took)

    def _done(self, name: str, made: "Made") -> None:
        self.ended += 1
        if self._paths:
            self._environment.result(str(self._outputs[name]))
        if self._quiet:
            return
        from liveact_cli.studio.jobrow import format_speed

        if made.found:
            self.say(f"[{self.ended}/{self.total}] {name}: was there already")
            return
        work = made.duration * (1 - made.before / made.frames)
        self.say(
            f"[{self.ended}/{self.total}] {name}: {format_time(made.duration)} of video in "
            f"{format_time(made.work_seconds)}, {format_speed(work / made.work_seconds)} real time"
        )

    def _failed(self, name: str, failure: "Failure", *, final: bool) -> None:
        if not final:
            self.say(f"warning: {name}: {failure.message}; it will be tried again")
            return
        self.ended += 1
        self.say(f"[{self.ended}/{self.total}] {name}: error: {failure.message}")
        if failure.hint:
            self.say(f"    hint: {failure.hint}")
        if failure.trace and (self._verbose or self._environment.debug):
            self.say(failure.trace)

    def _told(self, name: str, event: object) -> None:
        if isinstance(event, Caution):
            self.say(f"warning: {name}: {event.message}")
        elif isinstance(event, Note) and self._verbose:
            self.say(f"note: {name}: {event.message}")


class _Bars(_Lines):
    """A bar for the whole and one for each job that runs."""

    def __init__(self, environment: "Environment", *arguments: Any) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        super().__init__(environment, *arguments)
        # On the same terminal the lines above the bars tell of them already.
        self._paths = self._paths and not environment.stdout.isatty()
        console = Console(file=environment.stderr, no_color=not environment.color)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[told]}", markup=False),
            console=console,
            transient=True,
        )
        self._whole = self._progress.add_task(
            "all jobs", total=self.total, completed=self.ended, told=f"{self.ended}/{self.total}"
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Write a line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)

    def show(self, happening: "Happening") -> None:
        """Move the bars, and write the lines."""
        from liveact_cli.studio.dispatch import Begun, Progress

        name = happening.key
        if isinstance(happening, Begun):
            self._tasks[name] = self._progress.add_task(name[-40:], total=None, told="opening")
        elif isinstance(happening, Progress):
            event = happening.event
            if isinstance(event, ChunkDone | Resumed):
                percent = f"{100 * event.frames // event.total_frames} %"
                self._progress.update(
                    self._tasks[name],
                    total=event.total_frames,
                    completed=event.frames,
                    told=percent,
                )
        elif name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
        super().show(happening)
        told = f"{self.ended}/{self.total}"
        self._progress.update(self._whole, completed=self.ended, told=told)


def batch_watcher(
    environment: "Environment",
    found: "Manifest",
    batch: "Batch",
    *,
    quiet: bool,
    verbose: bool,
    paths: bool,
) -> BatchWatcher:
    """Return the watcher that fits where stderr goes; `paths` prints finished videos to stdout."""
    kind = _Bars if environment.interactive and not quiet else _Lines
    return kind(environment, found, batch, quiet, verbose, paths)


def save_report(environment: "Environment", found: "Manifest", batch: "Batch") -> "Path | None":
    """Write the report beside the manifest and return its path; None where that is not possible."""
    from liveact_cli.media.ffmpeg import explain_os_error
    from liveact_cli.studio.report import report_path, write_report

    path = report_path(found.path)
    try:
        write_report(path, found.path.name, batch.store.rows())
    except OSError as error:
        environment.say(f"warning: {path} cannot be written: {explain_os_error(error)[0]}")
        return None
    return path


def show_survey(
    environment: "Environment",
    surveyed: "Sequence[Surveyed]",
    estimated: "tuple[Estimate, Sequence[Seat]] | None",
    *,
    as_json: bool,
) -> int:
    """Show what was found in a manifest's files; return the exit status."""
    wrong = [found for found in surveyed if found.error]
    if as_json:
        jobs = [found.as_json() for found in surveyed]
        document: dict[str, Any] = {"ok": not wrong, "jobs": jobs}
        if estimated is not None:
            document["estimate"] = estimated[0].as_json() | {"at_once": len(estimated[1])}
        environment.result_json(document)
    else:
        for found in surveyed:
            where = f"line {found.job.line}, " if found.job.line else ""
            if found.error:
                environment.say(f"{where}{found.job.name}: error: {found.error}")
                if found.hint:
                    environment.say(f"    hint: {found.hint}")
            for note in found.notes:
                environment.say(f"{where}{found.job.name}: note: {note}")
        environment.result(_survey_lines(surveyed, estimated))
    return int(ExitCode.BAD_MEDIA if wrong else ExitCode.OK)


def _survey_lines(
    surveyed: "Sequence[Surveyed]", estimated: "tuple[Estimate, Sequence[Seat]] | None"
) -> str:
    good = [found.plan for found in surveyed if found.plan is not None]
    finished = sum(found.finished for found in surveyed)
    video = sum(float(plan.frames / plan.settings.fps) for plan in good)
    rows = [
        ("jobs", f"{len(good)} of {len(surveyed)} can be rendered, {format_time(video)} of video")
    ]
    if finished:
        rows.append(("done", f"{finished} of them already"))
    if estimated is not None:
        need, seats = estimated
        enough = "" if need.fits else ": NOT ENOUGH"
        free = f", {format_bytes(need.disk_free)} free{enough}" if need.disk_free else ""
        rows += [
            ("at once", f"{min(len(seats), max(need.jobs, 1))}, {need.jobs} to do"),
            ("time", f"about {format_time(need.seconds)}"),
            ("memory", f"about {format_bytes(need.memory_bytes)}"),
            ("disk", f"at most {format_bytes(need.disk_bytes)}{free}"),
        ]
    return "\n".join(f"{name:9} {text}" for name, text in rows)


def show_status(environment: "Environment", store: "Store", *, as_json: bool) -> None:
    """Show what every job is at."""
    from liveact_cli.studio.batch import is_running

    rows, running = store.rows(), is_running(store)
    if not as_json:
        environment.result(status_table(rows, running=running))
        return
    run = store.last_run()
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row.state)] = counts.get(str(row.state), 0) + 1
    environment.result_json(
        {
            "ok": True,
            "running": running,
            "run": run and {name: getattr(run, name) for name in run.__slots__},
            "counts": counts,
            "jobs": [row.as_json() for row in rows],
        }
    )


def watch_status(environment: "Environment", store: "Store") -> None:
    """Show it again whenever it has changed, until the run ends or Ctrl-C."""
    from liveact_cli.studio.batch import is_running

    shown, terminal = "", environment.stdout.isatty()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            running = is_running(store)
            table = status_table(store.rows(), running=running)
            if table != shown:
                clear = "\x1b[2J\x1b[H" if terminal else ""
                environment.result(clear + table)
                shown = table
            if not running:
                return
            time.sleep(1.0)


def status_table(rows: "Sequence[JobRow]", *, running: bool) -> str:
    """Return a line for each job, and one that counts them."""
    from liveact_cli.studio.jobrow import format_speed

    width = min(48, max([len(row.name) for row in rows], default=4))
    lines = [f"{'':>4} {'job':{width}} {'state':10} {'length':>8} {'speed':>6}  "]
    counts: dict[str, int] = {}
    for row in rows:
        state = "stopped" if row.state == "running" and not running else str(row.state)
        counts[state] = counts.get(state, 0) + 1
        length = format_time(row.seconds) if row.seconds else ""
        speed = format_speed(row.speed) if row.speed and row.state == "done" else ""
        name = row.name if len(row.name) <= width else f"…{row.name[1 - width :]}"
        told = _told_of(row)
        line = f"{row.position:4} {name:{width}} {state:10} {length:>8} {speed:>6}  {told}"
        lines.append(line.rstrip())
    lines.append(", ".join(f"{count} {state}" for state, count in counts.items()) or "no jobs")
    return "\n".join(lines)


def _told_of(row: "JobRow") -> str:
    if row.state == "running" and row.total_frames:
        return f"{100 * row.frames // row.total_frames} %"
    if row.state != "done" and row.error:
        first = row.error.splitlines()[0]
        tries = f" (attempt {row.attempts})" if row.attempts > 1 else ""
        return (first if len(first) <= _LONGEST else f"{first[: _LONGEST - 1]}…") + tries
    return ""
