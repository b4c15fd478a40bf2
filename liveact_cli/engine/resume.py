"""Going on after a crash: what is saved of a render while it runs, and how it is found again.

A state belongs to the start of a video segment. That lies inside a chunk, so what is saved is the
moment before that chunk: the memory and the decoder as they were, and how many frames had been
drawn. A render that goes on generates the chunk again and drops the frames that the finished
segments have. Noise depends on position alone, so nothing else is needed.

Three threads meet here: the one that generates leaves the memory, the one that draws leaves the
decoder's state, the one that encodes says when a segment is on the disk; a fourth one writes.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from liveact_cli.core.events import Caution, Event, Note, Saved
from liveact_cli.core.protocols import FrameDecoder
from liveact_cli.core.units import format_bytes, format_time
from liveact_cli.engine.container import (
    Blob,
    DamagedError,
    read_container,
    read_facts,
    write_container,
)
from liveact_cli.engine.decode import DecodeMemory
from liveact_cli.engine.manifest import RenderPlan, fingerprint_of
from liveact_cli.engine.unfinished import STATE_FORMAT, state_files
from liveact_cli.media.ffmpeg import explain_os_error
from liveact_cli.media.video import Segment
from liveact_cli.media.workfolder import WorkFolder
from liveact_cli.model.memory import ANCHOR

AUTO: Final = 0
SMALL: Final = 64_000_000
"""Bytes of memory up to which a state is saved after every segment: writing takes no time."""
BUDGET: Final = 0.02
"""Share of the time that writing larger states may take."""
STATES: Final = 2
"""States that are kept: the newest, and one in case it gets damaged."""
_PROBE: Final = 64_000_000
_ANCHORS: Final = "anchors.liveact"
SOUND: Final = "sound.m4a"
"""Name of the encoded sound in a work folder, once it is complete."""
_MEMORY, _DECODER = "memory.", "decoder."


@dataclass(frozen=True, slots=True)
class Keeping:
    """How progress is saved: after every `every` segments, `AUTO`, or never (None).

    `keep` leaves segments and states where they are when the video is finished. `request` is how
    the user asked for the render, kept in the states for whoever wants to ask again.
    """

    every: int | None = AUTO
    keep: bool = False
    request: Mapping[str, Any] = field(default_factory=dict)


DEFAULT_KEEPING: Final = Keeping()


@dataclass(frozen=True, slots=True)
class Start:
    """Where a render begins: the next chunk, the frames drawn before it, what is finished already.

    `memory` and `decoder` are None at the very beginning; `complete` means that only the joining of
    the segments is left. `found` is what the model found out when it was tried.
    """

    chunk: int = 0
    drawn: int = 0
    segments: tuple[Segment, ...] = ()
    memory: dict[str, Tensor] | None = None
    decoder: dict[str, Tensor] | None = None
    complete: bool = False
    peak: float = 0.0
    found: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Frames in the finished segments."""
        return sum(segment.frames for segment in self.segments)


BEGINNING: Final = Start()


def find_start(folder: Path, identity: Mapping[str, Any]) -> tuple[Start, list[Caution]]:
    """Return where the newest state that is whole lets a render go on (else its beginning).

    `identity` is what its facts must contain. The cautions tell of states that were passed over.
    """
    cautions: list[Caution] = []
    for path in state_files(folder):
        try:
            return _start_of(path, identity), cautions
        except (DamagedError, OSError) as error:
            reason = explain_os_error(error)[0] if isinstance(error, OSError) else str(error)
            cautions.append(Caution(f"the saved state {path.name} cannot be used: {reason}"))
    return Start(), cautions


def _start_of(path: Path, identity: Mapping[str, Any]) -> Start:
    content = read_container(path)
    facts = content.facts
    if facts["format"] != STATE_FORMAT:
        raise DamagedError("another version of liveact wrote it")
    if any(facts[name] != value for name, value in identity.items()):
        raise DamagedError("it is of another render")
    segments = tuple(_segment_of(path.parent, entry) for entry in facts["segments"])
    peak, found = facts["peak"], facts.get("found", {})
    if facts["complete"]:
        return Start(segments=segments, complete=True, peak=peak, found=found)
    anchors = read_container(path.with_name(_ANCHORS))
    if anchors.facts["record"] != facts["record"]:
        raise DamagedError("its anchors are of another render")
    blobs = content.blobs | anchors.blobs
    memory, decoder = (
        {
            name.removeprefix(part): tensor_of(blob)
            for name, blob in blobs.items()
            if name.startswith(part)
        }
        for part in (_MEMORY, _DECODER)
    )
    return Start(facts["chunk"], facts["drawn"], segments, memory, decoder, peak=peak, found=found)


def _segment_of(folder: Path, entry: Mapping[str, Any]) -> Segment:
    """Return a finished segment, after its bytes were checked."""
    path = folder / entry["path"]
    if fingerprint_of(path) != entry["sha256"]:
        raise DamagedError(f"segment {path.name} has changed")
    return Segment(entry["index"], path, entry["first_frame"], entry["frames"])


def blob_of(value: Tensor) -> Blob:
    """Return a tensor's bytes, without a copy where it lies in one piece on the CPU."""
    data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return Blob(str(value.dtype).removeprefix("torch."), tuple(value.shape), data)


def tensor_of(blob: Blob) -> Tensor:
    """Return the tensor with these bytes."""
    dtype = getattr(torch, blob.dtype)
    if not blob.nbytes:
        return torch.empty(blob.shape, dtype=dtype)
    return torch.frombuffer(blob.data, dtype=dtype).reshape(blob.shape)


@dataclass(slots=True)
class _Moment:
    """What was remembered before a chunk, and how long that took."""

    memory: dict[str, Tensor]
    seconds: float
    decoder: dict[str, Tensor] | None = None
    drawn: int = 0


@dataclass(frozen=True, slots=True)
class _Order:
    """A state to write."""

    name: str
    facts: dict[str, Any]
    frames: int
    moment: _Moment | None


class Saver:
    """Collects the states of a running render and writes them beside the work."""

    def __init__(
        self,
        folder: WorkFolder,
        plan: RenderPlan,
        facts: Mapping[str, Any],
        start: Start,
        every: int | None,
        peak: Callable[[], float],
    ) -> None:
        """`facts` go into every state; `peak` is asked for the loudest sample so far."""
        self.usable = bool(start.segments)
        self._folder, self._plan, self._facts, self._every = folder, plan, dict(facts), every
        self._peak = peak
        self._per_segment = plan.segment_frames
        self._segments = [self._entry(segment) for segment in start.segments]
        self._moments: dict[int, _Moment] = {}
        self._guard = threading.Lock()
        self._news: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._cost: float | None = None
        self._last = time.monotonic()
        self._failed = False
        self._busy = threading.Event()
        self._stopped = threading.Event()
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="states", daemon=True)
        self._writer.start()

    def know(self, found: Mapping[str, Any]) -> None:
        """Keep in all states to come what the model found out when it was tried."""
        self._facts["found"] = dict(found)

    def before_chunk(self, chunk: int, memory: DecodeMemory) -> None:
        """Remember the memory before `chunk` where a state is wanted there."""
        if not any(self._wanted(index, memory) for index in self._boundaries(chunk)):
            return
        begun = time.monotonic()
        moment = _Moment(memory.state(), 0.0)
        moment.seconds = time.monotonic() - begun
        with self._guard:
            self._moments[chunk] = moment

    def before_drawing(self, chunk: int, decoder: FrameDecoder, drawn: int) -> None:
        """Remember the decoder before `chunk`, when `drawn` frames have been drawn."""
        with self._guard:
            moment = self._moments.get(chunk)
        if moment is not None:
            begun = time.monotonic()
            moment.drawn = drawn
            state = decoder.state()
            moment.decoder = {name: v.to("cpu", copy=True) for name, v in state.items()}
            moment.seconds += time.monotonic() - begun

    def segment_done(self, segment: Segment) -> None:
        """Have a state written for the moment after `segment`, which is on the disk now."""
        if self._every is None:
            return
        self._segments.append(self._entry(segment))
        frame = segment.first_frame + segment.frames
        if segment.frames < self._per_segment or frame >= self._plan.frames:
            return
        chunk = self._chunk_of(frame)
        with self._guard:
            moment = self._moments.pop(chunk, None)
            for earlier in [number for number in self._moments if number < chunk]:
                del self._moments[earlier]
        if moment is None or moment.decoder is None:
            return
        where = {"chunk": chunk, "drawn": moment.drawn, "complete": False}
        self._order(segment.index + 1, frame, where, moment)

    def complete(self) -> None:
        """Save that only joining is left, and wait until that is on the disk."""
        if self._every is None:
            return
        where = {"chunk": self._plan.chunks.chunks, "drawn": self._plan.frames, "complete": True}
        self._order(len(self._segments), self._plan.frames, where, None)
        self.close()

    def close(self, *, at_once: bool = False) -> None:
        """Wait for what is being written; `at_once` gives it up."""
        if at_once:
            self._stopped.set()
        self._orders.put(None)
        self._writer.join()

    def news(self) -> Iterator[Event]:
        """Yield what has happened since the last call."""
        while not self._news.empty():
            yield self._news.get()

    def _order(
        self, index: int, frame: int, where: Mapping[str, Any], moment: _Moment | None
    ) -> None:
        more = {"format": STATE_FORMAT, "segments": list(self._segments), "peak": self._peak()}
        facts = {**self._facts, **where, **more}
        self._busy.set()
        self._orders.put(_Order(f"state-{index:06d}.liveact", facts, frame, moment))

    def _boundaries(self, chunk: int) -> list[int]:
        """Return the segments whose first frame `chunk` makes, but for the very first one."""
        if self._every is None or chunk == 0:
            return []
        last = (self._plan.frames - 1) // self._per_segment
        return [i for i in range(1, last + 1) if self._chunk_of(i * self._per_segment) == chunk]

    def _chunk_of(self, frame: int) -> int:
        plan = self._plan
        return plan.chunks.chunk_of(int(frame * plan.model_fps / plan.settings.fps))

    def _wanted(self, index: int, memory: DecodeMemory) -> bool:
        """Whether a state shall be saved at the start of segment `index`."""
        if self._every:
            return index % self._every == 0
        if memory.nbytes <= SMALL:
            return True
        if self._cost is None:
            self._cost = self._expected_cost(memory.nbytes)
        if self._busy.is_set():
            return False
        return time.monotonic() - self._last >= self._cost / BUDGET

    def _expected_cost(self, size: int) -> float:
        """Measure how fast the disk is, say how often that allows a state, and return the cost."""
        policy = self._plan.model.row.policy
        size = size * policy.first_chunk // policy.window
        path = self._folder.path / "probe"
        block = os.urandom(1 << 20)
        begun = time.monotonic()
        with path.open("wb") as file:
            for _ in range(_PROBE >> 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        cost = (time.monotonic() - begun) * size / _PROBE
        path.unlink()
        self._news.put(
            Note(
                f"progress is saved about every {format_time(cost / BUDGET)}: a state has "
                f"{format_bytes(size)} and takes {format_time(cost)} to write (--state-every)"
            )
        )
        return cost

    def _entry(self, segment: Segment) -> dict[str, Any]:
        return {
            "index": segment.index,
            "path": str(segment.path.relative_to(self._folder.path)),
            "first_frame": segment.first_frame,
            "frames": segment.frames,
            "sha256": fingerprint_of(segment.path),
        }

    def _write_all(self) -> None:
        while (order := self._orders.get()) is not None:
            begun = time.monotonic()
            try:
                size = self._write(order)
            except InterruptedError:
                return
            except OSError as error:
                self._complain(error)
                continue
            finally:
                self._busy.clear()
            took = time.monotonic() - begun
            self._last = time.monotonic()
            self._cost = took + (order.moment.seconds if order.moment else 0.0)
            self.usable = True
            self._news.put(Saved(order.frames, size, took))

    def _write(self, order: _Order) -> int:
        blobs: dict[str, Blob] = {}
        if order.moment is not None:
            state = {_MEMORY + name: value for name, value in order.moment.memory.items()}
            state |= {_DECODER + n: value for n, value in (order.moment.decoder or {}).items()}
            blobs = {name: blob_of(value) for name, value in state.items()}
        anchors = {name: blob for name, blob in blobs.items() if name.endswith(ANCHOR)}
        rest = {name: blob for name, blob in blobs.items() if name not in anchors}
        path = self._folder.path / _ANCHORS
        if anchors and not path.exists():
            record = {"record": order.facts["record"]}
            write_container(path, record, anchors, self._stopped.is_set)
        size = write_container(
            self._folder.path / order.name, order.facts, rest, self._stopped.is_set
        )
        for old in state_files(self._folder.path)[STATES:]:
            old.unlink(missing_ok=True)
        return size

    def _complain(self, error: OSError) -> None:
        """Tell once that progress cannot be saved; the render itself goes on."""
        if not self._failed:
            cause, hint = explain_os_error(error)
            self._news.put(Caution(f"progress could not be saved: {cause}", hint))
        self._failed = True


def files_of(folder: Path) -> list[Path]:
    """Return the files that the newest states need, themselves included; none without states."""
    needed: list[Path] = []
    for path in state_files(folder)[:STATES]:
        try:
            facts = read_facts(path)
        except (DamagedError, OSError):
            continue
        needed += [path, folder / _ANCHORS, folder / SOUND]
        needed += [folder / entry["path"] for entry in facts["segments"]]
    return needed
