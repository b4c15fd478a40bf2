"""Transformer Engine as a backend: what is ours of it, with a library of the same names.

The library itself needs CUDA to be built. What stands for it rounds whole tensors, and insists on
rows that are a multiple of 16, as the real one does.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import UsageError
from liveact_cli.core.placement import GIB, Machine
from liveact_cli.core.units import Size
from liveact_cli.engine import placement
from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.runtime.adapting import AdaptivePlan
from liveact_cli.runtime.build import Options, build
from liveact_cli.runtime.fp8 import FP8Plan, plan_fp8, rounded_layers
from liveact_cli.runtime.fp8_numbers import quantise_tensor
from liveact_cli.runtime.loader import read_config
from liveact_cli.runtime.transformer_engine import TransformerEngineLinear
from liveact_cli.weights.resolve import resolve_model

GOLDEN = Path(__file__).parents[1] / "golden"
ROLLOUT = GOLDEN / "golden_rollout.safetensors"
CPU = torch.device("cpu")


class Linear(nn.Module):
    """`te.Linear`."""

    rounding = False

    def __init__(self, inputs: int, outputs: int, *, bias: bool, params_dtype: Any, device: Any):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, dtype=params_dtype, device=device))
        self.bias = nn.Parameter(torch.empty(outputs, dtype=params_dtype)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert Linear.rounding
        assert x.shape[0] % 16 == 0
        rounded = (quantise_tensor(t).dequantised().to(t) for t in (x, self.weight.data))
        return F.linear(*rounded, self.bias)


@contextmanager
def rounding(enabled: bool, **recipe: object) -> Iterator[None]:
    assert len(recipe) == 1
    Linear.rounding = enabled
    yield
    Linear.rounding = False


@contextmanager
def making(enabled: bool, recipe: object) -> Iterator[None]:
    yield


NEW = {"autocast": rounding, "quantized_model_init": making}
OLD = {"fp8_autocast": rounding, "fp8_model_init": making}


@pytest.fixture(params=[NEW, OLD], ids=["new names", "old names"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    te, recipe = (ModuleType(f"transformer_engine.{n}") for n in ("pytorch", "common.recipe"))
    vars(te).update(request.param, Linear=Linear)
    vars(recipe)["Float8CurrentScaling"] = object
    for module in (ModuleType("transformer_engine"), ModuleType("transformer_engine.common")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, te.__name__, te)
    monkeypatch.setitem(sys.modules, recipe.__name__, recipe)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    skip = shutil.ignore_patterns("*.pth", "google")
    return Path(shutil.copytree(GOLDEN / "tiny-liveact", tmp_path / "tiny", ignore=skip))


def test_its_errors_are_measured_and_layers_go_back(library: None, checkpoint: Path) -> None:
    def strict(path: Path) -> FP8Plan:
        return plan_fp8(read_config(path), edge_blocks=0, limit=0.04)

    adaptive = AdaptivePlan(checkpoint, strict, "te")
    options = Options(torch.float32, adaptive.plan, fp8_backend="te")
    transformer = build(checkpoint, options, device=CPU)
    layers = rounded_layers(transformer)
    assert set(layers) == set(adaptive.plan.names)
    assert all(isinstance(layer, TransformerEngineLinear) for layer in layers.values())
    subject = CheckpointSubject(checkpoint)
    subject.transformer = transformer
    errors: list[float] = []

    def first_chunk() -> None:
        found = verify_file(subject, ROLLOUT).comparisons
        errors.append(sum(comparison.error for comparison in found))

    adaptive.decide(transformer, first_chunk)
    assert 0 < len(adaptive.plan.names) < len(layers)
    assert set(rounded_layers(transformer)) == set(adaptive.plan.names)
    first_chunk()
    assert 1e-3 < errors[1] < errors[0]
    assert AdaptivePlan(checkpoint, strict, "te").decided
    assert not AdaptivePlan(checkpoint, strict).decided, "the other backend rounds in another way"


def test_without_fp8_the_backend_does_not_matter(checkpoint: Path) -> None:
    transformer = build(checkpoint, Options(torch.float32, fp8_backend="te"), device=CPU)
    assert rounded_layers(transformer) == {}


def test_its_weights_stay_on_the_gpu_and_that_is_said_first(
    library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = [torch.device("cuda", 0)]
    monkeypatch.setattr(placement, "choose_devices", lambda gpus, kind: cuda)
    model, size = resolve_model(str(GOLDEN / "tiny-liveact"), {}), Size(64, 64)
    settings = RenderSettings(precision="fp8", fp8_backend="te", offload="blocks")
    with pytest.raises(UsageError, match="blocks cannot be offloaded"):
        placement.place(model, settings, size)
    machine = Machine((3 * GIB,), None)
    monkeypatch.setattr(placement, "examine_machine", lambda: machine)
    settings = RenderSettings(precision="fp8", fp8_backend="te")
    assert placement.place(model, settings, size).layout.offload in ("none", "cache")
