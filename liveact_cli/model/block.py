"""One transformer block, and the head that follows the last one.

Shapes: B batch, T tokens, D model dim.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.model.attention import (
    Attend,
    AudioAttention,
    ContextKeys,
    CrossAttention,
    KeysValues,
    SelfAttention,
)
from liveact_cli.model.config import TransformerConfig


class FeedForward(nn.Sequential):
    """Linear, GELU (tanh), Linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        """Widen to `hidden` and back."""
        super().__init__(nn.Linear(dim, hidden), nn.GELU("tanh"), nn.Linear(hidden, dim))


def modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Normalise without weights, then `(1 + scale) x + shift`; time decides both."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), 1 + scale)


class Block(nn.Module):
    """Self-attention over the memory, text and image, sound, feed-forward: all residual.

    The residual stream has the precision of the time embedding (float32 when a model runs in
    bfloat16); what enters a Linear is cast to `dtype`.
    """

    def __init__(self, config: TransformerConfig) -> None:
        """Take all sizes from the config."""
        super().__init__()
        dim, eps = config.dim, config.eps
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(6, dim) * dim**-0.5)
        self.self_attn = SelfAttention(dim, config.heads, config.fold_ratio, eps)
        self.norm_context = nn.LayerNorm(dim, eps)
        self.cross_attn = CrossAttention(dim, config.heads, config.image_dim > 0, eps)
        self.norm_audio = nn.LayerNorm(dim, eps) if config.audio_input_norm else nn.Identity()
        self.audio_attn = AudioAttention(dim, config.heads, config.audio_dim)
        self.ffn = FeedForward(dim, config.ffn_dim)

    def forward(
        self,
        x_BTD: Tensor,
        time_B6D: Tensor,
        attend: Attend,
        context: ContextKeys,
        audio: KeysValues | None,
        silent: int,
        dtype: torch.dtype,
    ) -> Tensor:
        """Run the block; the first `silent` tokens (the still first frame) hear no sound.

        `audio` is None on steps that do not listen.
        """
        x = x_BTD
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            (self.modulation + time_B6D).unsqueeze(2).unbind(1)
        )
        y = self.self_attn(modulated(x, shift1, scale1, self.eps).to(dtype), attend)
        x = torch.addcmul(x, gate1, y.to(x.dtype))
        x = x + self.cross_attn(self.norm_context(x).to(dtype), context)
        if audio is not None:
            heard = self.audio_attn(self.norm_audio(x[:, silent:]).to(dtype), audio)
            x = x + (F.pad(heard, (0, 0, silent, 0)) if silent else heard)
        y = self.ffn(modulated(x, shift2, scale2, self.eps).to(dtype))
        return torch.addcmul(x, gate2, y.to(x.dtype))


class Head(nn.Module):
    """Tokens -> velocity patches."""

    def __init__(self, dim: int, patch_width: int, eps: float) -> None:
        """Start at zero velocity, the usual start of a diffusion transformer."""
        super().__init__()
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(2, dim) * dim**-0.5)
        self.linear = nn.Linear(dim, patch_width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x_BTD: Tensor, time_BD: Tensor, dtype: torch.dtype) -> Tensor:
        """Return `[B, T, patch values]`."""
        shift, scale = (self.modulation + time_BD.unsqueeze(1)).unsqueeze(2).unbind(1)
        return self.linear(modulated(x_BTD, shift, scale, self.eps).to(dtype))
