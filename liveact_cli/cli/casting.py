"""What `liveact podcast` is told: the cast, from options or a file; how its progress is shown."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from liveact_cli.core.errors import UsageError
from liveact_cli.core.events import Caution, ChunkDone, Finished, Note, Resumed
from liveact_cli.core.units import format_time
from liveact_cli.studio.podcast import Composed, EpisodeEvent, OfPerson

if TYPE_CHECKING:
    from liveact_cli.cli.context import Environment
    from liveact_cli.studio.cast import Cuts, Episode, Layout
    from liveact_cli.studio.plan import EpisodePlan

_LINES_EVERY: Final = 250
"""Frames between two lines about one person: 10 s of video."""


@dataclass(frozen=True, slots=True)
class Looks:
    """How the options say that an episode looks; None is what the file or the default says."""

    layout: str | None
    size: str | None
    background: str | None
    captions: bool
    font: str | None
    shortest_shot: str | None
    reactions: bool


def cast_from_file(
    environment: "Environment", file: str, looks: Looks, given: Mapping[str, object]
) -> "Episode":
    """Return the episode of a file, with what the options say about its looks above it."""
    from liveact_cli.studio.episode import read_episode

    path = environment.path(file)
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option} has no effect beside {path.name}", f"write it in {path.name}"
            )
    return _dressed(read_episode(path), environment, looks)


def cast_from_flags(
    environment: "Environment",
    sounds: Sequence[str],
    people: Sequence[str],
    turns: str | None,
    sound: str | None,
    preset: str | None,
    looks: Looks,
) -> "Episode":
    """Return the episode that the options and recordings describe."""
    from liveact_cli.studio.cast import STEREO, Episode, Person
    from liveact_cli.studio.episode import check_cast

    if not people:
        raise UsageError(
            "missing option '--host'", "liveact podcast SOUND --host a.png --guest b.png"
        )
    files = [environment.path(file) for file in sounds]
    if len(files) > 1 and len(files) != len(people):
        raise UsageError(
            f"{len(files)} recordings for {len(people)} people",
            "give one recording of all of them, or one a person in the order --host, --guest, ...",
        )
    own = len(files) > 1
    if sound is not None and not own:
        raise UsageError("--sound is for episodes with a recording for each person", "leave it out")
    for path in files:
        _check_there(path)
    named = [_named(environment, text) for text in people]
    cast = tuple(
        Person(name, picture, files[i] if own else None, preset)
        for i, (name, picture) in enumerate(named)
    )
    for _, _, message, hint in check_cast(cast):
        raise UsageError(message, hint.replace("add a last name", "--guest NAME=IMAGE"))
    heard = environment.path(sound) if sound is not None else None
    how = turns if turns in (None, STEREO) else environment.path(turns)
    return _dressed(Episode(cast, heard if own else files[0], how), environment, looks)


def _check_there(path: Path) -> None:
    from liveact_cli.media.inputs import check_input

    check_input(path, "the recording")


def _named(environment: "Environment", text: str) -> tuple[str, Path]:
    """Return name and picture of `NAME=IMAGE`, or of a picture that is called like the person."""
    name, sign, file = text.partition("=")
    if not sign or environment.path(text).is_file():
        path = environment.path(text)
        words = path.stem.replace("_", " ").replace("-", " ").split()
        return " ".join(word[:1].upper() + word[1:] for word in words) or "Host", path
    if not name.strip() or not file:
        raise UsageError(f"{text!r} is not NAME=IMAGE", '--guest "Bo Lee=bo.png"')
    return " ".join(name.split())[:60], environment.path(file)


def _dressed(episode: "Episode", environment: "Environment", looks: Looks) -> "Episode":
    """Return the episode as the options want it to look."""
    from liveact_cli.config.edge import check_size
    from liveact_cli.studio.episode import is_color

    changes: dict[str, Any] = {}
    if looks.layout is not None:
        changes["layout"] = _layout(looks.layout)
    if looks.size is not None:
        try:
            changes["size"] = check_size(looks.size)
        except ValueError as error:
            raise UsageError(f"--size {looks.size}: {error}", "--size 1280x720") from None
    if looks.background is not None:
        background: str | Path = looks.background
        if not is_color(looks.background):
            background = environment.path(looks.background)
            if not background.is_file():
                raise UsageError(
                    f"--background {looks.background} is neither a colour nor a file",
                    '--background "#1d2129", or a picture',
                )
        changes["background"] = background
    if not looks.captions:
        changes["captions"] = False
    if looks.font is not None:
        changes["font"] = environment.path(looks.font)
    return replace(episode, cuts=_cuts(episode.cuts, looks), **changes)


def _layout(name: str) -> "Layout":
    from liveact_cli.script.problems import did_you_mean
    from liveact_cli.studio.cast import Layout

    names = [str(layout) for layout in Layout]
    if name not in names:
        hint = did_you_mean(name, names) or f"the layouts are {', '.join(names)}"
        raise UsageError(f"--layout {name}: there is no such layout", hint)
    return Layout(name)


def _cuts(cuts: "Cuts", looks: Looks) -> "Cuts":
    from liveact_cli.core.units import parse_time
    from liveact_cli.studio.episode import LONGEST_SHORTEST, SHORTEST_SHOT

    if not looks.reactions:
        cuts = replace(cuts, reactions=False)
    if looks.shortest_shot is None:
        return cuts
    try:
        seconds = parse_time(looks.shortest_shot)
    except ValueError as error:
        raise UsageError(f"--shortest-shot: {error}", "--shortest-shot 2.5s") from None
    if not SHORTEST_SHOT <= seconds <= LONGEST_SHORTEST:
        raise UsageError(
            f"--shortest-shot {looks.shortest_shot} is not possible",
            f"write {SHORTEST_SHOT:g}s to {LONGEST_SHORTEST:g}s",
        )
    return replace(cuts, shortest=seconds)


class Lines:
    """One line for every 10 s of video of a person, and of the composed picture."""

    def __init__(self, environment: "Environment", plan: "EpisodePlan", *, quiet: bool) -> None:
        self._environment, self._quiet = environment, quiet
        self._fps = float(plan.fps)
        self._next: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(self, event: EpisodeEvent) -> None:
        """Write the event's line, if it is time for one."""
        who, what = (event.name, event.event) if isinstance(event, OfPerson) else ("", event)
        if isinstance(what, Caution):
            self._environment.say(f"warning: {_of(who, what.message)}")
            if what.hint:
                self._environment.say(f"hint: {what.hint}")
        elif self._quiet:
            return
        elif isinstance(what, Note):
            self._environment.say(f"note: {_of(who, what.message)}")
        elif isinstance(what, Resumed):
            self._environment.say(f"note: {_of(who, 'goes on where it stopped')}")
        elif isinstance(what, ChunkDone | Composed):
            self._progress(who or "composed", what)
        elif isinstance(what, Finished) and who:
            self._environment.say(f"{who} is rendered, in {format_time(what.seconds)}")

    def _progress(self, name: str, event: ChunkDone | Composed) -> None:
        due = self._next.setdefault(name, 0)
        if event.frames < due and event.frames < event.total_frames:
            return
        self._next[name] = event.frames + _LINES_EVERY
        self._environment.say(
            f"{name}  frame {event.frames}/{event.total_frames}  {_speed(event, self._fps)}"
        )


class Bars:
    """A bar for each person and one for the composed picture."""

    def __init__(self, environment: "Environment", plan: "EpisodePlan") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._lines = Lines(environment, plan, quiet=True)
        self._fps = float(plan.fps)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            console=Console(file=environment.stderr, no_color=not environment.color),
            transient=True,
        )
        names = [*plan.episode.names, "composed"]
        self._tasks = {
            name: self._progress.add_task(name, total=plan.frames, speed="") for name in names
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._progress)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def show(self, event: EpisodeEvent) -> None:
        """Move a bar, or write a line above the bars."""
        who, what = (event.name, event.event) if isinstance(event, OfPerson) else ("", event)
        if isinstance(what, ChunkDone | Composed):
            task = self._tasks[who or "composed"]
            self._progress.update(task, completed=what.frames, speed=_speed(what, self._fps))
        elif isinstance(what, Caution | Note):
            word = "note" if isinstance(what, Note) else "warning"
            text = f"{word}: {_of(who, what.message)}"
            self._progress.console.print(text, markup=False, highlight=False)


def watcher_for(environment: "Environment", plan: "EpisodePlan", *, quiet: bool) -> "Lines | Bars":
    """Return what shows an episode's progress where stderr goes."""
    if environment.interactive and not quiet:
        return Bars(environment, plan)
    return Lines(environment, plan, quiet=quiet)


def _speed(event: ChunkDone | Composed, fps: float) -> str:
    rate = (event.frames - event.before) / event.seconds if event.seconds > 0 else 0.0
    return f"{rate:.0f} frames/s, {rate / fps:.1f}x real time"


def _of(who: str, message: str) -> str:
    return f"{who}: {message}" if who else message
