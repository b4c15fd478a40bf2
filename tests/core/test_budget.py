import pytest
import torch

from liveact_cli.core.budget import Layout, decode_budget, memory_bytes, weight_bytes
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings
from liveact_cli.model.config import LIVEACT_18B, TransformerConfig
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.fp8_memory import FP8Storage
from liveact_cli.runtime.loader import set_precision

TOY = TransformerConfig(
    dim=24, ffn_dim=40, heads=2, layers=2, in_dim=20, out_dim=16, text_dim=6, text_len=4,
    freq_dim=16, image_dim=10, audio_layers=1, audio_channels=10, audio_hidden=12, audio_dim=14,
    audio_tokens=3,
)  # fmt: skip


BF16 = Layout()


def sizes_of(config, height, width, **changes):
    return config.decode_sizes(MemoryPolicy(), (height, width), **changes)


@pytest.mark.parametrize(
    ("height", "width", "published"), [(416, 720, 40.3), (512, 512, 35.2), (480, 832, 53.7)]
)
def test_memory_of_the_released_model_as_published(height, width, published):
    sizes = sizes_of(LIVEACT_18B, height // 8, width // 8)
    assert memory_bytes(sizes, BF16) / 1e9 == pytest.approx(published, abs=0.06)


def test_audio_guidance_adds_two_thirds():
    plain = sizes_of(LIVEACT_18B, 52, 90)
    guided = sizes_of(LIVEACT_18B, 52, 90, silent_steps=2)
    assert memory_bytes(guided, BF16) * 3 == memory_bytes(plain, BF16) * 5


def test_released_model_has_its_parameters():
    assert sum(LIVEACT_18B.parameters()) / 1e9 == pytest.approx(18.6, rel=0.02)


@pytest.mark.parametrize("layout", [Layout("fp32"), Layout("bf16"), Layout("bf16", "fp8")], ids=str)
@pytest.mark.parametrize("guidance", [1.0, 1.7])
def test_bytes_equal_those_of_real_tensors(layout, guidance):
    model = LiveActTransformer(TOY)
    set_precision(model, torch.float32 if layout.precision == "fp32" else torch.bfloat16)
    if layout.kv_precision == "fp8":
        model.set_storage(FP8Storage())
    settings = DecodeSettings(audio_guidance=guidance)
    memory = DecodeMemory(model, MemoryPolicy(), (4, 6), settings)
    sizes = sizes_of(TOY, 4, 6, silent_steps=2 if settings.guided else 0)
    assert weight_bytes(sizes, layout) == sum(p.nbytes for p in model.parameters())
    assert memory_bytes(sizes, layout) == memory.nbytes


def test_a_budget_says_its_parts():
    budget = decode_budget(sizes_of(LIVEACT_18B, 52, 90), BF16)
    assert budget.total == sum(part.nbytes for part in budget.parts)
    assert "weights 38.1 GB, memory 40.3 GB" in str(budget)
    assert str(budget).startswith("81.7 GB (")
