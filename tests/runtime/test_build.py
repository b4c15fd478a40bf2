"""A transformer as it shall run: all that is applied, to a checkpoint or to random numbers."""

import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from liveact_cli.core.errors import UsageError, WeightsError
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.build import Options, build, build_random, follow_plan, offloaded
from liveact_cli.runtime.fp8 import FP8Plan, fp8_layers, plan_fp8
from liveact_cli.runtime.fuse import FusedBlock
from liveact_cli.runtime.loader import read_config
from liveact_cli.runtime.transformer_engine import padded

GOLDEN = Path(__file__).parent.parent / "golden"
ROLLOUT = GOLDEN / "golden_rollout.safetensors"
CPU = torch.device("cpu")
FP32 = torch.float32


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("checkpoint") / "tiny"
    skip = shutil.ignore_patterns("*.pth", "google")
    return Path(shutil.copytree(GOLDEN / "tiny-liveact", target, ignore=skip))


@pytest.fixture(scope="module")
def plan(checkpoint: Path) -> FP8Plan:
    return plan_fp8(read_config(checkpoint), edge_blocks=0)


def latent_error(checkpoint: Path, transformer: LiveActTransformer) -> float:
    subject = CheckpointSubject(checkpoint)
    subject.transformer = transformer
    result = verify_file(subject, ROLLOUT)
    return max(c.error for c in result.comparisons if c.name.endswith(".latent"))


def test_without_options_it_is_the_released_model(checkpoint: Path) -> None:
    exact = build(checkpoint, Options(FP32), device=CPU)
    assert latent_error(checkpoint, exact) < 1e-5
    assert exact.facts["kernels"] == "eager"
    assert exact.facts["attention"]["kernel"] == "sdpa"
    assert exact.facts["fp8"] is None


def test_everything_at_once(checkpoint: Path, plan: FP8Plan) -> None:
    options = Options(
        FP32, plan, fp8_memory=True, offload="all", kernels="eager", attention="fp8-emulated"
    )
    assert pickle.loads(pickle.dumps(options)) == options, "every rank is sent the same"
    transformer = build(checkpoint, options, device=CPU)
    assert set(fp8_layers(transformer)) == set(plan.names)
    assert offloaded(transformer) is not None
    error = latent_error(checkpoint, transformer)
    assert 1e-3 < error < 0.06
    assert transformer.facts["fp8"]["layers"] == len(plan.names)
    near = build(checkpoint, Options(FP32, plan, fp8_memory=True), device=CPU)
    assert latent_error(checkpoint, near) < 0.06


def test_layers_go_back_though_their_blocks_are_offloaded(checkpoint: Path, plan: FP8Plan) -> None:
    options = Options(FP32, plan, offload="blocks")
    transformer = build(checkpoint, options, device=CPU)
    rounded = latent_error(checkpoint, transformer)
    follow_plan(transformer, FP8Plan(()), checkpoint, CPU)
    assert offloaded(transformer) is not None
    assert rounded > 1e-3 > 1e-5 > latent_error(checkpoint, transformer)
    assert transformer.facts["fp8"]["layers"] == 0


@pytest.mark.parametrize("precision", ["exact", "fp8"])
def test_random_weights_run_at_the_same_size(checkpoint: Path, plan: FP8Plan, precision) -> None:
    fp8 = plan if precision == "fp8" else None
    options = Options(torch.bfloat16, fp8, fp8_memory=fp8 is not None, kernels="eager")
    config = read_config(checkpoint)
    made = build_random(config, options, device=CPU)
    loaded = build(checkpoint, options, device=CPU)
    ours, theirs = (
        {n: (p.shape, p.dtype) for n, p in m.named_parameters()} for m in (made, loaded)
    )
    assert ours == theirs
    memory = made.new_memory(MemoryPolicy(), (4, 6), [0])
    x, y = torch.randn(1, 16, 6, 4, 6), torch.randn(1, config.y_dim, 6, 4, 6)
    context = made.encode_context(
        torch.randn(1, 4, config.text_dim), torch.randn(1, 7, config.image_dim)
    )
    velocity = made(x, 1000.0, context, None, memory.bank(0), y)
    assert velocity.isfinite().all()
    assert 0.05 < float(velocity.std()) < 20


def test_what_cannot_be_is_said(checkpoint: Path, plan: FP8Plan) -> None:
    with pytest.raises(UsageError, match="no kernels 'fast'"):
        build(checkpoint, Options(FP32, kernels="fast"), device=CPU)
    with pytest.raises(UsageError, match="no attention kernel 'fast'"):
        build(checkpoint, Options(FP32, attention="fast"), device=CPU)
    te = Options(FP32, plan, offload="blocks", fp8_backend="te")
    with pytest.raises(UsageError, match="blocks cannot be offloaded"):
        build(checkpoint, te, device=CPU)


def test_fused_kernels_are_taken_when_they_are_asked_for(checkpoint: Path) -> None:
    pytest.importorskip("triton")
    transformer = build(checkpoint, Options(FP32, kernels="triton"), device=CPU)
    assert isinstance(transformer.blocks[0].forward, FusedBlock)
    assert transformer.facts["kernels"] == "triton"


def test_transformer_engine_is_asked_for_only_where_it_is(checkpoint: Path, plan: FP8Plan) -> None:
    assert [padded(torch.ones(m, 3)).shape[0] for m in (16, 17, 4680)] == [16, 32, 4688]
    assert float(padded(torch.ones(17, 3)).sum()) == 17 * 3
    if find_spec("transformer_engine") is None:
        with pytest.raises(WeightsError, match="Transformer Engine cannot be used: No module"):
            build(checkpoint, Options(FP32, plan, fp8_backend="te"), device=CPU)
