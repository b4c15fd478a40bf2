"""A night in small: a batch of 40 short jobs, five of which cannot be rendered, with two processes
killed and one frozen while they work, and the whole run killed once and started again.

    python tools/batch_trial.py --folder trial

Checks that every good video is there and plays, that the five are told with their reasons, that
nothing was rendered twice, and that nothing is left running or lying.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from PIL import Image

from liveact_cli.core.errors import ExitCode
from liveact_cli.media.probe import probe_audio
from liveact_cli.studio.batch import known_store
from liveact_cli.studio.jobrow import JobRow
from liveact_cli.weights.resolve import example_file

JOBS: Final = 40
BROKEN: Final = {
    4: "broken.png: a picture cut off after 3000 bytes",
    11: "text.wav: text with the name of a sound",
    18: "empty.wav: a sound without samples",
    27: "missing.wav: is not there",
    35: "sky.png: a picture without a face",
}


@dataclass
class Faults:
    """What was done to the run, and how often."""

    killed: list[int] = field(default_factory=list)
    frozen: list[int] = field(default_factory=list)


def write_material(folder: Path, seconds: float) -> None:
    """Fill a folder with a manifest, sounds and pictures, five of them broken."""
    folder.mkdir(parents=True)
    shutil.copy(example_file("face.png"), folder / "host.png")
    data = (folder / "host.png").read_bytes()
    (folder / "broken.png").write_bytes(data[:3000])
    Image.new("RGB", (512, 512), (120, 160, 220)).save(folder / "sky.png")
    (folder / "text.wav").write_text("This is not sound.\n", encoding="utf-8")
    with wave.open(str(example_file("audio.wav")), "rb") as source:
        parameters, rate = source.getparams(), source.getframerate()
        sound, size = source.readframes(source.getnframes()), parameters[0] * parameters[1]
    with wave.open(str(folder / "empty.wav"), "wb") as empty:
        empty.setparams(parameters)
    lines = ["defaults:", "  ref: host.png", "  output: videos/{stem}-{n:02}.mp4", "jobs:"]
    names = {11: "text.wav", 18: "empty.wav", 27: "missing.wav"}
    pictures = {4: "broken.png", 35: "sky.png"}
    length = round(seconds * rate) * size
    for number in range(1, JOBS + 1):
        name = names.get(number, f"take {number:02}.wav")
        if number not in names:
            begin = (number * 7919 * size) % (len(sound) - length) // size * size
            with wave.open(str(folder / name), "wb") as take:
                take.setparams(parameters)
                take.writeframes(sound[begin : begin + length])
        picture = f", ref: {pictures[number]}" if number in pictures else ""
        lines.append(f"  - {{audio: {name}, seed: {number}{picture}}}")
    (folder / "night.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def start(folder: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    """Start the batch in a process of its own."""
    words = [sys.executable, "-m", "liveact_cli", "batch", str(folder / "night.yaml"), "--json"]
    words += ["--jobs", str(options.jobs), "--set", f"size={options.size}", "--retries", "2"]
    words += ["--timeout", f"{options.timeout}s"]
    if options.model:
        words += ["--set", f"model={options.model}"]
    log = (folder / "log.txt").open("a", encoding="utf-8")
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)


def rows_of(folder: Path) -> list[JobRow]:
    """Return what the job store knows now."""
    try:
        with known_store(folder / "night.yaml") as store:
            return store.rows()
    except Exception:  # noqa: BLE001  (it is just being made)
        return []


def disturb(folder: Path, run: subprocess.Popen[str], faults: Faults, kill_run_at: int) -> None:
    """Kill and freeze processes while the batch works; kill the run when `kill_run_at` are done."""
    while run.poll() is None:
        rows = rows_of(folder)
        done = sum(row.state == "done" for row in rows)
        busy = {int(row.worker) for row in rows if row.state == "running" and row.worker}
        fresh = sorted(busy - set(faults.killed) - set(faults.frozen))
        at_work = [int(r.worker or 0) for r in rows if r.state == "running" and r.frames > 0]
        if done >= kill_run_at > 0:
            run.kill()
            run.wait()
            return
        if fresh and done >= 6 and len(faults.killed) < 1:
            hit(fresh[0], signal.SIGKILL, faults.killed)
        elif at_work and done >= 10 and len(faults.frozen) < 1:
            hit(at_work[0], signal.SIGSTOP, faults.frozen)
        elif fresh and done >= 26 and len(faults.killed) < 2:
            hit(fresh[-1], signal.SIGKILL, faults.killed)
        time.sleep(0.1)


def hit(pid: int, number: signal.Signals, told: list[int]) -> None:
    """Send a signal to a worker, and remember that."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    told.append(pid)


def is_worker(pid: int) -> bool:
    """Whether a process with this number is one of ours (another may have it by now)."""
    try:
        return b"liveact_cli.studio.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_until_gone(pids: set[int]) -> list[int]:
    """Return the workers that are still there after 20 seconds."""
    deadline = time.monotonic() + 20.0
    while (left := [pid for pid in pids if is_worker(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def check(folder: Path, report: dict[str, Any], seconds: float) -> list[JobRow]:
    """Return the jobs; SystemExit when anything is not as it must be."""
    rows = rows_of(folder)
    for row in rows:
        wanted = "failed" if row.position in BROKEN else "done"
        if row.state != wanted:
            raise SystemExit(f"{row.name} is {row.state}: {row.error}")
        if wanted == "done" and abs(probe_audio(row.output).seconds - seconds) > 0.05:
            raise SystemExit(f"{row.name} does not last {seconds} s")
    expected = {Path(row.output).name for row in rows if row.state == "done"}
    there = {path.name for path in (folder / "videos").iterdir()}
    if there != expected:
        raise SystemExit(f"the folder of videos has {sorted(there ^ expected)} too much or too few")
    if report["counts"]["done"] != JOBS - len(BROKEN):
        raise SystemExit(f"the run says {report['counts']}")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trial and print what happened as tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--folder", required=True, help="a new folder for everything")
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each sound")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=20)
    parser.add_argument("--model", help="a model's name, weights or checkpoint")
    parser.add_argument("--quiet-night", action="store_true", help="no kills, only broken files")
    options = parser.parse_args(arguments)
    folder, faults, begun = Path(options.folder).resolve(), Faults(), time.monotonic()
    write_material(folder, options.seconds)
    if not options.quiet_night:
        first = start(folder, options)
        disturb(folder, first, faults, kill_run_at=18)
        pids = {int(row.worker) for row in rows_of(folder) if row.worker}
        if left := wait_until_gone(pids):
            raise SystemExit(f"workers outlived the run that was killed: {left}")
    before = {row.name: row.sha256 for row in rows_of(folder) if row.state == "done"}
    times = {name: (folder / name).stat().st_mtime_ns for name in before}
    second = start(folder, options)
    if not options.quiet_night:
        disturb(folder, second, faults, kill_run_at=0)
    report = json.loads(second.communicate()[0])
    if second.returncode != ExitCode.BATCH_PARTIAL:
        raise SystemExit(f"the run ended with status {second.returncode}")
    rows = check(folder, report, options.seconds)
    again = [name for name in before if (folder / name).stat().st_mtime_ns != times[name]]
    tried = sum(row.attempts > 1 for row in rows if row.state == "done")
    table = [
        ("jobs", len(rows)),
        ("done", sum(row.state == "done" for row in rows)),
        ("failed, as they must", sum(row.state == "failed" for row in rows)),
        ("workers killed / frozen", f"{len(faults.killed)} / {len(faults.frozen)}"),
        ("finished when the run itself was killed", len(before)),
        ("of them rendered again", len(again)),
        ("done after more than one attempt", tried),
        ("video in all, s", round(sum(row.seconds or 0 for row in rows if row.state == "done"))),
        ("time in all, s", round(time.monotonic() - begun)),
    ]
    print("\n".join(f"| {name} | {value} |" for name, value in table))
    print()
    for row in rows:
        if row.state == "failed":
            told = (row.error or "").replace(f"{folder}/", "")
            print(f"| {BROKEN[row.position]} | {told} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
