"""Fused kernels for what lies between the matrix products, and their eager twins.

`eager` says in torch's words what every kernel computes, `fused` computes it in one pass over
memory with Triton; both have the same functions. Tests compare them pair by pair: on a GPU as
compiled, elsewhere in Triton's interpreter.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor

from liveact_cli.core.errors import UsageError, WeightsError
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.memory import LayerMemory
from liveact_cli.model.rope import RopeTable
from liveact_cli.runtime.fallbacks import fall_back
from liveact_cli.runtime.fp8_memory import FP8LayerMemory
from liveact_cli.runtime.fp8_numbers import Quantised

_PROVEN: dict[Any, Any] = {}


class Kernels(Protocol):
    """The functions that both modules have; `eager` documents them."""

    name: str

    def residual_norm(
        self,
        x: Tensor,
        y: Tensor | None,
        gate: Tensor | None,
        mul: Tensor,
        add: Tensor,
        eps: float,
        *,
        out: torch.dtype | None,
        skip: int = 0,
        normalise: bool = True,
    ) -> tuple[Tensor, Tensor | Quantised]: ...

    def remember(
        self,
        qkv: Tensor,
        norm_q: Tensor,
        norm_k: Tensor,
        eps: float,
        memory: LayerMemory,
        rope: RopeTable,
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def remember_rounded(
        self,
        qkv: Tensor,
        norm_q: Tensor,
        norm_k: Tensor,
        eps: float,
        memory: FP8LayerMemory,
        rope: RopeTable,
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def rms_norm_pair(
        self, qkv: Tensor, norm_q: Tensor, norm_k: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]: ...

    def gelu(self, x: Tensor, *, out: torch.dtype | None) -> Tensor | Quantised: ...

    def quantise_rows(self, x: Tensor) -> Quantised: ...

    def compress(
        self, buffer: Tensor, weight: Tensor | None, policy: MemoryPolicy, size: int
    ) -> None: ...

    def token_mean(self, x: Tensor) -> Tensor: ...


def resolve(
    device: torch.device,
    name: str = "auto",
    *,
    rounded_weights: bool = True,
    rounded_memory: bool = True,
) -> Kernels:
    """Choose the kernels: Triton's on a GPU that has it, else the eager ones.

    On a GPU each of Triton's proves itself first (`proofs`), those for what is rounded only where
    something is; its eager twin replaces one that fails. Raises UsageError for a name that is none,
    WeightsError where Triton is asked for and missing.
    """
    from liveact_cli.runtime.kernels import eager

    fused = fused_module(device, name, "fused")
    if fused is None:
        return eager
    from liveact_cli.runtime.kernels import proofs

    cases: list[Mapping[str, Any]] = [proofs.PLAIN]
    cases += [proofs.ROUNDED_WEIGHTS] * rounded_weights + [proofs.ROUNDED_MEMORY] * rounded_memory
    return proven_on(device, fused, eager, cases)


def fused_module(device: torch.device, name: str, module: str) -> Any:
    """Return a module of Triton kernels, or None where the eager twins are to run."""
    if name not in ("auto", "triton", "eager"):
        raise UsageError(f"there are no kernels '{name}'", "choose auto, triton or eager")
    there = find_spec("triton") is not None
    if name == "triton" and not there:
        raise WeightsError("the package triton is not installed", "pip install 'liveact-cli[gpu]'")
    if name == "eager" or (name == "auto" and not (there and device.type == "cuda")):
        return None
    try:
        return import_module(f"{__name__}.{module}")
    except (ImportError, RuntimeError, OSError) as error:
        fall_back("Triton", "torch's own operations", error)
        return None


def proven_on(
    device: torch.device, fused: Any, eager: Any, cases: Sequence[Mapping[str, Any]]
) -> Any:
    """Prove kernels on a GPU, once; elsewhere they run in an interpreter, for tests."""
    if device.type != "cuda":
        return fused
    from liveact_cli.runtime.kernels.proofs import Widths, proven

    key = (device, fused.__name__, tuple(map(tuple, cases)))
    if key not in _PROVEN:
        _PROVEN[key] = proven(fused, eager, Widths(device), *cases)
    return _PROVEN[key]
