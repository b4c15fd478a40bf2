"""Pictures and latents: the Wan video VAE.

Shape letters: C latent channels, F latent frames, h, w latent pixels, T video frames, H, W pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from liveact_cli.wan import checkpoint, keymaps
from liveact_cli.wan.vae_decoder import (
    DECODER_PARTS,
    LATENT_MEAN,
    LATENT_STD,
    WanDecoder,
    channels_last,
)


class WanVae:
    """The video VAE: `encode_reference` for conditioning, `decoder` for what comes back.

    Where something else draws (`draws` is False) its decoder is not loaded.
    """

    def __init__(
        self,
        path: Path,
        device: torch.device | str,
        dtype: torch.dtype,
        *,
        draws: bool = True,
        compiled: bool = False,
    ) -> None:
        released = checkpoint.read_tensors(path)
        self.sizes = sizes = keymaps.vae_sizes(released)
        tensors = keymaps.vae_tensors(released)
        if not draws:
            tensors = {n: v for n, v in tensors.items() if not n.startswith(DECODER_PARTS)}
        self._model = checkpoint.build(
            lambda: _diffusers_vae(sizes, draws), tensors, path.name, dtype, device
        )
        self.device, self.dtype = torch.device(device), dtype
        if self.device.type == "cuda":
            channels_last(self._model)
        # The same tensors: diffusers' module holds them, our functions run them.
        self.decoder: WanDecoder | None = None
        if draws:
            tensors = self._model.state_dict()
            self.decoder = WanDecoder(tensors, sizes, path.name, device, dtype, compiled=compiled)
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


def _diffusers_vae(sizes: keymaps.VaeSizes, draws: bool) -> Any:
    from diffusers import AutoencoderKLWan

    model = AutoencoderKLWan(
        base_dim=sizes.base,
        decoder_base_dim=sizes.decoder_base,
        z_dim=sizes.latent,
        dim_mult=list(sizes.multipliers),
        num_res_blocks=sizes.res_blocks,
        temperal_downsample=list(sizes.temporal),
    )
    if not draws:
        model.decoder, model.post_quant_conv = nn.Identity(), nn.Identity()
    return model


def to_frames(video: Tensor) -> NDArray[np.uint8]:
    """Video `[3, T, H, W]` in [-1, 1] -> RGB frames `[T, H, W, 3]`, truncated as released."""
    scaled = (video.float() + 1.0) * 127.5
    frames: NDArray[np.uint8] = (
        scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous().cpu().numpy()
    )
    return frames
