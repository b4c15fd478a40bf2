"""The work by formula is the work that torch counts, and the roofline's figures follow from it."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.diagnose.flops import call_work, chunk_work, vae_work
from liveact_cli.model.config import LIVEACT_18B, TransformerConfig
from liveact_cli.model.schedule import StepSchedule
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.wan.keymaps import VaeSizes
from liveact_cli.wan.vae_decoder import WAN_SIZES, WanDecoder

POLICY = MemoryPolicy()
TOY = TransformerConfig(
    dim=24, ffn_dim=40, heads=2, layers=2, in_dim=12, out_dim=4, text_dim=8, text_len=6,
    freq_dim=8, image_dim=10, audio_layers=2, audio_channels=3, audio_hidden=7, audio_dim=6,
    audio_tokens=3,
)  # fmt: skip
IMAGE_TOKENS = 5


def matrices(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention in two products, which torch's counter knows on every device."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return ((q @ k.transpose(2, 3)).softmax(-1) @ v).transpose(1, 2)


@torch.inference_mode()
@pytest.mark.parametrize("audio", [True, False])
def test_one_call(audio: bool) -> None:
    torch.manual_seed(0)
    one, size = LiveActTransformer(TOY).eval(), (4, 6)
    one.set_kernel(matrices)
    memory = one.new_memory(POLICY, size, [0])
    context = one.encode_context(torch.randn(1, 6, 8), torch.randn(1, IMAGE_TOKENS, 10))
    for chunk in range(3):
        frames = POLICY.chunk_size(chunk)
        rows = torch.randn(1, 4 * (frames - (chunk == 0)) + 4, 2, 3)
        heard = one.encode_audio(rows) if audio else None
        x, y = torch.randn(1, 4, frames, *size), torch.randn(1, 8, frames, *size)
        with FlopCounterMode(display=False) as counter:
            one(x, 900.0, context, heard, memory.bank(0), y)
        work = call_work(TOY, POLICY, 6, chunk=chunk, audio=audio, image_tokens=IMAGE_TOKENS)
        assert work.total == counter.get_total_flops()


@torch.inference_mode()
def test_the_video_decoder() -> None:
    sizes = VaeSizes(4, 4, 16, (1, 2, 4, 4), 1, (False, True, True))
    decoder = WanDecoder.random(sizes, "cpu", torch.float32)
    attention = 4 * 5 * (3 * 2) ** 2 * 16  # the counter does not know the CPU's fused one
    with FlopCounterMode(display=False) as counter:
        x, _ = decoder.stem(torch.randn(16, 5, 3, 2), {})
        decoder.body(x, {}, False)
    counted = counter.get_total_flops()
    assert vae_work(sizes, 5, (3, 2)) in (counted, counted + attention)


def test_the_rooflines_figures() -> None:
    """416x720: 52x90 latents, 1,170 tokens a frame."""
    work = chunk_work(LIVEACT_18B, POLICY, 1170, StepSchedule())
    assert work.linear / 1e12 == pytest.approx(749.8, abs=1)
    assert work.self_attention / 1e12 == pytest.approx(376.8, abs=0.2)
    assert work.cross_attention / 1e12 == pytest.approx(18.2, abs=0.5)
    # 80.9 of convolutions, and the attention of the middle block.
    assert vae_work(WAN_SIZES, 8, (52, 90)) / 1e12 == pytest.approx(80.9 + 0.3, abs=0.1)
