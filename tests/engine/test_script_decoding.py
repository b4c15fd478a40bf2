"""Scripts as the engine plays them: prompts at the right chunk and latent frame, the right part."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.core.verification import relative_error
from liveact_cli.engine.conditioning import Conditioner, Reference
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings, decode_chunks
from liveact_cli.engine.directing import digest, direct_job
from liveact_cli.engine.noise import RecordedNoise
from liveact_cli.engine.prepare import prepare
from liveact_cli.engine.texts import TextTrack
from liveact_cli.engine.verify import CheckpointSubject, RecordedRows, read_golden
from liveact_cli.script.direct import direct
from liveact_cli.script.parse import parse_script
from liveact_cli.script.performance import assemble
from liveact_cli.script.resolve import Recording
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.script.source import Source
from liveact_cli.weights.resolve import example_file

GOLDEN = Path(__file__).parent.parent / "golden"
FPS = 24.0


def no_preset(name: str) -> Path:
    raise AssertionError(name)


def performance(body: str):
    return assemble(parse_script(Source("liveact: 1\n" + body)), no_preset, reads_text=True)


def script_of(body: str, frames: int) -> ResolvedScript:
    return direct(performance(body), Recording(frames / FPS, FPS)).script


class RecordedPrompts:
    """The two texts that were recorded, by their words."""

    def __init__(self, golden) -> None:
        self.texts = {"a": golden.tensors["context_a"], "b": golden.tensors["context_b"]}
        self.asked: list[str] = []

    def encode(self, prompt: str) -> torch.Tensor:
        self.asked.append(prompt)
        return self.texts[prompt]


@pytest.fixture(scope="module")
def golden():
    return read_golden(GOLDEN / "golden_rollout_prompt_switch_mean_memory.safetensors")


@pytest.fixture(scope="module")
def transformer():
    return CheckpointSubject(GOLDEN / "tiny-liveact").transformer


def replay(transformer, golden, track) -> list[torch.Tensor]:
    policy, settings = MemoryPolicy(), DecodeSettings(fold="mean")
    rows = RecordedRows(golden.tensors["audio_embedding"])
    reference = Reference(golden.tensors["clip_fea"][0], golden.tensors["y"][0])
    conditioner = Conditioner(transformer, policy, rows, track, reference)
    size = tuple(golden.tensors["chunk0.noise_init"].shape[-2:])
    memory = DecodeMemory(transformer, policy, size, settings)
    plan = ChunkPlan.of_chunks(policy, golden.chunks)
    noise = RecordedNoise(golden.tensors)
    chunks = decode_chunks(transformer, plan, conditioner, noise, memory, settings)
    return [chunk.latent for chunk in chunks]


def test_a_script_reproduces_the_recorded_prompt_switch(transformer, golden) -> None:
    assert golden.settings["prompt_b_chunks"] == "2"
    plan = ChunkPlan.of_chunks(MemoryPolicy(), golden.chunks)
    # Chunk 2 makes frames 53 to 84.
    body = f"prompt: a\ntimeline: [{{at: {53 / FPS:.3f}s, for: {32 / FPS:.3f}s, prompt: b}}]"
    for granularity in ("chunk", "frame"):
        track = TextTrack(RecordedPrompts(golden), script_of(body, plan.frames), plan, granularity)
        for i, latent in enumerate(replay(transformer, golden, track)):
            assert relative_error(latent, golden.tensors[f"chunk{i}.latent"]) <= 1e-5


def test_one_text_per_frame_is_one_text_per_chunk(transformer, golden) -> None:
    plan = ChunkPlan.of_chunks(MemoryPolicy(), golden.chunks)
    tracks = [
        TextTrack(RecordedPrompts(golden), script_of("prompt: a", plan.frames), plan, granularity)
        for granularity in ("chunk", "frame")
    ]
    chunk, frame = (replay(transformer, golden, track) for track in tracks)
    assert all(torch.equal(x, y) for x, y in zip(chunk, frame, strict=True))


def test_a_prompt_switches_at_its_latent_frame(golden) -> None:
    plan = ChunkPlan(MemoryPolicy(), 150)
    script = script_of(f"prompt: a\ntimeline: [{{at: {61 / FPS:.3f}s, prompt: b}}]", 150)
    encoder = RecordedPrompts(golden)
    track = TextTrack(encoder, script, plan, "frame")
    latent = plan.latent_of(61)
    assert track.texts[latent - 1 : latent + 1] == ["a", "b"]
    context = track.context(plan.span(2))
    at = latent - plan.span(2).latent_start
    for row, text in ((at - 1, "a"), (at, "b")):
        expected = encoder.texts[text]
        assert torch.equal(context[row, : len(expected)], expected)
        assert not context[row, len(expected) :].any()
    track.context(plan.span(3))
    track.context(plan.span(4))
    assert sorted(encoder.asked) == ["a", "b"]


@pytest.fixture
def job(toy_mini: Path, tmp_path: Path):
    settings = RenderSettings(model=str(toy_mini), start=2.0, duration=4.0, size=(96, 112), seed=5)
    audio, face = example_file("audio.wav"), example_file("face.png")
    return prepare(audio, face, tmp_path / "out.mp4", settings, {})


def test_times_count_from_the_beginning_of_the_recording(job) -> None:
    body = (
        "emotion: warm\ntimeline: [{at: 3, for: 1, action: nod}, {on: pause, action: smile},"
        " {at: end-1s, action: bow}]"
    )
    directed, direction = direct_job(job, performance(body))
    script = directed.script
    assert script is not None
    assert script.frames == 100
    nod = next(span for span in script.spans if span.name == "nod")
    assert (nod.start, nod.stop) == (25, 50)
    # The example is silent at 3.58 s, 1.58 s after the beginning of the part.
    smile = next(span for span in script.spans if span.name == "smile")
    assert smile.start == pytest.approx(1.58 * 25, abs=3)
    assert "bow" not in {span.name for span in script.spans}
    assert directed.plan.direction == digest(script)
    assert ["covers" in problem.message for problem in direction.problems] == [True]


def test_a_script_that_says_nothing_changes_nothing(job) -> None:
    directed, _ = direct_job(job, performance("timeline: []"))
    assert directed == job


def test_the_digest_sees_every_change() -> None:
    bodies = ["emotion: warm", "emotion: happy", "emotion: warm\nprompt: x"]
    bodies += [f"timeline: [{{at: 1, for: {n}, emotion: sad, intensity: 0.{n}}}]" for n in (1, 2)]
    digests = {digest(script_of(body, 150)) for body in bodies}
    assert len(digests) == len(bodies)
    assert digest(script_of(bodies[0], 150)) in digests


def test_the_prompt_of_the_settings_lies_underneath(job) -> None:
    plan = replace(job.plan, settings=replace(job.plan.settings, prompt="A happy man."))
    directed, _ = direct_job(replace(job, plan=plan), performance("timeline: []"))
    assert directed.script is not None
    assert directed.script.prompt == "A happy man."
