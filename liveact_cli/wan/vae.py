"""Pictures and latents: the Wan video VAE.

Shape letters: C latent channels, F latent frames, h, w latent pixels, T video frames, H, W pixels.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liveact_cli.core.errors import WeightsError
from liveact_cli.wan import checkpoint, keymaps
from liveact_cli.wan.vae_stream import StreamDecoder

# Means and standard deviations of the 16 latent channels (fixed numbers of Wan 2.1).
LATENT_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
LATENT_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)


class WanVae:
    """The video VAE: `encode_reference` for conditioning, `stream` for decoding."""

    def __init__(self, path: Path, device: torch.device | str, dtype: torch.dtype) -> None:
        from diffusers import AutoencoderKLWan

        released = checkpoint.read_tensors(path)
        self.sizes = sizes = keymaps.vae_sizes(released)
        if sizes.latent != len(LATENT_MEAN):
            raise WeightsError(
                f"{path.name} has {sizes.latent} latent channels; Wan 2.1 has {len(LATENT_MEAN)}",
                "liveact-18b needs Wan2.1_VAE.pth",
            )
        self._model = checkpoint.build(
            lambda: AutoencoderKLWan(
                base_dim=sizes.base,
                decoder_base_dim=sizes.decoder_base,
                z_dim=sizes.latent,
                dim_mult=list(sizes.multipliers),
                num_res_blocks=sizes.res_blocks,
                temperal_downsample=list(sizes.temporal),
            ),
            keymaps.vae_tensors(released),
            path.name,
            dtype,
            device,
        )
        self.device, self.dtype = torch.device(device), dtype
        shape = (1, sizes.latent, 1, 1, 1)
        self._mean = torch.tensor(LATENT_MEAN, device=device).view(shape)
        self._std = torch.tensor(LATENT_STD, device=device).view(shape)

    @torch.inference_mode()
    def encode_reference(self, image: Tensor, frames: int) -> Tensor:
        """Encode [image, zeros ...] -> normalised latents `[C, F, h, w]`, float32.

        `image` is `[3, H, W]` in [-1, 1]; `frames` counts video frames, the image among them.
        """
        video = image.new_zeros(1, image.shape[0], frames, *image.shape[1:])
        video[0, :, 0] = image
        posterior = self._model.encode(video.to(self.device, self.dtype)).latent_dist
        return ((posterior.mode().float() - self._mean) / self._std)[0]

    def denormalised(self, latent: Tensor) -> Tensor:
        """Normalised latents `[C, F, h, w]` -> the decoder's input `[1, C, F, h, w]`."""
        z = latent[None].to(self.device, torch.float32) * self._std + self._mean
        projected: Tensor = self._model.post_quant_conv(z.to(self.dtype))
        return projected

    def stream(self) -> StreamDecoder:
        """The decoder to be stepped through streams."""
        return StreamDecoder(self._model.decoder)


def to_frames(video: Tensor) -> NDArray[np.uint8]:
    """Video `[3, T, H, W]` in [-1, 1] -> RGB frames `[T, H, W, 3]`, truncated as released."""
    scaled = (video.float() + 1.0) * 127.5
    frames: NDArray[np.uint8] = (
        scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous().cpu().numpy()
    )
    return frames
