"""FP8 layers that err too much go back: decided once, kept, and the same when a render goes on."""

import shutil
from pathlib import Path

import pytest
import torch

from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.runtime.adapting import AdaptivePlan
from liveact_cli.runtime.build import Options, build
from liveact_cli.runtime.crew import Crew
from liveact_cli.runtime.fp8 import FP8Plan, fp8_layers, plan_fp8
from liveact_cli.runtime.loader import read_config

GOLDEN = Path(__file__).parent.parent / "golden"
ROLLOUT = GOLDEN / "golden_rollout.safetensors"
CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    skip = shutil.ignore_patterns("*.pth", "google")
    return Path(shutil.copytree(GOLDEN / "tiny-liveact", tmp_path / "tiny", ignore=skip))


def strict(checkpoint: Path) -> FP8Plan:
    """All layers of the toy (its two blocks are edges), with a limit that some exceed."""
    return plan_fp8(read_config(checkpoint), edge_blocks=0, limit=0.035)


class Decided:
    """A transformer in FP8 after it was tried, on one device or by a crew."""

    def __init__(self, checkpoint: Path, devices: int = 1) -> None:
        self.adaptive = AdaptivePlan(checkpoint, strict)
        options = Options(torch.float32, self.adaptive.plan, offload="blocks")
        make = Build(checkpoint, options)
        self.loaded = Crew(make, [CPU] * devices, heads=2) if devices > 1 else make(device=CPU)
        self.tries = 0
        self.adaptive.decide(self.loaded, self.first_chunk)

    @property
    def transformer(self):
        return self.loaded.transformer if isinstance(self.loaded, Crew) else self.loaded

    def first_chunk(self) -> None:
        self.tries += 1
        self.error()

    def error(self) -> float:
        subject = CheckpointSubject(self.adaptive.checkpoint)
        subject.transformer = self.transformer
        return verify_file(subject, ROLLOUT).max_rel_error


class Build:
    """Builds with the same options everywhere; it pickles."""

    def __init__(self, checkpoint: Path, options: Options) -> None:
        self.checkpoint, self.options = checkpoint, options

    def __call__(self, *, device: torch.device):
        return build(self.checkpoint, self.options, device=device)


def test_it_is_measured_once_and_kept_beside_the_weights(checkpoint: Path) -> None:
    first = Decided(checkpoint)
    plan = first.adaptive.plan
    assert first.tries == 1
    assert 0 < len(plan.names) < 16
    assert set(fp8_layers(first.transformer)) == set(plan.names)
    assert all("above 0.035" in why for why in plan.kept.values())
    assert first.transformer.facts["fp8"]["layers"] == len(plan.names)
    again = Decided(checkpoint)
    assert again.tries == 0
    assert again.adaptive.plan == plan
    assert again.error() == first.error()


def test_a_render_that_goes_on_recalls_its_plan(checkpoint: Path) -> None:
    found = Decided(checkpoint).adaptive.found()
    shutil.rmtree(checkpoint / ".fp8")
    later = AdaptivePlan(checkpoint, strict)
    assert not later.decided
    assert later.recall(found), "it is another plan than before any measuring"
    assert later.decided
    assert later.found() == found
    assert not later.recall(found)
    transformer = build(checkpoint, Options(torch.float32, later.plan), device=CPU)
    assert set(fp8_layers(transformer)) == set(found["names"])


@pytest.mark.multi
def test_all_ranks_follow(checkpoint: Path) -> None:
    one = Decided(checkpoint)
    shutil.rmtree(checkpoint / ".fp8")
    two = Decided(checkpoint, devices=2)
    with two.loaded:
        # The first rank saw other rows of the same layers, so a layer at the limit may differ.
        assert len(set(two.adaptive.plan.names) ^ set(one.adaptive.plan.names)) <= 4
        assert set(fp8_layers(two.transformer)) == set(two.adaptive.plan.names)
        alone = build(checkpoint, Options(torch.float32, two.adaptive.plan), device=CPU)
        subject = CheckpointSubject(checkpoint)
        subject.transformer = alone
        assert two.error() == pytest.approx(verify_file(subject, ROLLOUT).max_rel_error, rel=1e-2)
