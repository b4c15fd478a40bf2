"""Attention kernels against float64, FP8 numerics included; which one is chosen, and why."""

import math
from pathlib import Path

import pytest
import torch

from liveact_cli.core.errors import DeviceError, UsageError
from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.runtime.attention import (
    KERNELS,
    FP8Places,
    attend_with,
    cudnn_first,
    resolve,
)
from liveact_cli.runtime.attention_fp8 import emulated, without_mean
from liveact_cli.runtime.fuse import fuse
from liveact_cli.runtime.kernels import eager

GOLDEN = Path(__file__).parent.parent / "golden"
CPU = torch.device("cpu")


def qkv(tokens: int = 300, window: int = 410, offset: float = 0.0) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values of two heads; `offset` moves all keys the same way."""
    g = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(1, n, 2, 16, generator=g) for n in (tokens, window, window))
    return q, k + offset * torch.randn(1, 1, 2, 16, generator=g), v


def exact(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    q, k, v = (x.double().transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1)
    return (weights @ v).transpose(1, 2)


def error(kernel, *inputs: torch.Tensor) -> float:
    wanted = exact(*inputs)
    return float((kernel(*inputs).double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("name", ["sdpa", "fp8-emulated"])
def test_kernels_against_float64(name: str) -> None:
    limit = {"sdpa": 1e-6, "fp8-emulated": 0.06}[name]
    resolved = resolve(name, CPU, torch.float32)
    assert error(resolved.kernel, *qkv()) < limit
    assert resolved.record() == {"kernel": name, "reason": "asked for"}


def test_torchs_kernels_in_our_order() -> None:
    assert error(cudnn_first, *qkv()) < 1e-6


def test_the_mean_of_the_keys_does_not_matter_but_for_rounding() -> None:
    q, k, v = qkv(offset=20.0)
    torch.testing.assert_close(exact(q, without_mean(k), v), exact(q, k, v))
    assert error(emulated, q, k, v) < 0.06, "as good as without an offset"

    def naive(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        from liveact_cli.runtime.fp8_numbers import quantise_tensor

        return exact(*(quantise_tensor(x).dequantised() for x in (q, k, v)))

    assert error(naive, q, k, v) > 3 * error(emulated, q, k, v)


def test_the_choice_is_made_once_and_says_why() -> None:
    chosen = resolve("auto", CPU, torch.float32)
    assert chosen.name == "sdpa"
    assert "cpu" in chosen.reason
    with pytest.raises(UsageError, match="no attention kernel 'fast'") as caught:
        resolve("fast", CPU, torch.float32)
    assert all(name in caught.value.hint for name in KERNELS)
    for name in ("cudnn", "flash", "fp8"):
        with pytest.raises(DeviceError, match="needs a CUDA device, not cpu"):
            resolve(name, CPU, torch.float32)


def rollout_error(places: FP8Places, fused: bool = False) -> float:
    subject = CheckpointSubject(GOLDEN / "tiny-liveact")
    chosen = resolve("fp8-emulated", CPU, torch.float32)
    attend_with(subject.transformer, chosen, places)
    if fused:
        fuse(subject.transformer, eager)
    result = verify_file(subject, GOLDEN / "golden_rollout.safetensors")
    return max(c.error for c in result.comparisons if c.name.endswith(".latent"))


def test_fp8_attention_is_switched_by_step_and_layer() -> None:
    everywhere = rollout_error(FP8Places())
    last_exact = rollout_error(FP8Places(exact_steps=frozenset({2})))
    assert 1e-4 < everywhere < 0.02
    assert 1e-5 < last_exact < everywhere
    assert 1e-5 < rollout_error(FP8Places(exact_layers=frozenset({0}))) < 0.02
    assert rollout_error(FP8Places(exact_layers=frozenset({0, 1}))) < 1e-5
    assert rollout_error(FP8Places(), fused=True) == pytest.approx(everywhere, rel=0.3)
