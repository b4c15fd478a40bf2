"""The three attentions of a block: over the memory window, over the context, over the sound.

Kernels are injected: a `Kernel` is any function of q, k, v. An `Attend` joins new keys and values
to the past and attends; what wraps it (Ulysses, a fused kernel, a training chain) is not this
package's business.

Shapes: B batch, F latent frames, S tokens per frame, T = F·S, N heads, H head dim, D model dim,
L context tokens, A audio tokens per latent frame, G groups of queries that share their keys.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.memory import FoldWeights, LayerMemory, chain_windows
from liveact_cli.model.rope import RopeTable

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q, k, v), each `[B, tokens, N, H]`, -> `[B, tokens of q, N, H]`."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Like `Kernel`, for the new tokens of one layer: the callee knows the past."""


class KeysValues(NamedTuple):
    """Keys and values `[G, tokens, N, H]`; group g serves the g-th equal part of the queries."""

    k: Tensor
    v: Tensor


class ContextKeys(NamedTuple):
    """What one layer's cross-attention reads: the text's, and the reference image's if any."""

    text: KeysValues
    image: KeysValues | None


def split(x: Tensor, heads: int) -> Tensor:
    """Split the last axis into heads: `[..., D]` -> `[..., N, H]`."""
    return torch.unflatten(x, -1, (heads, -1))


def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with torch's own scaled dot product."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def attend_memory(
    q: Tensor, k: Tensor, v: Tensor, *, memory: LayerMemory, rope: RopeTable, kernel: Kernel
) -> Tensor:
    """Remember the new tokens and attend to the whole window; positions are given at reading."""
    k_all, v_all = memory.append(k, v)
    return kernel(rope.rotate(q, k_all.shape[1] - q.shape[1]), rope.rotate(k_all), v_all)


def attend_chain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    policy: MemoryPolicy,
    tokens_per_frame: int,
    fold: FoldWeights,
    rope: RopeTable,
    kernel: Kernel,
) -> Tensor:
    """Attend for all chunks of a chain at once, as `attend_memory` would one after another."""
    keys = chain_windows(k, policy, tokens_per_frame, fold.k)
    values = chain_windows(v, policy, tokens_per_frame, fold.v)
    first, chunk = policy.first_chunk * tokens_per_frame, policy.chunk * tokens_per_frame
    out = kernel(rope.rotate(q[:, :first]), rope.rotate(keys[0]), values[0])
    if len(keys) == 1:
        return out
    rest = kernel(
        rope.rotate(torch.unflatten(q[:, first:], 1, (-1, chunk)).flatten(0, 1), first),
        rope.rotate(torch.stack(keys[1:], 1).flatten(0, 1)),
        torch.stack(values[1:], 1).flatten(0, 1),
    )
    return torch.cat((out, rest.reshape(q.shape[0], -1, *q.shape[2:])), 1)


def grouped(kernel: Kernel, q: Tensor, keys: KeysValues) -> Tensor:
    """Attend with every group of queries to its own keys: one context per chunk or per frame."""
    return kernel(q.reshape(keys.k.shape[0], -1, *q.shape[2:]), *keys).reshape(q.shape)


class SelfAttention(nn.Module):
    """Projections of the self-attention and the weights that fold its memory."""

    def __init__(self, dim: int, heads: int, fold_ratio: int, eps: float) -> None:
        """Start with folds that take the mean."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.norm_q = nn.RMSNorm(dim, eps)
        self.norm_k = nn.RMSNorm(dim, eps)
        self.o = nn.Linear(dim, dim)
        self.fold_k = nn.Parameter(torch.full((fold_ratio, dim), 1 / fold_ratio))
        self.fold_v = nn.Parameter(torch.full((fold_ratio, dim), 1 / fold_ratio))

    def forward(self, x_BTD: Tensor, attend: Attend) -> Tensor:
        """Mix the tokens with each other and with the past."""
        q, k, v = self.qkv(x_BTD).chunk(3, -1)
        q, k, v = (split(t, self.heads) for t in (self.norm_q(q), self.norm_k(k), v))
        return self.o(attend(q, k, v).flatten(2))


class CrossAttention(nn.Module):
    """Attention to the text and, beside it, to the reference image; the two results are added."""

    def __init__(self, dim: int, heads: int, image: bool, eps: float) -> None:
        """`image` adds the projections of the image tokens."""
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.norm_q = nn.RMSNorm(dim, eps)
        self.norm_k = nn.RMSNorm(dim, eps)
        self.o = nn.Linear(dim, dim)
        self.kv_image = nn.Linear(dim, 2 * dim) if image else None
        self.norm_k_image = nn.RMSNorm(dim, eps) if image else None
        self.kernel: Kernel = sdpa

    def keys(self, text_GLD: Tensor, image_BLD: Tensor | None) -> ContextKeys:
        """Project the context once; it stays the same while the prompt does."""
        k, v = self.kv(text_GLD).chunk(2, -1)
        text = KeysValues(split(self.norm_k(k), self.heads), split(v, self.heads))
        if image_BLD is None or self.kv_image is None or self.norm_k_image is None:
            return ContextKeys(text, None)
        k, v = self.kv_image(image_BLD).chunk(2, -1)
        image = KeysValues(split(self.norm_k_image(k), self.heads), split(v, self.heads))
        return ContextKeys(text, image)

    def forward(self, x_BTD: Tensor, context: ContextKeys) -> Tensor:
        """Read the context; nothing masks the text's padding (as released)."""
        q = split(self.norm_q(self.q(x_BTD)), self.heads)
        out = grouped(self.kernel, q, context.text)
        if context.image is not None:
            out = out + grouped(self.kernel, q, context.image)
        return self.o(out.flatten(2))


class AudioAttention(nn.Module):
    """Attention of every latent frame to its own audio tokens only."""

    def __init__(self, dim: int, heads: int, audio_dim: int) -> None:
        """Queries come from the picture (`dim`), keys from the sound (`audio_dim`)."""
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(audio_dim, 2 * dim)
        self.o = nn.Linear(dim, dim)
        self.kernel: Kernel = sdpa

    def keys(self, audio_BFAD: Tensor) -> KeysValues:
        """Project the audio tokens of F latent frames: groups are (video, frame)."""
        k, v = self.kv(audio_BFAD.flatten(0, 1)).chunk(2, -1)
        return KeysValues(split(k, self.heads), split(v, self.heads))

    def forward(self, x_BTD: Tensor, audio: KeysValues) -> Tensor:
        """Let each frame hear its moment."""
        q = split(self.q(x_BTD), self.heads)
        return self.o(grouped(self.kernel, q, audio).flatten(2))


def fold_weights(layers: Sequence[SelfAttention], fold: str) -> list[FoldWeights]:
    """Return each layer's fold weights as `[R, N, H]`, for a `Fold` by name."""
    weights = []
    for layer in layers:
        k, v = split(layer.fold_k, layer.heads), split(layer.fold_v, layer.heads)
        table = {"shared": (k, k), "separate": (k, v), "mean": (None, None)}
        weights.append(FoldWeights(*table[fold]))
    return weights
