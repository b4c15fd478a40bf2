"""Say the bytes before allocating them: what decoding needs on the device and on the host.

S tokens per latent frame, D model width, W tokens of the window. Weights, memory and context are
exact; what a block or the VAE holds while it runs is an estimate for torch's own kernels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.core.units import Size, format_bytes

FLOAT32: Final = 4
KEYS_AND_VALUES: Final = 2
ALIGNMENT: Final = 256
"""Offloaded tensors begin at multiples of these bytes."""
PLACES: Final = 2
"""Places on the device between which offloaded layers take turns."""
FP8_MULTIPLE: Final = 16
"""Tensor cores take e4m3 matrices whose sides are multiples of this."""
FP8_EDGE_BLOCKS: Final = 1
"""Blocks at either end whose linear layers are never rounded."""
RESERVE: Final = 1_500_000_000
"""What CUDA's libraries, its graphs and fragments between tensors take of a card."""
PROCESS: Final = 3_000_000_000
"""Host memory of a process with torch and CUDA's libraries, its pictures and frames included."""
VIDEO_FRAMES: Final = 4
"""Frames that a latent frame becomes."""
MOST_LATENTS: Final = 8
"""Latent frames of a chunk, and of the largest call of the VAE."""
_COLOURS: Final = 3
_EDGE: Final = 24
"""Rows of pixels by which the largest of equal shares may exceed the others, and its edges."""
HALO: Final = 48
"""Pixels that a tile of the VAE sees around itself (see `wan.frames`)."""
TILES: Final = (1024, 768, 512, 384, 256)
"""Sides of tiles, in pixels, that are tried where memory is short."""

Precision = Literal["fp32", "bf16", "fp8"]
Offload = Literal["none", "cache", "blocks", "all"]


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
    """Everything that lies in one place at once."""

    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(part.nbytes for part in self.parts)

    def __str__(self) -> str:
        """Write it for people: `77.1 GB (weights 37.3 GB, memory 40.3 GB)`."""
        named = ", ".join(str(part) for part in self.parts if part.nbytes)
        return f"{format_bytes(self.total)} ({named})"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where and how exactly a model computes: everything that decides the bytes.

    `kv_precision` "bf16" keeps the memory in the precision of the arithmetic. `offload` says what
    lies in the host's memory: the memory ("cache"), the blocks' weights, or both ("all").
    `latents_per_call` and `tile` (pixels a side) cut up the VAE's work.
    """

    precision: Precision = "bf16"
    kv_precision: Precision = "bf16"
    offload: Offload = "none"
    gpus: int = 1
    latents_per_call: int = MOST_LATENTS
    tile: int | None = None

    @property
    def value_bytes(self) -> int:
        """Bytes of a number that nothing rounds."""
        return FLOAT32 if self.precision == "fp32" else 2

    @property
    def blocks_offloaded(self) -> bool:
        """Whether the blocks' weights lie in the host's memory."""
        return self.offload in ("blocks", "all")

    @property
    def cache_offloaded(self) -> bool:
        """Whether the memory lies in the host's memory."""
        return self.offload in ("cache", "all")

    def __str__(self) -> str:
        """Write it for people."""
        weights = self.precision
        kept = weights if self.kv_precision == "bf16" and weights == "fp32" else self.kv_precision
        exactly = f"{weights} weights and memory"
        if kept != weights:
            exactly = f"{weights} weights, {kept} memory"
        away = {"none": "nothing", "cache": "memory", "blocks": "weights"}
        gpus = f"{self.gpus} GPU{'s' * (self.gpus > 1)}"
        tiles = "" if self.tile is None else f", drawn in tiles of {self.tile} pixels"
        return f"{exactly}, {away.get(self.offload, 'both')} offloaded{tiles}, {gpus}"


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """Numbers in the weights of one block, by when they are needed.

    Every step needs `step` (and `step_float32`, never rounded), a new prompt `context`; `resident`
    is never offloaded. `rounded` are the shapes (outputs, inputs) that FP8 rounds, all in `step`.
    """

    step: int
    step_float32: int
    context: int
    resident: int
    rounded: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class DecodeSizes:
    """The sizes that decide the bytes of decoding.

    `ends` are the numbers in the weights outside the blocks, `ends_float32` those of them that
    stay float32. `steps` counts the memory's banks, `silent_steps` those that audio guidance adds.
    `text_tokens`, `image_tokens` and `audio_tokens` (of one latent frame) are attended to; a chunk
    has `texts` texts.
    """

    policy: MemoryPolicy
    tokens_per_frame: int
    dim: int
    ffn_dim: int
    heads: int
    layers: int
    ends: int
    ends_float32: int
    block: BlockSizes
    text_tokens: int
    image_tokens: int
    audio_tokens: int
    texts: int = 1
    steps: int = 3
    silent_steps: int = 0


@dataclass(frozen=True, slots=True)
class DrawingSizes:
    """What a frame decoder holds, in frames of `channels` channels at the video's size (counted).

    `tensors` are alive at once for every frame that a call makes, `state` is kept between calls.
    What is `shared` several GPUs draw together, each some of the rows.
    """

    channels: int = 96
    tensors: float = 6.1
    state: float = 24.7
    tiled: bool = True
    shared: bool = True


DRAWING: Final = {
    "wan": DrawingSizes(),
    "lightvae": DrawingSizes(channels=24),
    "taew2_1": DrawingSizes(channels=64, tensors=2.1, state=1.4, tiled=False, shared=False),
}
"""The decoders at their published sizes, the VAE with its kernels fused."""
UNFUSED_TENSORS: Final = 10.0
"""What the VAE has alive where there is no Triton to fuse its kernels."""


def drawing_sizes(decoder: str, *, fused: bool) -> DrawingSizes:
    """Return what a decoder holds, by its name in `DRAWING`."""
    sizes = DRAWING[decoder]
    return sizes if fused or not sizes.tiled else replace(sizes, tensors=UNFUSED_TENSORS)


@dataclass(frozen=True, slots=True)
class CodecSizes:
    """The sizes of what stands around the transformer: bytes of weights, and the video's size."""

    size: Size
    vae: int
    text_encoder: int
    audio_encoder: int
    drawing: DrawingSizes = DRAWING["wan"]


# The transformer ---------------------------------------------------------------------------------


def step_bytes(sizes: DecodeSizes, layout: Layout, *, edge: bool = False) -> int:
    """Return the bytes of what every step needs of one block; one at the `edge` is not rounded."""
    block, value = sizes.block, layout.value_bytes
    whole = block.step * value + block.step_float32 * FLOAT32
    if layout.precision != "fp8" or edge:
        return whole
    fit = [s for s in block.rounded if not (s[0] % FP8_MULTIPLE or s[1] % FP8_MULTIPLE)]
    return whole - sum(rows * columns * (value - 1) - rows * FLOAT32 for rows, columns in fit)


def weight_bytes(sizes: DecodeSizes, layout: Layout) -> int:
    """Return the bytes of the transformer's weights, wherever they lie."""
    return end_bytes(sizes, layout) + block_bytes(sizes, layout)


def end_bytes(sizes: DecodeSizes, layout: Layout) -> int:
    """Return the bytes of the weights that are never offloaded."""
    value = layout.value_bytes
    resident = sizes.layers * sizes.block.resident * value
    return sizes.ends * value + sizes.ends_float32 * FLOAT32 + resident


def block_bytes(sizes: DecodeSizes, layout: Layout) -> int:
    """Return the bytes of the weights that can be offloaded."""
    edges = min(sizes.layers, 2 * FP8_EDGE_BLOCKS)
    steps = edges * step_bytes(sizes, layout, edge=True)
    steps += (sizes.layers - edges) * step_bytes(sizes, layout)
    return steps + sizes.layers * sizes.block.context * layout.value_bytes


def places_bytes(sizes: DecodeSizes, layout: Layout) -> int:
    """Return the bytes of the places for offloaded blocks on the device."""
    context = sizes.block.context * layout.value_bytes
    return PLACES * (step_bytes(sizes, layout, edge=True) + context)


def window_bytes(sizes: DecodeSizes, layout: Layout) -> int:
    """Return the bytes of the window of one layer at one step, of all heads."""
    tokens = sizes.policy.window * sizes.tokens_per_frame
    if layout.kv_precision == "fp8":
        return tokens * KEYS_AND_VALUES * (sizes.dim + sizes.heads * FLOAT32)
    return tokens * KEYS_AND_VALUES * sizes.dim * layout.value_bytes


def memory_bytes(sizes: DecodeSizes, layout: Layout) -> int:
    """Return the bytes of the ConvKV memory; they do not depend on the recording's length.

    steps x layers x window x S x D x (K and V): 40.3 GB for liveact-18b at 416x720 in bfloat16.
    """
    return (sizes.steps + sizes.silent_steps) * sizes.layers * window_bytes(sizes, layout)


def context_bytes(sizes: DecodeSizes, layout: Layout) -> int:
    """Return the bytes of the projected text, picture and sound of one chunk."""
    frames = max(sizes.policy.first_chunk - 1, sizes.policy.chunk)
    heard = frames * sizes.audio_tokens * (2 if sizes.silent_steps else 1)
    tokens = sizes.texts * sizes.text_tokens + sizes.image_tokens + heard
    return sizes.layers * tokens * sizes.dim * KEYS_AND_VALUES * layout.value_bytes


def activation_bytes(sizes: DecodeSizes, layout: Layout) -> int:
    """Return the peak of what one block holds while it runs (torch's own kernels, nothing fused).

    Either the rotation of the window's keys (float32: the keys, their swapped pairs, two partial
    results) beside q, k and v, or the feed-forward's hidden layer, whichever is larger.
    """
    policy, size, value = sizes.policy, sizes.tokens_per_frame * sizes.dim, layout.value_bytes
    chunk, window = max(policy.first_chunk, policy.chunk) * size, policy.window * size
    residual, hidden = chunk * FLOAT32, chunk * sizes.ffn_dim // sizes.dim
    attention = chunk * 6 * value + window * (4 * FLOAT32 + value)
    if layout.kv_precision == "fp8":  # the window as it is read
        attention += window * KEYS_AND_VALUES * value
    feed_forward = chunk * value + 2 * hidden * value
    if layout.precision == "fp8":  # rounding the hidden layer
        feed_forward += 4 * hidden * FLOAT32
    return 2 * residual + max(attention, feed_forward)


# What stands around it ---------------------------------------------------------------------------


def vae_bytes(codecs: CodecSizes, layout: Layout) -> int:
    """Return the bytes of what draws: its weights, and its peak while it decodes.

    A call reads the state before it and makes the one after it. With tiles that is one tile's, and
    the states of the others wait on the host; several GPUs have the state of their own rows. Either
    way the pictures of a chunk are put together in float32.
    """
    drawing, (seen, _) = codecs.drawing, _shares(codecs.size, layout.tile)
    frame = _frame_bytes(codecs, layout)
    call = drawing.tensors * VIDEO_FRAMES * layout.latents_per_call
    chunk = _COLOURS * FLOAT32 * math.prod(codecs.size) * VIDEO_FRAMES * MOST_LATENTS
    pictures = 0 if layout.tile is None else chunk
    if layout.gpus > 1 and drawing.shared and layout.tile is None:
        seen = min(1.0, 1 / layout.gpus + _EDGE / codecs.size.height)
        pictures = 2 * chunk  # the parts, and the whole
    return codecs.vae + pictures + round(frame * seen * (2 * drawing.state + call))


def parked_bytes(codecs: CodecSizes, layout: Layout) -> int:
    """Return the bytes of the tiles' states, which wait in the host's memory."""
    if layout.tile is None:
        return 0
    _, whole = _shares(codecs.size, layout.tile)
    return round(codecs.drawing.state * whole * _frame_bytes(codecs, layout))


def _frame_bytes(codecs: CodecSizes, layout: Layout) -> int:
    return codecs.drawing.channels * math.prod(codecs.size) * layout.value_bytes


def _shares(size: Size, tile: int | None) -> tuple[float, float]:
    """Return the share of a picture that the largest tile sees, and that all see together."""
    seen = whole = 1.0
    if tile is not None:
        for side in size:
            pieces = math.ceil(side / tile)
            share = min(1.0, (side / pieces + 2 * HALO) / side)
            seen, whole = seen * share, whole * share * pieces
    return seen, whole


def decode_budget(sizes: DecodeSizes, layout: Layout, codecs: CodecSizes | None = None) -> Budget:
    """Return what lies on the first device while chunks are made.

    Without `codecs` only the transformer's share.
    """
    weights = weight_bytes(sizes, layout)
    if layout.blocks_offloaded:
        weights = end_bytes(sizes, layout) + places_bytes(sizes, layout)
    memory = memory_bytes(sizes, layout)
    if layout.cache_offloaded:
        memory = PLACES * window_bytes(sizes, layout)
    parts = [
        Part("weights", weights),
        Part("memory", memory // layout.gpus),
        Part("context", context_bytes(sizes, layout)),
        Part("activations", activation_bytes(sizes, layout) // layout.gpus),
    ]
    if codecs is not None:
        parts += [
            Part("VAE", vae_bytes(codecs, layout)),
            Part("audio encoder", codecs.audio_encoder),
            Part("reserve", RESERVE),
        ]
    return Budget(tuple(parts))


def encoder_budget(codecs: CodecSizes) -> Budget:
    """Return what lies on the device while text and picture are encoded, before the rest comes."""
    return Budget(
        (
            Part("text encoder", codecs.text_encoder),
            Part("VAE", codecs.vae),
            Part("audio encoder", codecs.audio_encoder),
            Part("reserve", RESERVE),
        )
    )


def host_budget(
    sizes: DecodeSizes,
    layout: Layout,
    codecs: CodecSizes | None = None,
    *,
    saving: bool = True,
) -> Budget:
    """Return what lies in the host's memory, of all processes together.

    `saving` counts the state that a render keeps to go on from after a crash.
    """
    memory, policy = memory_bytes(sizes, layout), sizes.policy
    state = memory * policy.first_chunk // policy.window if saving else 0
    # Every process keeps a copy of its own: pinned memory belongs to the one that pins it.
    offloaded = layout.gpus * block_bytes(sizes, layout) if layout.blocks_offloaded else 0
    copies = f" ({layout.gpus} copies, one a process)" if layout.gpus > 1 else ""
    return Budget(
        (
            Part("processes", layout.gpus * PROCESS),
            Part(f"weights{copies}", offloaded),
            Part("memory", memory if layout.cache_offloaded else 0),
            Part("tiles", 0 if codecs is None else parked_bytes(codecs, layout)),
            Part("saved state", state),
        )
    )


def smaller_vae(layout: Layout) -> Iterator[Layout]:
    """Yield a layout with ever fewer latent frames in one call of the VAE, which is exact."""
    for latents in (MOST_LATENTS, 4, 2, 1):
        yield replace(layout, latents_per_call=latents)


def tiled_vae(layout: Layout, codecs: CodecSizes) -> Iterator[Layout]:
    """Yield a layout that draws in ever smaller tiles, as long as that saves memory."""
    if not codecs.drawing.tiled:
        return
    layout = replace(layout, latents_per_call=1)
    least = vae_bytes(codecs, layout)
    for tile in TILES:
        smaller = replace(layout, tile=tile)
        if (needed := vae_bytes(codecs, smaller)) < least:
            least = needed
            yield smaller
