"""What workers and whoever they work for say to each other; nothing heavy is imported for it."""

from dataclasses import dataclass
from typing import Final

from liveact_cli.core.errors import ExitCode
from liveact_cli.core.events import Event
from liveact_cli.core.units import Size
from liveact_cli.studio.orders import RenderOrder


@dataclass(frozen=True, slots=True)
class Opened:
    """The inputs are open: how much there is to do. `fps` frames per second, `seconds` of video."""

    frames: int
    fps: float
    seconds: float
    size: Size
    seed: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A video is in place: its bytes' hash, what `stat` says of it, a JPEG of a frame.

    `work_seconds` is the wall time of this run, which made all but `before` frames. `found` means
    that the video was there already, made from the same inputs with the same settings.
    """

    frames: int
    duration: float
    work_seconds: float
    seed: int
    sha256: str
    size: int
    mtime_ns: int
    thumbnail: bytes = b""
    before: int = 0
    found: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an order was not carried out; `again` says whether another try may help.

    `fatal` means that whoever worked on it should not work on anything else.
    """

    message: str
    hint: str = ""
    exit_code: int = int(ExitCode.FAILURE)
    trace: str = ""
    again: bool = True
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Do:
    """Carry out an order; what is told about it bears its number."""

    number: int
    order: RenderOrder


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop an order after the chunk that is being made."""

    number: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """An order was stopped, as was asked; it can be gone on with."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which process of which machine has an order, where that is known only there."""

    worker: str


News = Event | Where | Opened | Made | Failure | Stopped
"""What a worker tells; the last three end an order."""
ENDINGS: Final = (Made, Failure, Stopped)
