"""Kill renders (SIGKILL) again and again, let each go on, and compare the files with one that ran
through. Half of the kills come at a random time, half at a random moment of writing: when a state,
a segment or the finished video is brought to the disk, renamed or linked.

    python tools/kill_test.py --kills 100

Every attempt is a forked process of its own, so that a kill costs no start-up. Needs Linux.
"""

import argparse
import hashlib
import io
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# Loaded before any fork: the attempts themselves start at once.
import cv2  # noqa: F401
import torch

import liveact_cli.engine.render
import liveact_cli.mini.face.fit
import liveact_cli.mini.model  # noqa: F401
from liveact_cli.cli.context import Environment
from liveact_cli.cli.main import main as liveact
from liveact_cli.core.errors import ExitCode
from liveact_cli.diagnose.bench import repeat_sound
from liveact_cli.weights.resolve import example_file

WRITING: Final = ("fsync", "replace", "link")
PATIENCE: Final = 20.0
"""Seconds within which a killed render's ffmpeg must be gone."""


@dataclass
class Tally:
    """What has happened so far."""

    kills: int = 0
    videos: int = 0
    resumed: int = 0
    where: Counter[str] = field(default_factory=Counter)


class Renders:
    """One render, started as often as it takes."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.output = folder, folder / "out.mp4"
        sound = folder / "sound.wav"
        repeat_sound(example_file("audio.wav"), sound, options.seconds)
        self.words = ["render", str(sound), "--ref", str(example_file("face.png")), "-o"]
        self.words += [str(self.output), "--size", options.size, "--seed", "1", "-q"]
        if options.model:
            self.words += ["--model", options.model]

    def start(self, writes: int | None = None) -> int:
        """Fork a render and return its process; it kills itself at its write number `writes`."""
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if writes is not None:
                kill_at(writes)
            log = (self.folder / "log.txt").open("a", encoding="utf-8")
            variables = {**os.environ, "LIVEACT_SEGMENT_SECONDS": "2"}
            code = int(liveact(self.words, Environment(io.StringIO(), log, variables, self.folder)))
            log.flush()
        finally:
            os._exit(code)

    def whole(self) -> tuple[str, float]:
        """Render without a kill; return the file's hash and the seconds that it took."""
        begun = time.monotonic()
        code = os.waitstatus_to_exitcode(os.waitpid(self.start(), 0)[1])
        if code:
            raise SystemExit(f"the render fails by itself:\n{self.log()}")
        digest = hashlib.sha256(self.output.read_bytes()).hexdigest()
        self.output.unlink()
        return digest, time.monotonic() - begun

    def log(self) -> str:
        """Return what the renders have said."""
        return (self.folder / "log.txt").read_text(encoding="utf-8")

    def left(self) -> list[str]:
        """Return what lies beside the video that should not."""
        known = {"sound.wav", "out.mp4", "log.txt"}
        return sorted(path.name for path in self.folder.iterdir() if path.name not in known)


def kill_at(count: int) -> None:
    """Let this process kill itself instead of making its `count`-th step of writing."""
    left = [count]

    def deadly(original: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return step

    for name in WRITING:
        setattr(os, name, deadly(getattr(os, name)))


def children_of(pid: int) -> list[int]:
    """Return the processes that `pid` has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if int(fields.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def attempt(renders: Renders, chance: random.Random, usual: float, tally: Tally) -> bool:
    """Start the render and try to kill it; return whether it came through."""
    by_write = chance.random() < 0.5
    writes = chance.randint(1, 40) if by_write else None
    pid = renders.start(writes)
    deadline = time.monotonic() + (600.0 if by_write else chance.uniform(0.05, 1.1) * usual)
    children: set[int] = set()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        children.update(children_of(pid))
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            break
        time.sleep(0.02)
    code = os.waitstatus_to_exitcode(status)
    if code == ExitCode.USAGE and renders.output.exists():
        return True  # it was killed when the video was in place, and says that it is
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a render ended with status {code}:\n{renders.log()}")
    outlived = wait_for_end(children)
    if outlived:
        raise SystemExit(f"ffmpeg outlived its render: {outlived}")
    if code:
        tally.kills += 1
        tally.where["while writing" if by_write else "at a random time"] += 1
    return code == 0


def wait_for_end(processes: set[int]) -> list[int]:
    """Return those that are still there after `PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while (alive := [pid for pid in processes if is_ffmpeg(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def is_ffmpeg(pid: int) -> bool:
    """Whether `pid` is a running ffmpeg (its number may belong to another process by now)."""
    try:
        return b"ffmpeg" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def run(options: argparse.Namespace, folder: Path) -> Tally:
    """Kill until there were enough kills; SystemExit when a file differs or something is left."""
    renders, tally = Renders(folder, options), Tally()
    chance = random.Random(options.seed)
    expected, usual = renders.whole()
    # Other work on the machine decides how long one takes; what counts is that kills spread.
    while tally.kills < options.kills:
        before = tally.kills
        while not attempt(renders, chance, usual, tally):
            if tally.kills >= options.kills:
                code = os.waitstatus_to_exitcode(os.waitpid(renders.start(), 0)[1])
                if code and not renders.output.exists():
                    raise SystemExit(f"the last attempt ended with status {code}:\n{renders.log()}")
                break
        if hashlib.sha256(renders.output.read_bytes()).hexdigest() != expected:
            raise SystemExit(f"video {tally.videos + 1} differs after {tally.kills} kills")
        if left := renders.left():
            raise SystemExit(f"left behind: {left}")
        tally.videos += 1
        tally.resumed += tally.kills > before
        renders.output.unlink()
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the test and print what happened as a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=13.0, help="length of the sound")
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--model", help="a model's name, weights or checkpoint")
    parser.add_argument("--seed", type=int, default=1, help="of the kills' moments")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="liveact-kill-") as folder:
        tally = run(options, Path(folder))
    rows = [
        ("kills", tally.kills),
        *((f"of them {name}", count) for name, count in sorted(tally.where.items())),
        ("videos finished", tally.videos),
        ("of them killed at least once", tally.resumed),
        ("different from the uninterrupted one", 0),
        ("ffmpeg left running, files left lying", 0),
        ("seconds", round(time.monotonic() - begun)),
    ]
    print("\n".join(f"| {name} | {value} |" for name, value in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
