"""What fails on a device is replaced by what is as right, and told once."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from liveact_cli.core.errors import UsageError
from liveact_cli.runtime import attention, fallbacks, fp8_numbers
from liveact_cli.runtime.compiled import compiler_works
from liveact_cli.runtime.fallbacks import Guarded
from liveact_cli.runtime.fp8_numbers import quantise_rows, scaled_matmul
from liveact_cli.runtime.kernels import eager, proofs, video_eager
from liveact_cli.runtime.kernels.proofs import Widths, proven

CPU = torch.device("cpu")
SMALL = Widths(CPU, dim=48, heads=2, hidden=64, channels=(8,))
EVERY = (proofs.PLAIN, proofs.ROUNDED_WEIGHTS, proofs.ROUNDED_MEMORY)


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    fallbacks.forget()
    yield
    fallbacks.forget()


def like(module: Any, **changes: Any) -> SimpleNamespace:
    """The same functions under another name, with some of them changed."""
    return SimpleNamespace(**{**vars(module), "name": "triton", **changes})


def test_a_guarded_function_is_replaced_for_good_and_told_once() -> None:
    calls: list[str] = []

    def fast(x: int) -> int:
        calls.append("fast")
        raise RuntimeError("no kernel image\nis available")

    guarded = Guarded(fast, lambda x: -x, "the fast way", "the slow one")
    assert [guarded(1), guarded(2)] == [-1, -2]
    assert calls == ["fast"]
    told = "the fast way cannot run here, the slow one instead: RuntimeError: no kernel image is "
    assert [str(each) for each in fallbacks.untold()] == [told + "available"]
    assert fallbacks.untold() == []
    assert fallbacks.taken() == [told + "available"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("all used"), UsageError("no", "do")])
def test_what_the_user_must_know_is_no_reason_to_fall_back(error: Exception) -> None:
    def fast() -> None:
        raise error

    with pytest.raises(type(error)):
        Guarded(fast, lambda: None, "this", "that")()
    assert fallbacks.taken() == []


def test_kernels_that_prove_themselves_stay() -> None:
    same = like(eager)
    assert proven(same, eager, SMALL, *EVERY) is same
    video = like(video_eager)
    assert proven(video, video_eager, SMALL, proofs.VIDEO) is video


@pytest.mark.parametrize("name", sorted({name for cases in EVERY for name in cases}))
def test_a_kernel_that_is_wrong_is_replaced_and_the_others_stay(name: str) -> None:
    def wrong(*arguments: Any, **options: Any) -> Any:
        made = getattr(eager, name)(*arguments, **options)
        if name == "compress":
            arguments[0].mul_(1.1)
            return None
        return tuple(part * 1.1 for part in made) if isinstance(made, tuple) else made * 1.1

    chosen = proven(like(eager, **{name: wrong}), eager, SMALL, *EVERY)
    assert getattr(chosen, name) is getattr(eager, name)
    assert chosen.name == "triton"
    (told,) = fallbacks.taken()
    assert told.startswith(f"the fused kernel {name} cannot run here, torch's own operations")


@pytest.mark.parametrize("name", sorted(proofs.VIDEO))
def test_a_video_kernel_that_does_not_run_is_replaced(name: str) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("CUDA error: invalid device function")

    chosen = proven(like(video_eager, **{name: broken}), video_eager, SMALL, proofs.VIDEO)
    assert getattr(chosen, name) is getattr(video_eager, name)
    assert "invalid device function" in fallbacks.taken()[0]


def test_the_real_kernels_prove_themselves() -> None:
    pytest.importorskip("triton", reason="Triton has no build for this system")
    from liveact_cli.runtime.kernels import fused, video_fused

    small = Widths(CPU, dim=16, heads=2, hidden=16, channels=(8,), dtype=torch.float32)
    assert proven(fused, eager, small, *EVERY) is fused, fallbacks.taken()
    assert proven(video_fused, video_eager, small, proofs.VIDEO) is video_fused


def test_products_of_fp8_rows_can_be_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = quantise_rows(torch.randn(5, 32)), quantise_rows(torch.randn(7, 32))
    bias = torch.randn(7)
    wide = fp8_numbers._widened(a, b, bias, torch.float32)
    torch.testing.assert_close(wide, scaled_matmul(a, b, bias, torch.float32))


def test_without_a_compiler_the_layers_run_as_they_are_written() -> None:
    assert compiler_works(CPU, backend="eager")
    assert not compiler_works(CPU, backend="no such compiler")
    assert fallbacks.taken()[0].startswith("torch's compiler cannot run here")


def test_torchs_own_choice_takes_over_from_an_attention_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_plan(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("No valid execution plans built.")

    monkeypatch.setitem(attention.KERNELS, "fp8-emulated", (no_plan, lambda device: None))
    kernel = attention.resolve("fp8-emulated", CPU, torch.float32).kernel
    q, k, v = (torch.randn(1, n, 2, 8) for n in (3, 5, 5))
    torch.testing.assert_close(kernel(q, k, v), attention.sdpa(q, k, v))
    assert "No valid execution plans" in fallbacks.taken()[0]


def test_on_a_gpu_cudnns_exact_kernel_comes_before_torchs_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def fails(name: str) -> Any:
        def kernel(*_: torch.Tensor) -> torch.Tensor:
            calls.append(name)
            raise RuntimeError(name)

        return kernel

    monkeypatch.setitem(attention.KERNELS, "flash", (fails("flash"), lambda device: None))
    monkeypatch.setattr(attention, "cudnn_first", fails("cudnn"))
    kernel = attention.resolve("flash", torch.device("cuda"), torch.bfloat16).kernel
    q, k, v = (torch.randn(1, n, 2, 8) for n in (3, 5, 5))
    for _ in range(2):
        torch.testing.assert_close(kernel(q, k, v), attention.sdpa(q, k, v))
    assert calls == ["flash", "cudnn"]
    assert [told.split(" instead: ")[0] for told in fallbacks.taken()] == [
        "the attention kernel flash cannot run here, the exact one of cuDNN",
        "the attention kernel cudnn cannot run here, torch's own choice",
    ]
