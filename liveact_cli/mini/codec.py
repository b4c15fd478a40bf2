"""The motion codec: curves at 25 fps <-> latents, linear and exact.

Four video frames make one latent frame (the first video frame stands alone, as in the video VAE).
Inside a latent frame each channel is written in the orthonormal DCT-4 basis and each coefficient is
standardised, which halves the jitter of generated motion against plain samples. A face region is a
spatial position: latents are `[LATENT_CHANNELS, F, 1, NUM_GROUPS]`, channel `k * GROUP_WIDTH + c`
holding coefficient `k` of the region's channel `c`; smaller regions are padded with zeros.
"""

import math
from collections.abc import Mapping
from typing import Final, Self

import torch
from torch import Tensor

from liveact_cli.mini.motion import GROUP_WIDTH, NUM_CHANNELS, NUM_GROUPS, group_slices

STRIDE: Final = 4
"""Video frames per latent frame."""
LATENT_CHANNELS: Final = STRIDE * GROUP_WIDTH
SCALE_FLOOR: Final = 1e-3
"""Smallest standard deviation used: coefficients that never move stay near zero."""


def dct_basis() -> Tensor:
    """Return the orthonormal DCT-II matrix `[STRIDE coefficients, STRIDE frames]`."""
    k = torch.arange(STRIDE, dtype=torch.float64)[:, None]
    n = torch.arange(STRIDE, dtype=torch.float64)[None]
    basis = torch.cos(math.pi * (n + 0.5) * k / STRIDE) * math.sqrt(2.0 / STRIDE)
    basis[0] *= math.sqrt(0.5)
    return basis.float()


def latent_frames(frames: int) -> int:
    """Return how many latent frames hold `frames` video frames (1, then `STRIDE` each)."""
    return 1 + -(-max(0, frames - 1) // STRIDE)


def video_frames(latents: int) -> int:
    """Return how many video frames the first `latents` latent frames decode to."""
    return 1 + STRIDE * (latents - 1)


def latent_mask() -> Tensor:
    """Return `[LATENT_CHANNELS, 1, 1, NUM_GROUPS]`: 1 on used numbers, 0 on padding."""
    mask = torch.zeros(STRIDE, GROUP_WIDTH, NUM_GROUPS)
    for token, group in enumerate(group_slices()):
        mask[:, : group.stop - group.start, token] = 1.0
    return mask.reshape(LATENT_CHANNELS, 1, 1, NUM_GROUPS)


class MotionCodec:
    """Encodes motion `[n, NUM_CHANNELS]` to latents and back by its statistics."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        """Take `mean [NUM_CHANNELS]` and the coefficients' `scale [STRIDE, NUM_CHANNELS]`."""
        if mean.shape != (NUM_CHANNELS,) or scale.shape != (STRIDE, NUM_CHANNELS):
            raise ValueError(
                f"codec statistics are {tuple(mean.shape)} and {tuple(scale.shape)}, "
                f"expected {(NUM_CHANNELS,)} and {(STRIDE, NUM_CHANNELS)}"
            )
        self.mean = mean.float()
        self.scale = scale.float()
        self._basis = dct_basis()

    @classmethod
    def identity(cls) -> Self:
        """Return a codec without standardisation."""
        return cls(torch.zeros(NUM_CHANNELS), torch.ones(STRIDE, NUM_CHANNELS))

    @classmethod
    def fit(cls, tracks: list[Tensor]) -> Self:
        """Measure the statistics on motion tracks `[n, NUM_CHANNELS]`."""
        mean = torch.cat(tracks).double().mean(0).float()
        codec = cls(mean, torch.ones(STRIDE, NUM_CHANNELS))
        rows = torch.cat([codec._coefficients(track)[1:] for track in tracks]).double()
        return cls(mean, rows.square().mean(0).sqrt().clamp_min(SCALE_FLOOR).float())

    def encode(self, motion: Tensor) -> Tensor:
        """Encode motion `[n, NUM_CHANNELS]` to `[LATENT_CHANNELS, F, 1, NUM_GROUPS]`.

        The last frame is repeated where `n` does not fill the last latent frame.
        """
        rows = self._coefficients(motion)
        latent = rows.new_zeros(STRIDE, GROUP_WIDTH, len(rows), NUM_GROUPS)
        for token, group in enumerate(group_slices()):
            part = rows[:, :, group.start : group.stop]
            latent[:, : group.stop - group.start, :, token] = part.permute(1, 2, 0)
        return latent.reshape(LATENT_CHANNELS, len(rows), 1, NUM_GROUPS)

    def decode(self, latent: Tensor, *, first: bool) -> Tensor:
        """Decode `[LATENT_CHANNELS, F, 1, NUM_GROUPS]` to motion `[n, NUM_CHANNELS]`.

        With `first` the first latent frame stands for the recording's first video frame alone, so
        `n` is `4F - 3`; otherwise `4F`.
        """
        frames = latent.shape[1]
        grouped = latent.float().reshape(STRIDE, GROUP_WIDTH, frames, NUM_GROUPS)
        rows = torch.cat(
            [
                grouped[:, : group.stop - group.start, :, token].permute(2, 0, 1)
                for token, group in enumerate(group_slices())
            ],
            dim=2,
        )
        values = torch.einsum("kn,fkc->fnc", self._basis, rows * self.scale) + self.mean
        motion = values.reshape(frames * STRIDE, NUM_CHANNELS)
        return motion[STRIDE - 1 :] if first else motion

    def _coefficients(self, motion: Tensor) -> Tensor:
        """Return standardised coefficients `[F, STRIDE, NUM_CHANNELS]`."""
        total = video_frames(latent_frames(len(motion)))
        tail = motion[-1:].expand(total - len(motion), -1)
        padded = torch.cat([motion[:1].expand(STRIDE - 1, -1), motion, tail]).float() - self.mean
        blocks = padded.reshape(-1, STRIDE, NUM_CHANNELS)
        return torch.einsum("kn,fnc->fkc", self._basis, blocks) / self.scale

    def state_dict(self) -> dict[str, Tensor]:
        """Return the statistics by name, for the weights file."""
        return {"mean": self.mean, "scale": self.scale}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """Build the codec from `state_dict()`."""
        return cls(state["mean"], state["scale"])
