"""Render long videos with flashes at clicks, and measure what must not grow or drift.

    python tools/hour_test.py --minutes 60 --size 512x512 --out long.mp4

The sound is the example recordings in turn, with a click alone in half a second of silence every
ten seconds; the picture turns white for the frame of each click (painted onto the frames that the
model draws: nothing else differs from `liveact render`). Measured: resident memory of the process
and of its ffmpegs, bytes beside the target, and in the finished file, by ffmpeg's decoders, how far
each flash is from its click.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from kill_test import children_of
from numpy.typing import NDArray
from torch import Tensor

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.events import ChunkDone, Finished
from liveact_cli.core.protocols import FrameDecoder
from liveact_cli.core.units import Size
from liveact_cli.diagnose.bench import current_rss
from liveact_cli.engine.models import MiniSpeaker, View
from liveact_cli.engine.prepare import Job, prepare
from liveact_cli.engine.render import render_video
from liveact_cli.engine.resume import Keeping
from liveact_cli.media.workfolder import work_folder_of
from liveact_cli.mini.model import load_mini
from liveact_cli.weights.resolve import example_file

FPS: Final = 25
RATE: Final = 24_000
EVERY: Final = 10
"""Seconds between clicks; the first comes after half of that."""
CLICK: Final = 240
SILENCE: Final = RATE // 4
EXAMPLES: Final = Path(__file__).parents[1] / "examples"
VOICES: Final = ("audio.wav", "podcast.wav", "talkshow.wav", "song.wav")


def click_frames(seconds: float) -> list[int]:
    """Return the numbers of the frames that are white."""
    return list(range(EVERY * FPS // 2, round(seconds * FPS), EVERY * FPS))


def write_sound(path: Path, seconds: float) -> None:
    """Write the examples in turn, `seconds` long, with clicks."""
    voices = []
    for name in VOICES:
        with wave.open(str(EXAMPLES / name), "rb") as reader:
            if (reader.getframerate(), reader.getnchannels()) != (RATE, 1):
                raise SystemExit(f"{name} is not {RATE} Hz mono")
            voices.append(np.frombuffer(reader.readframes(reader.getnframes()), "<i2"))
    once = np.concatenate(voices)
    samples = np.resize(once, round(seconds * RATE)).copy()
    for frame in click_frames(seconds):
        at = frame * RATE // FPS
        samples[max(0, at - SILENCE) : at + SILENCE] = 0
        samples[at : at + CLICK] = 26_000
    with wave.open(str(path), "wb") as writer:
        writer.setparams((1, 2, RATE, 0, "NONE", ""))
        writer.writeframes(samples.astype("<i2").tobytes())


@dataclass
class FlashingDecoder:
    """Paints the frames of clicks white; everything else is the decoder's."""

    decoder: FrameDecoder
    flashes: frozenset[int]
    drawn: int = 0

    def _painted(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            yield np.full_like(frame, 255) if self.drawn in self.flashes else frame
            self.drawn += 1

    def decode(self, latent: Tensor) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames of a chunk."""
        return self._painted(self.decoder.decode(latent))

    def flush(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the last frames."""
        return self._painted(self.decoder.flush())

    def state(self) -> dict[str, Tensor]:
        """Return the decoder's state."""
        return self.decoder.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
        self.decoder.load_state(state)


@dataclass(frozen=True, slots=True)
class FlashingSpeaker(MiniSpeaker):
    """liveact-mini whose frames flash."""

    flashes: frozenset[int] = frozenset()

    def look(self, picture: NDArray[np.uint8], size: Size, fps: float, face: int | None) -> View:
        """Prepare a picture, and let its decoder flash."""
        view = MiniSpeaker.look(self, picture, size, fps, face)
        decoder = FlashingDecoder(view.decoder, self.flashes)
        return View(view.reference, decoder, view.latent_size, view.notes, view.cautions)


@dataclass
class Readings:
    """What was read while the video was made: by the minute of video, bytes."""

    memory: dict[int, list[int]] = field(default_factory=dict)
    helpers: dict[int, list[int]] = field(default_factory=dict)
    beside: int = 0

    def take(self, minute: int, folder: Path, process: int) -> None:
        """Read memory and disk now."""
        self.memory.setdefault(minute, []).append(current_rss())
        self.helpers.setdefault(minute, []).append(
            sum(resident(child) for child in children_of(process))
        )
        files = [path for path in folder.rglob("*") if path.is_file()]
        self.beside = max(self.beside, sum(size_of(path) for path in files))


def size_of(path: Path) -> int:
    """Return a file's bytes; it may be gone by now."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def resident(process: int) -> int:
    """Return a process's resident bytes; it may have ended by now."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * 4096


def job_of(sound: Path, out: Path, size: Size) -> Job:
    """Prepare the render."""
    settings = RenderSettings(size=size, seed=1)
    return prepare(sound, example_file("face.png"), out, settings, {}, force=True)


def render(job: Job, flashes: frozenset[int]) -> tuple[Finished, Readings]:
    """Render the job, and read memory and disk after every chunk."""
    readings, finished = Readings(), None
    path = job.plan.model.path
    speaker = FlashingSpeaker(load_mini(path), path, flashes)
    folder = work_folder_of(job.plan.output)
    for event in render_video(job, speaker=speaker, force=True, keeping=Keeping()):
        if isinstance(event, ChunkDone):
            readings.take(event.frames // (60 * FPS), folder, os.getpid())
            if event.index % 100 == 0:
                print(f"{event.frames / FPS / 60:.1f} min", file=sys.stderr, flush=True)
        elif isinstance(event, Finished):
            finished = event
    if finished is None:
        raise RuntimeError("the render ended without an end")
    return finished, readings


def flashes_in(path: Path) -> list[Fraction]:
    """Return when the picture is white, in seconds."""
    times = []
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            plane = frame.planes[0]
            lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            if lines[:, : frame.width].mean() > 225:
                times.append(frame.pts * frame.time_base)
    return times


def clicks_in(path: Path, expected: Sequence[Fraction]) -> list[Fraction]:
    """Return when each click begins, in seconds: the first loud sample of the silence around it."""
    blocks, starts = [], []
    with av.open(str(path)) as film:
        rate = film.streams.audio[0].rate
        for frame in film.decode(audio=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            starts.append(frame.pts * frame.time_base)
            blocks.append(np.abs(frame.to_ndarray()).max(0).astype(np.float32))
    level, times, first = np.concatenate(blocks), [], starts[0]
    for moment in expected:
        start = round((moment - first - Fraction(1, 5)) * rate)
        loud = np.flatnonzero(level[start : start + 2 * rate // 5] > 0.4)
        if len(loud):
            times.append(Fraction(start + int(loud[0]), rate) + first)
    return times


def measure(minutes: float, size: Size, out: Path) -> dict[str, Any]:
    """Render, look at the file, and return every figure."""
    seconds = minutes * 60
    flashes = click_frames(seconds)
    with tempfile.TemporaryDirectory(prefix="liveact-hour-") as folder:
        sound = Path(folder) / "sound.wav"
        write_sound(sound, seconds)
        begun = time.monotonic()
        job = job_of(sound, out, size)
        finished, readings = render(job, frozenset(flashes))
        took = time.monotonic() - begun
    expected = [Fraction(frame, FPS) for frame in flashes]
    seen, heard = flashes_in(out), clicks_in(out, expected)
    with av.open(str(out)) as film:
        video, audio = film.streams.video[0], film.streams.audio[0]
        lengths = [float((s.duration or 0) * (s.time_base or 0)) for s in (video, audio)]
        counted = video.frames
    offsets = [float(a - b) for a, b in zip(seen, heard, strict=False)]
    memory = {minute: statistics.median(values) for minute, values in readings.memory.items()}
    minute = {"early": min(2, max(memory)), "late": max(memory)}
    return {
        "video_seconds": seconds,
        "seconds": round(took, 1),
        "times_real_time": round(seconds / took, 2),
        "frames": finished.frames,
        "frames_in_file": counted,
        "stream_seconds": lengths,
        "flashes": {"expected": len(expected), "seen": len(seen), "in_place": seen == expected},
        "clicks_heard": len(heard),
        "picture_minus_sound_ms": {
            "first": round(1000 * offsets[0], 2),
            "last": round(1000 * offsets[-1], 2),
            "largest": round(1000 * max(offsets, key=abs), 2),
        },
        "memory_bytes": {
            name: {"minute": at, "median": int(memory[at])} for name, at in minute.items()
        },
        "memory_growth": round(memory[minute["late"]] / memory[minute["early"]] - 1, 4),
        "memory_by_minute": {key: int(value) for key, value in sorted(memory.items())},
        "ffmpeg_bytes": max(int(statistics.median(v)) for v in readings.helpers.values()),
        "largest_beside": readings.beside,
        "file_bytes": out.stat().st_size,
    }


def main() -> int:
    """Run the measurement and print it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--size", default="512x512")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    width, _, height = options.size.partition("x")
    result = measure(options.minutes, Size(int(width), int(height)), options.out)
    print(json.dumps(result, indent=1))
    good = result["flashes"]["in_place"] and result["clicks_heard"] == result["flashes"]["seen"]
    late = abs(result["picture_minus_sound_ms"]["largest"]) > 1000 / FPS
    return 0 if good and not late else 1


if __name__ == "__main__":
    sys.exit(main())
