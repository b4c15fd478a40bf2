"""CLIP's image tokens."""

import torch
from conftest_wan import CHECKPOINT, Golden, relative

from liveact_cli.wan import checkpoint, keymaps
from liveact_cli.wan.clip import ClipVision

WEIGHTS = CHECKPOINT / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"


def test_tokens_match_the_released_code(components: Golden) -> None:
    tokens = ClipVision(WEIGHTS, "cpu", torch.float32).encode(components.tensors["image"][0, :, 0])
    assert tokens.shape == (257, 64)
    assert relative(tokens, components.tensors["clip.context"][0]) < 1e-5


def test_sizes_are_read_from_tensors_and_the_last_block_is_left_out() -> None:
    tensors = checkpoint.read_tensors(WEIGHTS)
    sizes = keymaps.image_sizes(tensors)
    assert (sizes.width, sizes.layers, sizes.patch, sizes.side) == (64, 2, 14, 224)
    assert not any(".layers.2." in name for name in keymaps.image_tensors(tensors))


def test_vit_h_has_sixteen_heads() -> None:
    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    tensors = {
        "visual.patch_embedding.weight": empty(1280, 3, 14, 14),
        "visual.pos_embedding": empty(1, 257, 1280),
        "visual.transformer.0.mlp.0.weight": empty(5120, 1280),
        "visual.transformer.31.norm1.weight": empty(1280),
    }
    sizes = keymaps.image_sizes(tensors)
    assert (sizes.heads, sizes.layers, sizes.side) == (16, 31, 224)
