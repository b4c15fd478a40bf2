"""What is known of a job: a row of the job store."""

import json
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """What a job is at."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the store knows it; its fields are the columns of the table.

    `position` counts from 1 in the manifest's order; 0: the manifest does not have it any more.
    """

    name: str
    position: int
    state: State
    again: bool
    audio: str
    reference: str
    output: str
    identity: str | None
    attempts: int
    worker: str | None
    begun: float | None
    ended: float | None
    frames: int
    total_frames: int | None
    fps: float | None
    seconds: float | None
    work_seconds: float | None
    frames_before: int
    seed: int | None
    exit_code: int | None
    error: str | None
    hint: str | None
    trace: str | None
    notes: tuple[str, ...]
    sha256: str | None
    size: int | None
    mtime_ns: int | None
    thumbnail: bytes | None

    @property
    def speed(self) -> float | None:
        """Times real time of the run that finished it."""
        if not (self.work_seconds and self.seconds and self.total_frames):
            return None
        return self.seconds * (1 - self.frames_before / self.total_frames) / self.work_seconds

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        hidden = ("thumbnail", "trace", "again", "identity", "mtime_ns", "notes")
        values = {name: getattr(self, name) for name in self.__slots__ if name not in hidden}
        return values | {"state": str(self.state), "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run of the manifest: by which process on which machine, since when (seconds of epoch)."""

    pid: int
    host: str
    begun: float
    ended: float | None
    about: str


def format_speed(times: float) -> str:
    """Return times real time for people: `3.7x`, `0.04x`."""
    return f"{times:.1f}x" if times >= 1 else f"{times:.2g}x"


def row_of(found: sqlite3.Row) -> JobRow:
    """Return a row of the table as a value."""
    values = dict(found)
    values["state"] = State(values["state"])
    values["again"] = bool(values["again"])
    values["notes"] = tuple(json.loads(values["notes"] or "[]"))
    return JobRow(**values)
