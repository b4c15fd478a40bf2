"""The Wan VAE's decoder on one device: the full one, a narrower one, or one with random weights.

Shape letters: C latent channels, F latent frames, h, w latent pixels, T video frames, H, W pixels.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.core.errors import WeightsError
from liveact_cli.runtime.fallbacks import Guarded
from liveact_cli.runtime.kernels import video
from liveact_cli.runtime.kernels.video import VideoKernels
from liveact_cli.wan import checkpoint, keymaps
from liveact_cli.wan.keymaps import VaeSizes
from liveact_cli.wan.vae_stream import Edges, State, VideoDecoder

# Means and standard deviations of the 16 latent channels (fixed numbers of Wan 2.1).
LATENT_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
LATENT_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)

WAN_SIZES: Final = VaeSizes(
    base=96,
    decoder_base=96,
    latent=len(LATENT_MEAN),
    multipliers=(1, 2, 4, 4),
    res_blocks=2,
    temporal=(False, True, True),
)
"""The released sizes, for measuring without the weights; loading reads the tensors."""

DECODER_PARTS: Final = ("post_quant_conv.", "decoder.")
"""How the names of what decodes begin, in a VAE under diffusers' names."""


class _Weights(nn.Module):
    """What decoding needs of a VAE, under diffusers' names."""

    def __init__(self, sizes: VaeSizes) -> None:
        super().__init__()
        self.post_quant_conv = nn.Conv3d(sizes.latent, sizes.latent, 1)
        self.decoder = VideoDecoder(sizes)


class WanDecoder:
    """The decoder as two pure functions, `stem` and `body`; the states belong to the caller."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        sizes: VaeSizes,
        origin: str,
        device: torch.device | str,
        dtype: torch.dtype,
        kernels: VideoKernels | None = None,
        *,
        compiled: bool = False,
        backend: Any = "inductor",
    ) -> None:
        """Take tensors under diffusers' names (shared, not copied, where they fit already).

        `compiled` makes one graph of each function for each number of frames that comes, with a
        `backend` of torch's compiler; where that fails they run as they are written. Raises
        WeightsError naming `origin` for what is missing, left over or of another shape.
        """
        if sizes.latent != len(LATENT_MEAN):
            raise WeightsError(
                f"{origin} has {sizes.latent} latent channels; Wan 2.1 has {len(LATENT_MEAN)}",
                "liveact-18b needs Wan2.1_VAE.pth, or a decoder made for its latents",
            )
        self.sizes, self.device, self.dtype = sizes, torch.device(device), dtype
        self.kernels = kernels or video.resolve(self.device)
        own = {name: value for name, value in tensors.items() if name.startswith(DECODER_PARTS)}
        self._weights = checkpoint.build(lambda: _Weights(sizes), own, origin, dtype, device)
        if self.device.type == "cuda":
            channels_last(self._weights)
        decoder = self._weights.decoder
        self._stem: Callable[..., tuple[Tensor, State]] = decoder.stem
        self._body: Callable[..., tuple[Tensor, State]] = decoder.body
        if compiled:
            self._stem = _compiled(decoder.stem, backend)
            self._body = _compiled(decoder.body, backend)
        shape = (sizes.latent, 1, 1, 1)
        self._mean = torch.tensor(LATENT_MEAN, device=device).view(shape)
        self._std = torch.tensor(LATENT_STD, device=device).view(shape)

    @classmethod
    def from_file(
        cls,
        path: Path,
        device: torch.device | str,
        dtype: torch.dtype,
        *,
        compiled: bool = False,
    ) -> Self:
        """Read the decoder of a VAE in the released layout, of whatever widths it has."""
        released = checkpoint.read_tensors(path)
        sizes, tensors = keymaps.vae_sizes(released), keymaps.vae_tensors(released)
        return cls(tensors, sizes, path.name, device, dtype, compiled=compiled)

    @classmethod
    def random(
        cls,
        sizes: VaeSizes,
        device: torch.device | str,
        dtype: torch.dtype,
        kernels: VideoKernels | None = None,
        *,
        compiled: bool = False,
    ) -> Self:
        """Make weights on the device, scaled so that numbers stay of one size; for measuring."""
        with torch.device("meta"):
            shapes = {name: value.shape for name, value in _Weights(sizes).state_dict().items()}
        tensors = {}
        for name, shape in shapes.items():
            if name.endswith("weight"):
                fan_in = shape[1:].numel()
                tensors[name] = torch.randn(shape, device=device, dtype=dtype) * fan_in**-0.5
            else:
                fill = 1.0 if name.endswith("gamma") else 0.0
                tensors[name] = torch.full(shape, fill, device=device, dtype=dtype)
        origin = "random weights"
        return cls(tensors, sizes, origin, device, dtype, kernels, compiled=compiled)

    def scaled(self, latent: Tensor) -> Tensor:
        """Normalised latents `[C, F, h, w]` -> those of the VAE, `[1, C, F, h, w]` in float32."""
        return (
            latent.to(self.device, torch.promote_types(latent.dtype, torch.float32)) * self._std
            + self._mean
        )[None]

    def stem(self, latent: Tensor, state: State) -> tuple[Tensor, State]:
        """Normalised latents `[C, F, h, w]` -> features at latent resolution, and the new state."""
        conv = self._weights.post_quant_conv
        z = F.conv3d(self.scaled(latent).to(self.dtype), conv.weight, conv.bias)
        return self._stem(self.kernels, z, state)

    def body(
        self, features: Tensor, state: State, first: bool, edges: Edges | None = None
    ) -> tuple[Tensor, State]:
        """Features -> video `[1, 3, T, H, W]` in float32, not clamped, and the new state.

        `edges`: the features are some rows of a picture; what is exchanged is never compiled.
        """
        if edges is not None:
            return self._weights.decoder.body(self.kernels, features, state, first, edges)
        return self._body(self.kernels, features, state, first)


def _compiled(function: Callable[..., Any], backend: Any) -> Callable[..., tuple[Tensor, State]]:
    made: list[Callable[..., Any]] = []

    def compiled(*arguments: Any) -> Any:
        if not made:  # here, so that no compiler at all is a failure like others
            made.append(torch.compile(function, backend=backend, fullgraph=True, dynamic=False))
        return made[0](*arguments)

    return Guarded(compiled, function, "the compiled video decoder", "the decoder as it is written")


def channels_last(module: nn.Module) -> None:
    """Lay the convolutions' weights out as the tensor cores read them."""
    for parameter in module.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
        elif parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
