"""What the voice says: wav2vec2, the output of every layer, one row for each video frame.

The released code sends a whole recording through the network at once. Two things in that depend
on the whole recording and are kept exact here: the normalisation of the samples and the group
norm of the first convolution, both from statistics gathered while the recording is spooled
(`spool`), and the resampling of features to video frames. Only attention and the positional
convolution see a window instead (`audio_rows`).
"""

from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from liveact_cli.core.errors import WeightsError
from liveact_cli.wan import checkpoint, keymaps
from liveact_cli.wan.spool import Statistics
from liveact_cli.weights.store import AUDIO_WEIGHTS, read_settings

_HEAD_WIDTH: Final = 64

# The released code multiplies the samples by this before it normalises them.
GAIN = 3.0


class Wav2Vec2:
    """The network, in its two halves: samples -> features, and features (resampled) -> layers."""

    def __init__(self, directory: Path, device: torch.device | str, dtype: torch.dtype) -> None:
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        settings = read_settings(directory / "config.json")
        config = Wav2Vec2Config(**settings)
        weights = next((directory / n for n in AUDIO_WEIGHTS if (directory / n).is_file()), None)
        if weights is None:
            raise WeightsError(
                f"{directory} has neither {' nor '.join(AUDIO_WEIGHTS)}",
                "liveact model download fetches the audio encoder",
            )
        tensors = keymaps.audio_tensors(checkpoint.read_tensors(weights))
        # A vector for masking in training only; transformers wants it when the config says so.
        config.mask_time_prob = config.mask_feature_prob = 0.0
        tensors.pop("masked_spec_embed", None)
        self._model = checkpoint.build(
            lambda: Wav2Vec2Model(config), tensors, weights.name, dtype, device
        )
        preparation = directory / "preprocessor_config.json"
        self._normalise = not preparation.is_file() or bool(
            read_settings(preparation).get("do_normalize", True)
        )
        self._take(config, device, dtype)

    @classmethod
    def random(cls, layers: int, channels: int, device: torch.device | str, seed: int = 0) -> Self:
        """Make a network of the published shape with random weights, for measuring."""
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        heads = max(1, channels // _HEAD_WIDTH)
        config = Wav2Vec2Config(
            hidden_size=channels,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * channels,
            conv_dim=[max(4, 2 * channels // 3)] * 7,
            num_conv_pos_embedding_groups=heads,
            mask_time_prob=0.0,
            mask_feature_prob=0.0,
        )
        self = object.__new__(cls)
        with torch.random.fork_rng(), torch.device(device):
            torch.manual_seed(seed)
            self._model = Wav2Vec2Model(config).eval().requires_grad_(False)
        self._normalise = True
        self._take(config, device, torch.float32)
        return self

    def _take(self, config: Any, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the sizes of the model."""
        self._convolutions = self._model.feature_extractor.conv_layers
        self.kernels: list[int] = list(config.conv_kernel)
        self.strides: list[int] = list(config.conv_stride)
        self._device, self._dtype = torch.device(device), dtype
        self.layers: int = config.num_hidden_layers
        self.channels: int = config.hidden_size

    @property
    def hop(self) -> int:
        """Samples from one feature to the next."""
        return int(np.prod(self.strides))

    @property
    def reach(self) -> int:
        """Samples that one feature sees."""
        reach = 1
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            reach = (reach - 1) * stride + kernel
        return reach

    @torch.inference_mode()
    def features(self, samples: NDArray[np.float32], statistics: Statistics) -> Tensor:
        """Convolutional features `[n, conv channels]` of samples from anywhere in a recording."""
        scale, shift = self._affine(statistics)
        x = torch.from_numpy(samples * np.float32(scale) + np.float32(shift))
        x = x.to(self._device, self._dtype)[None, None]
        first, *others = self._convolutions
        if isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
            mean, deviation = self._first_layer(statistics, scale, shift)
            norm = first.layer_norm
            x = (first.conv(x) - mean) / deviation * norm.weight[:, None] + norm.bias[:, None]
            x = first.activation(x)
        else:
            x = first(x)
        for layer in others:
            x = layer(x)
        return x[0].transpose(0, 1)

    @torch.inference_mode()
    def hidden_states(self, features: Tensor) -> Tensor:
        """Features `[rows, conv channels]` -> every layer's output `[rows, layers, channels]`."""
        states: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: object, output: object) -> None:
            value = output[0] if isinstance(output, tuple) else output
            assert isinstance(value, Tensor)
            states.append(value[0])

        # Hooks, because transformers 5 returns no hidden states from an encoder called directly.
        hooks = [layer.register_forward_hook(keep) for layer in self._model.encoder.layers]
        try:
            projected, _ = self._model.feature_projection(features[None])
            last = self._model.encoder(projected).last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        states[-1] = last[0]  # where a final norm follows the layers, it belongs to the last
        return torch.stack(states, dim=1).float()

    def count(self, samples: int) -> int:
        """Features that a recording of `samples` samples has."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def _affine(self, statistics: Statistics) -> tuple[float, float]:
        """`x * scale + shift` is what the network takes: gain, then zero mean and unit variance."""
        if not self._normalise:
            return GAIN, 0.0
        scale = GAIN / float(np.sqrt(GAIN**2 * statistics.variance + 1e-7))
        return scale, -statistics.mean * scale

    def _first_layer(
        self, statistics: Statistics, scale: float, shift: float
    ) -> tuple[Tensor, Tensor]:
        """Mean and deviation `[1, channels, 1]` of the first convolution over the whole recording.

        A convolution is linear, so both follow from the moments of its windows.
        """
        first = self._convolutions[0]
        weight = first.conv.weight[:, 0].double().cpu().numpy()
        mean = weight @ (statistics.window_mean * scale + shift)
        if first.conv.bias is not None:
            mean = mean + first.conv.bias.double().cpu().numpy()
        variance = np.einsum("ci,ij,cj->c", weight, statistics.window_covariance, weight) * scale**2
        deviation = np.sqrt(np.maximum(variance, 0.0) + first.layer_norm.eps)

        def placed(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values).to(self._device, self._dtype)[None, :, None]

        return placed(mean), placed(deviation)
