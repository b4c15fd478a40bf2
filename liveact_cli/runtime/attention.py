"""Which attention kernel runs: resolved once, recorded, replaceable by name.

Every kernel takes and gives `[B, tokens, N, H]`. torch's own choice among its kernels is never
relied on: on Hopper its first one runs at half the speed of cuDNN's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from liveact_cli.core.errors import DeviceError, UsageError, WeightsError
from liveact_cli.model.attention import Kernel, sdpa
from liveact_cli.model.memory import LayerMemory
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.attention_fp8 import cudnn_fp8, emulated
from liveact_cli.runtime.fallbacks import Guarded
from liveact_cli.runtime.fp8_numbers import check_device

AUTO: Final = "auto"
_CUDNN_ORDER: Final = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
_HALF: Final = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Resolved:
    """The chosen kernel, its name, and why it is that one."""

    name: str
    kernel: Kernel
    reason: str

    def record(self) -> dict[str, str]:
        """Return what goes into a render's record."""
        return {"kernel": self.name, "reason": self.reason}


def cudnn_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with torch's scaled dot product, cuDNN's kernel before the others."""
    with sdpa_kernel(_CUDNN_ORDER, set_priority=True):
        return sdpa(q, k, v)


def flash_interface(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with FlashAttention 3, where its package is installed."""
    out = import_module("flash_attn_interface").flash_attn_func(q, k, v)
    return out[0] if isinstance(out, tuple) else out


def resolve(name: str, device: torch.device, dtype: torch.dtype) -> Resolved:
    """Choose a kernel by name, or the fastest one there is for `auto`.

    Raises UsageError for a name that is none, DeviceError or WeightsError for a kernel that this
    machine cannot run.
    """
    if name != AUTO:
        if name not in KERNELS:
            raise UsageError(
                f"there is no attention kernel '{name}'",
                f"choose {AUTO}, {', '.join(KERNELS)}",
            )
        kernel, check = KERNELS[name]
        check(device)
        return Resolved(name, _guarded(name, kernel, device), "asked for")
    if device.type != "cuda":
        return Resolved("sdpa", sdpa, f"the only exact one on {device.type}")
    if dtype in _HALF:
        reason = "the fastest exact one in torch on this GPU"
        return Resolved("cudnn", _guarded("cudnn", cudnn_first, device), reason)
    return Resolved("sdpa", sdpa, f"cuDNN has none for {dtype}".replace("torch.", ""))


def _guarded(name: str, kernel: Kernel, device: torch.device) -> Kernel:
    """Let others take over from a kernel that fails at some shape on some GPU: cuDNN's exact one
    there, and torch's own choice behind it."""
    if kernel is sdpa:
        return kernel
    slow: Kernel = sdpa
    instead = "torch's own choice"
    if device.type == "cuda" and name != "cudnn":
        slow, instead = _guarded("cudnn", cudnn_first, device), "the exact one of cuDNN"
    return Guarded(kernel, slow, f"the attention kernel {name}", instead)


def _anywhere(device: torch.device) -> None:
    """Nothing to check."""


def _on_cuda(device: torch.device) -> None:
    if device.type != "cuda":
        raise DeviceError(
            f"this attention kernel needs a CUDA device, not {device.type}", "use sdpa there"
        )


def _needs_flash(device: torch.device) -> None:
    _on_cuda(device)
    if find_spec("flash_attn_interface") is None:
        raise WeightsError(
            "the package flash_attn_interface (FlashAttention 3) is not installed",
            "PyTorch's wheel index has it as flash_attn_3",
        )


def _needs_front_end(device: torch.device) -> None:
    _on_cuda(device)
    check_device(device)
    if find_spec("cudnn") is None:
        raise WeightsError(
            "the package nvidia-cudnn-frontend is not installed", "pip install 'liveact-cli[gpu]'"
        )


KERNELS: Final[Mapping[str, tuple[Kernel, Callable[[torch.device], None]]]] = {
    "sdpa": (sdpa, _anywhere),
    "cudnn": (cudnn_first, _on_cuda),
    "flash": (flash_interface, _needs_flash),
    "fp8": (cudnn_fp8, _needs_front_end),
    "fp8-emulated": (emulated, _anywhere),
}

ROUNDED: Final = frozenset({"fp8", "fp8-emulated"})
"""Kernels that are not exact; never chosen by themselves."""


@dataclass(frozen=True)
class FP8Places:
    """Where attention runs in FP8: in all layers but `exact_layers`, at all steps but
    `exact_steps`."""

    exact_steps: frozenset[int] = frozenset()
    exact_layers: frozenset[int] = frozenset()

    def __contains__(self, memory: object) -> bool:
        """Whether a layer's memory lies in an FP8 place."""
        return (
            isinstance(memory, LayerMemory)
            and memory.step not in self.exact_steps
            and memory.layer not in self.exact_layers
        )


@dataclass(frozen=True)
class PlacedKernel:
    """Chooses the self-attention's kernel by place (a `LiveActTransformer.kernel_at`)."""

    fp8: Kernel
    exact: Kernel
    places: FP8Places = field(default_factory=FP8Places)

    def __call__(self, memory: LayerMemory) -> Kernel:
        """Return the FP8 kernel at its places, the exact one elsewhere."""
        return self.fp8 if memory in self.places else self.exact


def attend_with(
    transformer: LiveActTransformer, chosen: Resolved, places: FP8Places | None = None
) -> None:
    """Use a kernel in a finished transformer.

    An FP8 kernel serves the self-attention at `places` only (by default everywhere); the context
    and the sound are short, so they stay exact.
    """
    if chosen.name not in ROUNDED:
        transformer.set_kernel(chosen.kernel)
        return
    exact = resolve(AUTO, transformer.device, transformer.dtype).kernel
    transformer.set_kernel(exact)
    placed = PlacedKernel(chosen.kernel, exact, places or FP8Places())
    transformer.kernel_at = placed  # type: ignore[method-assign]
