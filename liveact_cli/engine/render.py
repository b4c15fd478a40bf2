"""The main job: sound and picture -> chunks -> frames -> segments -> one file.

Three things go on at once: a thread generates the next chunk, this one draws the frames of the
current chunk, and ffmpeg's own processes encode. Nothing grows with the length of the recording.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import torch

from liveact_cli.core.errors import DeviceError, Interrupted
from liveact_cli.core.events import Caution, ChunkDone, Event, Finished, Note
from liveact_cli.core.machine import share_one_heap
from liveact_cli.core.protocols import AudioRows, FrameDecoder, PromptTrack
from liveact_cli.core.units import format_bytes, format_time
from liveact_cli.engine.ahead import work_ahead
from liveact_cli.engine.conditioning import Conditioner
from liveact_cli.engine.decode import DecodedChunk, DecodeMemory, decode_chunks
from liveact_cli.engine.manifest import RenderPlan
from liveact_cli.engine.models import Speaker, View, load_speaker
from liveact_cli.engine.noise import PhiloxNoise
from liveact_cli.engine.prepare import Job
from liveact_cli.engine.resume import BEGINNING, DEFAULT_KEEPING, Keeping, Start
from liveact_cli.engine.run import COMPUTED, Run, work_on
from liveact_cli.media.label import Label
from liveact_cli.media.mux import mux
from liveact_cli.media.sound import SoundTrack
from liveact_cli.media.target import Target
from liveact_cli.media.video import Segment, SegmentWriter
from liveact_cli.runtime import fallbacks
from liveact_cli.runtime.streams import WorkStream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

AUDIO, TRANSFORMER, RENDER, ENCODE = "audio", "transformer", "render", "encode"
Clock: Final = time.perf_counter
_SLOWER_HINT: Final = "the video is as good, it only takes longer; `liveact doctor` shows versions"
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


def generate(
    speaker: Speaker,
    view: View,
    job: Job,
    prompts: PromptTrack,
    start: Start = BEGINNING,
    before_chunk: Callable[[int, DecodeMemory], None] = lambda index, memory: None,
    found: Callable[[Mapping[str, Any]], None] = lambda facts: None,
) -> Iterator[TimedChunk]:
    """Yield the chunks of a job in latent space from `start` on, each with what its stages took.

    `before_chunk` may look at the memory as it is before each chunk; `found` is told what the
    model finds out when it is tried, before the first one.
    """
    plan, decode = job.plan, speaker.decode_settings
    model_frames = plan.chunks.frames
    rows = _TimedRows(
        speaker.audio_encoder.stream(job.sound.blocks(), model_frames, float(plan.model_fps))
    )
    conditioner = Conditioner(
        speaker.transformer, speaker.policy, rows, prompts, view.reference, guided=decode.guided
    )
    memory = DecodeMemory(speaker.transformer, speaker.policy, view.latent_size, decode)
    decoding = partial(
        decode_chunks,
        speaker.transformer,
        plan.chunks,
        conditioner,
        PhiloxNoise(plan.seed),
        memory,
        decode,
    )

    def first_chunk() -> None:
        next(decoding())
        memory.clear()

    found(speaker.try_out(first_chunk))
    if start.memory is not None:
        memory.load_state(start.memory)
    chunks, stream = decoding(start=start.chunk), WorkStream(speaker.transformer.device)
    for index in range(start.chunk, plan.chunks.chunks):
        before_chunk(index, memory)
        begun, rows.seconds = Clock(), 0.0
        with stream.work():
            chunk = next(chunks)
        took = Clock() - begun
        yield TimedChunk(chunk, {AUDIO: rows.seconds, TRANSFORMER: took - rows.seconds})


def render_video(
    job: Job,
    *,
    speaker: Speaker | None = None,
    force: bool = False,
    stop: Callable[[], bool] = lambda: False,
    keeping: Keeping = DEFAULT_KEEPING,
) -> Iterator[Event]:
    """Render a job and yield what happens; the last event is Finished.

    `speaker` is the plan's model where it is loaded already; it is as good as new afterwards.
    `stop` is asked after every chunk; when it says yes, what there is becomes a playable
    OUT.partial.mp4 and Interrupted is raised. After that and after any other end before the end,
    the same job goes on from the state that was saved last; without one nothing is left behind.
    The job's script is played; without one the prompt of the settings holds throughout.
    """
    plan = job.plan
    begun = Clock()
    torch.set_num_threads(plan.settings.torch_threads)
    share_one_heap()
    with ExitStack() as stack:
        stack.enter_context(_telling_bytes(plan))
        run = stack.enter_context(work_on(plan, force, keeping))
        yield from run.begin(lambda: job.sound.peak)
        job.sound.peak = run.start.peak
        sound = stack.enter_context(SoundTrack(job.sound, run.target.directory, run.kept_sound))
        yield from map(Note, job.notes)
        segments, first_frame = run.start.segments, 0.0
        if not run.start.complete:
            speaker = speaker or stack.enter_context(load_speaker(plan))
            segments, first_frame = yield from _make_segments(job, speaker, run, sound, stop, begun)
        if job.sound.silent:
            yield Caution(f"{plan.audio.name} is silent: the lips stay closed", _SILENT_HINT)
        mux(segments, sound, run.target.staging, run.full_record, plan.settings.fps, plan.frames)
        run.target.commit()
        before = run.start.frames
    duration = float(plan.frames / plan.settings.fps)
    yield Finished(plan.output, plan.frames, duration, Clock() - begun, first_frame, before)


@contextmanager
def _telling_bytes(plan: RenderPlan) -> Iterator[None]:
    """Tell what was planned when the memory of a device is used up all the same."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        choice = plan.placement.choice if plan.placement else None
        if choice is None:
            raise
        raise DeviceError(
            f"the GPU's memory is used up; planned were {choice.needs.device} of "
            f"{format_bytes(choice.card)}, and on the host {choice.needs.host}",
            "close other programs on the GPU; --offload all or a smaller --size needs less",
        ) from error


def prompts_of(speaker: Speaker, view: View, job: Job) -> PromptTrack:
    """Return what the transformer is told over time: the job's script, else its prompt."""
    if job.script is not None:
        return speaker.direct(job.script, job.plan.chunks, view)
    return speaker.say(job.plan.settings.prompt)


def _make_segments(
    job: Job,
    speaker: Speaker,
    run: Run,
    sound: SoundTrack,
    stop: Callable[[], bool],
    begun: float,
) -> Generator[Event, None, tuple[tuple[Segment, ...], float]]:
    """Draw what is not drawn yet; return all segments, and when the first frame was drawn."""
    plan, start, saver = job.plan, run.start, run.saver
    view = speaker.look(job.picture, plan.size, float(plan.settings.fps), plan.settings.face)
    yield from map(Note, view.notes)
    yield from map(Caution, view.cautions)
    prompts = prompts_of(speaker, view, job)
    if start.decoder is not None:
        view.decoder.load_state(start.decoder)
    with ExitStack() as stack:
        writer = stack.enter_context(_writer(plan, run))
        drawing = _Drawing(plan, view.decoder, writer, start, begun)
        speaker.recall(start.found)

        def found(tried: Mapping[str, Any]) -> None:
            run.facts = dict(speaker.facts)
            saver.know({**tried, COMPUTED: run.facts})

        chunks = work_ahead(
            lambda: generate(speaker, view, job, prompts, start, saver.before_chunk, found)
        )
        stack.callback(chunks.close)
        for timed in chunks:
            saver.before_drawing(timed.chunk.span.index, view.decoder, drawing.frames)
            done = drawing.draw(timed)
            yield from (Caution(str(each), _SLOWER_HINT) for each in fallbacks.untold())
            yield done
            yield from saver.news()
            if stop() and 0 < drawing.frames < plan.frames:
                segments = (*start.segments, *writer.close())
                raise _interrupted(plan, segments, sound, run.target)
        drawing.finish()
        segments = (*start.segments, *writer.close())
    saver.complete()
    yield from saver.news()
    return segments, drawing.first_frame


def _writer(plan: RenderPlan, run: Run) -> SegmentWriter:
    settings = plan.settings
    return SegmentWriter(
        run.target.directory,
        plan.size.width,
        plan.size.height,
        settings.fps,
        settings.crf,
        settings.encoder_preset,
        settings.encoder_threads,
        plan.segment_frames,
        first_index=len(run.start.segments),
        first_frame=run.start.frames,
        on_segment=run.saver.segment_done,
    )


class _Drawing:
    """Draws latents and hands the frames to the encoder, exactly as many as are planned.

    Frames that finished segments have already are drawn, for the decoder's sake, and dropped.
    """

    def __init__(
        self,
        plan: RenderPlan,
        decoder: FrameDecoder,
        writer: SegmentWriter,
        start: Start,
        begun: float,
    ) -> None:
        self.frames = start.drawn
        self.first_frame = 0.0
        self._before = start.frames
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
            self._before,
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
            self.frames += 1
            if self.frames <= self._before:
                continue
            self.first_frame = self.first_frame or Clock() - self._begun
            if self._label is not None:
                self._label.apply(frame)
            start = Clock()
            self._writer.write(frame)
            waited += Clock() - start
        return waited


def _interrupted(
    plan: RenderPlan, segments: Sequence[Segment], sound: SoundTrack, target: Target
) -> Interrupted:
    fps = plan.settings.fps
    frames = sum(segment.frames for segment in segments)
    record = plan.record() | {"frames": frames, "partial": True}
    mux(segments, sound, target.staging, record, fps, frames)
    kept = target.commit(target.partial)
    done, whole = format_time(float(frames / fps)), format_time(float(plan.frames / fps))
    return Interrupted(f"{done} of {whole} are in {kept}")
