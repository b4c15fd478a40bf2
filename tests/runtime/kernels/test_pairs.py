"""Every fused kernel against its eager twin."""

import pytest
import torch

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.memory import FoldWeights, LayerMemory, Window
from liveact_cli.model.rope import rope_table
from liveact_cli.runtime.fp8_memory import FP8LayerMemory
from liveact_cli.runtime.fp8_numbers import Quantised
from liveact_cli.runtime.kernels import eager

DIM, HEADS, HEAD = 48, 2, 24
POLICY = MemoryPolicy()
SIZE = 2
BF16, FP32 = torch.bfloat16, torch.float32


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(5)


def same(ours, wanted, dtype: torch.dtype = FP32) -> None:
    """Equal but for the order of float32 additions; rounded values may fall to a neighbour."""
    if isinstance(wanted, Quantised):
        torch.testing.assert_close(ours.scale, wanted.scale, rtol=1e-5, atol=0)
        error = (ours.dequantised() - wanted.dequantised()).abs()
        assert (error > 1e-5 * wanted.scale * 448).float().mean() < 0.02
        assert (error <= wanted.dequantised().abs() / 7 + wanted.scale / 256).all()
        return
    assert ours.shape == wanted.shape
    assert ours.dtype == wanted.dtype
    # The interpreter cuts numbers off where the hardware rounds them to bfloat16.
    tolerance = 1e-5 if dtype == FP32 else 4e-2
    torch.testing.assert_close(ours.float(), wanted.float(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("out", [FP32, BF16, None], ids=["float32", "bfloat16", "e4m3"])
@pytest.mark.parametrize("case", ["modulated", "gated", "plain", "late", "identity"])
def test_residual_norm(fused, device, out, case) -> None:
    batch, tokens = 2, 7
    x = torch.randn(batch, tokens, DIM, device=device)
    skip = 3 if case == "late" else 0
    y = torch.randn(batch, tokens - skip, DIM, device=device).bfloat16()
    gate = torch.randn(batch, 1, DIM, device=device) if case == "gated" else None
    shape = (DIM,) if case in ("plain", "late") else (batch, 1, DIM)
    mul, add = torch.randn(shape, device=device), torch.randn(shape, device=device)
    more = {"out": out, "skip": skip, "normalise": case != "identity"}
    given = (x, None if case == "modulated" else y, gate, mul, add, 1e-6)
    ours, wanted = fused.residual_norm(*given, **more), eager.residual_norm(*given, **more)
    same(ours[0], wanted[0])
    same(ours[1], wanted[1], out or FP32)


def layer(device: torch.device, dtype: torch.dtype) -> LayerMemory:
    weight = torch.randn(POLICY.ratio, HEADS, HEAD, device=device).to(dtype)
    k, v = (torch.zeros(1, POLICY.window * SIZE, HEADS, HEAD, device=device, dtype=dtype)
            for _ in range(2))  # fmt: skip
    return LayerMemory(POLICY, SIZE, FoldWeights(weight, None), k, v)


@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_remember_over_three_chunks(fused, device, dtype) -> None:
    ours, wanted = layer(device, dtype), layer(device, dtype)
    wanted.fold = ours.fold
    rope = rope_table(HEAD, POLICY.window, 1, SIZE).to(device)
    norms = [torch.rand(DIM, device=device).to(dtype) + 0.5 for _ in range(2)]
    for chunk in range(3):
        tokens = POLICY.chunk_size(chunk) * SIZE
        qkv = torch.randn(1, tokens, 3 * DIM, device=device).to(dtype)
        pairs = zip(
            fused.remember(qkv, *norms, 1e-6, ours, rope),
            eager.remember(qkv, *norms, 1e-6, wanted, rope),
            strict=True,
        )
        for one, other in pairs:
            same(one, other, dtype)
        same(ours.k, wanted.k, dtype)
        same(ours.v, wanted.v, dtype)


def rounded_layer(device: torch.device, dtype: torch.dtype) -> FP8LayerMemory:
    weight = torch.randn(POLICY.ratio, HEADS, HEAD, device=device).to(dtype)
    fold = FoldWeights(weight, None)
    return FP8LayerMemory.empty(Window(POLICY, SIZE, fold, HEADS, HEAD, dtype, device))


@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_remember_rounded_over_three_chunks(fused, device, dtype) -> None:
    """Each chunk begins with the same memory: a number that rounds the other way stays one."""
    ours, wanted = rounded_layer(device, dtype), rounded_layer(device, dtype)
    wanted.fold = ours.fold
    rope = rope_table(HEAD, POLICY.window, 1, SIZE).to(device)
    norms = [torch.rand(DIM, device=device).to(dtype) + 0.5 for _ in range(2)]
    for chunk in range(3):
        tokens = POLICY.chunk_size(chunk) * SIZE
        qkv = torch.randn(1, tokens, 3 * DIM, device=device).to(dtype)
        pairs = zip(
            fused.remember_rounded(qkv, *norms, 1e-6, ours, rope),
            eager.remember_rounded(qkv, *norms, 1e-6, wanted, rope),
            strict=True,
        )
        for one, other in pairs:
            same(one, other, dtype)
        if dtype == FP32:
            for name in ("k", "v"):
                rows = [
                    Quantised(m.buffers()[name], m.buffers()[f"{name}.scale"])
                    for m in (ours, wanted)
                ]
                same(*rows)
        for name, buffer in wanted.buffers().items():
            ours.buffers()[name].copy_(buffer)


def test_rms_norm_pair(fused, device) -> None:
    qkv = torch.randn(2, 7, 3 * DIM, device=device)
    norms = [torch.rand(DIM, device=device) for _ in range(2)]
    for one, other in zip(
        fused.rms_norm_pair(qkv, *norms, 1e-6),
        eager.rms_norm_pair(qkv, *norms, 1e-6),
        strict=True,
    ):
        same(one, other)


@pytest.mark.parametrize("out", [FP32, BF16, None], ids=["float32", "bfloat16", "e4m3"])
def test_gelu(fused, device, out) -> None:
    x = 3 * torch.randn(2, 5, 40, device=device)
    same(fused.gelu(x, out=out), eager.gelu(x, out=out), out or FP32)


def test_quantise_rows_gives_the_same_bits(fused, device) -> None:
    x = torch.randn(4, 6, 50, device=device) * torch.logspace(-5, 5, 6, device=device)[:, None]
    x[0, 0] = 0
    ours, wanted = fused.quantise_rows(x), eager.quantise_rows(x)
    assert torch.equal(ours.scale, wanted.scale)
    assert torch.equal(ours.values.float(), wanted.values.float())


@pytest.mark.parametrize("size", [1, 5, 40])
@pytest.mark.parametrize("learned", [True, False])
def test_compress(fused, device, size, learned) -> None:
    weight = torch.randn(POLICY.ratio, HEADS, HEAD, device=device) if learned else None
    ours = torch.randn(1, POLICY.window * size, HEADS, HEAD, device=device)
    wanted = ours.clone()
    fused.compress(ours, weight, POLICY, size)
    eager.compress(wanted, weight, POLICY, size)
    same(ours, wanted)


@pytest.mark.parametrize("tokens", [3, 128, 300])
def test_token_mean(fused, device, tokens) -> None:
    x = torch.randn(2, tokens, HEADS, HEAD, device=device) + 5
    same(fused.token_mean(x), eager.token_mean(x))
