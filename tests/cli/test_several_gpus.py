"""`--gpus N`, with processes on the CPU in the place of GPUs."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from liveact_cli.core.errors import ExitCode
from liveact_cli.weights.resolve import example_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ROLLOUT = GOLDEN / "golden_rollout.safetensors"
RENDER = (
    "render", example_file("audio.wav"), "--ref", example_file("face.png"), "--model",
    GOLDEN / "tiny-liveact", "--size", "64x64", "--seed", "5", "--crf", "0",
)  # fmt: skip


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.stack([f.to_ndarray(format="rgb24") for f in film.decode(video=0)]).astype(int)


@pytest.mark.multi
def test_two_processes_make_the_same_video(shell, tmp_path: Path) -> None:
    command = (*RENDER, "--duration", "0.8")
    assert shell(*command, "-o", "one.mp4").code == 0
    outcome = shell(*command, "-o", "two.mp4", "--gpus", "2", LIVEACT_DEVICE="cpu")
    assert outcome.code == 0, outcome.err
    one, two = frames_of(tmp_path / "one.mp4"), frames_of(tmp_path / "two.mp4")
    assert one.shape == (20, 64, 64, 3)
    # Sums in another order: latents agree to 1e-6, so some values fall on a byte's other side.
    assert abs(one - two).max() <= 4
    assert (one != two).mean() < 0.01
    records = [shell("inspect", name, "--json").json["liveact"] for name in ("one.mp4", "two.mp4")]
    for record in records:
        record["computed"].pop("exchange", None)
    assert records[0] == records[1]


@pytest.mark.multi
def test_a_killed_process_ends_the_render(shell, tmp_path: Path) -> None:
    def kill_the_other() -> None:
        while not stopped.is_set():
            rows = subprocess.check_output(
                ["ps", "-A", "-ww", "-o", "pid=,ppid=,command="], text=True
            )
            for pid, parent, command in (row.split(None, 2) for row in rows.splitlines()):
                if parent == str(os.getpid()) and "runtime.follower" in command:
                    os.kill(int(pid), signal.SIGKILL)
                    return
            time.sleep(0.2)

    stopped = threading.Event()
    killer = threading.Thread(target=kill_the_other)
    killer.start()
    try:
        outcome = shell(*RENDER, "--gpus", "2", "-o", "x.mp4", LIVEACT_DEVICE="cpu")
    finally:
        stopped.set()
        killer.join()
    assert outcome.code == ExitCode.DEVICE
    assert "error: the process of cpu (2 of 2) was killed by SIGKILL" in outcome.err
    assert "Traceback" not in outcome.err
    assert not list(tmp_path.glob("*x.mp4*")), "nothing is left behind"


@pytest.mark.skipif(torch.cuda.device_count() > 2, reason="this machine has the GPUs")
def test_what_cannot_be_is_said_first(shell, tmp_path: Path) -> None:
    for gpus, code, sentence in (
        ("3", ExitCode.USAGE, "2 attention heads cannot be shared evenly by 3 GPUs"),
        ("0", ExitCode.USAGE, "--gpus 0: must be at least 1"),
        ("two", ExitCode.USAGE, "--gpus two: write a whole number"),
    ):
        outcome = shell(*RENDER, "--gpus", gpus, "-o", "x.mp4")
        assert outcome.code == code
        assert sentence in outcome.err
    outcome = shell("verify", GOLDEN / "tiny-liveact", ROLLOUT, "--gpus", "3", LIVEACT_DEVICE="cpu")
    assert outcome.code == ExitCode.USAGE
    if torch.cuda.device_count() < 2:
        outcome = shell(*RENDER, "--gpus", "2", "-o", "x.mp4")
        assert outcome.code == ExitCode.DEVICE
        assert "2 GPUs are asked for, and this machine has" in outcome.err
    assert list(tmp_path.glob("*.mp4*")) == []


@pytest.mark.slow
@pytest.mark.multi
def test_verify_proves_several_devices(shell) -> None:
    command = ("verify", GOLDEN / "tiny-liveact", ROLLOUT, "--gpus", "2", "--json")
    outcome = shell(*command, LIVEACT_DEVICE="cpu")
    assert outcome.code == 0, outcome.err
    assert outcome.json["files"][0]["max_rel_error"] <= 1e-5
