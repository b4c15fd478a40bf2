"""Everything a user can get wrong: a sentence, a hint, the right status, nothing left behind."""

import math
import os
import struct
import wave
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liveact_cli.core.errors import ExitCode
from liveact_cli.weights.resolve import example_file

FACE = example_file("face.png")


def write_wav(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    return 0.3 * np.sin(2 * math.pi * 220 * np.arange(round(seconds * rate)) / rate)


def good_sound(folder: Path) -> Path:
    return write_wav(folder / "good.wav", tone(1.0))


def nan_wav(path: Path) -> Path:
    samples = struct.pack("<1600f", *[math.nan] * 1600)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, 16000, 64000, 4, 32)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(samples)) + samples
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def picture(path: Path, width: int, height: int) -> Path:
    Image.new("RGB", (width, height), (90, 110, 130)).save(path)
    return path


def huge_png(path: Path) -> Path:
    """A picture that says it has 30,000 x 30,000 pixels; its data are never reached."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    body = header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return written(path, b"\x89PNG\r\n\x1a\n" + body)


def silent_video(path: Path) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def tiny_face(path: Path) -> Path:
    canvas = Image.new("RGB", (640, 640), (90, 110, 130))
    canvas.paste(Image.open(FACE).convert("RGB").resize((64, 75)), (300, 300))
    canvas.save(path)
    return path


def existing(folder: Path) -> None:
    (folder / "out.mp4").write_bytes(b"mine")


@dataclass(frozen=True)
class Case:
    """What is wrong, what is said about it, and how the command ends."""

    name: str
    code: ExitCode
    says: str
    audio: Callable[[Path], Path] = good_sound
    image: Callable[[Path], Path] = field(default=lambda folder: FACE)
    options: tuple[str, ...] = ()
    before: Callable[[Path], None] = field(default=lambda folder: None)


BAD, USAGE, FAIL = ExitCode.BAD_MEDIA, ExitCode.USAGE, ExitCode.FAILURE

CASES = [
    Case("sound is absent", BAD, "absent.wav", audio=lambda f: f / "absent.wav"),
    Case("sound is a folder", BAD, "folder", audio=lambda f: f),
    Case("sound is empty", BAD, "empty", audio=lambda f: written(f / "a.wav", b"")),
    Case("sound has no samples", BAD, "", audio=lambda f: write_wav(f / "a.wav", tone(0))),
    Case("sound is text", BAD, "", audio=lambda f: written(f / "a.wav", b"hello, I am text\n" * 9)),
    Case("sound is noise", BAD, "", audio=lambda f: written(f / "a.mp3", bytes(range(256)) * 99)),
    Case("sound is NaN", BAD, "", audio=lambda f: nan_wav(f / "a.wav")),
    Case("video has no sound", BAD, "no sound", audio=lambda f: silent_video(f / "a.mp4")),
    Case("sound is a playlist", BAD, "", audio=lambda f: written(f / "a.m3u8", b"#EXTM3U\nx.ts\n")),
    Case("sound shorter than a frame", BAD, "", audio=lambda f: write_wav(f / "a.wav", tone(0.01))),
    Case("start is past the end", BAD, "", options=("--start", "1:00")),
    Case("picture is absent", BAD, "absent.png", image=lambda f: f / "absent.png"),
    Case("picture is a folder", BAD, "", image=lambda f: f),
    Case("picture is empty", BAD, "", image=lambda f: written(f / "a.png", b"")),
    Case("picture is text", BAD, "", image=lambda f: written(f / "a.png", b"hello" * 99)),
    Case("picture is cut", BAD, "", image=lambda f: written(f / "a.png", FACE.read_bytes()[:9999])),
    Case("no face", BAD, "no face", image=lambda f: picture(f / "a.png", 320, 320)),
    Case("face too small", BAD, "pixels wide", image=lambda f: tiny_face(f / "a.png")),
    Case("one pixel", BAD, "1x1", image=lambda f: picture(f / "a.png", 1, 1)),
    Case("900 megapixels", BAD, "too large", image=lambda f: huge_png(f / "a.png")),
    Case("no second face", BAD, "face", options=("--face", "2")),
    Case("output exists", USAGE, "out.mp4", before=existing),
    Case("output is a folder", USAGE, "", options=("-o", ".")),
    Case("output's folder is absent", USAGE, "nowhere", options=("-o", "nowhere/out.mp4")),
    Case("output below a file", USAGE, "", options=("-o", "good.wav/out.mp4")),
    Case("output is not mp4", USAGE, ".avi", options=("-o", "out.avi")),
    Case("odd size", USAGE, "even", options=("--size", "511x511")),
    Case("no frames a second", USAGE, "from 10 to 60", options=("--fps", "0")),
    Case("unknown model", USAGE, "liveact-mni", options=("--model", "liveact-mni")),
    Case("no weights", ExitCode.MISSING_WEIGHTS, "55 GB", options=("--model", "liveact-18b")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(studio, tmp_path: Path, case: Case) -> None:
    audio, image = case.audio(tmp_path), case.image(tmp_path)
    case.before(tmp_path)
    listing = {path: path.stat().st_size for path in tmp_path.iterdir()}
    target = () if "-o" in case.options else ("-o", "out.mp4")
    outcome = studio("render", audio, "--ref", image, *target, *case.options)
    assert outcome.code == case.code, outcome.err
    message, separator, hint = outcome.err.strip().partition("\n\nhint: ")
    assert message.splitlines()[-1].startswith("error: ")
    assert case.says in message
    assert separator
    assert hint
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    assert {path: path.stat().st_size for path in tmp_path.iterdir()} == listing


def test_did_you_mean(shell, tmp_path: Path) -> None:
    outcome = shell("render", "a.wav", "--ref", "a.png", "--model", "liveact-mni")
    assert "did you mean --model liveact-mini?" in outcome.err


def test_unwritable_folder(studio, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    # Root may write anywhere but into the kernel's own folders, which count as full.
    folder, says = (
        (closed, "cannot be written") if os.geteuid() else (Path("/proc"), "0 bytes free")
    )
    outcome = studio("render", good_sound(tmp_path), "--ref", FACE, "-o", folder / "out.mp4")
    assert outcome.code == ExitCode.FAILURE, outcome.err
    assert says in outcome.err
