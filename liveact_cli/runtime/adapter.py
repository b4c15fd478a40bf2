"""The released checkpoint's names and shapes -> ours, in one place.

Every parameter of `LiveActTransformer` says which released tensors it is made of. Sizes are read
from the tensors; only what they cannot tell comes from `config.json`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from liveact_cli.core.errors import WeightsError
from liveact_cli.model.config import TransformerConfig

Assemble = Callable[[Sequence[Tensor]], Tensor]


def _same(parts: Sequence[Tensor]) -> Tensor:
    return parts[0]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(tuple(parts))


def _flat_patch(parts: Sequence[Tensor]) -> Tensor:
    """A convolution whose stride is its kernel is a Linear over the flattened patch."""
    return parts[0].flatten(1)


def _without_batch(parts: Sequence[Tensor]) -> Tensor:
    return parts[0].squeeze(0)


def _depthwise(parts: Sequence[Tensor]) -> Tensor:
    """Depth-wise `[D, 1, R]` -> `[R, D]`."""
    return parts[0].squeeze(1).t().contiguous()


@dataclass(frozen=True)
class Rule:
    """Our names that match `ours` are made of `released` (a `{}` is the block's number)."""

    ours: str
    released: tuple[str, ...]
    assemble: Assemble = _same


# `*` stands for what both names end with: weight, bias, or a layer's number and one of these.
_RULES = (
    Rule("patch_embedding.weight", ("patch_embedding.weight",), _flat_patch),
    Rule("patch_embedding.bias", ("patch_embedding.bias",)),
    Rule("time_embedding.*", ("time_embedding.*",)),
    Rule("time_projection.*", ("time_projection.*",)),
    Rule("text_embedding.*", ("text_embedding.*",)),
    Rule("image_embedding.*", ("img_emb.proj.*",)),
    Rule("audio_projection.proj1.*", ("audio_proj.proj1_vf.*",)),
    Rule("audio_projection.*", ("audio_proj.*",)),
    Rule("head.modulation", ("head.modulation",), _without_batch),
    Rule("head.linear.*", ("head.head.*",)),
    Rule("blocks.{}.modulation", ("blocks.{}.modulation",), _without_batch),
    Rule(
        "blocks.{}.self_attn.qkv.*", tuple(f"blocks.{{}}.self_attn.{n}.*" for n in "qkv"), _joined
    ),
    Rule("blocks.{}.self_attn.fold_k", ("blocks.{}.self_attn.memory_proj_k.weight",), _depthwise),
    Rule("blocks.{}.self_attn.fold_v", ("blocks.{}.self_attn.memory_proj_v.weight",), _depthwise),
    Rule("blocks.{}.self_attn.*", ("blocks.{}.self_attn.*",)),
    Rule("blocks.{}.norm_context.*", ("blocks.{}.norm3.*",)),
    Rule("blocks.{}.norm_audio.*", ("blocks.{}.norm_x.*",)),
    Rule(
        "blocks.{}.cross_attn.kv.*", tuple(f"blocks.{{}}.cross_attn.{n}.*" for n in "kv"), _joined
    ),
    Rule(
        "blocks.{}.cross_attn.kv_image.*",
        tuple(f"blocks.{{}}.cross_attn.{n}_img.*" for n in "kv"),
        _joined,
    ),
    Rule("blocks.{}.cross_attn.norm_k_image.*", ("blocks.{}.cross_attn.norm_k_img.*",)),
    Rule("blocks.{}.cross_attn.*", ("blocks.{}.cross_attn.*",)),
    Rule("blocks.{}.audio_attn.q.*", ("blocks.{}.audio_cross_attn.q_linear.*",)),
    Rule("blocks.{}.audio_attn.kv.*", ("blocks.{}.audio_cross_attn.kv_linear.*",)),
    Rule("blocks.{}.audio_attn.o.*", ("blocks.{}.audio_cross_attn.proj.*",)),
    Rule("blocks.{}.ffn.*", ("blocks.{}.ffn.*",)),
)

NEVER_HEARD = ("audio_proj.proj1.weight", "audio_proj.proj1.bias")
"""Released tensors without effect: they make the audio tokens of the still first latent frame,
whose attention result is zero, and of window frames that no chunk reads."""


def _pattern(rule: Rule) -> re.Pattern[str]:
    pattern = (
        re.escape(rule.ours).replace(r"\{\}", r"(?P<block>\d+)").replace(r"\*", "(?P<rest>.+)")
    )
    return re.compile(pattern)


_COMPILED = tuple((_pattern(rule), rule) for rule in _RULES)


def sources_of(name: str) -> tuple[tuple[str, ...], Assemble]:
    """Return the released tensors that our parameter `name` is made of, and how."""
    for pattern, rule in _COMPILED:
        if match := pattern.fullmatch(name):
            found = match.groupdict("")
            released = (
                source.replace("{}", found.get("block", "")).replace("*", found.get("rest", ""))
                for source in rule.released
            )
            return tuple(released), rule.assemble
    raise KeyError(name)


def config_of(
    shapes: Mapping[str, Sequence[int]], settings: Mapping[str, Any]
) -> TransformerConfig:
    """Read the sizes off the released tensors' `shapes`; `settings` is the parsed `config.json`.

    Raises WeightsError when a tensor or a setting that decides a size is missing.
    """
    try:
        return _config_of(shapes, settings)
    except KeyError as missing:
        raise WeightsError(
            f"this is not a LiveAct transformer: {missing} is missing",
            "the checkpoint folder holds config.json and diffusion_pytorch_model*.safetensors",
        ) from missing
    except (ValueError, ZeroDivisionError) as wrong:
        raise WeightsError(f"the checkpoint's sizes do not fit together: {wrong}") from wrong


def _config_of(
    shapes: Mapping[str, Sequence[int]], settings: Mapping[str, Any]
) -> TransformerConfig:
    dim, in_dim, *patch = shapes["patch_embedding.weight"]
    pixels = patch[0] * patch[1] * patch[2]
    stride = int(settings["vae_scale"])
    # The first projection sees `window` rows, the other `window + stride - 1`: both give a row.
    audio_hidden, first_width = shapes["audio_proj.proj1.weight"]
    width = (shapes["audio_proj.proj1_vf.weight"][1] - first_width) // (stride - 1)
    audio_dim = shapes["blocks.0.audio_cross_attn.kv_linear.weight"][1]
    blocks = {name.split(".")[1] for name in shapes if name.startswith("blocks.")}
    image = shapes.get("img_emb.proj.0.weight")
    return TransformerConfig(
        dim=dim,
        ffn_dim=shapes["blocks.0.ffn.0.weight"][0],
        heads=int(settings["num_heads"]),
        layers=len(blocks),
        in_dim=in_dim,
        out_dim=shapes["head.head.weight"][0] // pixels,
        patch=(patch[0], patch[1], patch[2]),
        text_dim=shapes["text_embedding.0.weight"][1],
        text_len=int(settings["text_len"]),
        freq_dim=shapes["time_embedding.0.weight"][1],
        image_dim=0 if image is None else image[0],
        audio_window=first_width // width,
        # The tensors tell the width of a row, not how layers and channels share it.
        audio_layers=1,
        audio_channels=width,
        audio_hidden=audio_hidden,
        audio_dim=audio_dim,
        audio_tokens=shapes["audio_proj.proj3.weight"][0] // audio_dim,
        audio_norm="audio_proj.norm.weight" in shapes,
        audio_input_norm="blocks.0.norm_x.weight" in shapes,
        temporal_stride=stride,
        fold_ratio=shapes["blocks.0.self_attn.memory_proj_k.weight"][2],
        eps=float(settings["eps"]),
    )
