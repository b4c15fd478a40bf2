"""The fused transformer is the plain one: whole roll-outs, precisions, and what is kept."""

from pathlib import Path

import pytest
import torch

from liveact_cli.core.errors import UsageError
from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.model.attention import attend_memory
from liveact_cli.model.memory import Storage
from liveact_cli.runtime.fp8 import plan_fp8, quantise
from liveact_cli.runtime.fp8_memory import FP8Storage
from liveact_cli.runtime.fuse import FusedAttend, fuse, unfuse
from liveact_cli.runtime.kernels import eager, resolve

GOLDEN = Path(__file__).parent.parent.parent / "golden"
ROLLOUTS = sorted(GOLDEN.glob("golden_rollout*.safetensors"))


def subject(dtype: torch.dtype = torch.float32, fp8: bool = False) -> CheckpointSubject:
    made = CheckpointSubject(GOLDEN / "tiny-liveact", dtype=dtype)
    if fp8:
        quantise(made.transformer, plan_fp8(made.transformer.config, edge_blocks=0))
    return made


@pytest.mark.parametrize("path", ROLLOUTS, ids=lambda path: path.stem)
def test_the_fused_path_reaches_the_recorded_numbers(path: Path) -> None:
    fused = subject()
    fuse(fused.transformer, eager)
    assert verify_file(fused, path).max_rel_error <= 1e-5


@pytest.mark.parametrize("fp8", [False, True], ids=["bfloat16", "e4m3"])
def test_low_precision_stays_as_near_as_the_plain_path(fp8: bool) -> None:
    plain, fused = subject(torch.bfloat16, fp8), subject(torch.bfloat16, fp8)
    fuse(fused.transformer, eager)
    ours, theirs = (verify_file(s, ROLLOUTS[0]).max_rel_error for s in (fused, plain))
    assert 1e-4 < ours < 1.3 * theirs


def test_another_attend_keeps_its_place() -> None:
    seen = []

    def attend(q, k, v, **more):
        seen.append(q.shape)
        return attend_memory(q, k, v, **more)

    fused = subject()
    fused.transformer.attend = attend
    fuse(fused.transformer, eager)
    assert fused.transformer.attend is attend
    assert verify_file(fused, ROLLOUTS[0]).max_rel_error <= 1e-5
    assert len(seen) == 5 * 3 * 2
    assert all(len(shape) == 4 for shape in seen)


def test_names_stay_and_unfusing_undoes_it() -> None:
    one = subject().transformer
    names = [name for name, _ in one.named_parameters()]
    fuse(one, eager)
    assert isinstance(one.attend, FusedAttend)
    assert [name for name, _ in one.named_parameters()] == names
    unfuse(one)
    assert one.attend is attend_memory
    assert all("forward" not in block.__dict__ for block in one.blocks)


@torch.inference_mode()
@pytest.mark.parametrize("storage", [Storage, FP8Storage])
def test_the_triton_path_end_to_end(fused, device, storage) -> None:
    """One block of the toy over three chunks of one token a frame."""
    results = []
    for kernels in (eager, fused):
        one = subject(fp8=device.type == "cpu").transformer.to(device)
        one.set_storage(storage())
        one.blocks = one.blocks[:1]
        fuse(one, kernels)
        results.append(_velocity(one, device))
    torch.testing.assert_close(results[1], results[0], rtol=2e-2, atol=2e-2)
    error = (results[1] - results[0]).norm() / results[0].norm()
    assert error < 5e-3


def _velocity(transformer, device: torch.device) -> torch.Tensor:
    from liveact_cli.core.geometry import MemoryPolicy

    g = torch.Generator().manual_seed(2)
    config, policy, size = transformer.config, MemoryPolicy(), (2, 2)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g).to(device)

    memory = transformer.new_memory(policy, size, [0])
    context = transformer.encode_context(
        noise(1, 4, config.text_dim), noise(1, 5, config.image_dim)
    )
    out = []
    for chunk in range(3):
        frames = policy.chunk_size(chunk)
        heard = frames - (chunk == 0)
        width = config.audio_layers * config.audio_channels
        audio = transformer.encode_audio(noise(1, 4 * heard + 4, 1, width))
        x, y = noise(1, config.out_dim, frames, *size), noise(1, config.y_dim, frames, *size)
        out.append(transformer(x, 900.0, context, audio, memory.bank(0), y))
    return torch.cat(out, 2)


def test_kernels_are_chosen_by_name() -> None:
    cpu = torch.device("cpu")
    assert resolve(cpu).name == "eager"
    assert resolve(cpu, "eager").name == "eager"
    with pytest.raises(UsageError, match="no kernels 'fast'"):
        resolve(cpu, "fast")
