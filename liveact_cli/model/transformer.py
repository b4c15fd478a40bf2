"""LiveActTransformer: one class for the released 18 B model and for liveact-mini.

A Wan 2.1 image-to-video DiT with one audio cross-attention per block (arXiv 2603.11746). The
module does tensor arithmetic only; devices, precision, parallelism and kernels are applied from
outside to the finished module.

Shapes: B batch, C channels, F latent frames, h w latent size, S tokens per frame, T = F·S,
D model dim, L text tokens, A audio tokens per latent frame.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.attention import (
    Attend,
    ContextKeys,
    Kernel,
    KeysValues,
    attend_chain,
    attend_memory,
    fold_weights,
    sdpa,
)
from liveact_cli.model.audio_proj import AudioProjection
from liveact_cli.model.block import Block, Head
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.memory import Bank, ConvMemory, Fold, LayerMemory, Storage
from liveact_cli.model.rope import RopeTable, rope_table


class Context(NamedTuple):
    """Projected text and image tokens, per layer; valid as long as the prompt stays."""

    layers: tuple[ContextKeys, ...]


class Audio(NamedTuple):
    """Projected audio tokens of a chunk, per layer, for its last `frames` latent frames."""

    layers: tuple[KeysValues, ...]
    frames: int


class AllTokens:
    """Which tokens of a frame a transformer works on: all. Whoever shares the work replaces this.

    s is the number of tokens worked on here.
    """

    def split(self, x_BFSD: Tensor) -> Tensor:
        """Take the tokens `[B, F, s, D]` that are worked on here."""
        return x_BFSD

    def join(self, x_BFsD: Tensor, size: int) -> Tensor:
        """Put the `size` tokens of every frame together again."""
        return x_BFsD


class LiveActTransformer(nn.Module):
    """Predicts the flow-matching velocity of a chunk of latents."""

    def __init__(self, config: TransformerConfig) -> None:
        """Build with fresh weights (on the meta device: with none)."""
        super().__init__()
        self.config = config
        dim, patch = config.dim, math.prod(config.patch)
        self.patch_embedding = nn.Linear(config.in_dim * patch, dim)
        self.time_embedding = nn.Sequential(
            nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU("tanh"), nn.Linear(dim, dim)
        )
        self.image_embedding = _image_embedding(config) if config.image_dim else None
        self.audio_projection = AudioProjection(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = Head(dim, config.out_dim * patch, config.eps)
        self.attend: Callable[..., Tensor] = attend_memory
        self.kernel: Kernel = sdpa
        self.tokens = AllTokens()
        self.storage = Storage()
        self.memory_type: Callable[..., ConvMemory] = ConvMemory
        # What others have applied from outside: for records, and to be kept as long as this.
        self.facts: dict[str, Any] = {}
        self.attached: dict[str, Any] = {}
        self._ropes: dict[tuple[int, int, int, torch.device], RopeTable] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the arithmetic (that of the first Linear)."""
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.patch_embedding.weight.device

    def set_kernel(self, kernel: Kernel) -> None:
        """Use another attention kernel everywhere."""
        self.kernel = kernel
        for block in self._blocks():
            block.cross_attn.kernel = block.audio_attn.kernel = kernel

    def set_storage(self, storage: Storage) -> None:
        """Keep the memories to come in another way."""
        self.storage = storage
        self.memory_type = partial(ConvMemory, storage=storage)

    def kernel_at(self, memory: LayerMemory) -> Kernel:
        """Return the kernel for the self-attention over one window; others may choose by place."""
        return self.kernel

    # What stays the same over several calls: project it once -----------------------------------

    def encode_context(self, text: Tensor, image: Tensor | None = None) -> Context:
        """Project text `[G, L, text_dim]` and image tokens `[B, tokens, image_dim]` for all layers.

        G is B (one text per chunk) or B·F (one per latent frame). Texts are padded with zero rows
        to `text_len`; the padding is attended to, as released.
        """
        config = self.config
        if text.shape[1] > config.text_len:
            raise ValueError(f"{text.shape[1]} text tokens exceed the {config.text_len} there are")
        padding = (0, 0, 0, config.text_len - text.shape[1])
        text_GLD = self.text_embedding(F.pad(text.to(self.device, self.dtype), padding))
        image_BLD = None
        if self.image_embedding is not None:
            if image is None:
                raise ValueError("this transformer needs image tokens")
            image_BLD = self.image_embedding(image.to(self.device, self.dtype))
        return Context(tuple(b.cross_attn.keys(text_GLD, image_BLD) for b in self._blocks()))

    def encode_audio(self, rows: Tensor) -> Audio:
        """Project audio rows `[B, stride·F + window - 1, layers, channels]` for all layers.

        The rows start half a window before the video frames of the first of F latent frames. The
        very first latent frame of a recording (the still image) hears nothing: leave it out.
        """
        tokens = self.audio_projection(rows.to(self.device, self.dtype))
        return Audio(tuple(b.audio_attn.keys(tokens) for b in self._blocks()), tokens.shape[1])

    def new_memory(
        self,
        policy: MemoryPolicy,
        latent_size: tuple[int, int],
        steps: Iterable[int],
        fold: Fold = "shared",
    ) -> ConvMemory:
        """Allocate an empty memory for latents of `(h, w)`, with a bank for each of `steps`."""
        config = self.config
        if fold != "mean" and policy.ratio != config.fold_ratio:
            raise ValueError(
                f"the policy folds {policy.ratio} frames, the weights fold {config.fold_ratio}"
            )
        return self.memory_type(
            policy,
            config.tokens_per_frame(*latent_size),
            fold_weights([block.self_attn for block in self._blocks()], fold),
            steps=steps,
            heads=config.heads,
            head_dim=config.head_dim,
            dtype=self.dtype,
            device=self.device,
        )

    # The two ways to run -----------------------------------------------------------------------

    def forward(
        self,
        x: Tensor,
        time: float,
        context: Context,
        audio: Audio | None,
        bank: Bank,
        y: Tensor | None = None,
    ) -> Tensor:
        """Return the velocity of one chunk and remember its keys and values in `bank`.

        `x` is `[B, C, F, h, w]`, `time` lies in [0, 1000], `audio` is None on steps that do not
        listen, `y` is `[B, y_dim, F, h, w]`. The result has the shape of `x` and its dtype.
        """
        rope = self.rope(bank.layer(0).policy, *x.shape[-2:])

        def attend(layer: int) -> Attend:
            memory = bank.layer(layer)
            kernel = self.kernel_at(memory)
            return partial(self.attend, memory=memory, rope=rope, kernel=kernel)

        t = torch.full((x.shape[0],), time, dtype=torch.float64, device=x.device)
        return self._velocity(x, y, t, context, audio, attend)

    def forward_chain(
        self,
        x: Tensor,
        time: Tensor,
        context: Tensor,
        audio_rows: Tensor | None,
        *,
        image: Tensor | None = None,
        y: Tensor | None = None,
        policy: MemoryPolicy | None = None,
        fold: Fold = "shared",
    ) -> Tensor:
        """Return the velocity of a whole chain of chunks at one noise level, differentiably.

        Equals running the chunks one by one with an empty memory at the start. `x` is
        `[B, C, F, h, w]` with F = first chunk + n chunks (6 + 8n), `time` `[B]` in [0, 1000],
        `context` `[B, L, text_dim]` or `[B, F, L, text_dim]`, `audio_rows`
        `[B, stride·F, layers, channels]` for video frames -1 .. stride·(F - 1) + 2 (window 5; see
        `engine.conditioning.chain_rows`) or None for a step that does not listen, `image`
        `[B, tokens, image_dim]`, `y` `[B, y_dim, window, h, w]`.
        """
        policy = policy or MemoryPolicy()
        frames, height, width = x.shape[-3:]
        chunks, rest = divmod(frames - policy.first_chunk, policy.chunk)
        if rest or chunks < 0:
            raise ValueError(
                f"a chain of {frames} latent frames is not {policy.first_chunk} + "
                f"{policy.chunk}n frames"
            )
        if y is not None:
            later = y[:, :, policy.current(1)]
            y = torch.cat((y[:, :, policy.current(0)], *[later] * chunks), 2)
        text = context.flatten(0, 1) if context.dim() == 4 else context
        rope = self.rope(policy, height, width)
        folds = fold_weights([block.self_attn for block in self._blocks()], fold)
        size = self.config.tokens_per_frame(height, width)

        def attend(layer: int) -> Attend:
            return partial(
                attend_chain,
                policy=policy,
                tokens_per_frame=size,
                fold=folds[layer],
                rope=rope,
                kernel=self.kernel,
            )

        audio = None if audio_rows is None else self.encode_audio(audio_rows)
        projected = self.encode_context(text, image)
        return self._velocity(x, y, time, projected, audio, attend)

    def rope(self, policy: MemoryPolicy, height: int, width: int) -> RopeTable:
        """Return the rotary table of a latent size, built once."""
        config, device = self.config, self.device
        key = (policy.window, height, width, device)
        if key not in self._ropes:
            _, patch_height, patch_width = config.patch
            grid = (height // patch_height, width // patch_width)
            # A table made while generating must serve training too.
            with torch.inference_mode(False):
                self._ropes[key] = rope_table(config.head_dim, policy.window, *grid).to(device)
        return self._ropes[key]

    # Inside ------------------------------------------------------------------------------------

    def _blocks(self) -> Iterable[Block]:
        return cast(Iterable[Block], self.blocks)

    def _velocity(
        self,
        x: Tensor,
        y: Tensor | None,
        time: Tensor,
        context: Context,
        audio: Audio | None,
        attend: Callable[[int], Attend],
    ) -> Tensor:
        frames, size = x.shape[2], self.config.tokens_per_frame(*x.shape[-2:])
        time_BD = self.time_embedding(
            time_features(time, self.config.freq_dim).to(self.head.modulation.dtype)
        )
        time_B6D = torch.unflatten(self.time_projection(time_BD), -1, (6, -1))
        tokens = self._patchify(x if y is None else torch.cat((x, y.to(x.dtype)), 1))
        tokens = self.tokens.split(tokens)
        silent = 0 if audio is None else (frames - audio.frames) * tokens.shape[2]
        tokens = self.patch_embedding(tokens.flatten(1, 2).to(self.dtype)).to(time_BD.dtype)
        for index, block in enumerate(self._blocks()):
            heard = None if audio is None else audio.layers[index]
            layer = context.layers[index]
            tokens = block(tokens, time_B6D, attend(index), layer, heard, silent, self.dtype)
        out = self.head(tokens, time_BD, self.dtype)
        out = self.tokens.join(torch.unflatten(out, 1, (frames, -1)), size)
        return self._unpatchify(out, *x.shape[-2:]).to(x.dtype)

    def _patchify(self, x: Tensor) -> Tensor:
        """`[B, C, F, h, w]` -> `[B, F, S, C·patch]`, tokens in raster order."""
        _, height, width = self.config.patch
        x = torch.unflatten(torch.unflatten(x, 4, (-1, width)), 3, (-1, height))  # B C F h ph w pw
        return x.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(2, 3)

    def _unpatchify(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """`[B, F, S, patch·C]` -> `[B, C, F, h, w]`."""
        _, ph, pw = self.config.patch
        grid = (height // ph, width // pw)
        x = torch.unflatten(torch.unflatten(tokens, 2, grid), -1, (ph, pw, -1))
        return x.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def time_features(time: Tensor, width: int) -> Tensor:
    """Return the sinusoids `[B, width]` of times `[B]`: cosines first, computed in float64."""
    half = width // 2
    powers = torch.arange(half, dtype=torch.float64, device=time.device) / half
    angles = torch.outer(time.double(), 10000.0**-powers)
    return torch.cat((angles.cos(), angles.sin()), -1)


def _image_embedding(config: TransformerConfig) -> nn.Sequential:
    width = config.image_dim
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, config.dim),
        nn.LayerNorm(config.dim),
    )
