"""q, k and v of a packed projection, each made when it is asked for.

Shapes: B batch, T tokens, N heads, H head dim, D model dim.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.model.attention import SelfAttention, split
from liveact_cli.runtime.fp8 import FP8Linear
from liveact_cli.runtime.fp8_numbers import Quantised, quantise_rows


def can_be_cut(linear: nn.Module) -> bool:
    """Whether parts of a layer's outputs can be made by themselves."""
    return isinstance(linear, nn.Linear | FP8Linear)


class Thirds:
    """The three parts of a layer's packed projection of the same rows."""

    def __init__(self, layer: SelfAttention, rows_BTD: Tensor | Quantised) -> None:
        """Take rows as the projection takes them; they are rounded once for all three."""
        self._layer, self._linear = layer, cast(nn.Module, layer.qkv)
        if isinstance(self._linear, FP8Linear) and isinstance(rows_BTD, Tensor):
            rows_BTD = quantise_rows(rows_BTD)
        self._rows = rows_BTD

    def q(self) -> Tensor:
        """Queries `[B, T, N, H]`, normalised."""
        return split(self._layer.norm_q(self._part(0)), self._layer.heads)

    def k(self) -> Tensor:
        """Keys `[B, T, N, H]`, normalised."""
        return split(self._layer.norm_k(self._part(1)), self._layer.heads)

    def v(self) -> Tensor:
        """Values `[B, T, N, H]`."""
        return split(self._part(2), self._layer.heads)

    def _part(self, index: int) -> Tensor:
        linear, width = self._linear, self._layer.qkv.weight.shape[0] // 3
        part = slice(index * width, (index + 1) * width)
        if isinstance(linear, FP8Linear):
            # Through the module: whoever measures its error looks at what comes in.
            out: Tensor = linear(self._rows, part=part)
            return out
        assert isinstance(linear, nn.Linear)
        assert isinstance(self._rows, Tensor)
        bias = None if linear.bias is None else linear.bias[part]
        return F.linear(self._rows, linear.weight[part], bias)
