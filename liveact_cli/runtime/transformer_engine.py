"""FP8 linear layers through NVIDIA's Transformer Engine, a second backend where it is installed.

Its weights are rounded when a layer is made; activations with the scale of the moment. Its matrix
products want both sides to be multiples of 16, so rows are padded; what is padded is cut off again.

Shapes: M rows (tokens), K inputs, N outputs.
"""

from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.core.budget import FP8_MULTIPLE
from liveact_cli.core.errors import WeightsError
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.fp8 import FP8Plan, RoundedLinear


def transformer_engine() -> Any:
    """Return the library; raises WeightsError where it is missing or its extension does not load.

    Importing it loads compiled code at once, so nothing imports it before it is asked for.
    """
    try:
        return import_module("transformer_engine.pytorch")
    except (ImportError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"Transformer Engine cannot be used: {str(error).splitlines()[0]}",
            "pip install 'liveact-cli[te]' (it needs a CUDA toolchain); without it FP8 uses torch",
        ) from error


def padded(x_MK: Tensor) -> Tensor:
    """Add rows of zeros up to a multiple of 16."""
    return F.pad(x_MK, (0, 0, 0, -x_MK.shape[0] % FP8_MULTIPLE))


class TransformerEngineLinear(RoundedLinear):
    """A linear layer that runs in FP8 through the library."""

    def __init__(self, linear: nn.Linear, device: torch.device) -> None:
        """Round the weights of a finished layer."""
        super().__init__()
        te = transformer_engine()
        self._recipe = import_module("transformer_engine.common.recipe").Float8CurrentScaling()
        self._te, self.out_dtype = te, linear.weight.dtype
        with _named(te, "quantized_model_init", "fp8_model_init")(
            enabled=True, recipe=self._recipe
        ):
            self.inner = te.Linear(
                linear.in_features,
                linear.out_features,
                bias=linear.bias is not None,
                params_dtype=linear.weight.dtype,
                device=device,
            )
        with torch.no_grad():
            self.inner.weight.copy_(linear.weight)
            if linear.bias is not None:
                self.inner.bias.copy_(linear.bias)
        self.bias = self.inner.bias if linear.bias is not None else None

    @property
    def place(self) -> torch.device:
        """Where its weights lie."""
        device: torch.device = self.inner.weight.device
        return device

    def product(self, x_MK: Tensor) -> Tensor:
        """Return the rounded product of rows, without the bias."""
        out = self(x_MK.to(self.out_dtype))
        return out if self.bias is None else out - self.bias

    def forward(self, x: Tensor) -> Tensor:
        """`[..., K]` -> `[..., N]`."""
        rows = x.flatten(0, -2)
        if hasattr(self._te, "autocast"):
            rounding = self._te.autocast(enabled=True, recipe=self._recipe)
        else:
            rounding = self._te.fp8_autocast(enabled=True, fp8_recipe=self._recipe)
        with rounding:
            out: Tensor = self.inner(padded(rows))
        return torch.unflatten(out[: rows.shape[0]], 0, x.shape[:-1])


def _named(library: Any, new: str, old: str) -> Any:
    """Return what the library calls by a new name since 2.9 or so, and by an old one before."""
    return getattr(library, new, None) or getattr(library, old)


def use_transformer_engine(
    transformer: LiveActTransformer, plan: FP8Plan, device: torch.device
) -> None:
    """Swap the planned layers of a transformer whose blocks lie on the host, one by one."""
    for name in plan.names:
        linear = transformer.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        transformer.set_submodule(name, TransformerEngineLinear(linear, device))
