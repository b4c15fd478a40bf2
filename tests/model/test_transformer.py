"""The real class at toy sizes, one like the released model and one like liveact-mini."""

import json
from dataclasses import replace

import pytest
import torch

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.transformer import LiveActTransformer

MINI = TransformerConfig(
    dim=32, ffn_dim=48, heads=2, layers=3, in_dim=8, out_dim=8, patch=(1, 1, 1), text_dim=6,
    text_len=4, freq_dim=16, audio_layers=1, audio_channels=10, audio_hidden=12, audio_dim=14,
    audio_tokens=3,
)  # fmt: skip
WAN = replace(MINI, in_dim=20, out_dim=16, patch=(1, 2, 2), image_dim=18)
SIZES = {"mini": (MINI, (1, 5)), "wan": (WAN, (4, 6))}


def build(config: TransformerConfig, seed: int = 0) -> LiveActTransformer:
    """Return a transformer whose every weight matters (fresh ones have a silent head)."""
    torch.manual_seed(seed)
    model = LiveActTransformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def chain_inputs(config, size, frames, batch=1, seed=1):
    g = torch.Generator().manual_seed(seed)
    rows = (batch, 4 * frames, config.audio_layers, config.audio_channels)
    inputs = {
        "x": torch.randn(batch, config.out_dim, frames, *size, generator=g),
        "rows": torch.randn(rows, generator=g),
        "text": torch.randn(batch, 3, config.text_dim, generator=g),
        "image": None,
        "y": None,
    }
    if config.image_dim:
        inputs["image"] = torch.randn(batch, 7, config.image_dim, generator=g)
        inputs["y"] = torch.randn(batch, config.y_dim, MemoryPolicy().window, *size, generator=g)
    return inputs


def chunk_by_chunk(model, inputs, size, time, *, audio=True, fold="shared", policy=None):
    """Run a chain (batch 1) through the memory, one chunk after another."""
    policy = policy or MemoryPolicy()
    memory = model.new_memory(policy, size, [0], fold)
    context = model.encode_context(inputs["text"], inputs["image"])
    outs, start, chunk = [], 0, 0
    while start < inputs["x"].shape[2]:
        stop = start + policy.chunk_size(chunk)
        # Latent frame g hears rows 4(g - 1) + 1 - 2 .. + 5, and row -1 is the first given.
        first = max(start, 1)
        rows = inputs["rows"][:, 4 * (first - 1) : 4 * (stop - 1) + 4]
        heard = model.encode_audio(rows) if audio else None
        y = None if inputs["y"] is None else inputs["y"][:, :, policy.current(chunk)]
        x = inputs["x"][:, :, start:stop]
        outs.append(model(x, time, context, heard, memory.bank(0), y))
        start, chunk = stop, chunk + 1
    return torch.cat(outs, 2)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("audio", [True, False])
@pytest.mark.parametrize("fold", ["shared", "separate", "mean"])
def test_chain_equals_chunk_by_chunk(name, audio, fold):
    config, size = SIZES[name]
    model = build(config)
    inputs = chain_inputs(config, size, 6 + 3 * 8)
    rows = inputs["rows"] if audio else None
    with torch.no_grad():
        one_by_one = chunk_by_chunk(model, inputs, size, 937.5, audio=audio, fold=fold)
        chain = model.forward_chain(
            inputs["x"], torch.tensor([937.5]), inputs["text"], rows,
            image=inputs["image"], y=inputs["y"], fold=fold,
        )  # fmt: skip
    assert (chain - one_by_one).abs().max() <= 1e-6 * chain.abs().max().clamp_min(1)


def test_chain_of_another_policy_equals_chunk_by_chunk():
    policy = MemoryPolicy(sink=1, folded=1, recent=5, ratio=5)
    model, size = build(MINI), (1, 5)
    inputs = chain_inputs(MINI, size, policy.first_chunk + 4 * policy.chunk)
    with torch.no_grad():
        expected = chunk_by_chunk(model, inputs, size, 500.0, policy=policy)
        time = torch.tensor([500.0])
        chain = model.forward_chain(
            inputs["x"], time, inputs["text"], inputs["rows"], policy=policy
        )
    assert (chain - expected).abs().max() <= 1e-6 * chain.abs().max().clamp_min(1)


@pytest.mark.parametrize("name", SIZES)
def test_chain_treats_every_video_of_a_batch_alone(name):
    config, size = SIZES[name]
    model = build(config)
    inputs = chain_inputs(config, size, 14, batch=3)
    time = torch.tensor([1000.0, 500.0, 100.0])

    def run(rows):
        pick = {key: value[rows] if value is not None else None for key, value in inputs.items()}
        return model.forward_chain(
            pick["x"], time[rows], pick["text"], pick["rows"], image=pick["image"], y=pick["y"]
        )

    with torch.no_grad():
        whole = run(slice(0, 3))
        for row in range(3):
            alone = run(slice(row, row + 1))
            assert (whole[row : row + 1] - alone).abs().max() <= 1e-6 * alone.abs().max()


@pytest.mark.parametrize("name", SIZES)
def test_gradients_reach_every_weight_that_is_used(name):
    config, size = SIZES[name]
    model = build(config)
    inputs = chain_inputs(config, size, 22, batch=2)
    velocity = model.forward_chain(
        inputs["x"], torch.tensor([700.0, 300.0]), inputs["text"], inputs["rows"],
        image=inputs["image"], y=inputs["y"], fold="separate",
    )  # fmt: skip
    velocity.square().mean().backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert silent == []


def test_gradient_of_the_chain_is_right():
    model = build(replace(MINI, layers=1)).double()
    inputs = chain_inputs(MINI, (1, 5), 14)
    x = inputs["x"].double().requires_grad_()

    def mean_square():
        text, rows = inputs["text"].double(), inputs["rows"].double()
        return model.forward_chain(x, torch.tensor([700.0]), text, rows).square().mean()

    mean_square().backward()
    with torch.no_grad():
        step, place = 1e-5, (0, 2, 1, 0, 3)
        x[place] += step
        above = mean_square()
        x[place] -= 2 * step
        slope = (above - mean_square()) / (2 * step)
    assert x.grad[place] == pytest.approx(slope.item(), rel=1e-4)


@pytest.mark.parametrize("name", SIZES)
def test_one_context_repeated_per_frame_changes_nothing(name):
    config, size = SIZES[name]
    model = build(config)
    inputs = chain_inputs(config, size, 14, batch=2)
    time = torch.tensor([900.0, 100.0])
    rest = {"image": inputs["image"], "y": inputs["y"]}
    with torch.no_grad():
        once = model.forward_chain(inputs["x"], time, inputs["text"], inputs["rows"], **rest)
        text = inputs["text"][:, None].expand(-1, 14, -1, -1)
        repeated = model.forward_chain(inputs["x"], time, text, inputs["rows"], **rest)
    assert (once - repeated).abs().max() <= 1e-6 * once.abs().max()


def test_context_of_one_frame_steers_that_frame_first():
    model = build(replace(MINI, layers=1))
    inputs = chain_inputs(MINI, (1, 5), 6)
    text = inputs["text"][:, None].repeat(1, 6, 1, 1)
    time = torch.tensor([900.0])
    with torch.no_grad():
        before = model.forward_chain(inputs["x"], time, text, inputs["rows"])
        text[:, 4] += 1
        after = model.forward_chain(inputs["x"], time, text, inputs["rows"])
    changed = (before - after).abs().amax((0, 1, 3, 4)) > 0
    assert changed.tolist() == [False, False, False, False, True, False]


def test_the_first_latent_frame_hears_nothing():
    model = build(replace(MINI, layers=1))
    inputs = chain_inputs(MINI, (1, 5), 6)
    time = torch.tensor([900.0])
    with torch.no_grad():
        heard = model.forward_chain(inputs["x"], time, inputs["text"], inputs["rows"])
        silent = model.forward_chain(inputs["x"], time, inputs["text"], None)
    changed = (heard - silent).abs().amax((0, 1, 3, 4)) > 0
    assert changed.tolist() == [False] + [True] * 5


def test_a_chain_of_the_wrong_length_is_refused():
    inputs = chain_inputs(MINI, (1, 5), 15)
    with pytest.raises(ValueError, match="15 latent frames is not 6 \\+ 8n"):
        build(MINI).forward_chain(inputs["x"], torch.tensor([1.0]), inputs["text"], None)


def test_config_survives_json_and_refuses_what_does_not_divide():
    assert TransformerConfig.from_dict(json.loads(json.dumps(WAN.to_dict()))) == WAN
    with pytest.raises(ValueError, match="unknown transformer settings: colour"):
        TransformerConfig.from_dict({**WAN.to_dict(), "colour": 1})
    with pytest.raises(ValueError, match="dim 32 does not split into 3 heads"):
        replace(MINI, heads=3)
    with pytest.raises(ValueError, match="latents of 3x5"):
        WAN.tokens_per_frame(3, 5)


@pytest.mark.parametrize("config", [MINI, WAN])
def test_config_counts_the_parameters(config):
    with torch.device("meta"):
        model = LiveActTransformer(config)
    assert sum(config.parameters()) == sum(p.numel() for p in model.parameters())


def test_context_is_checked():
    with pytest.raises(ValueError, match="5 text tokens exceed the 4 there are"):
        build(MINI).encode_context(torch.zeros(1, 5, MINI.text_dim))
    with pytest.raises(ValueError, match="needs image tokens"):
        build(WAN).encode_context(torch.zeros(1, 4, WAN.text_dim))


def test_another_kernel_serves_every_attention():
    model, calls = build(WAN), []

    def kernel(q, k, v):
        calls.append(q.shape)
        weights = torch.einsum("btnh,bsnh->bnts", q, k) * q.shape[-1] ** -0.5
        return torch.einsum("bnts,bsnh->btnh", weights.softmax(-1), v)

    inputs, size = chain_inputs(WAN, (4, 6), 14), (4, 6)
    with torch.no_grad():
        expected = chunk_by_chunk(model, inputs, size, 900.0)
        model.set_kernel(kernel)
        ours = chunk_by_chunk(model, inputs, size, 900.0)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    assert len(calls) == 2 * WAN.layers * 4  # self, text, image, sound; two chunks
