"""Just a moment of a render, for trying a script: memory starts fresh a few seconds earlier."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from liveact_cli.core.errors import UsageError
from liveact_cli.core.geometry import frames_of
from liveact_cli.engine.ahead import work_ahead
from liveact_cli.engine.models import View, load_speaker
from liveact_cli.engine.prepare import Job
from liveact_cli.engine.render import generate, prompts_of
from liveact_cli.media.audio import AudioSource
from liveact_cli.media.mux import mux
from liveact_cli.media.target import atomic_target
from liveact_cli.media.video import SegmentWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from liveact_cli.config.settings import RenderSettings
    from liveact_cli.mini.decoder import Renderer

WARM_UP: Final = 5.0
"""Seconds before the moment at which memory begins: about four chunks, more than it keeps raw."""


@dataclass(frozen=True)
class Moment:
    """A stretch of a recording in seconds."""

    at: float
    seconds: float

    @property
    def begin(self) -> float:
        """Where the model begins, so that it has something to remember."""
        return max(0.0, self.at - WARM_UP)

    def settings(self, settings: "RenderSettings") -> "RenderSettings":
        """Return settings for the moment and what leads to it."""
        return replace(settings, start=self.begin, duration=self.at + self.seconds - self.begin)

    def skipped(self, job: Job) -> int:
        """Return how many frames of the job come before the moment."""
        skipped = frames_of(self.at - self.begin, float(job.plan.settings.fps))
        if skipped >= job.plan.frames:
            raise UsageError(
                f"{self.at:g} s is after the end of {job.plan.audio.name}", "--at an earlier time"
            )
        return skipped


@dataclass(frozen=True)
class Preview:
    """What a preview took: the wall time until its first frame and in all, and its frames."""

    output: Path
    first_frame: float
    seconds: float
    frames: int


class _Blind:
    """Draws nothing until the moment comes."""

    def __init__(self, renderer: "Renderer", skipped: int) -> None:
        self.renderer, self.left = renderer, skipped
        self.blank: NDArray[np.uint8] | None = None

    def render(self, motion: "NDArray[np.float32]") -> "NDArray[np.uint8]":
        if self.left > 0:
            self.left -= 1
            if self.blank is None:
                self.blank = self.renderer.render(motion)
            return self.blank
        return self.renderer.render(motion)


def moment_frames(job: Job, skipped: int) -> "Iterator[NDArray[np.uint8]]":
    """Yield the frames `[H, W, 3]` of a job after the first `skipped` ones."""
    plan = job.plan
    torch.set_num_threads(plan.settings.torch_threads)
    with load_speaker(plan) as speaker:
        view = speaker.look(job.picture, plan.size, float(plan.settings.fps), plan.settings.face)
        prompts = prompts_of(speaker, view, job)
        _close_eyes(view, skipped)
        chunks = work_ahead(lambda: generate(speaker, view, job, prompts))
        try:
            drawn = (frame for timed in chunks for frame in view.decoder.decode(timed.chunk.latent))
            yield from islice(chain(drawn, view.decoder.flush()), skipped, plan.frames)
        finally:
            chunks.close()


def _close_eyes(view: View, skipped: int) -> None:
    """Let liveact-mini's decoder not draw what nobody sees; others must decode it all the same."""
    from liveact_cli.mini.decoder import MotionFrameDecoder

    if isinstance(view.decoder, MotionFrameDecoder):
        view.decoder.renderer = _Blind(view.decoder.renderer, skipped)


def render_clip(job: Job, moment: Moment, output: Path, *, force: bool) -> Preview:
    """Write the moment as a video with its sound."""
    begun = time.perf_counter()
    plan, skipped = job.plan, moment.skipped(job)
    settings, first = plan.settings, 0.0
    with ExitStack() as stack:
        target = stack.enter_context(atomic_target(output, force))
        writer = stack.enter_context(
            SegmentWriter(
                target.directory, *plan.size, settings.fps, settings.crf, settings.encoder_preset,
                settings.encoder_threads,
            )
        )  # fmt: skip
        for frame in moment_frames(job, skipped):
            first = first or time.perf_counter() - begun
            writer.write(frame)
        frames = plan.frames - skipped
        sound = AudioSource(plan.audio, moment.at, max(0.1, float(frames / settings.fps)))
        record = plan.record() | {"preview": True, "frames": frames}
        mux(writer.close(), sound, target.staging, record, settings.fps, frames)
        target.commit()
    return Preview(output, first, time.perf_counter() - begun, frames)


def sheet_frames(job: Job, moment: Moment, count: int) -> "list[tuple[float, NDArray[np.uint8]]]":
    """Return at most `count` frames spread over the moment, each with its time in the recording."""
    skipped = moment.skipped(job)
    frames, fps = job.plan.frames - skipped, float(job.plan.settings.fps)
    count = min(count, frames)
    wanted = {round(i * (frames - 1) / max(1, count - 1)) for i in range(count)}
    return [
        (moment.at + i / fps, frame)
        for i, frame in enumerate(moment_frames(job, skipped))
        if i in wanted
    ]
