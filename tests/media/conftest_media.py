"""Recordings and frames for the tests of media, made on the spot."""

import math
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from liveact_cli.media.ffmpeg import find_ffmpeg


def speech_like(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """A tone that swells four times a second, `[n, channels]`, another pitch in each channel."""
    t = np.arange(round(seconds * rate)) / rate
    swell = 0.3 * (0.55 + 0.45 * np.sin(2 * math.pi * 4 * t))
    pitches = 180.0 * (1 + 0.3 * np.arange(channels))
    return swell[:, None] * np.sin(2 * math.pi * t[:, None] * pitches)


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def ffmpeg(*arguments: object) -> None:
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float, int, int], Path]:
    """Gives a WAV file of so many seconds, Hz and channels."""
    folder = tmp_path_factory.mktemp("sounds")

    def make(seconds: float, rate: int, channels: int) -> Path:
        path = folder / f"{seconds}-{rate}-{channels}.wav"
        if not path.exists():
            write_wav(path, speech_like(seconds, rate, channels), rate)
        return path

    return make


def moving_frames(count: int, width: int = 64, height: int = 64) -> np.ndarray:
    """`[count, height, width, 3]`: a picture that moves a little, its number in a corner."""
    y, x = np.mgrid[0:height, 0:width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        shift = 5 * math.sin(number / 5)
        for channel, (across, down) in enumerate(((9, 17), (23, 11), (13, 29))):
            wave_ = np.sin((x + shift) / across) * np.cos((y - shift) / down)
            frames[number, :, :, channel] = 128 + 90 * wave_
        for bit in range(10):  # 4x4 blocks of black or white: the frame's number in binary
            frames[number, :8, 4 * bit : 4 * bit + 4] = 255 * (number >> bit & 1)
    return frames


def number_of(frame: np.ndarray) -> int:
    """Read the number that `moving_frames` wrote."""
    return sum((frame[2:6, 4 * bit + 1 : 4 * bit + 3].mean() > 128) << bit for bit in range(10))
