"""The released 18.6 B model at its full size on the meta device: shapes without the bytes."""

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from liveact_cli.core.budget import DecodeSizes, context_bytes, memory_bytes, weight_bytes
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings
from liveact_cli.model.config import LIVEACT_18B
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.adapter import NEVER_HEARD, sources_of
from liveact_cli.runtime.loader import set_precision

TINY = Path(__file__).parents[1] / "golden" / "tiny-liveact"
LATENT = (416 // 8, 720 // 8)
CHUNKS = 6


@pytest.fixture(scope="module")
def full() -> LiveActTransformer:
    with torch.device("meta"):
        model = LiveActTransformer(LIVEACT_18B)
    set_precision(model, torch.bfloat16)
    return model


def sizes() -> DecodeSizes:
    parameters, float32 = LIVEACT_18B.parameters()
    return DecodeSizes(
        policy=MemoryPolicy(),
        tokens_per_frame=LIVEACT_18B.tokens_per_frame(*LATENT),
        dim=LIVEACT_18B.dim,
        ffn_dim=LIVEACT_18B.ffn_dim,
        layers=LIVEACT_18B.layers,
        parameters=parameters,
        float32_parameters=float32,
        context_tokens=LIVEACT_18B.text_len + 257,
        audio_tokens=LIVEACT_18B.audio_tokens,
    )


def released_names(layers: int) -> set[str]:
    """The names of the released layout with as many blocks as asked for."""
    names: set[str] = set()
    for file in TINY.glob("diffusion_pytorch_model-*.safetensors"):
        with safe_open(file, "pt") as tensors:
            names |= set(tensors.keys())
    return {
        re.sub(r"^blocks\.0\.", f"blocks.{layer}.", name)
        for name in names
        if not name.startswith("blocks.1.")
        for layer in range(layers)
    }


def test_every_released_name_has_a_place_in_the_full_model(full: LiveActTransformer) -> None:
    used = {source for name, _ in full.named_parameters() for source in sources_of(name)[0]}
    assert used == released_names(40) - set(NEVER_HEARD)


def test_weights_are_what_the_budget_says(full: LiveActTransformer) -> None:
    nbytes = sum(p.numel() * p.element_size() for p in full.parameters())
    assert nbytes == weight_bytes(sizes())
    assert sum(p.numel() for p in full.parameters()) / 1e9 == pytest.approx(18.6, rel=0.02)


@torch.inference_mode()
def test_six_chunks_keep_their_shapes_and_the_memory_its_size(full: LiveActTransformer) -> None:
    config, policy, settings = LIVEACT_18B, MemoryPolicy(), DecodeSettings()
    memory = DecodeMemory(full, policy, LATENT, settings)
    assert memory.nbytes == memory_bytes(sizes())
    assert memory.nbytes / 1e9 == pytest.approx(40.3, abs=0.05)
    meta = torch.device("meta")
    context = full.encode_context(
        torch.empty(1, 512, config.text_dim, device=meta),
        torch.empty(1, 257, config.image_dim, device=meta),
    )
    for chunk in range(CHUNKS):
        frames = policy.chunk_size(chunk)
        heard = frames - 1 if chunk == 0 else frames
        audio = full.encode_audio(torch.empty(1, 4 * heard + 4, 12, 768, device=meta))
        x = torch.empty(1, 16, frames, *LATENT, device=meta)
        y = torch.empty(1, config.y_dim, frames, *LATENT, device=meta)
        for step in settings.schedule.steps[:2]:  # the third has the second's shapes
            listens = audio if step.audio else None
            bank = memory.main.bank(step.index)
            velocity = full(x, step.time, context, listens, bank, y)
            assert velocity.shape == x.shape
            k, v = bank.layer(config.layers - 1).filled_part()
            slots = policy.first_chunk if chunk == 0 else policy.window
            assert k.shape == v.shape == (1, slots * 1170, 40, 128)
    assert memory.nbytes == memory_bytes(sizes())
    held = (t for part in (context.layers, audio.layers) for layer in part for t in _tensors(layer))
    assert sum(t.numel() * t.element_size() for t in held) == context_bytes(sizes())


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for part in value for t in _tensors(part)] if isinstance(value, tuple) else []
