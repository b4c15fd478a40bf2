"""Making an episode: voices, everybody's own video, the composed picture, one file; or going on.

Everything lies in a hidden folder beside the target. People's videos resume as every render does,
the composed picture at its last finished segment; what is there already is not made again.
"""

import json
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from liveact_cli.core.errors import ExitCode, LiveActError, UsageError
from liveact_cli.core.events import Caution, ChunkDone, Event, Finished, Note, Resumed, Saved
from liveact_cli.engine.manifest import fingerprint, fingerprint_of
from liveact_cli.engine.unfinished import differences
from liveact_cli.media.audio import AudioSource
from liveact_cli.media.ffmpeg import explain_os_error, ffmpeg_version, find_ffmpeg, sync_file
from liveact_cli.media.metadata import read_metadata
from liveact_cli.media.mux import mux
from liveact_cli.media.sound import SoundTrack
from liveact_cli.media.target import Target
from liveact_cli.media.video import Segment, SegmentWriter
from liveact_cli.media.workfolder import WorkFolder, work_folder_of
from liveact_cli.studio.dispatch import Done, Failed, Progress, dispatch
from liveact_cli.studio.orders import RenderOrder
from liveact_cli.studio.plan import FINER, EpisodePlan
from liveact_cli.studio.stage import Clip, Stage
from liveact_cli.studio.talk import write_mix, write_voice
from liveact_cli.studio.workers import LocalWorkers, Seat

_FACTS, _PIECES = "episode.json", "pieces.json"
_NEWS_EVERY: Final = 1.0
_SHOWN: Final = (Note, Caution, ChunkDone, Resumed, Saved, Finished)
RETRIES: Final = 2
"""Times that a person whose process is lost is begun again, from the saved state."""


@dataclass(frozen=True, slots=True)
class OfPerson:
    """Something happened to a person's own video."""

    name: str
    event: Event


@dataclass(frozen=True, slots=True)
class Composed:
    """`frames` of `total_frames` are composed; `before` of them by an earlier run."""

    frames: int
    total_frames: int
    seconds: float
    before: int = 0


EpisodeEvent = Event | OfPerson | Composed


def episode_folder_of(target: Path) -> Path:
    """Return where the work on an episode lies: `.OUT.episode` beside it."""
    return work_folder_of(target).with_suffix(".episode")


def unfinished_episode(target: Path) -> dict[str, Any] | None:
    """Return the record of the episode that was to become `target`, if it was begun."""
    facts = _read_json(episode_folder_of(target) / _FACTS)
    return facts.get("record") if facts is not None else None


def kept_of(target: Path) -> str:
    """Return what is left of an episode that was stopped: `2 of 3 people are rendered`."""
    folder, record = episode_folder_of(target), unfinished_episode(target)
    if record is None:
        return "nothing is kept"
    done, people = len(list((folder / "clips").glob("*.mp4"))), len(record["cast"])
    pieces = _read_json(folder / _PIECES)
    if done == people and pieces is not None:
        frames = sum(entry["frames"] for entry in pieces["segments"])
        return f"everybody is rendered, {frames} of {record['frames']} frames are composed"
    return f"{done} of {people} people are rendered, the others as far as they were saved"


def make_episode(
    plan: EpisodePlan,
    seats: Sequence[Seat],
    *,
    force: bool = False,
    keep: bool = False,
) -> Iterator[EpisodeEvent]:
    """Make an episode and yield what happens; the last event is Finished.

    There is a seat for each person who is rendered at once. After any end before the end the same
    plan goes on; with `keep` the folder stays after the end, too. Raises UsageError where the
    folder holds another episode's work, unless `force` is set: then what still fits is used.
    """
    begun = time.perf_counter()
    with _work_on(plan, force, keep) as (folder, notes):
        yield from map(Note, notes)
        orders = _orders(plan, folder.path)
        yield from _render_people(plan, orders, seats)
        target = Target(plan.output, folder.new_run(), force)
        before = yield from _compose(plan, orders, target, folder.path)
        target.commit()
    duration = float(plan.frames / plan.fps)
    yield Finished(plan.output, plan.frames, duration, time.perf_counter() - begun, 0.0, before)


@contextmanager
def _work_on(plan: EpisodePlan, force: bool, keep: bool) -> Iterator[tuple[WorkFolder, list[str]]]:
    """Give the folder of an episode and what to tell about it; remove it after a good end."""
    path = episode_folder_of(plan.output)
    try:
        folder = WorkFolder(path)
    except OSError as error:
        cause, hint = explain_os_error(error)
        raise LiveActError(f"{path} cannot be made: {cause.lower()}", hint) from error
    try:
        notes = _compare(plan, force)
        for name in ("voices", "clips", "stills"):
            (path / name).mkdir(exist_ok=True)
        _write_json(path / _FACTS, {"record": plan.record()})
        _sweep_runs(path)
        yield folder, notes
    except BaseException as error:
        folder.release()
        if isinstance(error, LiveActError) and (path / "voices").is_dir():
            then = f"the same command goes on from there: {kept_of(plan.output)}"
            if not isinstance(error, UsageError):
                error.hint = f"{error.hint}; {then}" if error.hint else then
        raise
    if keep:
        folder.release()
    else:
        folder.remove()


def _compare(plan: EpisodePlan, force: bool) -> list[str]:
    """Refuse an unfinished episode that is another one; `force` uses what still fits."""
    there = unfinished_episode(plan.output)
    told = differences(there, plan.record()) if there is not None else []
    if there is None:
        return []
    if not told:
        return [f"going on with an unfinished episode: {kept_of(plan.output)}"]
    what, name = "; ".join(told), plan.output.name
    if not force:
        raise UsageError(
            f"an unfinished {name} is here ({kept_of(plan.output)}), and this is not the same "
            f"episode: {what}",
            "give the same arguments to go on with it; --force changes it and uses what still fits",
        )
    return [f"the unfinished {name} is changed: {what}"]


def _sweep_runs(path: Path) -> None:
    """Remove what earlier runs left half-done: all that no finished piece needs."""
    pieces = _read_json(path / _PIECES) or {"segments": []}
    needed = {path / entry["path"] for entry in pieces["segments"]}
    for run in path.glob("run-*"):
        for file in run.iterdir():
            if file not in needed:
                file.unlink()
        with suppress(OSError):
            run.rmdir()


def _orders(plan: EpisodePlan, folder: Path) -> list[RenderOrder]:
    """Write everybody's voice, and return the orders for everybody's own video."""
    reactions = plan.reactions
    length = {"start": plan.part.start, "duration": float(plan.frames / plan.fps)}
    orders = []
    for i, role in enumerate(plan.roles):
        voice = folder / "voices" / f"{i}.flac"
        write_voice(plan.episode, plan.talk, i, voice)
        settings = {
            **{name: value for name, value in asdict(plan.settings).items() if value is not None},
            **length,
            "size": role.size,
            "seed": plan.seed + i,
            "crf": max(0, plan.settings.crf - FINER),
            "label": False,
            **({"face": role.number} if role.number is not None else {}),
        }
        orders.append(
            RenderOrder(
                voice,
                role.person.picture,
                folder / "clips" / f"{i}.mp4",
                settings,
                role.person.script,
                role.orders,
                plan.folder,
                plan.variables,
                replace=True,
                added=tuple(one.placed() for one in reactions if one.person == i),
                crop=role.crop,
            )
        )
    return orders


def _render_people(
    plan: EpisodePlan, orders: Sequence[RenderOrder], seats: Sequence[Seat]
) -> Iterator[EpisodeEvent]:
    """Render those who are not finished, several at once; what stops one of them stops all."""
    names = plan.episode.names
    with LocalWorkers(seats) as workers:
        for what in dispatch(workers, list(zip(names, orders, strict=True)), retries=RETRIES):
            if isinstance(what, Progress) and isinstance(what.event, _SHOWN):
                if not _is_listening(what.event):
                    yield OfPerson(what.key, what.event)
            elif isinstance(what, Done) and what.made.found:
                yield Note(f"{what.key} is rendered already")
            elif isinstance(what, Failed):
                failure = what.failure
                if not what.final:
                    yield OfPerson(what.key, Caution(f"{failure.message}; another try", ""))
                    continue
                error = LiveActError(f"{what.key}: {failure.message}", failure.hint)
                error.exit_code = ExitCode(failure.exit_code)
                error.add_note(failure.trace)
                raise error


def _is_listening(event: Event) -> bool:
    """Say whether a render complains of silence: here it means that a person only listens."""
    silence = (" is silent: ", "this recording has no pause")
    return isinstance(event, Caution | Note) and any(part in event.message for part in silence)


def _record(plan: EpisodePlan, orders: Sequence[RenderOrder]) -> dict[str, Any]:
    """Return what the video says of itself, everybody's own render included."""
    people = {}
    for name, order in zip(plan.episode.names, orders, strict=True):
        people[name] = read_metadata(order.output).settings
    return plan.record() | {"people": people}


def _compose(
    plan: EpisodePlan, orders: Sequence[RenderOrder], target: Target, folder: Path
) -> Generator[EpisodeEvent, None, int]:
    """Compose what is not composed yet and join it with the sound; return the frames before."""
    episode, settings = plan.episode, plan.settings
    clips = [
        Clip(order.output, role.size, role.shape, role.face)
        for role, order in zip(plan.roles, orders, strict=True)
    ]
    record = _record(plan, orders)
    heard = episode.sound or folder / "sound.flac"
    if episode.sound is None:
        write_mix([p.track for p in episode.people if p.track is not None], heard)
    pieces = _Pieces(folder, fingerprint(record | {"ffmpeg": ffmpeg_version(find_ffmpeg())}))
    before = pieces.frames
    stage = Stage(episode, clips, plan.shots, plan.fps, folder / "stills", label=settings.label)
    with ExitStack() as stack:
        source = AudioSource(heard, plan.part.start, settings.duration)
        sound = stack.enter_context(SoundTrack(source, target.directory))
        writer = stack.enter_context(
            SegmentWriter(
                target.directory,
                *episode.size,
                plan.fps,
                settings.crf,
                settings.encoder_preset,
                settings.encoder_threads,
                round(settings.segment_seconds * plan.fps),
                first_index=len(pieces.segments),
                first_frame=before,
                on_segment=pieces.add,
            )
        )
        yield from _frames(stage, writer, before)
        segments = (*pieces.segments_before, *writer.close())
        mux(segments, sound, target.staging, record, plan.fps, plan.frames)
    return before


def _frames(stage: Stage, writer: SegmentWriter, before: int) -> Iterator[EpisodeEvent]:
    """Hand the composed frames to the encoder."""
    begun = told = time.perf_counter()
    done = before
    for frame in stage.frames_from(before):
        writer.write_planar(frame)
        done += 1
        now = time.perf_counter()
        if now - told >= _NEWS_EVERY or done == stage.frames:
            told = now
            yield Composed(done, stage.frames, now - begun, before)


class _Pieces:
    """The finished segments of the composed picture, told to a file as they come."""

    def __init__(self, folder: Path, identity: str) -> None:
        """Take the segments of an earlier run that composed the same, up to a damaged one."""
        self._folder, self._identity = folder, identity
        self.segments: list[Segment] = []
        self._entries: list[dict[str, Any]] = []
        there = _read_json(folder / _PIECES)
        if there is not None and there["identity"] == identity:
            for entry in there["segments"]:
                path = folder / entry["path"]
                if not path.is_file() or fingerprint_of(path) != entry["sha256"]:
                    break
                self._entries.append(entry)
                segment = Segment(len(self.segments), path, self.frames, entry["frames"])
                self.segments.append(segment)
        self.segments_before = tuple(self.segments)

    @property
    def frames(self) -> int:
        """Frames in the segments."""
        return sum(segment.frames for segment in self.segments)

    def add(self, segment: Segment) -> None:
        """Take note of a segment that is on the disk now."""
        self.segments.append(segment)
        path = segment.path.relative_to(self._folder)
        entry = {"path": str(path), "frames": segment.frames}
        self._entries.append(entry | {"sha256": fingerprint_of(segment.path)})
        facts = {"identity": self._identity, "segments": self._entries}
        _write_json(self._folder / _PIECES, facts)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Replace a file by another that is on the disk already."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(facts), encoding="utf-8")
        sync_file(part)
        os.replace(part, path)
        sync_file(path.parent)
    except OSError as error:
        cause, hint = explain_os_error(error)
        raise LiveActError(f"progress could not be saved: {cause}", hint) from error
