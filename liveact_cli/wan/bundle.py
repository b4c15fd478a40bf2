"""All of liveact-18b but the transformer: what it hears, reads, sees and draws."""

import hashlib
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.core.units import Size
from liveact_cli.runtime.orders import Make
from liveact_cli.wan.audio_rows import SpeechEncoder
from liveact_cli.wan.clip import ClipVision
from liveact_cli.wan.frames import LatentDecoder, TinyFrameDecoder, WanFrameDecoder
from liveact_cli.wan.kept import Kept
from liveact_cli.wan.shared_frames import PictureShare
from liveact_cli.wan.text import TextEncoder
from liveact_cli.wan.tiny_decoder import TinyDecoder
from liveact_cli.wan.vae import WanVae
from liveact_cli.wan.vae_decoder import WanDecoder
from liveact_cli.wan.wav2vec2 import Wav2Vec2
from liveact_cli.weights.store import WanFiles, find_audio_encoder, find_decoder, wan_files


@dataclass(frozen=True, slots=True)
class Sight:
    """What a picture gives: `image_tokens` `[257, width]` and `y` `[4 + C, window, h, w]`."""

    image_tokens: Tensor
    y: Tensor


class WanModel:
    """The codecs of one checkpoint on one device; each is loaded when it is first needed."""

    def __init__(
        self,
        files: WanFiles,
        audio_encoder: Path,
        device: torch.device,
        dtype: torch.dtype,
        *,
        policy: MemoryPolicy,
        cache: Path | None,
        vae_overlap: bool,
        tile_pixels: int | None,
        latents_per_call: int,
        decoder: tuple[str, Path] | None,
        compiled: bool,
        ranks: int,
    ) -> None:
        self._files, self._device, self._dtype = files, device, dtype
        self._policy = policy
        self._overlap, self._tile_pixels = vae_overlap, tile_pixels
        self._latents_per_call = latents_per_call
        self._kept = Kept(cache, "pictures")
        self.audio_encoder = SpeechEncoder(Wav2Vec2(audio_encoder, device, torch.float32))
        self.prompt_encoder = TextEncoder(
            files.text_encoder, files.tokenizer, files.text_len, device, dtype, cache
        )
        self._small, self._compiled = decoder, compiled
        # Where several devices draw, each loads the decoder for itself, and this one with them.
        draws = decoder is None and (ranks == 1 or self.share() is None)
        self.vae = WanVae(files.vae, device, dtype, draws=draws, compiled=compiled)

    def see(self, image: Tensor) -> Sight:
        """Encode an image `[3, H, W]` in [-1, 1]; CLIP is let go afterwards."""
        tokens = self._kept.get(
            self._files.image_encoder, (str(self._dtype), _digest(image)), lambda: self._look(image)
        )
        stride = self.vae.sizes.temporal_stride
        latents = self.vae.encode_reference(image, 1 + (self._policy.window - 1) * stride)
        # The mask says which pixel frames are given: the image only, in all 4 of its channels.
        mask = latents.new_zeros(stride, *latents.shape[1:])
        mask[:, 0] = 1.0
        return Sight(tokens, torch.cat([mask, latents]))

    def _look(self, image: Tensor) -> Tensor:
        return ClipVision(self._files.image_encoder, self._device, self._dtype).encode(image)

    def frame_decoder(self) -> LatentDecoder:
        """Return a decoder for one video."""
        decoder = self._decoder
        if isinstance(decoder, TinyDecoder):
            return TinyFrameDecoder(decoder, latents_per_call=self._latents_per_call)
        side = self._tile_pixels
        tile = None if side is None else max(1, side // self.vae.sizes.spatial_stride)
        return WanFrameDecoder(
            decoder,
            overlap=self._overlap,
            tile=tile,
            latents_per_call=self._latents_per_call,
        )

    def share(self) -> Make | None:
        """Return what makes one device's share of the drawing; None where only one can draw."""
        name, path = self._small or ("wan", self._files.vae)
        if name == "taew2_1" or self._overlap or self._tile_pixels is not None:
            return None
        return partial(PictureShare.from_file, path, self._dtype, self._latents_per_call)

    @cached_property
    def _decoder(self) -> WanDecoder | TinyDecoder:
        if self._small is not None:
            return _small_decoder(*self._small, self._device, self._dtype, self._compiled)
        if self.vae.decoder is not None:
            return self.vae.decoder
        return WanDecoder.from_file(self._files.vae, self._device, self._dtype)

    def latent_size(self, size: Size) -> tuple[int, int]:
        """Height and width in latent pixels."""
        stride = self.vae.sizes.spatial_stride
        return size.height // stride, size.width // stride


def load_wan(
    folder: Path,
    audio_encoder: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    policy: MemoryPolicy | None = None,
    cache: Path | None = None,
    vae_overlap: bool = False,
    tile_pixels: int | None = None,
    latents_per_call: int = 8,
    decoder: str = "wan",
    decoder_weights: Path | None = None,
    compiled: bool = False,
    ranks: int = 1,
) -> WanModel:
    """Load the parts around the transformer of the checkpoint in `folder`.

    `audio_encoder` is wav2vec2's folder; without it, it is looked for in and beside `folder`.
    `cache` is a folder where the encoders' results are kept. `vae_overlap` decodes as the released
    code does, `tile_pixels` (a side) in pieces, `latents_per_call` at a time. `decoder` other than
    "wan" draws with a smaller decoder, from its file in `folder` or from `decoder_weights`;
    `compiled` has torch compile it (the VAE, full or narrow). `ranks` devices may draw together.
    Raises WeightsError for what is missing or damaged.
    """
    return WanModel(
        wan_files(folder),
        find_audio_encoder(folder, audio_encoder),
        torch.device(device),
        dtype,
        policy=policy or MemoryPolicy(),
        cache=cache,
        vae_overlap=vae_overlap,
        tile_pixels=tile_pixels,
        latents_per_call=latents_per_call,
        decoder=None
        if decoder == "wan"
        else (decoder, find_decoder(folder, decoder, decoder_weights)),
        compiled=compiled,
        ranks=ranks,
    )


def _small_decoder(
    name: str, path: Path, device: torch.device, dtype: torch.dtype, compiled: bool
) -> WanDecoder | TinyDecoder:
    if name == "taew2_1":
        return TinyDecoder.from_file(path, device, dtype)
    # The same layers, fewer channels.
    return WanDecoder.from_file(path, device, dtype, compiled=compiled)


def _digest(image: Tensor) -> str:
    return hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).hexdigest()


def fit_picture(picture: NDArray[np.uint8], size: Size) -> Tensor:
    """Scale RGB `[H, W, 3]` to cover `size`, cut out the centre -> `[3, H, W]` in [-1, 1]."""
    height, width = picture.shape[:2]
    zoom = max(size.width / width, size.height / height)
    scaled = Size(max(size.width, round(width * zoom)), max(size.height, round(height * zoom)))
    left, top = (scaled.width - size.width) // 2, (scaled.height - size.height) // 2
    image = Image.fromarray(picture)
    if scaled != (width, height):
        image = image.resize(scaled, Image.Resampling.LANCZOS)
    image = image.crop((left, top, left + size.width, top + size.height))
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).copy())
    return pixels.permute(2, 0, 1) / 127.5 - 1.0
