"""What a person sees of a running render: a bar on a terminal, one line a chunk elsewhere."""

from types import TracebackType
from typing import Protocol, Self

from liveact_cli.cli.context import Environment
from liveact_cli.core.events import Caution, ChunkDone, Event, Note, Resumed
from liveact_cli.core.units import format_time


class Watcher(Protocol):
    """Shows events; a context manager, so that a terminal is left tidy."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, event: Event) -> None:
        """Show one event."""
        ...


def speed_of(event: ChunkDone, fps: float) -> str:
    """Return `81 frames/s, 3.2x real time` for what has been done so far."""
    rate = (event.frames - event.before) / event.seconds if event.seconds > 0 else 0.0
    return f"{rate:.0f} frames/s, {rate / fps:.1f}x real time"


def going_on(event: Resumed, fps: float) -> str:
    """Return that a render goes on, and where."""
    done, whole = (format_time(count / fps) for count in (event.frames, event.total_frames))
    return f"going on with an unfinished render: {done} of {whole} are done already"


class Lines:
    """One line a chunk (none when quiet): for files, pipes and logs."""

    def __init__(self, environment: Environment, fps: float, *, quiet: bool) -> None:
        self._environment = environment
        self._fps = fps
        self._quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        """Write the event's line."""
        if isinstance(event, Caution):
            self._environment.say(f"warning: {event.message}")
            if event.hint:
                self._environment.say(f"hint: {event.hint}")
        elif self._quiet:
            return
        elif isinstance(event, Note):
            self._environment.say(f"note: {event.message}")
        elif isinstance(event, Resumed):
            self._environment.say(f"note: {going_on(event, self._fps)}")
        elif isinstance(event, ChunkDone):
            self._environment.say(
                f"chunk {event.index + 1}/{event.chunks}  frame {event.frames}/"
                f"{event.total_frames}  {speed_of(event, self._fps)}"
            )


class Bar:
    """A rich progress bar: percent, frames per second, times real time, time left."""

    def __init__(self, environment: Environment, fps: float, frames: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        console = Console(file=environment.stderr, no_color=not environment.color)
        self._progress = Progress(
            BarColumn(bar_width=32),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=frames, speed="starting", left="")
        self._fps = fps

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Move the bar, or write a line above it."""
        write = self._progress.console.print
        if isinstance(event, Caution):
            write(f"warning: {event.message}", style="yellow", markup=False, highlight=False)
            if event.hint:
                write(f"hint: {event.hint}", markup=False, highlight=False)
        elif isinstance(event, Note):
            write(f"note: {event.message}", markup=False, highlight=False)
        elif isinstance(event, Resumed):
            write(f"note: {going_on(event, self._fps)}", markup=False, highlight=False)
        elif isinstance(event, ChunkDone):
            rest = event.total_frames - event.frames
            left = event.seconds / max(event.frames - event.before, 1) * rest
            self._progress.update(
                self._task,
                completed=event.frames,
                speed=speed_of(event, self._fps),
                left=f"{format_time(left)} left" if rest else "joining picture and sound",
            )


def watcher_for(environment: Environment, fps: float, frames: int, *, quiet: bool) -> Watcher:
    """Return the watcher that fits where stderr goes."""
    if environment.interactive and not quiet:
        return Bar(environment, fps, frames)
    return Lines(environment, fps, quiet=quiet)
