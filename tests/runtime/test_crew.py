"""A transformer shared by two processes: it is used like any other, and its end is told."""

import gc
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from liveact_cli.core.errors import DeviceError, UsageError
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.runtime.crew import Crew
from liveact_cli.runtime.fp8 import plan_fp8
from liveact_cli.runtime.fp8_cache import FOLDER, LOCK, WEIGHTS
from liveact_cli.runtime.launch import Ended, Launch
from liveact_cli.runtime.loader import load_transformer, read_config

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = GOLDEN / "tiny-liveact"
CPUS = [torch.device("cpu")] * 2

pytestmark = pytest.mark.multi


def followers() -> list[int]:
    """Return the processes that this one has started for a crew."""
    rows = subprocess.check_output(["ps", "-A", "-ww", "-o", "pid=,ppid=,command="], text=True)
    split = (row.split(None, 2) for row in rows.splitlines())
    mine = (row for row in split if row[1] == str(os.getpid()))
    return [int(pid) for pid, _, command in mine if "runtime.follower" in command]


def test_it_reproduces_the_rollouts_and_tells_of_a_killed_process() -> None:
    threads = torch.get_num_threads()
    with CheckpointSubject(TINY, CPUS) as subject:
        for path in sorted(GOLDEN.glob("golden_rollout*.safetensors")):
            assert verify_file(subject, path).max_rel_error <= 1e-5
        transformer = subject.transformer
        gc.collect()  # the roll-outs' memories are gone, and the other process frees its part
        state = transformer.new_memory(MemoryPolicy(), (4, 6), [0]).state()
        assert {name.split(".")[0] for name in state} == {"step0"}
        (pid,) = followers()
        assert os.getsid(pid) != os.getsid(0), "Ctrl-C in a terminal would reach it"
        os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        with pytest.raises(DeviceError, match=r"process of cpu \(2 of 2\) was killed by SIGKILL"):
            verify_file(subject, path)
        assert time.monotonic() - begun < 30, "it must be told at once, not after a timeout"
    assert followers() == []
    assert torch.get_num_threads() == threads


@dataclass(frozen=True)
class Unlucky:
    """Loads in this process, and fails in every other one."""

    home: int

    def __call__(self, *, device: torch.device):
        if os.getpid() != self.home:
            raise RuntimeError("the weights melted")
        return load_transformer(TINY, device=device)


def test_what_fails_in_another_process_is_told() -> None:
    with pytest.raises(DeviceError, match=r"\(2 of 2\) failed: RuntimeError: the weights melted"):
        Crew(Unlucky(os.getpid()), CPUS, heads=2)
    assert followers() == []


def test_on_the_first_load_one_process_writes_what_is_rounded(tmp_path: Path) -> None:
    skip = shutil.ignore_patterns("*.pth", "google")
    checkpoint = Path(shutil.copytree(TINY, tmp_path / "tiny", ignore=skip))
    plan = plan_fp8(read_config(checkpoint), edge_blocks=0)
    with Crew(partial(load_transformer, checkpoint, fp8=plan), CPUS, heads=2) as crew:
        ours = crew.transformer.get_parameter("blocks.0.ffn.0.weight").float()
    names = sorted(file.name for file in (checkpoint / FOLDER).iterdir())
    assert names == [LOCK, WEIGHTS]
    stored = load_file(checkpoint / FOLDER / WEIGHTS)
    assert len(stored) == 2 * len(plan.names)
    assert torch.equal(stored["blocks.0.ffn.0.weight"].float(), ours)


def test_a_launch_knows_how_its_processes_ended(tmp_path: Path, monkeypatch) -> None:
    """Three processes: one is killed, one goes on and is ended with it, one never connects."""
    code = """
import os, signal, sys, time
from liveact_cli.runtime.launch import connected
number = int(sys.argv[2])
pipe = connected(sys.argv[1:])
print("this must not be seen")
if number == 1:
    pipe.recv()  # not before both are there: one that dies earlier ends the other
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
"""
    (tmp_path / "kept_busy.py").write_text(code)
    (tmp_path / "lost_early.py").write_text("raise SystemExit(7)")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    launch = Launch("kept_busy", 2)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    first, second = launch.pipes()
    assert first is not None
    assert second is not None
    begun = time.monotonic()
    second.send("go")
    with pytest.raises(EOFError):
        second.recv()
    assert launch.end_of(1) == Ended(-signal.SIGKILL)
    assert launch.end_of(0) == Ended(-signal.SIGTERM, by_itself=False)
    launch.close(0)
    assert time.monotonic() - begun < 5
    launch = Launch("lost_early", 1)
    assert launch.pipes() == [None]
    assert launch.end_of(0) == Ended(7)
    launch.close(0)
    assert not Path(launch._folder.name).exists()


def test_a_meeting_place_with_too_long_a_name_is_told(tmp_path: Path, monkeypatch) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(DeviceError, match=r"cannot meet at .*long/liveact-") as told:
        Launch("liveact_cli.runtime.follower", 1)
    assert "TMPDIR" in told.value.hint
    assert list(long.iterdir()) == []


def test_heads_are_checked_before_anything_is_started() -> None:
    with pytest.raises(UsageError, match="2 attention heads cannot be shared evenly by 3 GPUs"):
        Crew(partial(load_transformer, TINY), [*CPUS, torch.device("cpu")], heads=2)
    assert followers() == []
