"""Every fused kernel proves itself on the device that it shall run on, before it is used.

It computes a few rows as wide as the released model's and is compared with its eager twin. One that
does not compile, does not run or gives other numbers is replaced by the twin; the others stay.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import torch
from torch import Tensor

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.memory import FoldWeights, LayerMemory, Window
from liveact_cli.model.rope import rope_table
from liveact_cli.runtime.fallbacks import fall_back
from liveact_cli.runtime.fp8_memory import FP8LayerMemory
from liveact_cli.runtime.fp8_numbers import Quantised

TOLERANCE: Final = 0.02
"""Largest relative error (of norms) of a kernel in bfloat16; what is wrong is far beyond it."""

Results = Iterable[Tensor | Quantised | None]
Case = Callable[[Any, "Widths"], Results]


@dataclass(frozen=True)
class Widths:
    """The sizes of the rows (by default those of the released model), so that what is compiled for
    the proof is what the model runs."""

    device: torch.device
    dim: int = 5120
    heads: int = 40
    hidden: int = 13824
    channels: tuple[int, ...] = (96, 192, 384)
    dtype: torch.dtype = torch.bfloat16

    def noise(self, *shape: int) -> Tensor:
        """Gaussian numbers in the precision of the arithmetic."""
        return torch.randn(shape, device=self.device).to(self.dtype)

    def wide(self, *shape: int) -> Tensor:
        """Gaussian numbers in float32."""
        return torch.randn(shape, device=self.device)


def _residual_norm(kernels: Any, w: Widths, out: torch.dtype | None) -> Results:
    x, y = w.wide(1, 3, w.dim), w.noise(1, 3, w.dim)
    gate, mul, add = (w.wide(1, 1, w.dim) for _ in range(3))
    yield from kernels.residual_norm(x, y, gate, mul, add, 1e-6, out=out)
    yield from kernels.residual_norm(x, y[:, 1:], None, mul[0, 0], add[0, 0], 1e-6, out=out, skip=1)
    yield from kernels.residual_norm(x, None, None, mul, add, 1e-6, out=out)


def _remember(kernels: Any, w: Widths, name: str) -> Results:
    policy, head = MemoryPolicy(), w.dim // w.heads
    fold = w.noise(policy.ratio, w.heads, head)
    kind = FP8LayerMemory if name == "remember_rounded" else LayerMemory
    folds = FoldWeights(fold, fold)
    window = Window(policy, 1, folds, w.heads, head, w.dtype, w.device)
    memory: Any = kind.empty(window)
    rope = rope_table(head, policy.window, 1, 1).to(w.device)
    norms = w.noise(w.dim), w.noise(w.dim)
    for chunk in range(3):
        qkv = w.noise(1, policy.chunk_size(chunk), 3 * w.dim)
        made = getattr(kernels, name)(qkv, *norms, 1e-6, memory, rope)
        yield from (part.clone() for part in made)
    yield from memory.filled_part()


def _compress(kernels: Any, w: Widths) -> Results:
    policy, head = MemoryPolicy(), w.dim // w.heads
    for weight in (None, w.noise(policy.ratio, w.heads, head)):
        buffer = w.noise(1, policy.window, w.heads, head)
        kernels.compress(buffer, weight, policy, 1)
        yield buffer


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d)


def _prepare(kernels: Any, w: Widths) -> Results:
    for width in w.channels:
        y, skip, past = (_last(w.noise(1, width, 2, 3, 4)) for _ in range(3))
        gamma = w.wide(width)
        yield from kernels.prepare(y, gamma, skip, gamma, past, 2, True)
        yield from kernels.prepare(y, gamma, None, gamma, None, 2, False)
        yield from kernels.prepare(y, None, None, None, past, 2, False)


def _enlarge(kernels: Any, w: Widths) -> Results:
    for width in w.channels:
        y, skip = (_last(w.noise(1, width, 2, 3, 4)) for _ in range(2))
        for doubled in (False, True):
            yield kernels.enlarge(y, w.wide(width), skip, doubled)


PLAIN: Final[Mapping[str, Case]] = {
    "residual_norm": lambda k, w: _residual_norm(k, w, w.dtype),
    "remember": lambda k, w: _remember(k, w, "remember"),
    "rms_norm_pair": lambda k, w: k.rms_norm_pair(
        w.noise(1, 3, 3 * w.dim), w.noise(w.dim), w.noise(w.dim), 1e-6
    ),
    "gelu": lambda k, w: [k.gelu(w.noise(1, 3, w.hidden), out=w.dtype)],
    "compress": _compress,
    "token_mean": lambda k, w: [k.token_mean(w.noise(1, 300, w.heads, w.dim // w.heads))],
}
"""What every model runs between its matrix products."""
ROUNDED_WEIGHTS: Final[Mapping[str, Case]] = {
    "residual_norm": lambda k, w: _residual_norm(k, w, None),
    "gelu": lambda k, w: [k.gelu(w.noise(1, 3, w.hidden), out=None)],
    "quantise_rows": lambda k, w: [k.quantise_rows(w.noise(1, 3, w.dim))],
}
"""What layers in FP8 need besides."""
ROUNDED_MEMORY: Final[Mapping[str, Case]] = {
    "remember_rounded": lambda k, w: _remember(k, w, "remember_rounded"),
}
"""What a memory in FP8 needs besides."""
VIDEO: Final[Mapping[str, Case]] = {"prepare": _prepare, "enlarge": _enlarge}
"""What the video decoder runs between its convolutions."""


@torch.inference_mode()
def proven(fused: Any, eager: Any, widths: Widths, *cases: Mapping[str, Case]) -> Any:
    """Return `fused`, or the same with kernels of `eager` in the place of those that fail."""
    failed: set[str] = set()
    for case_of in cases:
        for name, case in case_of.items():
            if name in failed:
                continue
            try:
                _compare(_run(case, fused, widths), _run(case, eager, widths))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # noqa: BLE001  (compilers and drivers have many kinds)
                fall_back(f"the fused kernel {name}", "torch's own operations", error)
                failed.add(name)
    if not failed:
        return fused
    functions = {name: getattr(fused, name) for name in dir(fused) if hasattr(eager, name)}
    return SimpleNamespace(**functions | {name: getattr(eager, name) for name in failed})


def _run(case: Case, kernels: Any, widths: Widths) -> list[Tensor]:
    devices = [widths.device] if widths.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        made = list(case(kernels, widths))
    found: list[Tensor] = []
    for each in made:
        if isinstance(each, Quantised):
            found.append(each.dequantised())
        elif each is not None:
            found.append(each.float())
    return found


def _compare(ours: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(ours, wanted, strict=True):
        if one.shape != other.shape:
            raise ValueError(f"it gives {list(one.shape)} instead of {list(other.shape)}")
        error = float((one - other).norm() / other.norm().clamp_min(1e-12))
        if not error <= TOLERANCE:
            raise ValueError(f"its numbers are wrong by {error:.2g}")
