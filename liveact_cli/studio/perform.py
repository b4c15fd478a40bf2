"""An order carried out where the model is: its events, and at the end what was made."""

import io
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import av

from liveact_cli.config.settings import FULL_ONLY
from liveact_cli.core.errors import ExitCode, LiveActError, MediaError, UsageError
from liveact_cli.core.events import Event, Finished
from liveact_cli.core.translate import explain
from liveact_cli.engine.manifest import RenderPlan, fingerprint_of
from liveact_cli.engine.models import Speaker, load_speaker
from liveact_cli.engine.prepare import Job
from liveact_cli.engine.render import render_video
from liveact_cli.engine.run import COMPUTED
from liveact_cli.media.inputs import open_media
from liveact_cli.media.metadata import read_metadata
from liveact_cli.studio.messages import Failure, Made, Opened
from liveact_cli.studio.orders import RenderOrder, open_order

THUMBNAIL: Final = (176, 132)
"""Largest sides of a thumbnail in pixels."""
_FINAL: Final = (ExitCode.USAGE, ExitCode.BAD_MEDIA, ExitCode.MISSING_WEIGHTS)
_LONGEST_TRACE: Final = 4000


class Speakers:
    """The model that was loaded last, kept for as long as jobs want the same one."""

    def __init__(self) -> None:
        self._key: object = None
        self._speaker: Speaker | None = None
        self._stack = ExitStack()

    def of(self, plan: RenderPlan) -> Speaker:
        """Return the model of a plan, loaded unless it is there."""
        settings = plan.settings
        layout = plan.placement and plan.placement.layout
        key = (plan.model.path, layout, *(getattr(settings, name) for name in FULL_ONLY))
        if self._speaker is None or key != self._key:
            self.close()
            self._speaker = self._stack.enter_context(load_speaker(plan))
            self._key = key
        return self._speaker

    def close(self) -> None:
        """Let the model go."""
        self._speaker = None
        self._stack.close()


def perform(
    order: RenderOrder, speakers: Speakers, stop: Callable[[], bool] = lambda: False
) -> Generator[Event | Opened | Made, None, None]:
    """Render an order: yield Opened, the render's events, and Made.

    Where the video is there already, only Opened and Made are yielded. When `stop` says yes the
    generator ends without Made; the same order goes on later from the state that was saved last.
    """
    begun = time.monotonic()
    job = open_order(order)
    plan = job.plan
    fps = float(plan.settings.fps)
    yield Opened(plan.frames, fps, plan.frames / fps, plan.size, plan.seed, job.notes)
    if plan.output.exists():
        if not order.again and (seed := _seed_if_same(job)) is not None:
            yield _made(plan, time.monotonic() - begun, seed, plan.frames, found=True)
            return
        if not order.replace:
            raise UsageError(
                f"{plan.output} exists already, and was not made by this batch",
                "move it away, or --force, which replaces it",
            )
    before = 0
    speaker = speakers.of(plan)
    with closing(_events(job, speaker, order)) as events:
        for event in events:
            yield event
            if isinstance(event, Finished):
                before = event.before
            elif stop():
                return
    yield _made(plan, time.monotonic() - begun, plan.seed, before)


def _events(job: Job, speaker: Speaker, order: RenderOrder) -> Generator[Event, None, None]:
    yield from render_video(job, speaker=speaker, force=order.replace)


def _seed_if_same(job: Job) -> int | None:
    """Return the seed of the video that is there if nothing else would be another, else None."""
    try:
        there = read_metadata(job.plan.output).settings
    except MediaError:
        return None
    wanted: dict[str, Any] = job.plan.record()
    if there is None or not isinstance(there.get("seed"), int):
        return None
    there.pop(COMPUTED, None)
    if job.plan.settings.seed is None:
        wanted["seed"] = there["seed"]
    return int(wanted["seed"]) if there == wanted else None


def _made(plan: RenderPlan, seconds: float, seed: int, before: int, *, found: bool = False) -> Made:
    status = plan.output.stat()
    return Made(
        frames=plan.frames,
        duration=float(plan.frames / plan.settings.fps),
        work_seconds=seconds,
        seed=seed,
        sha256=fingerprint_of(plan.output),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        thumbnail=thumbnail_of(plan.output),
        before=before,
        found=found,
    )


def thumbnail_of(video: Path) -> bytes:
    """Return a small JPEG of a frame near the middle; nothing where none can be read."""
    try:
        with open_media(video, "the video") as container:
            stream = container.streams.video[0]
            if container.duration:
                container.seek(container.duration // 2)
            image = next(container.decode(stream)).to_image()
    except (MediaError, av.FFmpegError, OSError, StopIteration, IndexError):
        return b""
    image.thumbnail(THUMBNAIL)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    return data.getvalue()


def failure_of(error: BaseException, trace: str) -> Failure:
    """Return what an exception means for its order and for whoever met it."""
    known = explain(error)
    if known is None:
        detail = " ".join(str(error).split())
        known = LiveActError(f"internal error: {type(error).__name__}: {detail}"[:1000])
        known.exit_code = ExitCode.BUG
    code = known.exit_code
    return Failure(
        known.message,
        known.hint,
        int(code),
        trace[-_LONGEST_TRACE:] if code is ExitCode.BUG else "",
        again=code not in _FINAL,
        fatal=code in (ExitCode.BUG, ExitCode.DEVICE),
    )
