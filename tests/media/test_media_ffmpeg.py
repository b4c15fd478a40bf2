"""Which ffmpeg runs, what its ends mean, and that it never outlives us."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import ffmpeg
import pytest

from liveact_cli.core.errors import WeightsError
from liveact_cli.media.ffmpeg import (
    OVERRIDE,
    FfmpegError,
    FfmpegProcess,
    ffmpeg_version,
    find_ffmpeg,
    missing_encoders,
)


def program(path: Path, answer: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def test_the_override_comes_first(tmp_path):
    mine = program(tmp_path / "mine", "")
    assert find_ffmpeg({OVERRIDE: str(mine), "PATH": ""}) == str(mine)
    with pytest.raises(WeightsError, match="not a program") as caught:
        find_ffmpeg({OVERRIDE: str(tmp_path / "none")})
    assert caught.value.exit_code == 4


def test_the_one_on_the_path_is_used_if_it_can_encode(tmp_path):
    able = tmp_path / "able"
    able.mkdir()
    program(able / "ffmpeg", "V....D libx264 x\n A....D aac y")
    assert find_ffmpeg({"PATH": str(able)}) == str(able / "ffmpeg")
    unable = tmp_path / "unable"
    unable.mkdir()
    program(unable / "ffmpeg", "V....D libvpx x\n A....D aac y")
    assert missing_encoders(str(unable / "ffmpeg")) == ("libx264",)
    assert find_ffmpeg({"PATH": str(unable)}) != str(unable / "ffmpeg")


def test_no_ffmpeg_at_all(monkeypatch, tmp_path):
    def none() -> str:
        raise RuntimeError

    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", none)
    with pytest.raises(WeightsError, match="not found") as caught:
        find_ffmpeg({"PATH": str(tmp_path)})
    assert "imageio-ffmpeg" in caught.value.hint


def test_the_packaged_one_encodes():
    assert missing_encoders(find_ffmpeg()) == ()
    assert ffmpeg_version(find_ffmpeg()) != "unknown"


def test_a_process_without_a_pipe_to_us_is_not_started(tmp_path):
    with pytest.raises(ValueError, match="outlive"):
        FfmpegProcess(ffmpeg.input("pipe:0").output(str(tmp_path / "x.wav")), "do it")


def test_what_it_complains_of_is_in_the_error(tmp_path):
    pipeline = ffmpeg.input(f"file:{tmp_path}/none.wav").output("pipe:1", format="f32le")
    with FfmpegProcess(pipeline, "decode it", collect=True) as process:  # noqa: SIM117
        with pytest.raises(FfmpegError, match="ffmpeg could not decode it") as caught:
            list(process.read_blocks(100))
    assert "No such file" in caught.value.complaint
    assert caught.value.returncode != 0


def forever() -> FfmpegProcess:
    pipeline = ffmpeg.input("anullsrc", format="lavfi").output("pipe:1", format="f32le")
    return FfmpegProcess(pipeline, "hum", collect=True)


def test_leaving_the_block_ends_it():
    with pytest.raises(KeyboardInterrupt), forever() as process:
        raise KeyboardInterrupt
    assert process.ended()


def test_a_killed_process_is_an_error_with_the_signal():
    with forever() as process:
        blocks = process.read_blocks(4096)
        next(blocks)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(FfmpegError, match="ended by SIGKILL") as caught:
            list(blocks)
    assert "memory" in caught.value.hint


def alive(pid: int) -> bool:
    """Say whether a process runs (a zombie that nobody collects does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


ORPHANS = {
    "encoding": """
        from fractions import Fraction
        import numpy as np
        from liveact_cli.media.video import SegmentWriter
        writer = SegmentWriter(Path("."), 64, 64, Fraction(25))
        for _ in range(30): writer.write(np.zeros((64, 64, 3), np.uint8))
        while writer._current is None: time.sleep(0.01)
        print(writer._current.process.pid, flush=True)
    """,
    "decoding": """
        import ffmpeg
        from liveact_cli.media.ffmpeg import FfmpegProcess
        pipeline = ffmpeg.input("anullsrc", format="lavfi").output("pipe:1", format="f32le")
        process = FfmpegProcess(pipeline, "hum", collect=True)
        next(process.read_blocks(4096))
        print(process.pid, flush=True)
    """,
}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("case", ORPHANS)
def test_it_ends_when_we_are_killed(case, tmp_path):
    code = "import time\nfrom pathlib import Path\n" + textwrap.dedent(ORPHANS[case])
    parent = subprocess.Popen(
        [sys.executable, "-c", code + "\ntime.sleep(60)"], stdout=subprocess.PIPE, cwd=tmp_path
    )
    try:
        pid = int(parent.stdout.readline())
        assert alive(pid)
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < deadline, "ffmpeg outlived us"
        time.sleep(0.02)
