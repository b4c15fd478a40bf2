"""The memory in FP8: what rounding costs, and that a state goes on to the same bits."""

from pathlib import Path

import pytest
import torch

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.engine.container import read_container, write_container
from liveact_cli.engine.resume import blob_of, tensor_of
from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.model.memory import ANCHOR, ConvMemory, FoldWeights, Storage
from liveact_cli.runtime.fp8_memory import FP8LayerMemory, FP8Storage
from liveact_cli.runtime.fp8_numbers import E4M3
from liveact_cli.runtime.fuse import fuse
from liveact_cli.runtime.kernels import eager

GOLDEN = Path(__file__).parent.parent / "golden"
ROLLOUTS = sorted(GOLDEN.glob("golden_rollout*.safetensors"))
POLICY = MemoryPolicy()
LATENT_BOUND = 0.02
"""Largest error of a latent, relative to the largest latent, when only the memory is rounded."""


def memory_of(storage: Storage | None, fold: FoldWeights, size: int = 5) -> ConvMemory:
    return ConvMemory(
        POLICY, size, [fold], steps=[0], heads=2, head_dim=16, dtype=torch.float32,
        device=torch.device("cpu"), storage=storage,
    )  # fmt: skip


def chunks(size: int = 5, count: int = 6) -> list[torch.Tensor]:
    """Keys and values of several chunks; the two heads differ in size by a thousand."""
    g = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 1000.0]).view(1, 1, 1, 2, 1)
    return [
        scale * torch.randn(2, 1, POLICY.chunk_size(c) * size, 2, 16, generator=g)
        for c in range(count)
    ]


@pytest.fixture
def fold() -> FoldWeights:
    g = torch.Generator().manual_seed(2)
    return FoldWeights(*(torch.randn(2, POLICY.ratio, 2, 16, generator=g) / POLICY.ratio))


def test_only_the_past_is_rounded_and_each_head_by_itself(fold: FoldWeights) -> None:
    exact, rounded = memory_of(None, fold), memory_of(FP8Storage(), fold)
    for number, (k, v) in enumerate(chunks()):
        wanted = exact.bank(0).layer(0).append(k, v)
        found = rounded.bank(0).layer(0).append(k, v)
        for x, y, own in zip(found, wanted, (k, v), strict=True):
            assert torch.equal(x[:, -own.shape[1] :], own), "the chunk itself is as it is"
            past = slice(0, x.shape[1] - own.shape[1])
            for head in range(2):
                a, b = x[:, past, head], y[:, past, head]
                error = (a - b).norm() / b.norm().clamp_min(1e-9)
                assert error < 0.04, f"chunk {number}, head {head}: {error}"
    assert rounded.bank(0).layer(0).k.dtype == E4M3
    # 8 bits a number, 32 a token and head of 16 numbers; against 32 a number.
    assert rounded.nbytes == exact.nbytes * (16 + 4) // (16 * 4)


def test_a_state_goes_on_to_the_same_bits(fold: FoldWeights) -> None:
    memory, parts = memory_of(FP8Storage(), fold), chunks()
    for number, (k, v) in enumerate(parts):
        state = memory.state()
        other = memory_of(FP8Storage(), fold)
        other.load_state(state)
        wanted = memory.bank(0).layer(0).append(k, v)
        found = other.bank(0).layer(0).append(k, v)
        assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True)), number
        for name, value in memory.state(whole=True).items():
            assert torch.equal(value, other.state(whole=True)[name])
    assert {name for name in state if name.endswith(ANCHOR)} == {
        f"step0.layer0.{part}{ANCHOR}" for part in ("k", "v", "k.scale", "v.scale")
    }
    assert state["step0.layer0.k"].dtype == E4M3


def test_a_state_comes_back_from_the_disk(fold: FoldWeights, tmp_path: Path) -> None:
    memory = memory_of(FP8Storage(), fold)
    for k, v in chunks(count=3):
        memory.bank(0).layer(0).append(k, v)
    state = memory.state()
    blobs = {name: blob_of(value) for name, value in state.items()}
    write_container(tmp_path / "state", {}, blobs, lambda: False)
    read = read_container(tmp_path / "state").blobs
    for name, value in state.items():
        back = tensor_of(read[name])
        assert back.dtype == value.dtype
        assert torch.equal(back.view(torch.uint8), value.view(torch.uint8))


def test_a_cleared_memory_is_as_new(fold: FoldWeights) -> None:
    used, new = memory_of(FP8Storage(), fold), memory_of(FP8Storage(), fold)
    for k, v in chunks(count=3):
        used.bank(0).layer(0).append(k, v)
    used.clear()
    for k, v in chunks(count=3):
        results = (m.bank(0).layer(0).append(k, v) for m in (used, new))
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("path", ROLLOUTS, ids=lambda path: path.stem)
def test_a_roll_out_stays_within_two_per_cent(path: Path, fused: bool) -> None:
    subject = CheckpointSubject(GOLDEN / "tiny-liveact")
    if fused:
        fuse(subject.transformer, eager)
    subject.transformer.set_storage(FP8Storage())
    result = verify_file(subject, path)
    latents = [c.error for c in result.comparisons if c.name.endswith(".latent")]
    assert 1e-4 < max(latents) < LATENT_BOUND
    memory = subject.transformer.new_memory(POLICY, (4, 6), [0])
    assert isinstance(memory.bank(0).layer(0), FP8LayerMemory)
