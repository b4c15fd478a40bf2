"""From the released files' names to those of transformers and diffusers; sizes from shapes.

Every function here takes a table of named tensors and is pure. Nothing is read from a
configuration file that a tensor's shape can say: the released `config.json` is known to lack
entries.
"""

import re
from dataclasses import dataclass

from torch import Tensor

from liveact_cli.core.errors import WeightsError

Tensors = dict[str, Tensor]

# The number of heads cannot be read off a fused projection. ViT-H/14, the only tower released, has
# heads of 80 channels; towers of other widths (checkpoints made for tests) have heads of 16.
CLIP_HEAD_WIDTH = 80
SMALL_CLIP_HEAD_WIDTH = 16


def _shape(tensors: Tensors, name: str, origin: str) -> tuple[int, ...]:
    if name not in tensors:
        raise WeightsError(
            f"{origin} lacks the tensor {name!r} ({len(tensors)} tensors in it)",
            "liveact model verify compares the file with the one that was downloaded",
        )
    return tuple(tensors[name].shape)


def _count(tensors: Tensors, pattern: str) -> int:
    """One more than the largest index that `pattern` (one group) finds, 0 if it finds none."""
    found = (re.match(pattern, name) for name in tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _renamed(tensors: Tensors, rules: list[tuple[str, str]]) -> Tensors:
    """Rename by the first rule (full match) that fits; names that no rule fits are left out."""
    compiled = [(re.compile(pattern), target) for pattern, target in rules]
    result: Tensors = {}
    for name, value in tensors.items():
        for pattern, target in compiled:
            if match := pattern.fullmatch(name):
                result[match.expand(target)] = value
                break
    return result


# --- umT5 ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextSizes:
    """Sizes of the umT5 encoder."""

    vocabulary: int
    width: int
    head_width: int
    heads: int
    ffn_width: int
    layers: int
    buckets: int


def text_sizes(tensors: Tensors) -> TextSizes:
    """Sizes of the released umT5 encoder, from its tensors."""
    origin = "the text encoder"
    vocabulary, width = _shape(tensors, "token_embedding.weight", origin)
    buckets, heads = _shape(tensors, "blocks.0.pos_embedding.embedding.weight", origin)
    inner = _shape(tensors, "blocks.0.attn.q.weight", origin)[0]
    ffn_width = _shape(tensors, "blocks.0.ffn.fc1.weight", origin)[0]
    layers = _count(tensors, r"blocks\.(\d+)\.")
    return TextSizes(vocabulary, width, inner // heads, heads, ffn_width, layers, buckets)


def text_tensors(tensors: Tensors) -> Tensors:
    """The released umT5 names -> those of transformers' UMT5EncoderModel."""
    block = r"encoder.block.\1.layer"
    result = _renamed(
        tensors,
        [
            (r"token_embedding\.weight", r"shared.weight"),
            (r"norm\.weight", r"encoder.final_layer_norm.weight"),
            (r"blocks\.(\d+)\.norm1\.weight", block + r".0.layer_norm.weight"),
            (r"blocks\.(\d+)\.norm2\.weight", block + r".1.layer_norm.weight"),
            (r"blocks\.(\d+)\.attn\.([qkvo])\.weight", block + r".0.SelfAttention.\2.weight"),
            (
                r"blocks\.(\d+)\.pos_embedding\.embedding\.weight",
                block + r".0.SelfAttention.relative_attention_bias.weight",
            ),
            (r"blocks\.(\d+)\.ffn\.gate\.0\.weight", block + r".1.DenseReluDense.wi_0.weight"),
            (r"blocks\.(\d+)\.ffn\.fc1\.weight", block + r".1.DenseReluDense.wi_1.weight"),
            (r"blocks\.(\d+)\.ffn\.fc2\.weight", block + r".1.DenseReluDense.wo.weight"),
        ],
    )
    result["encoder.embed_tokens.weight"] = result["shared.weight"]  # one table, two names
    return result


# --- CLIP ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageSizes:
    """Sizes of the CLIP vision tower as used: its last block is left out."""

    width: int
    heads: int
    ffn_width: int
    layers: int
    patch: int
    side: int


def image_sizes(tensors: Tensors) -> ImageSizes:
    """Sizes of the released CLIP vision tower without its last block, from its tensors."""
    origin = "the image encoder"
    width, _, patch, _ = _shape(tensors, "visual.patch_embedding.weight", origin)
    tokens = _shape(tensors, "visual.pos_embedding", origin)[1]
    ffn_width = _shape(tensors, "visual.transformer.0.mlp.0.weight", origin)[0]
    blocks = _count(tensors, r"visual\.transformer\.(\d+)\.")
    side = patch * round((tokens - 1) ** 0.5)
    head_width = SMALL_CLIP_HEAD_WIDTH if width % CLIP_HEAD_WIDTH else CLIP_HEAD_WIDTH
    return ImageSizes(width, width // head_width, ffn_width, blocks - 1, patch, side)


def image_tensors(tensors: Tensors) -> Tensors:
    """The released `visual.*` names -> those of transformers' CLIPVisionModel, without a prefix."""
    sizes = image_sizes(tensors)
    layer = r"encoder.layers.\1"
    renamed = _renamed(
        tensors,
        [
            (r"visual\.cls_embedding", r"embeddings.class_embedding"),
            (r"visual\.pos_embedding", r"embeddings.position_embedding.weight"),
            (r"visual\.patch_embedding\.weight", r"embeddings.patch_embedding.weight"),
            (r"visual\.pre_norm\.(weight|bias)", r"pre_layrnorm.\1"),
            (r"visual\.post_norm\.(weight|bias)", r"post_layernorm.\1"),
            (r"visual\.transformer\.(\d+)\.norm([12])\.(weight|bias)", layer + r".layer_norm\2.\3"),
            (
                r"visual\.transformer\.(\d+)\.attn\.to_qkv\.(weight|bias)",
                layer + r".self_attn.to_qkv.\2",
            ),
            (
                r"visual\.transformer\.(\d+)\.attn\.proj\.(weight|bias)",
                layer + r".self_attn.out_proj.\2",
            ),
            (r"visual\.transformer\.(\d+)\.mlp\.0\.(weight|bias)", layer + r".mlp.fc1.\2"),
            (r"visual\.transformer\.(\d+)\.mlp\.2\.(weight|bias)", layer + r".mlp.fc2.\2"),
        ],
    )
    result: Tensors = {}
    for name, value in renamed.items():
        if name.startswith(f"encoder.layers.{sizes.layers}."):
            continue
        if ".to_qkv." in name:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                result[name.replace("to_qkv", f"{part}_proj")] = third
        elif name.startswith("embeddings.") and name != "embeddings.patch_embedding.weight":
            result[name] = value.reshape(-1, sizes.width).squeeze(0)
        else:
            result[name] = value
    return result


# --- wav2vec2 -----------------------------------------------------------------------------------


def audio_tensors(tensors: Tensors) -> Tensors:
    """wav2vec2 as published, bare or in a pre-training model -> transformers' Wav2Vec2Model."""
    wrapped = any(name.startswith("wav2vec2.") for name in tensors)
    weight = r"encoder.pos_conv_embed.conv.parametrizations.weight.original"
    rules = [
        # The two spellings of weight normalisation: torch renamed them in 2.0.
        (r"encoder\.pos_conv_embed\.conv\.weight_g", weight + "0"),
        (r"encoder\.pos_conv_embed\.conv\.weight_v", weight + "1"),
        (r"((?:encoder|feature_extractor|feature_projection|masked_spec_embed)\b.*)", r"\1"),
    ]
    prefix = "wav2vec2."
    bare = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if not wrapped or name.startswith(prefix)
    }
    return _renamed(bare, rules)


# --- Wan VAE ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VaeSizes:
    """Sizes of the causal video VAE; `temporal[i]`: does level i of the encoder halve time."""

    base: int
    decoder_base: int
    latent: int
    multipliers: tuple[int, ...]
    res_blocks: int
    temporal: tuple[bool, ...]

    @property
    def temporal_stride(self) -> int:
        """Video frames per latent frame."""
        return 1 << sum(self.temporal)

    @property
    def spatial_stride(self) -> int:
        """Pixels per latent pixel, each way."""
        return 1 << len(self.temporal)


def vae_sizes(tensors: Tensors) -> VaeSizes:
    """Sizes of the released VAE, from its tensors."""
    origin = "the video VAE"
    base = _shape(tensors, "encoder.conv1.weight", origin)[0]
    decoder_base = _shape(tensors, "decoder.head.2.weight", origin)[1]
    latent = _shape(tensors, "conv2.weight", origin)[0]
    samplers = [
        index
        for index in range(_count(tensors, r"encoder\.downsamples\.(\d+)\."))
        if f"encoder.downsamples.{index}.resample.1.weight" in tensors
    ]
    if not samplers:
        raise WeightsError(
            f"{origin} has no down-sampling layer ({len(tensors)} tensors in it)",
            "liveact model verify compares the file with the one that was downloaded",
        )
    res_blocks = samplers[0]
    widths = [
        _shape(tensors, f"encoder.downsamples.{level}.residual.6.weight", origin)[0]
        for level in [*(sampler - 1 for sampler in samplers), samplers[-1] + res_blocks]
    ]
    temporal = tuple(f"encoder.downsamples.{at}.time_conv.weight" in tensors for at in samplers)
    multipliers = tuple(width // base for width in widths)
    return VaeSizes(base, decoder_base, latent, multipliers, res_blocks, temporal)


def vae_tensors(tensors: Tensors) -> Tensors:
    """The released VAE names -> those of diffusers' AutoencoderKLWan."""
    per_level = vae_sizes(tensors).res_blocks + 2  # the decoder's residual blocks, then a sampler

    def place(name: str) -> str:
        match = re.fullmatch(r"decoder\.upsamples\.(\d+)\.(.*)", name)
        if match:
            level, at = divmod(int(match[1]), per_level)
            part = "upsamplers.0" if at == per_level - 1 else f"resnets.{at}"
            return f"decoder.up_blocks.{level}.{part}.{match[2]}"
        return re.sub(r"^encoder\.downsamples\.", "encoder.down_blocks.", name)

    whole = {
        r"^conv1\.": "quant_conv.",
        r"^conv2\.": "post_quant_conv.",
        r"^(encoder|decoder)\.conv1\.": r"\1.conv_in.",
        r"^(encoder|decoder)\.head\.0\.": r"\1.norm_out.",
        r"^(encoder|decoder)\.head\.2\.": r"\1.conv_out.",
        r"^(encoder|decoder)\.middle\.0\.": r"\1.mid_block.resnets.0.",
        r"^(encoder|decoder)\.middle\.1\.": r"\1.mid_block.attentions.0.",
        r"^(encoder|decoder)\.middle\.2\.": r"\1.mid_block.resnets.1.",
    }
    inner = {
        ".residual.0.": ".norm1.",
        ".residual.2.": ".conv1.",
        ".residual.3.": ".norm2.",
        ".residual.6.": ".conv2.",
        ".shortcut.": ".conv_shortcut.",
    }
    result: Tensors = {}
    for name, value in tensors.items():
        target = place(name)
        for pattern, replacement in whole.items():
            target = re.sub(pattern, replacement, target)
        for old, new in inner.items():
            target = target.replace(old, new)
        result[target] = value
    return result
