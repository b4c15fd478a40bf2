"""Eight-bit floating point: rounding rows to e4m3, and multiplying what was rounded.

Scales are those that multiply back (`value = e4m3 * scale`), one float32 per row. On a CPU the
product is computed in float32 from the very same e4m3 values, so that what a GPU will compute can
be tested without one; only the order of the additions differs.

Shapes: M rows (tokens), K inputs, N outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from liveact_cli.core.errors import DeviceError
from liveact_cli.runtime.devices import FP8_CAPABILITY
from liveact_cli.runtime.fallbacks import fall_back

E4M3 = torch.float8_e4m3fn
E4M3_MAX = torch.finfo(E4M3).max
"""448: 1.75 times 2 to the 8th."""
_PRODUCT_ERROR = 0.02
"""Above what rounding to bfloat16 explains."""


class Quantised(NamedTuple):
    """e4m3 values `[..., K]` and what multiplies them back, float32 `[..., 1]`."""

    values: Tensor
    scale: Tensor

    def dequantised(self) -> Tensor:
        """Return the numbers that the values stand for, in float32."""
        return self.values.float() * self.scale


def quantise_rows(x: Tensor) -> Quantised:
    """Round the last axis to e4m3 with a scale per row that maps its largest value to 448."""
    x = x.float()
    return _with_scale(x, _scale(x.abs().amax(-1, keepdim=True)))


def quantise_tensor(x: Tensor) -> Quantised:
    """Round all of `x` to e4m3 with one scale; `scale` has one value and broadcasts."""
    x = x.float()
    return _with_scale(x, _scale(x.abs().amax()).reshape([1] * x.dim()))


def scaled_matmul(
    a: Quantised, b: Quantised, bias: Tensor | None, out_dtype: torch.dtype
) -> Tensor:
    """Return `a @ b.T + bias` for rows `a` `[M, K]` and `b` `[N, K]`, each with its own scale."""
    if a.values.device.type != "cuda":
        product = a.values.float() @ b.values.float().t() * a.scale * b.scale.t()
        return (product if bias is None else product + bias.float()).to(out_dtype)
    if _WITHOUT and a.values.device in _WITHOUT:
        return _widened(a, b, bias, out_dtype)
    return _tensor_cores(a, b, bias, out_dtype)


_TRIED: set[torch.device] = set()
_WITHOUT: set[torch.device] = set()
"""GPUs on which the library's product of e4m3 rows does not run."""


def _tensor_cores(
    a: Quantised, b: Quantised, bias: Tensor | None, out_dtype: torch.dtype
) -> Tensor:
    return torch._scaled_mm(
        a.values,
        b.values.t(),  # the library wants the second matrix column by column: a view is
        a.scale,
        b.scale.t(),
        bias=bias,
        out_dtype=out_dtype,
        use_fast_accum=True,
    )


def _widened(a: Quantised, b: Quantised, bias: Tensor | None, out_dtype: torch.dtype) -> Tensor:
    """Multiply the same e4m3 values in a precision that holds them exactly."""
    product = (a.values.to(out_dtype) @ b.values.to(out_dtype).t()).float() * a.scale * b.scale.t()
    return (product if bias is None else product + bias.float()).to(out_dtype)


def prove_products(device: torch.device) -> None:
    """Multiply a few rows on a GPU; where that fails, products are widened there from now on."""
    if device.type != "cuda" or device in _TRIED:
        return
    _TRIED.add(device)
    a, b = (quantise_rows(torch.randn(32, 64, device=device)) for _ in range(2))
    bias = torch.randn(32, device=device).bfloat16()
    try:
        ours = _tensor_cores(a, b, bias, torch.bfloat16).float()
        wanted = _widened(a, b, bias, torch.bfloat16).float()
        if not float((ours - wanted).norm() / wanted.norm()) < _PRODUCT_ERROR:
            raise RuntimeError("its numbers are wrong")
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (libraries have many kinds of errors)
        fall_back("the product of FP8 rows", "bfloat16 products of the same numbers", error)
        _WITHOUT.add(a.values.device)


def check_device(device: torch.device) -> None:
    """Raise DeviceError where a GPU has no e4m3 arithmetic; a CPU emulates it.

    On one that has it the library's product is tried (`prove_products`).
    """
    if device.type != "cuda":
        return
    capability = torch.cuda.get_device_capability(device)
    if capability < FP8_CAPABILITY:
        raise DeviceError(
            f"{torch.cuda.get_device_name(device)} (compute capability "
            f"{capability[0]}.{capability[1]}) has no FP8 arithmetic; it begins at 8.9",
            "--precision bf16 runs on it",
        )
    prove_products(device)


def _scale(largest: Tensor) -> Tensor:
    # A row of zeros keeps scale 1: zero over zero would be no number.
    return torch.where(largest > 0, largest / E4M3_MAX, 1.0)


def _with_scale(x: Tensor, scale: Tensor) -> Quantised:
    # Casting saturates on some devices and gives NaN on others: clamp, so that all agree.
    return Quantised((x / scale).clamp(-E4M3_MAX, E4M3_MAX).to(E4M3), scale)
