"""The loop, with the real classes at toy size."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.engine.conditioning import (
    Conditioner,
    FixedPrompt,
    Reference,
    audio_span,
    chain_rows,
)
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings, decode_chunks
from liveact_cli.engine.noise import PhiloxNoise
from liveact_cli.engine.verify import RecordedRows
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.schedule import StepSchedule
from liveact_cli.model.transformer import LiveActTransformer

POLICY = MemoryPolicy()
TOY = TransformerConfig(
    dim=24, ffn_dim=40, heads=2, layers=2, in_dim=12, out_dim=8, patch=(1, 1, 1), text_dim=6,
    text_len=4, freq_dim=16, image_dim=10, audio_layers=2, audio_channels=5, audio_hidden=12,
    audio_dim=14, audio_tokens=3,
)  # fmt: skip
SIZE = (1, 5)


class SwitchingPrompt:
    """One text per latent frame; it changes at latent frame `at`."""

    def __init__(self, a, b, at):
        self.a, self.b, self.at = a, b, at

    def context(self, span):
        frames = range(span.latent_start, span.latent_stop)
        return torch.stack([self.a if frame < self.at else self.b for frame in frames])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    transformer = LiveActTransformer(TOY).requires_grad_(False)
    for parameter in transformer.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return transformer


@pytest.fixture(scope="module")
def inputs():
    g = torch.Generator().manual_seed(1)
    return {
        "rows": torch.randn(200, 2, 5, generator=g),
        "text": torch.randn(3, 6, generator=g),
        "other": torch.randn(3, 6, generator=g),
        "reference": Reference(
            torch.randn(7, 10, generator=g), torch.randn(4, POLICY.window, *SIZE, generator=g)
        ),
    }


def run(model, inputs, chunks, *, prompts=None, seed=5, start=0, state=None, **settings):
    """Decode; return the latents and the memory."""
    settings = DecodeSettings(**settings)
    conditioner = Conditioner(
        model, POLICY, RecordedRows(inputs["rows"]), prompts or FixedPrompt(inputs["text"]),
        inputs["reference"], guided=settings.guided,
    )  # fmt: skip
    memory = DecodeMemory(model, POLICY, SIZE, settings)
    if state is not None:
        memory.load_state(state)
    plan = ChunkPlan.of_chunks(POLICY, chunks)
    decoded = decode_chunks(
        model, plan, conditioner, PhiloxNoise(seed), memory, settings, start=start
    )
    return [chunk.latent for chunk in decoded], memory


def test_chunks_come_in_order_with_their_shapes(model, inputs):
    settings = DecodeSettings()
    conditioner = Conditioner(
        model, POLICY, RecordedRows(inputs["rows"]), FixedPrompt(inputs["text"]),
        inputs["reference"],
    )  # fmt: skip
    memory = DecodeMemory(model, POLICY, SIZE, settings)
    plan = ChunkPlan(POLICY, 54)
    chunks = list(decode_chunks(model, plan, conditioner, PhiloxNoise(1), memory, settings))
    assert [chunk.span.index for chunk in chunks] == [0, 1, 2]
    assert [tuple(c.latent.shape) for c in chunks] == [(8, 6, 1, 5), (8, 8, 1, 5), (8, 8, 1, 5)]
    assert all(len(chunk.velocities) == 3 for chunk in chunks)
    assert all(chunk.latent.isfinite().all() for chunk in chunks)


def test_the_loop_is_lazy(model, inputs):
    settings = DecodeSettings()
    conditioner = Conditioner(
        model, POLICY, RecordedRows(inputs["rows"]), FixedPrompt(inputs["text"]),
        inputs["reference"],
    )  # fmt: skip
    memory = DecodeMemory(model, POLICY, SIZE, settings)
    plan = ChunkPlan(POLICY, 10**9)
    chunks = decode_chunks(model, plan, conditioner, PhiloxNoise(1), memory, settings)
    assert len(list(itertools.islice(chunks, 2))) == 2
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_same_seed_same_latents(model, inputs):
    first, _ = run(model, inputs, 3)
    again, _ = run(model, inputs, 3)
    other, _ = run(model, inputs, 3, seed=6)
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


@pytest.mark.parametrize("settings", [{}, {"audio_guidance": 1.7}, {"fold": "mean"}])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_video_equals_an_uninterrupted_one(model, inputs, settings, stop):
    whole, _ = run(model, inputs, 5, **settings)
    begun, memory = run(model, inputs, stop, **settings)
    rest, _ = run(model, inputs, 5, start=stop, state=memory.state(), **settings)
    assert all(map(torch.equal, whole, begun + rest))


def test_one_text_repeated_per_frame_is_the_same_text(model, inputs):
    once, _ = run(model, inputs, 3)
    repeated, _ = run(model, inputs, 3, prompts=SwitchingPrompt(inputs["text"], inputs["text"], 0))
    assert all(map(torch.equal, once, repeated))


def test_a_prompt_may_change_inside_a_chunk(model, inputs):
    """The change at latent frame 10 (in chunk 1) leaves what came before as it was."""
    once, _ = run(model, inputs, 3)
    switched, _ = run(
        model, inputs, 3, prompts=SwitchingPrompt(inputs["text"], inputs["other"], 10)
    )
    assert torch.equal(once[0], switched[0])
    assert not torch.equal(once[1], switched[1])
    assert not torch.equal(once[2], switched[2])


def test_the_text_is_projected_once_per_prompt(model, inputs, monkeypatch):
    calls = []
    project = LiveActTransformer.encode_context
    monkeypatch.setattr(
        LiveActTransformer,
        "encode_context",
        lambda self, *args: calls.append(1) or project(self, *args),
    )
    run(model, inputs, 4)
    assert len(calls) == 1
    run(model, inputs, 4, prompts=SwitchingPrompt(inputs["text"], inputs["other"], 14))
    assert len(calls) == 3


def test_guidance_of_one_is_no_guidance_and_more_costs_memory(model, inputs):
    plain, memory = run(model, inputs, 2)
    same, _ = run(model, inputs, 2, audio_guidance=1.0)
    guided, larger = run(model, inputs, 2, audio_guidance=1.5)
    assert all(map(torch.equal, plain, same))
    assert not torch.equal(plain[1], guided[1])
    assert larger.nbytes * 3 == memory.nbytes * 5


def test_any_schedule_decodes(model, inputs):
    for schedule in (
        StepSchedule(sampler="euler"),
        StepSchedule((1.0, 0.3), (True, True)),
        StepSchedule((1.0,), (False,)),
    ):
        latents, _ = run(model, inputs, 2, schedule=schedule)
        assert all(latent.isfinite().all() for latent in latents)


def test_memory_stays_the_same_over_500_chunks(inputs):
    tiny = TransformerConfig(
        dim=8, ffn_dim=8, heads=1, layers=1, in_dim=12, out_dim=8, patch=(1, 1, 5), text_dim=6,
        text_len=4, freq_dim=4, image_dim=10, audio_layers=2, audio_channels=5, audio_hidden=4,
        audio_dim=4, audio_tokens=1,
    )  # fmt: skip
    transformer = LiveActTransformer(tiny).requires_grad_(False)
    settings = DecodeSettings(audio_guidance=1.5)
    conditioner = Conditioner(
        transformer, POLICY, RecordedRows(inputs["rows"]), FixedPrompt(inputs["text"]),
        inputs["reference"], guided=True,
    )  # fmt: skip
    memory = DecodeMemory(transformer, POLICY, SIZE, settings)
    sizes = set()
    plan = ChunkPlan.of_chunks(POLICY, 500)
    noise = PhiloxNoise(3)
    for chunk in decode_chunks(transformer, plan, conditioner, noise, memory, settings):
        sizes.add(memory.nbytes)
        assert chunk.latent.isfinite().all()
    assert len(sizes) == 1
    assert sum(v.nbytes for v in memory.state().values()) == sizes.pop() * 6 // 14


def test_a_chunk_hears_the_released_windows():
    """Rows as MODEL words them: five-row windows around 53 frames from 32(c - 1)."""
    plan = ChunkPlan.of_chunks(POLICY, 5)
    for span in plan.spans():
        origin = 32 * max(span.index - 1, 0)
        slots = POLICY.current(span.index)
        released = []
        for latent in range(max(slots.start, 1), slots.stop):
            first = origin + 4 * (latent - 1) + 1
            released += [
                [first - 2, first - 1, first, first + 1, first + 2, *range(first + 3, first + 6)]
            ]
        start, stop = audio_span(span, TOY)
        ours = torch.arange(start, stop).unfold(0, 8, 4).tolist()
        assert ours == released


def test_chain_rows_are_those_of_the_chunks(inputs):
    frames, rows = 1 + 4 * 21, inputs["rows"]
    recording = RecordedRows(rows[:frames])
    chain = chain_rows(rows[None, :frames], TOY)[0]
    assert len(chain) == 4 * 22
    for span in ChunkPlan(POLICY, frames).spans():
        start, stop = audio_span(span, TOY)
        heard = recording.window(start, stop)
        assert torch.equal(chain[start + 1 : stop + 1], heard)


@given(st.integers(0, 2**63), st.integers(0, 10**6), st.integers(0, 8))
def test_noise_follows_from_its_place_alone(seed, chunk, step):
    noise, shape = PhiloxNoise(seed), (2, 3)
    draw = noise.renoise(chunk, step, shape)
    assert torch.equal(draw, PhiloxNoise(seed).renoise(chunk, step, shape))
    others = [
        noise.initial(chunk, shape),
        noise.renoise(chunk, step + 1, shape),
        noise.renoise(chunk + 1, step, shape),
        PhiloxNoise(seed + 1).renoise(chunk, step, shape),
    ]
    assert not any(torch.equal(draw, other) for other in others)


def test_noise_is_gaussian():
    values = PhiloxNoise(0).initial(3, (100_000,))
    assert values.dtype == torch.float32
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    # Frozen bits: a change here changes every video that was ever made with a seed.
    assert PhiloxNoise(7).renoise(2, 1, (3,)).tolist() == pytest.approx(
        [0.5635244250297546, 0.11816563457250595, 1.4899102449417114], rel=1e-6
    )
