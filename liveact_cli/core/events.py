"""What a long piece of work tells its consumers: progress bars, logs and programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth knowing that needs no action, such as the seed that was drawn."""

    message: str


@dataclass(frozen=True, slots=True)
class Caution:
    """Something that is probably not meant, such as a silent recording; the work goes on."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """One chunk was generated, drawn and given to the encoder, `seconds` after the start.

    `frames` is the number of frames so far; `stages` says how many seconds each stage worked on
    this chunk (stages overlap, so they add up to more than the time that passed). `before` frames
    had been made by an earlier run.
    """

    index: int
    chunks: int
    frames: int
    total_frames: int
    seconds: float
    stages: Mapping[str, float]
    before: int = 0


@dataclass(frozen=True, slots=True)
class Resumed:
    """An earlier run had finished `frames` of `total_frames` frames; the render goes on there."""

    frames: int
    total_frames: int


@dataclass(frozen=True, slots=True)
class Saved:
    """Progress is on the disk: after a crash `frames` frames need not be made again.

    Writing took `size` bytes and `seconds` seconds, beside the work.
    """

    frames: int
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The file is in place: `duration` is its length, `seconds` the wall time it took.

    `first_frame` is when the first frame was drawn, in seconds after the start. `before` frames
    had been made by an earlier run.
    """

    output: Path
    frames: int
    duration: float
    seconds: float
    first_frame: float
    before: int = 0


Event = Note | Caution | ChunkDone | Resumed | Saved | Finished
