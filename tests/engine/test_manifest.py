"""A plan's numbers and its identity."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import MediaError
from liveact_cli.core.units import Size
from liveact_cli.engine.manifest import RenderPlan, fingerprint, fingerprint_of, plan_render
from liveact_cli.engine.prepare import default_size
from liveact_cli.weights.registry import FULL, MINI, ModelRow
from liveact_cli.weights.resolve import ResolvedModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("weights", "sound", "picture"):
        (tmp_path / name).write_text(name)
    return tmp_path


def plan_of(folder: Path, seconds: float = 10.0, row: ModelRow = MINI, fps: int = 25) -> RenderPlan:
    settings = RenderSettings(fps=Fraction(fps))
    model = ResolvedModel(row, folder / "weights")
    paths = (folder / "sound", folder / "picture", folder / "out.mp4")
    return plan_render(model, *paths, settings, 1, seconds, Size(512, 512))


def test_frames_and_chunks(folder: Path) -> None:
    plan = plan_of(folder)
    assert plan.frames == 250
    assert plan.chunks.frames == 250
    assert plan.chunks.chunks == 9
    assert plan.estimated_seconds > 0


def test_liveact_mini_thinks_at_25_whatever_the_video(folder: Path) -> None:
    plan = plan_of(folder, fps=50)
    assert (plan.frames, plan.chunks.frames, plan.model_fps) == (500, 250, 25)
    plan = plan_of(folder, row=FULL, fps=20)
    assert (plan.frames, plan.chunks.frames, plan.model_fps) == (200, 200, 20)


def test_too_short(folder: Path) -> None:
    with pytest.raises(MediaError, match="less than one video frame"):
        plan_of(folder, seconds=0.01)


def test_identity_follows_every_input_and_setting(folder: Path) -> None:
    plan = plan_of(folder)
    same = fingerprint(plan.record())
    assert fingerprint(plan_of(folder).record()) == same
    others = [
        replace(plan, seed=2),
        replace(plan, size=Size(512, 510)),
        replace(plan, settings=replace(plan.settings, crf=30)),
    ]
    assert same not in {fingerprint(other.record()) for other in others}
    (folder / "sound").write_text("another")
    assert fingerprint(plan.record()) != same


def test_the_output_and_paths_are_no_part_of_it(folder: Path) -> None:
    plan = plan_of(folder)
    moved = replace(plan, output=folder / "elsewhere.mp4")
    assert moved.record() == plan.record()
    assert str(folder) not in str(plan.record())


def test_default_sizes() -> None:
    assert default_size(512, 600, MINI) == (512, 600)
    assert default_size(3000, 2001, MINI) == (1024, 684)
    assert default_size(641, 479, MINI) == (640, 480)
    assert default_size(720, 416, FULL) == (720, 416)
    assert default_size(4000, 3000, FULL) == (720, 544)


def test_what_is_kept_beside_weights_does_not_change_their_identity(tmp_path):
    (tmp_path / "weights").write_bytes(b"1")
    before = fingerprint_of(tmp_path)
    (tmp_path / ".fp8").mkdir()
    assert fingerprint_of(tmp_path) == before
    (tmp_path / "more").write_bytes(b"1")
    assert fingerprint_of(tmp_path) != before
