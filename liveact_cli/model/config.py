"""The sizes of a transformer: one frozen record describes the 18 B model and liveact-mini alike."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from liveact_cli.core.budget import BlockSizes, DecodeSizes
from liveact_cli.core.geometry import MemoryPolicy

IMAGE_TOKENS: Final = 257
"""What CLIP's ViT-H gives for a picture."""

Patch = tuple[int, int, int]


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a `LiveActTransformer`.

    `in_dim` counts the noise channels and the conditioning channels `y` together, so a model
    without `y` has `in_dim == out_dim`. `image_dim == 0` means no image tokens.
    """

    dim: int
    ffn_dim: int
    heads: int
    layers: int
    in_dim: int
    out_dim: int
    patch: Patch = (1, 2, 2)
    text_dim: int = 4096
    text_len: int = 512
    freq_dim: int = 256
    image_dim: int = 0
    audio_window: int = 5
    audio_layers: int = 12
    audio_channels: int = 768
    audio_hidden: int = 512
    audio_dim: int = 768
    audio_tokens: int = 32
    audio_norm: bool = True
    audio_input_norm: bool = True
    temporal_stride: int = 4
    fold_ratio: int = 5
    eps: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse sizes that do not divide, with the numbers."""
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise ValueError(f"dim {self.dim} does not split into {self.heads} heads of even width")
        if self.in_dim < self.out_dim:
            raise ValueError(f"in_dim {self.in_dim} is smaller than out_dim {self.out_dim}")
        if self.patch[0] != 1:
            raise ValueError(f"patch {self.patch}: chunks are counted in latent frames, so t is 1")
        if self.audio_window % 2 == 0:
            raise ValueError(f"audio_window {self.audio_window} has no middle row")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.heads

    @property
    def y_dim(self) -> int:
        """Channels of the conditioning latents; 0: there are none."""
        return self.in_dim - self.out_dim

    @property
    def audio_rows(self) -> int:
        """Audio rows that one latent frame sees: its video frames and half a window either side."""
        return self.audio_window + self.temporal_stride - 1

    @property
    def audio_margin(self) -> int:
        """Audio rows needed before the first and after the last video frame of a chunk."""
        return self.audio_window // 2

    def tokens_per_frame(self, height: int, width: int) -> int:
        """Return S for latents of `height` x `width`; both must be multiples of the patch."""
        _, patch_height, patch_width = self.patch
        if height % patch_height or width % patch_width:
            raise ValueError(f"latents of {height}x{width} do not split into patches {self.patch}")
        return (height // patch_height) * (width // patch_width)

    def parameters(self) -> tuple[int, int]:
        """Return how many parameters follow the arithmetic's precision, and how many stay float32.

        Float32 stays what the residual stream follows (see `runtime.loader.KEEP_FLOAT32`).
        """
        block, (ends, ends_float32) = self.block_sizes(), self._ends()
        each = block.step + block.context + block.resident
        return ends + self.layers * each, ends_float32 + self.layers * block.step_float32

    def block_sizes(self) -> BlockSizes:
        """Return the numbers in the weights of one block."""
        d, ffn = self.dim, self.ffn_dim
        rounded = (
            (3 * d, d), (d, d),  # self-attention: qkv, o
            (d, d), (d, d),  # text: q, o
            (d, d), (d, d),  # sound: q, o
            (ffn, d), (d, ffn),
        )  # fmt: skip
        return BlockSizes(
            step=sum(_linear(inputs, outputs) for outputs, inputs in rounded) + 3 * d,
            step_float32=6 * d + 2 * d + (2 * d if self.audio_input_norm else 0),
            context=(_linear(d, 2 * d) + d) * (2 if self.image_dim else 1),
            resident=2 * self.fold_ratio * d + _linear(self.audio_dim, 2 * d),
            rounded=rounded,
        )

    def _ends(self) -> tuple[int, int]:
        d, patch = self.dim, self.patch[0] * self.patch[1] * self.patch[2]
        row = self.audio_rows * self.audio_layers * self.audio_channels
        hidden, heard = self.audio_hidden, self.audio_tokens * self.audio_dim
        image = self.image_dim
        ends = (
            _linear(self.in_dim * patch, d) + _linear(d, self.out_dim * patch)
            + _linear(self.text_dim, d) + _linear(d, d)
            + ((2 * image + _linear(image, image) + _linear(image, d) + 2 * d) if image else 0)
            + _linear(row, hidden) + _linear(hidden, hidden) + _linear(hidden, heard)
            + (2 * self.audio_dim if self.audio_norm else 0)
        )  # fmt: skip
        return ends, _linear(self.freq_dim, d) + _linear(d, d) + _linear(d, 6 * d) + 2 * d

    def decode_sizes(
        self,
        policy: MemoryPolicy,
        latent_size: tuple[int, int],
        *,
        texts: int = 1,
        steps: int = 3,
        silent_steps: int = 0,
    ) -> DecodeSizes:
        """Return what decides the bytes of decoding latents of `(h, w)`."""
        ends, ends_float32 = self._ends()
        return DecodeSizes(
            policy=policy,
            tokens_per_frame=self.tokens_per_frame(*latent_size),
            dim=self.dim,
            ffn_dim=self.ffn_dim,
            heads=self.heads,
            layers=self.layers,
            ends=ends,
            ends_float32=ends_float32,
            block=self.block_sizes(),
            text_tokens=self.text_len,
            image_tokens=IMAGE_TOKENS if self.image_dim else 0,
            audio_tokens=self.audio_tokens,
            texts=texts,
            steps=steps,
            silent_steps=silent_steps,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as stored in a weights file's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild what `to_dict` wrote (JSON turns the patch into a list)."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown transformer settings: {', '.join(unknown)}")
        return cls(**{**values, "patch": tuple(values.get("patch", (1, 2, 2)))})


LIVEACT_18B = TransformerConfig(
    dim=5120,
    ffn_dim=13824,
    heads=40,
    layers=40,
    in_dim=36,
    out_dim=16,
    image_dim=1280,
)
"""The released sizes, for planning before the weights are there; loading reads the tensors."""
