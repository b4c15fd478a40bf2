"""Audio rows -> audio tokens per latent frame.

A latent frame covers `temporal_stride` (4) video frames and hears the rows of all of them plus
half a window (2 rows) on either side: 8 neighbouring rows. The released code words this as pieces
of five-row windows, which amounts to the same rows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.model.config import TransformerConfig


class AudioProjection(nn.Module):
    """Three linear layers from a stretch of audio rows to `audio_tokens` tokens."""

    def __init__(self, config: TransformerConfig) -> None:
        """Take all sizes from the config."""
        super().__init__()
        self.rows = config.audio_rows
        self.stride = config.temporal_stride
        self.tokens = config.audio_tokens
        width = config.audio_rows * config.audio_layers * config.audio_channels
        self.proj1 = nn.Linear(width, config.audio_hidden)
        self.proj2 = nn.Linear(config.audio_hidden, config.audio_hidden)
        self.proj3 = nn.Linear(config.audio_hidden, config.audio_tokens * config.audio_dim)
        self.norm = nn.LayerNorm(config.audio_dim) if config.audio_norm else nn.Identity()

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows `[B, stride·F + window - 1, layers, channels]` to tokens `[B, F, A, audio_dim]`.

        The first row lies half a window before the first latent frame's first video frame.
        """
        windows = rows.flatten(2).unfold(1, self.rows, self.stride).transpose(2, 3)
        hidden = F.relu(self.proj1(windows.flatten(2)))
        hidden = F.relu(self.proj2(hidden))
        tokens: Tensor = self.norm(torch.unflatten(self.proj3(hidden), -1, (self.tokens, -1)))
        return tokens
