"""What programs see of a running render: a progress file, and events as JSON lines."""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from liveact_cli.cli.boundary import translate
from liveact_cli.cli.progress import Watcher
from liveact_cli.core.errors import ExitCode, LiveActError, UsageError
from liveact_cli.core.events import Caution, ChunkDone, Event, Finished, Note, Resumed, Saved

if TYPE_CHECKING:
    from liveact_cli.engine.manifest import RenderPlan

NAMES: Final = {
    Note: "note", Caution: "caution", ChunkDone: "chunk", Resumed: "resumed", Saved: "saved",
    Finished: "finished",
}  # fmt: skip
_PAUSE: Final = 0.5


class Several:
    """Shows every event to several watchers."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers, self._stack = watchers, ExitStack()

    def __enter__(self) -> Self:
        for watcher in self._watchers:
            self._stack.enter_context(watcher)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def show(self, event: Event) -> None:
        """Show one event."""
        for watcher in self._watchers:
            watcher.show(event)


class EventLines:
    """One JSON document a line for every event, from `started` to `finished` or `failed`."""

    def __init__(self, stream: TextIO, plan: "RenderPlan") -> None:
        self._stream, self._plan = stream, plan

    def __enter__(self) -> Self:
        plan = self._plan
        self._write(
            {
                "event": "started",
                "output": str(plan.output),
                "model": plan.model.row.name,
                "seed": plan.seed,
                "frames": plan.frames,
                "fps": float(plan.settings.fps),
                "chunks": plan.chunks.chunks,
                "pid": os.getpid(),
            }
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._write(ending_of(error))

    def show(self, event: Event) -> None:
        """Write the event's line."""
        self._write({"event": NAMES[type(event)], **asdict(event)})

    def _write(self, values: dict[str, Any]) -> None:
        self._stream.write(json.dumps(values, default=str, ensure_ascii=False) + "\n")
        self._stream.flush()


class ProgressFile:
    """A small JSON file, replaced as the render goes on: whoever reads it sees a whole one."""

    def __init__(self, path: Path, plan: "RenderPlan") -> None:
        """Raise UsageError where it cannot be written."""
        self._path, self._fps, self._next = path, float(plan.settings.fps), 0.0
        self._values: dict[str, Any] = {
            "status": "running",
            "output": str(plan.output),
            "pid": os.getpid(),
            "frames": 0,
            "total_frames": plan.frames,
            "resumed_frames": 0,
            "saved_frames": 0,
        }
        try:
            self._write()
        except OSError as error:
            raise UsageError(
                f"--progress-file {path} cannot be written: {error.strerror}", "choose another name"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            ending = ending_of(error)
            self._values |= ending | {"status": ending["event"]}
            del self._values["event"]
            # The render's own failure matters more than this file's.
            with contextlib.suppress(OSError):
                self._write()

    def show(self, event: Event) -> None:
        """Take note of an event, and replace the file if it is old enough."""
        values = self._values
        if isinstance(event, Resumed):
            values |= {"frames": event.frames, "resumed_frames": event.frames}
        elif isinstance(event, Saved):
            values["saved_frames"] = event.frames
        elif isinstance(event, ChunkDone):
            values |= self._pace(event)
        elif isinstance(event, Finished):
            values |= {"status": "finished", "frames": event.frames, "seconds_left": 0.0}
            values["seconds"] = round(event.seconds, 3)
        now = time.monotonic()
        if now >= self._next or isinstance(event, Finished):
            self._next = now + _PAUSE
            with contextlib.suppress(OSError):
                self._write()

    def _pace(self, event: ChunkDone) -> dict[str, Any]:
        rate = (event.frames - event.before) / max(event.seconds, 1e-9)
        left = (event.total_frames - event.frames) / rate if rate > 0 else None
        return {
            "frames": event.frames,
            "seconds": round(event.seconds, 3),
            "frames_per_second": round(rate, 2),
            "times_real_time": round(rate / self._fps, 3),
            "seconds_left": left if left is None else round(left, 1),
        }

    def _write(self) -> None:
        from liveact_cli.diagnose.bench import current_rss

        values = self._values | {"rss_bytes": current_rss(), "updated": round(time.time(), 3)}
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(values, indent=1), encoding="utf-8")
        part.replace(self._path)


def ending_of(error: BaseException) -> dict[str, Any]:
    """Return how a render ended that did not finish: event, message, hint, exit code."""
    known = translate(error)
    if isinstance(error, KeyboardInterrupt):
        known = LiveActError("stopped at once", "the same command goes on")
        known.exit_code = ExitCode.INTERRUPTED
    if known is None:
        known = LiveActError(f"internal error: {type(error).__name__}")
        known.exit_code = ExitCode.BUG
    stopped = known.exit_code is ExitCode.INTERRUPTED
    return {
        "event": "interrupted" if stopped else "failed",
        "message": known.message,
        "hint": known.hint,
        "exit_code": int(known.exit_code),
    }
