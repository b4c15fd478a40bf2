"""Frames to H.264, in independent segments that are joined later without encoding again.

A segment is a file with closed groups of pictures, made by a process of its own: the encoder
carries nothing from one to the next, so a render that resumes at a segment's start writes the same
bytes as one that never stopped. Encoding runs beside drawing, behind a short queue.
"""

import contextlib
import enum
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import ffmpeg
import numpy as np
from numpy.typing import NDArray

from liveact_cli.core.errors import LiveActError, UsageError
from liveact_cli.media.ffmpeg import FfmpegProcess, explain_os_error, sync_file

MIN_RATE: Final = 10
MAX_RATE: Final = 60
SEGMENT_SECONDS: Final = 20
DEFAULT_CRF: Final = 18

DEFAULT_PRESET: Final = "veryfast"
"""Measured on moving portraits at 512x512 (4.4 ms a frame). At the same SSIM superfast makes files
1.7 times as large for 1 ms less; faster, fast and medium save 12 to 20 % for 1.6 to 2.5 times the
work, which a renderer on the other core would wait for."""

DEFAULT_THREADS: Final = 2
"""Of x264. Fixed, since they are among what the output depends on."""

_GROUP_SECONDS: Final = 4
_QUEUED_FRAMES: Final = 12
_POLL: Final = 0.1
_COLOUR: Final = "color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"


def frame_rate(value: Fraction | float | str) -> Fraction:
    """Return frames per second as a fraction; 29.97 and its kin become n·1000/1001.

    Raises UsageError unless it lies between 10 and 60.
    """
    try:
        rate = Fraction(str(value) if isinstance(value, float) else value)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"fps {value} is not a number", "for example --fps 25") from error
    # Television's rates are written with two or three digits but mean 24, 30, 60 · 1000/1001.
    nominal = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    if rate.denominator != 1 and abs(rate - nominal) < Fraction(1, 100):
        rate = nominal
    rate = rate.limit_denominator(1001)
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UsageError(
            f"fps {value} is not possible", f"use {MIN_RATE} to {MAX_RATE}, such as 25"
        )
    return rate


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished piece of video: closed, on the disk, `frames` frames from `first_frame` on."""

    index: int
    path: Path
    first_frame: int
    frames: int


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What decides a segment's bytes beside the frames: size in pixels (even), rate, x264's."""

    width: int
    height: int
    fps: Fraction
    crf: int = DEFAULT_CRF
    preset: str = DEFAULT_PRESET
    threads: int = DEFAULT_THREADS

    def __post_init__(self) -> None:
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 16:
            raise UsageError(
                f"a video of {self.width}x{self.height} pixels is not possible",
                "width and height are even and at least 16",
            )

    def pipeline(self, path: Path) -> object:
        """Return the ffmpeg-python pipeline from planar frames on a pipe to a segment file."""
        group = round(_GROUP_SECONDS * self.fps)
        frames = ffmpeg.input(
            "pipe:0",
            protocol_whitelist="pipe",
            format="rawvideo",
            pix_fmt="yuv420p",
            s=f"{self.width}x{self.height}",
            framerate=str(self.fps),
        )
        tags = dict(pair.split("=") for pair in _COLOUR.split(":"))
        frames = frames.filter("setparams", **tags)
        # Unit type 6 is supplemental information: x264 writes its version and options there.
        return frames.output(
            f"file:{path}",
            **{
                "format": "mp4",
                "vcodec": "libx264",
                "preset": self.preset,
                "crf": self.crf,
                "threads": self.threads,
                "x264-params": f"keyint={group}:open-gop=0:stitchable=1",
                "colorspace": "bt709",
                "color_primaries": "bt709",
                "color_trc": "bt709",
                "color_range": "tv",
                "video_track_timescale": self.fps.numerator,
                "bsf:v": "filter_units=remove_types=6",
                "flags": "+bitexact+cgop",
                "fflags": "+bitexact",
            },
        )


class SegmentWriter:
    """Takes RGB frames in order and leaves segments in `directory`, named by their index.

    A segment ends by itself after `segment_frames` frames (20 s), or where `cut` is called;
    `on_segment` is told of each when it is closed and synced, from another thread. A render that
    resumes passes the index and the frame that come next. `write` waits while the encoder is
    behind; a failed encoder (killed, disk full) raises LiveActError from the next call. Leaving
    the `with` block stops what still runs.
    """

    def __init__(
        self,
        directory: Path,
        width: int,
        height: int,
        fps: Fraction,
        crf: int = DEFAULT_CRF,
        preset: str = DEFAULT_PRESET,
        threads: int = DEFAULT_THREADS,
        segment_frames: int | None = None,
        *,
        first_index: int = 0,
        first_frame: int = 0,
        on_segment: Callable[[Segment], None] | None = None,
    ) -> None:
        # Here, since numba costs half a second that planning a render does without.
        from liveact_cli.media.yuv import yuv420

        self._planar = yuv420
        self.settings = EncoderSettings(width, height, fps, crf, preset, threads)
        self.segments: list[Segment] = []
        self._limit = segment_frames or round(SEGMENT_SECONDS * fps)
        self._directory = directory
        self._index, self._frame = first_index, first_frame
        self._on_segment = on_segment
        self._shape = (height, width, 3)
        self._queue: queue.Queue[NDArray[np.uint8] | _Sign] = queue.Queue(_QUEUED_FRAMES)
        self._failure: BaseException | None = None
        self._stopped = threading.Event()
        self._current: _SegmentEncoder | None = None
        self._ending: deque[_SegmentEncoder] = deque()
        self._pump = threading.Thread(target=self._run, name="encoder", daemon=True)
        self._pump.start()

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Encode one frame, `[height, width, 3]` RGB; the array may be changed afterwards."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"a frame is {frame.shape} {frame.dtype}, not {self._shape} uint8")
        self._put(self._planar(frame))

    def write_planar(self, frame: NDArray[np.uint8]) -> None:
        """Encode a frame that is planar 4:2:0 already, flat; it must not be changed afterwards."""
        height, width, _ = self._shape
        if frame.size != height * width * 3 // 2 or frame.dtype != np.uint8:
            raise ValueError(f"{frame.size} values of {frame.dtype} are no frame of {self._shape}")
        self._put(frame)

    def cut(self) -> None:
        """End the segment here, if it has a frame."""
        self._put(_Sign.CUT)

    def close(self) -> list[Segment]:
        """Finish the last segment and return all of them."""
        if not self._stopped.is_set():
            self._put(_Sign.END)
            self._pump.join()
        self._check()
        return self.segments

    def abort(self) -> None:
        """Stop encoding; segments that are finished stay."""
        self._stopped.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._queue.put(_Sign.END)
        # The pump may be waiting for an encoder that does not move.
        for encoder in (self._current, *self._ending):
            if encoder is not None:
                encoder.process.stop()
        self._pump.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()

    def _put(self, item: "NDArray[np.uint8] | _Sign") -> None:
        while True:
            self._check()
            if self._stopped.is_set():
                raise ValueError("this writer is closed")
            try:
                return self._queue.put(item, timeout=_POLL)
            except queue.Full:
                continue

    def _check(self) -> None:
        if isinstance(self._failure, LiveActError):
            raise self._failure
        if self._failure is not None:
            raise RuntimeError("the encoder's thread failed") from self._failure

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not _Sign.END:
                if isinstance(item, _Sign):
                    self._end_segment()
                else:
                    self._encode(item)
                if self._ending and self._ending[0].process.ended():
                    self._report()
            if not self._stopped.is_set():
                self._end_segment()
                while self._ending:
                    self._report()
        except BaseException as error:  # noqa: BLE001 - the next call raises it again
            # abort() kills the encoders: what fails after that is its doing, not a failure.
            if not self._stopped.is_set():
                self._failure = error
        finally:
            self._stopped.set()
            for encoder in (self._current, *self._ending):
                if encoder is not None:
                    encoder.process.kill()

    def _encode(self, frame: NDArray[np.uint8]) -> None:
        if self._current is None:
            path = self._directory / f"{self._index:06d}.mp4"
            self._current = _SegmentEncoder(self.settings, self._index, path, self._frame)
            self._index += 1
        self._current.write(frame)
        self._frame += 1
        if self._current.frames == self._limit:
            self._end_segment()

    def _end_segment(self) -> None:
        """Let the encoder empty itself while the next segment begins."""
        if self._current is not None:
            self._current.process.close_input()
            self._ending.append(self._current)
            self._current = None

    def _report(self) -> None:
        """Wait for the oldest segment that is ending, and report it."""
        segment = self._ending[0].finish()
        self._ending.popleft()
        self.segments.append(segment)
        if self._on_segment is not None:
            self._on_segment(segment)


class _Sign(enum.Enum):
    CUT = enum.auto()
    END = enum.auto()


class _SegmentEncoder:
    """The process that makes one segment."""

    def __init__(self, settings: EncoderSettings, index: int, path: Path, first_frame: int) -> None:
        self.frames = 0
        self._index, self._path, self._first_frame = index, path, first_frame
        self.process = FfmpegProcess(settings.pipeline(path), "encode the video", feed=True)

    def write(self, frame: NDArray[np.uint8]) -> None:
        self.process.write(frame.data)
        self.frames += 1

    def finish(self) -> Segment:
        with self.process:
            self.process.finish()
        try:
            with av.open(f"file:{self._path}") as container:
                there = container.streams.video[0].frames
            sync_file(self._path)
            sync_file(self._path.parent)
        except OSError as error:
            cause, hint = explain_os_error(error)
            raise LiveActError(f"the video could not be saved: {cause}", hint) from error
        if there != self.frames:
            raise LiveActError(
                f"ffmpeg wrote {there} of {self.frames} frames", "liveact doctor checks ffmpeg"
            )
        return Segment(self._index, self._path, self._first_frame, self.frames)
