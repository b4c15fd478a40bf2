"""The released 18.6 B model at its full size on the meta device: shapes without the bytes."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peaks import PeakBytes
from safetensors import safe_open

from liveact_cli.core.budget import (
    PLACES,
    CodecSizes,
    DecodeSizes,
    Layout,
    Offload,
    Precision,
    activation_bytes,
    block_bytes,
    context_bytes,
    drawing_sizes,
    end_bytes,
    memory_bytes,
    places_bytes,
    vae_bytes,
    weight_bytes,
    window_bytes,
)
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.core.units import Size
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings
from liveact_cli.model.config import LIVEACT_18B
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.adapter import NEVER_HEARD, sources_of
from liveact_cli.runtime.build import Options, equip, offloaded
from liveact_cli.runtime.fp8 import FP8Plan, plan_fp8
from liveact_cli.runtime.fp8_memory import FP8Storage
from liveact_cli.runtime.kernels import video_eager
from liveact_cli.runtime.loader import set_precision, swap_planned
from liveact_cli.wan.tiny_decoder import TinyDecoder
from liveact_cli.wan.vae_decoder import WAN_SIZES
from liveact_cli.wan.vae_stream import State, VideoDecoder

TINY = Path(__file__).parents[1] / "golden" / "tiny-liveact"
LATENT = (416 // 8, 720 // 8)
CHUNKS = 6
BF16 = Layout()
META = torch.device("meta")


@pytest.fixture(scope="module")
def full() -> LiveActTransformer:
    with torch.device("meta"):
        model = LiveActTransformer(LIVEACT_18B)
    set_precision(model, torch.bfloat16)
    return model


def sizes() -> DecodeSizes:
    return LIVEACT_18B.decode_sizes(MemoryPolicy(), LATENT)


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
    assert nbytes == weight_bytes(sizes(), BF16)
    assert sum(p.numel() for p in full.parameters()) / 1e9 == pytest.approx(18.6, rel=0.02)


@torch.inference_mode()
def test_six_chunks_keep_their_shapes_and_the_memory_its_size(full: LiveActTransformer) -> None:
    config, policy, settings = LIVEACT_18B, MemoryPolicy(), DecodeSettings()
    memory = DecodeMemory(full, policy, LATENT, settings)
    assert memory.nbytes == memory_bytes(sizes(), BF16)
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
    assert memory.nbytes == memory_bytes(sizes(), BF16)
    held = (t for part in (context.layers, audio.layers) for layer in part for t in _tensors(layer))
    assert sum(t.numel() * t.element_size() for t in held) == context_bytes(sizes(), BF16)


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
@pytest.mark.parametrize("kv_precision", ["bf16", "fp8"])
@pytest.mark.parametrize("offload", ["none", "cache", "blocks", "all"])
def test_the_budget_is_the_sum_of_the_tensors(
    precision: Precision, kv_precision: Precision, offload: Offload
) -> None:
    """Every way of running the full model, built on the meta device and counted."""
    layout, ours = Layout(precision, kv_precision, offload), sizes()
    plan = plan_fp8(LIVEACT_18B) if precision == "fp8" else None
    options = Options(
        torch.bfloat16, plan, fp8_memory=kv_precision == "fp8", offload=offload, kernels="eager"
    )
    with torch.device("meta"):
        model = LiveActTransformer(LIVEACT_18B)
    set_precision(model, torch.bfloat16)
    swap_planned(model, plan or FP8Plan(()), torch.bfloat16)
    total = sum(p.nbytes for p in model.parameters())
    equip(model, options, META)
    assert total == weight_bytes(ours, layout)
    if layout.blocks_offloaded:
        blocks = offloaded(model)
        assert blocks is not None
        assert blocks.host_bytes == block_bytes(ours, layout)
        assert blocks.device_bytes == places_bytes(ours, layout)
        assert total - blocks.host_bytes == end_bytes(ours, layout)
    memory = DecodeMemory(model, MemoryPolicy(), LATENT, DecodeSettings())
    assert memory.nbytes == memory_bytes(ours, layout)
    if layout.cache_offloaded:
        places = memory.main.bank(0).places
        assert places.nbytes == PLACES * window_bytes(ours, layout)


@pytest.mark.parametrize(
    ("latent", "kv_precision"), [((52, 90), "bf16"), ((52, 90), "fp8"), ((64, 64), "bf16")]
)
@torch.inference_mode()
def test_a_block_holds_no_more_than_the_budget_says(
    latent: tuple[int, int], kv_precision: Precision
) -> None:
    config, policy = replace(LIVEACT_18B, layers=1), MemoryPolicy()
    with torch.device("meta"):
        model = LiveActTransformer(config)
    set_precision(model, torch.bfloat16)
    if kv_precision == "fp8":
        model.set_storage(FP8Storage())
    context = model.encode_context(
        torch.empty(1, 512, config.text_dim, device=META),
        torch.empty(1, 257, config.image_dim, device=META),
    )
    bank = model.new_memory(policy, latent, [0]).bank(0)
    peak = 0
    for chunk in range(3):
        x = torch.empty(1, 16, policy.chunk_size(chunk), *latent, device=META)
        y = torch.empty(1, config.y_dim, *x.shape[2:], device=META)
        with PeakBytes() as peaks:
            peaks.know(*bank.layer(0).buffers().values())
            model(x, 900.0, context, None, bank, y)
        peak = max(peak, peaks.peak)
    said = activation_bytes(config.decode_sizes(policy, latent), Layout("bf16", kv_precision))
    assert 0.8 * said <= peak <= said


class _NotLaunched:
    """A Triton kernel that is not run: only what is allocated for it counts."""

    def __getitem__(self, grid: object):
        return lambda *arguments, **options: None


@pytest.mark.parametrize("latents", [8, 2])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
@torch.inference_mode()
def test_the_vae_holds_no_more_than_the_budget_says(
    fused: bool, latents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels: Any = video_eager
    if fused:
        pytest.importorskip("triton", reason="Triton has no build for this system")
        from liveact_cli.runtime.kernels import video_fused as kernels

        monkeypatch.setattr(kernels, "_prepare", _NotLaunched())
        monkeypatch.setattr(kernels, "_enlarge", _NotLaunched())
    with torch.device("meta"):
        decoder = VideoDecoder(WAN_SIZES).to(torch.bfloat16)
    stem: State = {}
    body: State = {}
    with PeakBytes() as peaks:
        for number, frames in enumerate((1, latents, latents)):
            z = torch.empty(1, 16, frames, *LATENT, device=META, dtype=torch.bfloat16)
            features, stem = decoder.stem(kernels, z, stem)
            video, body = decoder.body(kernels, features, body, number == 0)
            video.clamp(-1, 1)
    size = Size(LATENT[1] * 8, LATENT[0] * 8)
    codecs = CodecSizes(size, 0, 0, 0, drawing_sizes("wan", fused=fused))
    said = vae_bytes(codecs, replace(BF16, latents_per_call=latents))
    assert 0.8 * said <= peaks.peak <= said


@torch.inference_mode()
def test_the_small_decoder_holds_no_more_than_the_budget_says() -> None:
    decoder = TinyDecoder.random(META, torch.bfloat16)
    state: State = {}
    with PeakBytes() as peaks:
        for frames in (1, 8, 8):
            latent = torch.empty(16, frames, *LATENT, device=META)
            video, state = decoder.step(latent, state)
            del video, latent
    codecs = CodecSizes(
        Size(LATENT[1] * 8, LATENT[0] * 8), 0, 0, 0, drawing_sizes("taew2_1", fused=True)
    )
    assert 0.8 * vae_bytes(codecs, BF16) <= peaks.peak <= vae_bytes(codecs, BF16)


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for part in value for t in _tensors(part)] if isinstance(value, tuple) else []
