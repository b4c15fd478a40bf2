"""The look of the person: CLIP ViT-H/14, the output of its last-but-one block."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveact_cli.wan import checkpoint, keymaps

# Channel statistics that CLIP was trained with.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class ClipVision:
    """CLIP's vision tower without its last block.

    Source: arXiv 2603.11746 section 3 (image tokens come from CLIP as in Wan 2.1).
    """

    def __init__(self, path: Path, device: torch.device | str, dtype: torch.dtype) -> None:
        # transformers takes seconds to import: only where a model is really built.
        from transformers import CLIPVisionConfig, CLIPVisionModel

        released = checkpoint.read_tensors(path)
        sizes = keymaps.image_sizes(released)
        config = CLIPVisionConfig(
            hidden_size=sizes.width,
            intermediate_size=sizes.ffn_width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            image_size=sizes.side,
            patch_size=sizes.patch,
            hidden_act="gelu",
        )

        def make() -> nn.Module:
            model: nn.Module = CLIPVisionModel(config)
            # transformers 4 wraps the tower once more than 5 does.
            return getattr(model, "vision_model", model)

        self._model = checkpoint.build(
            make, keymaps.image_tensors(released), path.name, dtype, device
        )
        embeddings: Any = self._model.embeddings
        embeddings.position_ids = torch.arange(embeddings.num_positions, device=device)[None]
        self._side = sizes.side
        self._device, self._dtype = torch.device(device), dtype
        self.width = sizes.width

    @torch.inference_mode()
    def encode(self, image: Tensor) -> Tensor:
        """Encode an image `[3, H, W]` in [-1, 1] -> tokens `[257, width]` for ViT-H."""
        pixels = image[None].to(self._device, torch.float32)
        pixels = F.interpolate(pixels, size=(self._side, self._side), mode="bicubic")
        mean = torch.tensor(MEAN, device=self._device).view(3, 1, 1)
        std = torch.tensor(STD, device=self._device).view(3, 1, 1)
        pixels = (pixels * 0.5 + 0.5 - mean) / std
        tokens: Tensor = self._model(pixel_values=pixels.to(self._dtype)).last_hidden_state
        return tokens[0]
