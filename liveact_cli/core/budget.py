"""Say the bytes before allocating them: what decoding needs on the device, part by part.

S tokens per latent frame, D model width, W tokens of the window. The memory's formula is the
paper's; the peak of the activations is an estimate for torch's own kernels.
"""

from dataclasses import dataclass

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.core.units import format_bytes

FLOAT32 = 4
KEYS_AND_VALUES = 2
ALIGNMENT = 256
"""Offloaded tensors begin at multiples of these bytes."""
PLACES = 2
"""Places on the device between which offloaded layers take turns."""


@dataclass(frozen=True)
class Part:
    """One thing that takes bytes."""

    name: str
    nbytes: int

    def __str__(self) -> str:
        """Write it for people: `memory 40.3 GB`."""
        return f"{self.name} {format_bytes(self.nbytes)}"


@dataclass(frozen=True)
class Budget:
    """Everything that lies on the device at once."""

    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(part.nbytes for part in self.parts)

    def __str__(self) -> str:
        """Write it for people: `77.1 GB (weights 37.3 GB, memory 40.3 GB)`."""
        return f"{format_bytes(self.total)} ({', '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class DecodeSizes:
    """The sizes that decide the bytes of decoding.

    `parameters` follow the arithmetic's precision (`value_bytes` each), `float32_parameters` do
    not. `steps` counts the memory's banks, `silent_steps` those that audio guidance adds.
    `context_tokens` counts text and image tokens, `audio_tokens` those of one latent frame.
    """

    policy: MemoryPolicy
    tokens_per_frame: int
    dim: int
    ffn_dim: int
    layers: int
    parameters: int
    float32_parameters: int
    context_tokens: int
    audio_tokens: int
    steps: int = 3
    silent_steps: int = 0
    value_bytes: int = 2


def weight_bytes(sizes: DecodeSizes) -> int:
    """Return the bytes of the transformer's weights."""
    return sizes.parameters * sizes.value_bytes + sizes.float32_parameters * FLOAT32


def memory_bytes(sizes: DecodeSizes) -> int:
    """Return the bytes of the ConvKV memory; they do not depend on the recording's length.

    steps x layers x window x S x D x (K and V): 40.3 GB for liveact-18b at 416x720 in bfloat16.
    """
    banks = sizes.steps + sizes.silent_steps
    window = sizes.policy.window * sizes.tokens_per_frame * sizes.dim
    return banks * sizes.layers * window * KEYS_AND_VALUES * sizes.value_bytes


def context_bytes(sizes: DecodeSizes) -> int:
    """Return the bytes of the projected text, picture and sound of one chunk."""
    frames = max(sizes.policy.first_chunk - 1, sizes.policy.chunk)
    heard = frames * sizes.audio_tokens * (2 if sizes.silent_steps else 1)
    tokens = sizes.context_tokens + heard
    return sizes.layers * tokens * sizes.dim * KEYS_AND_VALUES * sizes.value_bytes


def activation_bytes(sizes: DecodeSizes) -> int:
    """Return the peak of what one block holds while it runs (torch's own kernels, nothing fused).

    Either the rotation of the window's keys (float32: the keys, their swapped pairs, two partial
    results) beside q, k and v, or the feed-forward's hidden layer, whichever is larger.
    """
    policy, size, value = sizes.policy, sizes.tokens_per_frame * sizes.dim, sizes.value_bytes
    chunk, window = max(policy.first_chunk, policy.chunk) * size, policy.window * size
    residual = chunk * FLOAT32
    attention = chunk * 6 * value + window * (4 * FLOAT32 + value)
    feed_forward = chunk * value + 2 * chunk * sizes.ffn_dim // sizes.dim * value
    return 2 * residual + max(attention, feed_forward)


def decode_budget(sizes: DecodeSizes) -> Budget:
    """Return what decoding takes, before anything is loaded."""
    return Budget(
        (
            Part("weights", weight_bytes(sizes)),
            Part("memory", memory_bytes(sizes)),
            Part("context", context_bytes(sizes)),
            Part("activations", activation_bytes(sizes)),
        )
    )
