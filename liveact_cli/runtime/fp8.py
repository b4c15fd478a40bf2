"""Linear layers in FP8: a plan of names, applied from outside to a finished transformer.

Weights are e4m3 with a scale per output row, activations are rounded per token as they come. What
runs once per prompt, decides the residual stream or stands at either end of the network keeps its
precision: there is no time to win there and much to lose.

Shapes: M rows (tokens), K inputs, N outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.core.budget import FP8_EDGE_BLOCKS, FP8_MULTIPLE
from liveact_cli.model.block import Block
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.fp8_numbers import (
    E4M3,
    Quantised,
    quantise_rows,
    scaled_matmul,
)

CANDIDATES: Final = (
    "self_attn.qkv", "self_attn.o", "cross_attn.q", "cross_attn.o",
    "audio_attn.q", "audio_attn.o", "ffn.0", "ffn.2",
)  # fmt: skip
"""The linear layers of a block that every step runs over every token."""

ERROR_LIMIT: Final = 0.08
"""Largest relative error of a layer's output; e4m3 rows of Gaussian numbers give about 0.04."""

_SAMPLED_ROWS: Final = 32
_ALL: Final = slice(None)


@dataclass(frozen=True)
class FP8Plan:
    """Which linear layers run in FP8, and why others of the candidates do not."""

    names: tuple[str, ...]
    kept: Mapping[str, str] = field(default_factory=dict)
    limit: float = ERROR_LIMIT

    def without(self, errors: Mapping[str, float]) -> "FP8Plan":
        """Keep the precision of the layers whose measured error exceeds the limit."""
        worse = {name: error for name, error in errors.items() if not error <= self.limit}
        kept = dict(self.kept) | {
            name: f"error {error:.3f} above {self.limit:g}" for name, error in worse.items()
        }
        return FP8Plan(tuple(n for n in self.names if n not in worse), kept, self.limit)

    def record(self) -> dict[str, Any]:
        """Return what goes into a render's record."""
        return {"layers": len(self.names), "kept": dict(self.kept), "limit": self.limit}


def plan_fp8(
    config: TransformerConfig, edge_blocks: int = FP8_EDGE_BLOCKS, limit: float = ERROR_LIMIT
) -> FP8Plan:
    """Choose the layers by their place and their shape, before any weight is read."""
    with torch.device("meta"):
        block = Block(config)
    names, kept = [], {}
    for index in range(config.layers):
        edge = not edge_blocks <= index < config.layers - edge_blocks
        for candidate in CANDIDATES:
            name = f"blocks.{index}.{candidate}"
            linear = block.get_submodule(candidate)
            assert isinstance(linear, nn.Linear)
            if edge:
                kept[name] = "first or last block"
            elif linear.in_features % FP8_MULTIPLE or linear.out_features % FP8_MULTIPLE:
                kept[name] = f"{linear.out_features}x{linear.in_features}: no multiples of 16"
            else:
                names.append(name)
    return FP8Plan(tuple(names), kept, limit)


class RoundedLinear(nn.Module, ABC):
    """A linear layer in FP8, of whatever backend."""

    bias: nn.Parameter | None
    out_dtype: torch.dtype

    @property
    @abstractmethod
    def place(self) -> torch.device:
        """Where its weights lie."""

    @abstractmethod
    def product(self, x_MK: Tensor) -> Tensor:
        """Return the rounded product of rows, without the bias."""


class FP8Linear(RoundedLinear):
    """A linear layer whose weights are e4m3 rows; takes bfloat16 or what is already quantised."""

    def __init__(self, weight: Quantised, bias: Tensor | None, out_dtype: torch.dtype) -> None:
        """Take weights `[N, K]` with scales `[N, 1]`; outputs have `out_dtype`."""
        super().__init__()
        self.weight = nn.Parameter(weight.values, requires_grad=False)
        self.scale = nn.Parameter(weight.scale, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.out_dtype = out_dtype

    @classmethod
    def of(cls, linear: nn.Linear) -> "FP8Linear":
        """Round a finished layer."""
        return cls(quantise_rows(linear.weight.data), linear.bias, linear.weight.dtype)

    @classmethod
    def empty(cls, linear: nn.Linear, out_dtype: torch.dtype) -> "FP8Linear":
        """Stand in for a layer on the meta device until its tensors are placed."""
        weight = linear.weight
        scale = torch.empty(weight.shape[0], 1, device=weight.device)
        return cls(Quantised(torch.empty_like(weight, dtype=E4M3), scale), linear.bias, out_dtype)

    @property
    def place(self) -> torch.device:
        """Where its weights lie."""
        return self.weight.device

    def product(self, x_MK: Tensor) -> Tensor:
        """Return the rounded product of rows, without the bias."""
        # Offloaded weights lie elsewhere at this moment.
        weight = Quantised(self.weight.to(x_MK.device), self.scale.to(x_MK.device))
        return scaled_matmul(quantise_rows(x_MK), weight, None, self.out_dtype)

    def forward(self, x: Tensor | Quantised, part: slice = _ALL) -> Tensor:
        """`[..., K]` -> `[..., N]`, or only a `part` of the outputs."""
        rows = x if isinstance(x, Quantised) else quantise_rows(x)
        flat = Quantised(rows.values.flatten(0, -2), rows.scale.flatten(0, -2))
        weight = Quantised(self.weight[part], self.scale[part])
        bias = None if self.bias is None else self.bias[part]
        out = scaled_matmul(flat, weight, bias, self.out_dtype)
        return torch.unflatten(out, 0, rows.values.shape[:-1])


def fp8_layers(transformer: nn.Module) -> dict[str, FP8Linear]:
    """Return the layers of a transformer that run in FP8, by name."""
    return {n: m for n, m in transformer.named_modules() if isinstance(m, FP8Linear)}


def rounded_layers(transformer: nn.Module) -> dict[str, RoundedLinear]:
    """Return the same of every backend."""
    return {n: m for n, m in transformer.named_modules() if isinstance(m, RoundedLinear)}


def quantise(transformer: LiveActTransformer, plan: FP8Plan) -> None:
    """Swap the planned layers of a loaded transformer."""
    for name in plan.names:
        linear = transformer.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        transformer.set_submodule(name, FP8Linear.of(linear))


def measured_errors(
    transformer: LiveActTransformer,
    run: Callable[[], object],
    original: Callable[[str], Tensor],
) -> dict[str, float]:
    """Return each FP8 layer's relative output error over what `run` sends through it.

    `run` decodes a first chunk with a memory of its own. `original` returns a layer's weight as
    it was, asked for one layer at a time, so the model is never whole at its old precision.
    """
    layers = rounded_layers(transformer)
    inputs: dict[str, list[Tensor]] = {name: [] for name in layers}
    hooks = [
        layer.register_forward_pre_hook(_recorder(inputs[name])) for name, layer in layers.items()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    with torch.inference_mode():
        return {name: _error(layers[name], inputs[name], original(name)) for name in layers}


def keep_precision(
    transformer: LiveActTransformer, plan: FP8Plan, original: Callable[[str], Tensor]
) -> None:
    """Give the FP8 layers that `plan` no longer names their old weights back."""
    for name, layer in rounded_layers(transformer).items():
        if name in plan.names:
            continue
        weight = original(name).to(layer.place, layer.out_dtype)
        linear = nn.Linear(weight.shape[1], weight.shape[0], layer.bias is not None, device="meta")
        linear.weight = nn.Parameter(weight, requires_grad=False)
        if layer.bias is not None:
            linear.bias = layer.bias
        transformer.set_submodule(name, linear)


def _recorder(kept: list[Tensor]) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def record(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        (x,) = arguments
        rows = (x.dequantised() if isinstance(x, Quantised) else x).flatten(0, -2)
        kept.append(rows[:: max(1, len(rows) // _SAMPLED_ROWS)].clone())

    return record


def _error(layer: RoundedLinear, inputs: list[Tensor], weight: Tensor) -> float:
    """Relative to the same layer at its old precision, its bias left out of the comparison."""
    if not inputs:
        return 0.0
    x = torch.cat([rows.float() for rows in inputs])
    wanted = F.linear(x, weight.to(x))
    error = layer.product(x).float() - wanted
    return float(error.norm() / wanted.norm().clamp_min(torch.finfo(torch.float32).tiny))
