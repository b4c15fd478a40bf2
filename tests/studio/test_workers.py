"""Renders side by side in real processes: what happens to one costs only that one."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from liveact_cli.core.errors import ExitCode
from liveact_cli.core.events import ChunkDone, Resumed
from liveact_cli.diagnose.bench import repeat_sound
from liveact_cli.studio.dispatch import Begun, Done, Failed, Halted, Happening, Progress, dispatch
from liveact_cli.studio.messages import Opened
from liveact_cli.studio.orders import RenderOrder
from liveact_cli.studio.seats import gpu_seats
from liveact_cli.studio.workers import LocalWorkers, Seat
from liveact_cli.weights.resolve import example_file

SPEECH, FACE = example_file("audio.wav"), example_file("face.png")


@pytest.fixture
def order(toy_mini: Path, tmp_path: Path):
    def make(name: str, audio: Path = SPEECH, seconds: float = 0.5, **settings: str) -> RenderOrder:
        chosen = {"model": str(toy_mini), "size": "64x64", "duration": str(seconds), "seed": "1"}
        return RenderOrder(audio, FACE, tmp_path / f"{name}.mp4", chosen | settings)

    return make


def last_of(happenings: list[Happening], key: str) -> Happening:
    return [h for h in happenings if h.key == key][-1]


@pytest.mark.multi
def test_a_crash_a_hang_and_a_broken_file_cost_only_their_jobs(order, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not sound")
    names = ("crash", "fine", "hang", "broken")
    orders = {name: order(name) for name in names}
    orders["broken"] = order("broken", audio=tmp_path / "text.wav")
    pids: dict[str, int] = {}
    seen: list[Happening] = []
    with LocalWorkers([Seat(), Seat()]) as workers:
        for happening in dispatch(workers, orders.items(), timeout=4.0):
            seen.append(happening)
            key = happening.key
            if isinstance(happening, Begun):
                pids[key] = int(happening.worker)
                if (key, happening.attempt) == ("crash", 1):
                    os.kill(pids[key], signal.SIGKILL)
            elif isinstance(happening, Progress) and isinstance(happening.event, ChunkDone):
                first = not any(isinstance(h, Failed) and h.key == key for h in seen)
                if key == "hang" and first:
                    os.kill(pids[key], signal.SIGSTOP)
    crash, hang = (
        next(h.failure for h in seen if isinstance(h, Failed) and h.key == key)
        for key in ("crash", "hang")
    )
    assert "killed by SIGKILL" in crash.message
    assert crash.exit_code == ExitCode.DEVICE
    assert "it hung: nothing came from it for 4.0 s" in hang.message
    broken = last_of(seen, "broken")
    assert isinstance(broken, Failed)
    assert broken.final
    assert broken.failure.exit_code == ExitCode.BAD_MEDIA
    for name in ("crash", "fine", "hang"):
        done = last_of(seen, name)
        assert isinstance(done, Done)
        assert done.made.thumbnail.startswith(b"\xff\xd8")
        assert (tmp_path / f"{name}.mp4").stat().st_size == done.made.size
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.multi
def test_stopped_jobs_go_on_and_finished_ones_are_found(order, tmp_path: Path) -> None:
    repeat_sound(SPEECH, tmp_path / "long.wav", 40.0)
    long = order("long", audio=tmp_path / "long.wav", seconds=40.0, segment_seconds="2")
    wanted: list[bool] = []

    def happenings(workers: LocalWorkers) -> Iterator[Happening]:
        return dispatch(workers, [("long", long)], stop=lambda: bool(wanted))

    with LocalWorkers([Seat()]) as workers:
        seen = []
        for happening in happenings(workers):
            seen.append(happening)
            event = getattr(happening, "event", None)
            if isinstance(event, ChunkDone) and event.frames > 60:
                wanted.append(True)
        assert isinstance(seen[-1], Halted)
        assert not (tmp_path / "long.mp4").exists()
        wanted.clear()
        again = list(happenings(workers))
        assert any(isinstance(getattr(h, "event", None), Resumed) for h in again)
        first = again[-1]
        assert isinstance(first, Done)
        assert 0 < first.made.before < first.made.frames
        found = list(happenings(workers))
    assert [type(getattr(h, "event", h)) for h in found] == [Begun, Opened, Done]
    assert isinstance(found[-1], Done)
    assert found[-1].made.found
    assert found[-1].made.sha256 == first.made.sha256
    assert found[-1].made.mtime_ns == first.made.mtime_ns


def test_groups_of_gpus() -> None:
    seats = gpu_seats(None, 2, 5, {})
    assert [dict(seat.variables) for seat in seats] == [
        {"CUDA_VISIBLE_DEVICES": "0,1"}, {"CUDA_VISIBLE_DEVICES": "2,3"},
    ]  # fmt: skip
    named = gpu_seats(1, 1, 2, {"CUDA_VISIBLE_DEVICES": "GPU-a, GPU-b"})
    assert [seat.variables["CUDA_VISIBLE_DEVICES"] for seat in named] == ["GPU-a"]
