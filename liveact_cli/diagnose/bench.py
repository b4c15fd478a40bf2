"""How fast this machine is: the whole command, run as a user runs it, measured from outside."""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from liveact_cli.core.errors import ExitCode, LiveActError
from liveact_cli.core.units import Size, format_bytes
from liveact_cli.weights.resolve import example_file

RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
STAGES: Final = ("audio", "transformer", "render", "encode")


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One measured render; times in seconds, `stages` in milliseconds per chunk (median).

    `first_frame` counts from the start of the command to the first frame given to the encoder,
    `peak_rss` is the command's own peak in bytes, without ffmpeg's (about 150 MB).
    """

    model: str
    size: Size
    fps: float
    video_seconds: float
    wall_seconds: float
    first_frame: float
    stages: dict[str, float]
    peak_rss: int

    @property
    def frames_per_second(self) -> float:
        """Frames per second of the whole command."""
        return self.video_seconds * self.fps / self.wall_seconds

    @property
    def times_real_time(self) -> float:
        """Seconds of video per second of waiting."""
        return self.video_seconds / self.wall_seconds

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "model": self.model,
            "size": str(self.size),
            "fps": self.fps,
            "video_seconds": self.video_seconds,
            "wall_seconds": round(self.wall_seconds, 3),
            "first_frame_seconds": round(self.first_frame, 3),
            "frames_per_second": round(self.frames_per_second, 2),
            "times_real_time": round(self.times_real_time, 3),
            "stage_ms_per_chunk": {name: round(ms, 2) for name, ms in self.stages.items()},
            "peak_rss_bytes": self.peak_rss,
        }

    def table(self) -> str:
        """Return the rows of a Markdown table for people."""
        rows = [
            ("whole command", f"{self.wall_seconds:.1f} s for {self.video_seconds:.0f} s of video"),
            (
                "speed",
                f"{self.times_real_time:.2f}x real time, {self.frames_per_second:.0f} frames/s",
            ),
            ("first frame after", f"{self.first_frame:.1f} s"),
            ("peak memory", format_bytes(self.peak_rss)),
            *((f"{name}, per chunk", f"{ms:.1f} ms") for name, ms in self.stages.items()),
        ]
        return "\n".join(f"| {name} | {value} |" for name, value in rows)


def run_bench(model: str, size: Size, seconds: float, variables: Mapping[str, str]) -> BenchResult:
    """Render `seconds` of the example pair with `liveact render` and return what it took.

    Raises LiveActError when the render fails.
    """
    with tempfile.TemporaryDirectory(prefix="liveact-bench-") as folder:
        sound = Path(folder) / "sound.wav"
        repeat_sound(example_file("audio.wav"), sound, seconds)
        target = Path(folder) / "out.mp4"
        command = [sys.executable, "-m", "liveact_cli", "render", str(sound), "--ref"]
        command += [str(example_file("face.png")), "-o", str(target), "--model", model]
        command += ["--size", str(size), "--fps", "25", "--seed", "1", "--json", "--quiet"]
        started = time.perf_counter()
        done = subprocess.run(command, env=dict(variables), capture_output=True, text=True)
        wall = time.perf_counter() - started
    if done.returncode != ExitCode.OK:
        raise _failure(done)
    report = json.loads(done.stdout)
    return BenchResult(
        model=report["model"],
        size=size,
        fps=25.0,
        video_seconds=report["duration"],
        wall_seconds=wall,
        # What the command spends outside its own clock is starting up.
        first_frame=wall - report["seconds"] + report["first_frame_seconds"],
        stages=report["stage_ms_per_chunk"],
        peak_rss=report["peak_rss_bytes"],
    )


def repeat_sound(source: Path, target: Path, seconds: float) -> None:
    """Write `seconds` of a WAV file, repeated from its start as often as needed."""
    with wave.open(str(source), "rb") as reader, wave.open(str(target), "wb") as writer:
        writer.setparams(reader.getparams())
        left = round(seconds * reader.getframerate())
        while left > 0:
            reader.rewind()
            count = min(left, reader.getnframes())
            writer.writeframes(reader.readframes(count))
            left -= count


def peak_rss() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def current_rss() -> int:
    """Return the resident size of this process now, in bytes (its peak where that is unknown)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_rss()
    return pages * resource.getpagesize()


def median_ms(chunks: list[Mapping[str, float]]) -> dict[str, float]:
    """Return the median time of each stage over the chunks, in milliseconds."""
    names = [name for name in STAGES if any(name in chunk for chunk in chunks)]
    return {
        name: 1000 * statistics.median(chunk[name] for chunk in chunks if name in chunk)
        for name in names
    }


def _failure(done: subprocess.CompletedProcess[str]) -> LiveActError:
    try:
        problem = json.loads(done.stdout)["error"]
    except (ValueError, KeyError):
        return LiveActError(
            f"the render that was to be measured ended with status {done.returncode}",
            "liveact doctor",
        )
    error = LiveActError(problem["message"], problem["hint"])
    error.exit_code = ExitCode(problem["exit_code"])
    return error
