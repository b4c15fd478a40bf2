"""The main job: sound and picture -> chunks -> frames -> segments -> one file.

Three things go on at once: a thread generates the next chunk, this one draws the frames of the
current chunk, and ffmpeg's own processes encode. Nothing grows with the length of the recording.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from liveact_cli.core.errors import Interrupted
from liveact_cli.core.events import Caution, ChunkDone, Event, Finished, Note
from liveact_cli.core.protocols import AudioRows, FrameDecoder, PromptTrack
from liveact_cli.core.units import format_time
from liveact_cli.engine.ahead import work_ahead
from liveact_cli.engine.conditioning import Conditioner
from liveact_cli.engine.decode import DecodedChunk, DecodeMemory, decode_chunks
from liveact_cli.engine.manifest import RenderPlan
from liveact_cli.engine.models import Speaker, View, load_speaker
from liveact_cli.engine.noise import PhiloxNoise
from liveact_cli.engine.prepare import Job
from liveact_cli.media.label import Label
from liveact_cli.media.mux import mux
from liveact_cli.media.sound import SoundTrack
from liveact_cli.media.target import Target, atomic_target
from liveact_cli.media.video import Segment, SegmentWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

AUDIO, TRANSFORMER, RENDER, ENCODE = "audio", "transformer", "render", "encode"
Clock: Final = time.perf_counter
_SILENT_HINT: Final = "check the recording, and which of its parts --start and --duration choose"


@dataclass(slots=True)
class _TimedRows:
    """Audio rows that know how long they took."""

    rows: AudioRows
    seconds: float = 0.0

    def window(self, start: int, stop: int) -> "Tensor":
        begun = Clock()
        try:
            return self.rows.window(start, stop)
        finally:
            self.seconds += Clock() - begun


@dataclass(frozen=True, slots=True)
class TimedChunk:
    """A generated chunk and the seconds that its sound and its denoising took."""

    chunk: DecodedChunk
    stages: Mapping[str, float]


def generate(speaker: Speaker, view: View, job: Job, prompts: PromptTrack) -> Iterator[TimedChunk]:
    """Yield the chunks of a job in latent space, each with what its stages took."""
    plan, decode = job.plan, speaker.decode_settings
    model_frames = plan.chunks.frames
    rows = _TimedRows(
        speaker.audio_encoder.stream(job.sound.blocks(), model_frames, float(plan.model_fps))
    )
    conditioner = Conditioner(
        speaker.transformer, speaker.policy, rows, prompts, view.reference, guided=decode.guided
    )
    memory = DecodeMemory(speaker.transformer, speaker.policy, view.latent_size, decode)
    noise = PhiloxNoise(plan.seed)
    chunks = decode_chunks(speaker.transformer, plan.chunks, conditioner, noise, memory, decode)
    begun = Clock()
    for chunk in chunks:
        took = Clock() - begun
        yield TimedChunk(chunk, {AUDIO: rows.seconds, TRANSFORMER: took - rows.seconds})
        rows.seconds, begun = 0.0, Clock()


def render_video(
    job: Job,
    *,
    speaker: Speaker | None = None,
    force: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Render a job and yield what happens; the last event is Finished.

    `speaker` is the plan's model where it is loaded already; it is as good as new afterwards.
    `stop` is asked after every chunk; when it says yes, what there is becomes a playable
    OUT.partial.mp4 and Interrupted is raised. After any other failure nothing is left behind.
    The job's script is played; without one the prompt of the settings holds throughout.
    """
    plan = job.plan
    begun = Clock()
    torch.set_num_threads(plan.settings.torch_threads)
    with ExitStack() as stack:
        target = stack.enter_context(atomic_target(plan.output, force))
        sound = stack.enter_context(SoundTrack(job.sound, target.directory))
        yield from map(Note, job.notes)
        speaker = speaker or stack.enter_context(load_speaker(plan))
        view = speaker.look(job.picture, plan.size, float(plan.settings.fps), plan.settings.face)
        yield from map(Note, view.notes)
        yield from map(Caution, view.cautions)
        writer = stack.enter_context(_writer(plan, target.directory))
        prompts = prompts_of(speaker, view, job)
        drawing = _Drawing(plan, view.decoder, writer, begun)
        chunks = work_ahead(lambda: generate(speaker, view, job, prompts))
        stack.callback(chunks.close)
        for timed in chunks:
            yield drawing.draw(timed)
            if stop() and 0 < drawing.frames < plan.frames:
                raise _interrupted(plan, writer.close(), sound, target)
        drawing.finish()
        if job.sound.silent:
            yield Caution(f"{plan.audio.name} is silent: the lips stay closed", _SILENT_HINT)
        segments = writer.close()
        mux(segments, sound, target.staging, plan.record(), plan.settings.fps, plan.frames)
        target.commit()
    duration = float(plan.frames / plan.settings.fps)
    yield Finished(plan.output, plan.frames, duration, Clock() - begun, drawing.first_frame)


def prompts_of(speaker: Speaker, view: View, job: Job) -> PromptTrack:
    """Return what the transformer is told over time: the job's script, else its prompt."""
    if job.script is not None:
        return speaker.direct(job.script, job.plan.chunks, view)
    return speaker.say(job.plan.settings.prompt)


def _writer(plan: RenderPlan, folder: Path) -> SegmentWriter:
    settings = plan.settings
    return SegmentWriter(
        folder,
        plan.size.width,
        plan.size.height,
        settings.fps,
        settings.crf,
        settings.encoder_preset,
        settings.encoder_threads,
        round(settings.segment_seconds * settings.fps),
    )


class _Drawing:
    """Draws latents and hands the frames to the encoder, exactly as many as are planned."""

    def __init__(
        self, plan: RenderPlan, decoder: FrameDecoder, writer: SegmentWriter, begun: float
    ) -> None:
        self.frames = 0
        self.first_frame = 0.0
        self._plan, self._decoder, self._writer, self._begun = plan, decoder, writer, begun
        self._label = Label(*plan.size) if plan.settings.label else None

    def draw(self, timed: TimedChunk) -> ChunkDone:
        """Draw one chunk."""
        stages = dict(timed.stages)
        start = Clock()
        encode = self._take(self._decoder.decode(timed.chunk.latent))
        stages |= {RENDER: Clock() - start - encode, ENCODE: encode}
        return ChunkDone(
            timed.chunk.span.index,
            self._plan.chunks.chunks,
            self.frames,
            self._plan.frames,
            Clock() - self._begun,
            stages,
        )

    def finish(self) -> None:
        """Draw what the decoder's look-ahead holds; the video is complete after that."""
        self._take(self._decoder.flush())
        if self.frames != self._plan.frames:
            raise RuntimeError(f"{self.frames} frames were drawn of {self._plan.frames}")

    def _take(self, frames: "Iterator[NDArray[np.uint8]]") -> float:
        """Hand frames to the encoder; return the seconds that were spent waiting for it."""
        waited = 0.0
        wanted = self._plan.frames - self.frames
        for frame in islice(frames, wanted):
            self.first_frame = self.first_frame or Clock() - self._begun
            if self._label is not None:
                self._label.apply(frame)
            start = Clock()
            self._writer.write(frame)
            waited += Clock() - start
            self.frames += 1
        return waited


def _interrupted(
    plan: RenderPlan, segments: list[Segment], sound: SoundTrack, target: Target
) -> Interrupted:
    fps = plan.settings.fps
    frames = sum(segment.frames for segment in segments)
    record = plan.record() | {"frames": frames, "partial": True}
    mux(segments, sound, target.staging, record, fps, frames)
    kept = target.commit(target.partial)
    done, whole = format_time(float(frames / fps)), format_time(float(plan.frames / fps))
    return Interrupted(f"{done} of {whole} are in {kept}")
