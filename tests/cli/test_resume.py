"""Killed, stopped, out of space: the command goes on, and programs can watch it."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from liveact_cli.core.errors import ExitCode
from liveact_cli.weights.resolve import example_file

FACE, SPEECH = example_file("face.png"), example_file("audio.wav")
TOOLS = Path(__file__).resolve().parents[2] / "tools"
COMMAND = ("render", SPEECH, "--ref", FACE, "--size", "64x64", "--duration", "7", "-o", "out.mp4")


@pytest.fixture
def quick(studio):
    """A shell whose renders save their progress every two seconds of video."""
    studio.variables["LIVEACT_SEGMENT_SECONDS"] = "2"
    return studio


def limited(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.multi
def test_a_full_disk_and_then_space_again(quick, tmp_path: Path) -> None:
    """No file may grow beyond a size that segments keep to and the whole video does not."""
    assert quick(*COMMAND, "--seed", 5).code == 0
    whole = (tmp_path / "out.mp4").read_bytes()
    (tmp_path / "out.mp4").unlink()
    words = [sys.executable, "-m", "liveact_cli", *map(str, COMMAND), "--seed", "5"]
    done = subprocess.run(
        words,
        env={**os.environ, **quick.variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: limited(len(whole) - 1000),
    )
    assert done.returncode == ExitCode.FAILURE, done.stderr
    assert "the limit of file sizes was reached" in done.stderr
    assert "the same command goes on from there" in done.stderr
    assert "Traceback" not in done.stderr
    outcome = quick(*COMMAND, "--seed", 5)
    assert outcome.code == 0, outcome.err
    assert "going on with an unfinished render" in outcome.err
    assert (tmp_path / "out.mp4").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.multi
def test_five_kills(toy_mini: Path) -> None:
    """`python tools/kill_test.py` compares the files itself, and looks for ffmpegs left behind."""
    words = [sys.executable, TOOLS / "kill_test.py", "--kills", "5", "--seconds", "7"]
    done = subprocess.run(
        [*words, "--size", "64x64", "--model", toy_mini], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| kills | 5 |" in done.stdout


@pytest.mark.multi
def test_resume_out_needs_nothing_else(quick, tmp_path: Path) -> None:
    assert quick(*COMMAND, "--seed", 5, "--action", "nod@1s").code == 0
    whole = (tmp_path / "out.mp4").read_bytes()
    (tmp_path / "out.mp4").unlink()
    words = [sys.executable, "-m", "liveact_cli", *map(str, COMMAND)]
    words += ["--seed", "5", "--action", "nod@1s", "--events", "-"]
    variables = {**os.environ, **quick.variables}
    process = subprocess.Popen(
        words, env=variables, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["event"] != "saved":
        assert process.poll() is None
    process.kill()
    process.wait()
    refused = quick("render", "--resume", "out.mp4", "--fps", "30")
    assert refused.code == ExitCode.USAGE
    assert "--fps=30 is too much" in refused.err
    outcome = quick("render", "--resume", "out.mp4", "--progress-file", "p.json", "--json")
    assert outcome.code == 0, outcome.err
    assert 0 < outcome.json["frames_before"] < outcome.json["frames"]
    assert (tmp_path / "out.mp4").read_bytes() == whole
    progress = json.loads((tmp_path / "p.json").read_text())
    assert progress["status"] == "finished"
    assert progress["resumed_frames"] == outcome.json["frames_before"]
    assert quick("render", "--resume", "out.mp4").code == ExitCode.USAGE


def test_events_and_progress_of_a_failure(quick, tmp_path: Path) -> None:
    outcome = quick(*COMMAND, "--events", "-", "--progress-file", "p.json", LIVEACT_FACE="7")
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["event"] for line in lines] == ["started", "failed"]
    assert lines[-1]["exit_code"] == outcome.code == ExitCode.BAD_MEDIA
    assert lines[-1]["message"] in outcome.err
    progress = json.loads((tmp_path / "p.json").read_text())
    assert progress["status"] == "failed"
    assert progress["hint"] == lines[-1]["hint"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--state-every", "0"), "--state-every 0: write auto, off, or a number"),
        (("--events", "-", "--json"), "both want stdout"),
        (("--progress-file", "no/p.json"), "cannot be written"),
    ],
)
def test_bad_options(quick, options: tuple[str, ...], words: str) -> None:
    outcome = quick(*COMMAND, *options)
    assert outcome.code == ExitCode.USAGE
    assert words in outcome.err


def test_what_is_missing_is_named(quick) -> None:
    assert "missing argument 'AUDIO'" in quick("render", "--ref", FACE).err
    assert "missing option '--ref'" in quick("render", SPEECH).err
