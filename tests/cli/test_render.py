"""The whole command on small input: lengths, bytes, stops, messages, and what it leaves behind."""

import math
import os
import resource
import signal
import subprocess
import sys
import time
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from liveact_cli.core.errors import ExitCode
from liveact_cli.weights.resolve import example_file

FACE, SPEECH = example_file("face.png"), example_file("audio.wav")
SMALL = ("--size", "96x112", "--seed", "7")


def sound(path: Path, seconds: float, rate: int = 16000, level: float = 0.3) -> Path:
    moments = np.arange(round(seconds * rate)) / rate
    samples = level * np.sin(2 * math.pi * 180 * moments) * (1 + np.sin(2 * math.pi * 3 * moments))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 16000).astype("<i2").tobytes())
    return path


def video_of(path: Path) -> tuple[int, Fraction, float, float]:
    """Return decoded frames, frame rate, the picture's and the sound's length in seconds."""
    with av.open(str(path)) as film:
        picture, track = film.streams.video[0], film.streams.audio[0]
        frames = sum(1 for _ in film.decode(picture))
        assert picture.duration is not None
        assert track.duration is not None
        lengths = (float(stream.duration * stream.time_base) for stream in (picture, track))
        return frames, picture.average_rate, *lengths


@pytest.mark.parametrize(
    ("seconds", "fps"),
    [(0.1, "25"), (0.86, "25"), (2.2, "10"), (1.0, "29.97"), (0.5, "60")],
)
def test_exact_length(studio, tmp_path: Path, seconds: float, fps: str) -> None:
    outcome = studio(
        "render", sound(tmp_path / "a.wav", seconds), "--ref", FACE, *SMALL, "--fps", fps
    )
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{tmp_path / 'a.mp4'}\n"
    frames, rate, picture, track = video_of(tmp_path / "a.mp4")
    assert frames == round(seconds * rate)
    assert picture == pytest.approx(frames / rate)
    assert abs(picture - seconds) <= 1 / rate
    assert abs(track - seconds) <= 1 / rate
    assert float(rate) == pytest.approx(float(fps), rel=1e-4)


def test_same_seed_same_bytes_and_inspect(studio, tmp_path: Path) -> None:
    command = ("render", SPEECH, "--ref", FACE, "--duration", "1.5", "--size", "128x128", "-q")
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        outcome = studio(*command, "-o", f"{name}.mp4", "--seed", seed)
        assert outcome.code == 0, outcome.err
        assert outcome.err == ""
    a, b, c = ((tmp_path / f"{name}.mp4").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    assert str(tmp_path).encode() not in a
    shown = studio("inspect", "a.mp4", "--json").json
    assert shown["generated"] is True
    assert shown["digital_source_type"].endswith("trainedAlgorithmicMedia")
    assert shown["liveact"]["seed"] == 3
    assert shown["liveact"]["size"] == [128, 128]
    assert shown["liveact"]["settings"]["crf"] == 18
    for_people = studio("inspect", "a.mp4").out
    assert "trainedAlgorithmicMedia" in for_people
    assert "seed" in for_people


def test_a_drawn_seed_is_told_and_makes_the_file_again(studio, tmp_path: Path) -> None:
    command = ("render", sound(tmp_path / "a.wav", 0.3), "--ref", FACE, "--size", "96x112")
    first = studio(*command, "--json")
    assert first.code == 0
    report = first.json
    assert report["ok"] is True
    assert f"seed {report['seed']}" in first.err
    assert report["frames"] == 8
    before = Path(report["output"]).read_bytes()
    assert studio(*command, "--force", "--seed", report["seed"]).code == 0
    assert Path(report["output"]).read_bytes() == before


def test_label_is_visible(studio, tmp_path: Path) -> None:
    audio = sound(tmp_path / "a.wav", 0.2)
    for name, options in (("plain", ()), ("label", ("--label",))):
        studio("render", audio, "--ref", FACE, "--seed", 1, "-o", f"{name}.mp4", *options)
    pictures = []
    for name in ("plain", "label"):
        with av.open(str(tmp_path / f"{name}.mp4")) as film:
            pictures.append(next(film.decode(video=0)).to_ndarray(format="rgb24").astype(int))
    changed = (abs(pictures[0] - pictures[1]) > 40).any(2)
    assert changed[-60:, -200:].sum() > 100
    assert changed[:-80].mean() < 1e-3  # only what the encoder spends differently


def test_silence_renders_with_a_warning(studio, tmp_path: Path) -> None:
    outcome = studio("render", sound(tmp_path / "a.wav", 0.4, level=0), "--ref", FACE, *SMALL)
    assert outcome.code == 0, outcome.err
    assert "warning: a.wav is silent" in outcome.err


def test_several_faces_are_noted(studio, tmp_path: Path) -> None:
    portrait = Image.open(FACE).convert("RGB")
    both = Image.new("RGB", (900, 600), (90, 110, 130))
    both.paste(portrait, (0, 0))
    both.paste(portrait.resize((384, 450)), (516, 100))
    both.save(tmp_path / "both.png")
    command = ("render", sound(tmp_path / "a.wav", 0.2), "--ref", "both.png", *SMALL, "--force")
    outcome = studio(*command)
    assert outcome.code == 0, outcome.err
    assert "2 faces; the largest speaks" in outcome.err
    largest = (tmp_path / "a.mp4").read_bytes()
    outcome = studio(*command, "--face", "2")
    assert "face 2 speaks" in outcome.err
    assert (tmp_path / "a.mp4").read_bytes() != largest


def test_dry_run_shows_the_plan_and_writes_nothing(studio, tmp_path: Path) -> None:
    audio = sound(tmp_path / "a.wav", 2.0)
    before = sorted(tmp_path.iterdir())
    outcome = studio("render", audio, "--ref", FACE, "--dry-run", "--json", "--fps", "30")
    assert outcome.code == 0, outcome.err
    plan = outcome.json
    assert plan["frames"] == 60
    assert plan["chunks"] == 2
    assert (plan["width"], plan["height"]) == Image.open(FACE).size
    assert plan["estimated_seconds"] > 0
    assert plan["estimated_memory_bytes"] > 0
    lines = studio("render", audio, "--ref", FACE, "--dry-run").out
    assert "liveact-mini" in lines
    assert "2 chunks" in lines
    assert sorted(tmp_path.iterdir()) == before


def command_line(studio, *arguments: object) -> tuple[list[str], dict[str, str]]:
    words = [sys.executable, "-m", "liveact_cli", *map(str, arguments)]
    return words, {**os.environ, **studio.variables}


@pytest.mark.parametrize(
    ("options", "unneeded"),
    [
        (["--dry-run"], ["torch"]),
        (SMALL, ["torch._dynamo", "transformers", "diffusers", "triton", "sympy", "librosa"]),
    ],
)
def test_what_is_not_needed_is_not_loaded(studio, tmp_path: Path, options, unneeded) -> None:
    audio = sound(tmp_path / "a.wav", 1.0)
    code = (
        "import sys; from liveact_cli.cli.main import main; code = main(sys.argv[1:]);"
        f"sys.exit(code or 99 * bool({set(unneeded)} & sys.modules.keys()))"
    )
    words, variables = command_line(studio)
    arguments = ["render", str(audio), "--ref", str(FACE), *options]
    done = subprocess.run(
        [words[0], "-c", code, *arguments], env=variables, cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stderr


def test_lines_for_pipes(studio, tmp_path: Path) -> None:
    outcome = studio("render", sound(tmp_path / "a.wav", 2.0), "--ref", FACE, *SMALL, "-v")
    lines = outcome.err.splitlines()
    assert sum(line.startswith("chunk ") for line in lines) == 2
    assert "x real time" in lines[-1]
    assert "a.mp4" in lines[-1]
    assert any(line.startswith("model ") for line in lines)


def test_start_and_duration_choose_a_part(studio, tmp_path: Path) -> None:
    command = ("render", SPEECH, "--ref", FACE, *SMALL, "--start", "0:02", "--duration", "400ms")
    assert studio(*command).code == 0
    assert video_of(tmp_path / "audio.mp4")[0] == 10


@pytest.mark.multi
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_finished(studio, tmp_path: Path, number: int) -> None:
    audio = sound(tmp_path / "a.wav", 120.0)
    words, variables = command_line(
        studio, "render", audio, "--ref", FACE, *SMALL, "-o", tmp_path / "out.mp4"
    )
    process = subprocess.Popen(words, env=variables, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "chunk 2/" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(60) == ExitCode.INTERRUPTED, rest
    partial = tmp_path / "out.partial.mp4"
    assert "interrupted: " in rest
    assert str(partial) in rest
    assert sorted(tmp_path.iterdir()) == [audio, partial]
    frames, rate, picture, track = video_of(partial)
    assert 51 <= frames < 3000
    assert abs(picture - track) <= 1 / rate + 1e-6


@pytest.mark.multi
def test_a_killed_encoder_is_a_failure_and_leaves_nothing(studio, tmp_path: Path) -> None:
    audio = sound(tmp_path / "a.wav", 120.0)
    words, variables = command_line(
        studio, "render", audio, "--ref", FACE, *SMALL, "-o", tmp_path / "out.mp4"
    )
    process = subprocess.Popen(words, env=variables, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "chunk 2/" not in process.stderr.readline():
        assert process.poll() is None
    for child in children_of(process.pid):
        os.kill(child, signal.SIGKILL)
    rest = process.stderr.read()
    assert process.wait(60) == ExitCode.FAILURE, rest
    assert "error: ffmpeg could not" in rest
    assert "Traceback" not in rest
    assert sorted(tmp_path.iterdir()) == [audio]


def children_of(pid: int) -> list[int]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        listing = subprocess.run(
            ["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True
        )
        if found := [int(word) for word in listing.stdout.split()]:
            return found
    return []


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.multi
def test_no_space_is_a_failure_and_leaves_nothing(studio, tmp_path: Path) -> None:
    audio = sound(tmp_path / "a.wav", 6.0)
    words, variables = command_line(
        studio, "render", audio, "--ref", FACE, "--crf", "1", "-o", tmp_path / "out.mp4"
    )
    done = subprocess.run(words, env=variables, capture_output=True, text=True, preexec_fn=limited)
    assert done.returncode == ExitCode.FAILURE, done.stderr
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr
    assert sorted(tmp_path.iterdir()) == [audio]


def test_no_ffmpeg(studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEACT_FFMPEG", "/nonexistent/ffmpeg")
    outcome = studio("render", sound(tmp_path / "a.wav", 1.0), "--ref", FACE, *SMALL)
    assert outcome.code == ExitCode.MISSING_WEIGHTS
    assert "LIVEACT_FFMPEG" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_inspect_refuses_what_is_no_video(shell, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("no video")
    for name in ("x.mp4", "absent.mp4"):
        outcome = shell("inspect", name, "--json")
        assert outcome.code == ExitCode.BAD_MEDIA
        assert outcome.json["ok"] is False


def test_the_other_family_runs_the_same_way(studio, tmp_path: Path) -> None:
    """A small checkpoint in the layout of liveact-18b, from the command line to the file."""
    checkpoint = Path(__file__).resolve().parent.parent / "golden" / "tiny-liveact"
    command = ("render", sound(tmp_path / "a.wav", 0.9), "--ref", FACE, "--model", checkpoint)
    outcome = studio(*command, "--size", "64x64", "--seed", "5", "--prompt", "A man talks.")
    assert outcome.code == 0, outcome.err
    assert video_of(tmp_path / "a.mp4")[0] == 22
    released = (
        "--audio-guidance", "1.5", "--sampler", "euler", "--memory", "mean", "--tiles", "64",
        "--prompt-granularity", "frame", "--vae-overlap",
        "--audio-encoder", checkpoint.parent / "tiny-wav2vec2",
    )  # fmt: skip
    chosen = studio(*command, "--size", "64x64", "--seed", "5", "-o", "c.mp4", *released)
    assert chosen.code == 0, chosen.err
    recorded = studio("inspect", "c.mp4", "--json").json["liveact"]
    assert recorded["settings"]["sampler"] == "euler"
    assert recorded["settings"]["audio_guidance"] == 1.5
    assert len(recorded["audio_encoder"]) == 64
    assert str(tmp_path).encode() not in (tmp_path / "c.mp4").read_bytes()
    refused = studio(*command, "--size", "66x64", "-o", "b.mp4")
    assert refused.code == ExitCode.USAGE
    assert "--size 64x64" in refused.err


def test_settings_that_a_model_does_not_use(studio, tmp_path: Path) -> None:
    command = ("render", sound(tmp_path / "a.wav", 0.3), "--ref", FACE, *SMALL)
    for flags in (("--sampler", "euler"), ("--vae-overlap",), ("--tiles", "off")):
        refused = studio(*command, *flags)
        assert refused.code == ExitCode.USAGE
        assert f"{flags[0]}" in refused.err
        assert "no effect on liveact-mini" in refused.err
    told = studio(*command, LIVEACT_SAMPLER="euler")
    assert told.code == 0, told.err
    assert "liveact-mini does not use the setting sampler" in told.err


def test_the_input_is_never_replaced(studio, tmp_path: Path) -> None:
    studio("render", sound(tmp_path / "a.wav", 0.3), "--ref", FACE, *SMALL)
    before = (tmp_path / "a.mp4").read_bytes()
    outcome = studio("render", "a.mp4", "--ref", FACE, *SMALL, "--force")
    assert outcome.code == ExitCode.USAGE
    assert "would replace a.mp4" in outcome.err
    assert (tmp_path / "a.mp4").read_bytes() == before
    again = studio("render", "a.mp4", "--ref", FACE, *SMALL, "-o", "b.mp4")
    assert again.code == 0, again.err
    assert abs(video_of(tmp_path / "b.mp4")[0] - 8) <= 1
