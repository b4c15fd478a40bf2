"""The weights file holds everything, and loads strictly."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liveact_cli.core.errors import WeightsError
from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.engine.conditioning import Conditioner, FixedPrompt, Reference
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings, decode_chunks
from liveact_cli.engine.noise import PhiloxNoise
from liveact_cli.mini.audio import AudioNet, AudioNetConfig
from liveact_cli.mini.codec import LATENT_CHANNELS, MotionCodec
from liveact_cli.mini.decoder import MotionDecoder
from liveact_cli.mini.model import LATENT_SIZE, WEIGHTS_NAME, DirectionTrack, load_mini
from liveact_cli.mini.motion import NUM_CHANNELS, NUM_GROUPS
from liveact_cli.mini.performer import Cue, Direction, context_track
from liveact_cli.mini.vocabulary import CONTEXT_ROWS, VOCABULARY, WORD_INDEX
from liveact_cli.mini.weights import MiniSettings, MiniWeights, read_mini, save_mini
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.schedule import StepSchedule
from liveact_cli.model.transformer import LiveActTransformer

TINY = TransformerConfig(
    dim=24,
    ffn_dim=32,
    heads=2,
    layers=2,
    in_dim=LATENT_CHANNELS,
    out_dim=LATENT_CHANNELS,
    patch=(1, 1, NUM_GROUPS),
    text_dim=len(VOCABULARY),
    text_len=CONTEXT_ROWS,
    freq_dim=16,
    audio_layers=1,
    audio_channels=8,
    audio_hidden=16,
    audio_dim=8,
    audio_tokens=2,
)
AUDIO = AudioNetConfig(stem=8, width=8, dilations=(1, 2), channels=8)


def tiny_weights() -> MiniWeights:
    torch.manual_seed(0)
    schedule = StepSchedule(sigmas=(1.0, 0.5), audio=(True, True))
    settings = MiniSettings(
        TINY, dict(AUDIO.as_metadata()), schedule, provenance={"seed": 0, "data": ["none"]}
    )
    net = LiveActTransformer(TINY)
    torch.nn.init.normal_(net.head.linear.weight, std=0.1)
    codec = MotionCodec.identity().state_dict()
    return MiniWeights(settings, net.state_dict(), AudioNet(AUDIO).state_dict(), codec)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_mini(tmp_path / WEIGHTS_NAME, tiny_weights())
    return tmp_path


def test_file_keeps_settings_and_tensors(folder: Path) -> None:
    written, read = tiny_weights(), read_mini(folder / WEIGHTS_NAME)
    assert read.settings == written.settings
    assert read.codec["mean"].dtype == torch.float32
    for name, value in written.transformer.items():
        assert torch.equal(read.transformer[name], value.to(torch.bfloat16))


def test_a_loaded_model_speaks_through_the_engine(folder: Path) -> None:
    model = load_mini(folder)
    plan = ChunkPlan(MemoryPolicy(), 60)
    samples = torch.randn(60 * 640).numpy()
    rows = model.audio_encoder.stream(iter([samples]), 60)
    prompt = FixedPrompt(model.prompt_encoder.encode("a very happy woman"))
    conditioner = Conditioner(model.transformer, model.policy, rows, prompt, Reference())
    settings = DecodeSettings(model.schedule, model.fold)
    memory = DecodeMemory(model.transformer, model.policy, LATENT_SIZE, settings)
    decoder = MotionDecoder(model.codec)
    motion = [
        decoder.decode(chunk.latent)
        for chunk in decode_chunks(
            model.transformer, plan, conditioner, PhiloxNoise(1), memory, settings
        )
    ]
    assert [part.shape for part in motion] == [
        (21, NUM_CHANNELS),
        (32, NUM_CHANNELS),
        (32, NUM_CHANNELS),
    ]


def test_prompts_become_contexts(folder: Path) -> None:
    encode = load_mini(folder).prompt_encoder.encode
    assert encode("A slightly sad man.").sum(0)[WORD_INDEX["sad"]] == pytest.approx(0.4)
    assert encode("colourless green ideas").sum(0)[WORD_INDEX["neutral"]] == 1.0


def test_direction_gives_one_context_per_latent_frame() -> None:
    direction = Direction((Cue("happy", 30, 70, 0.5), Cue("nod", 40, 60)))
    plan = ChunkPlan(MemoryPolicy(), 100)
    track = DirectionTrack(direction, 100)
    parts = torch.cat([track.context(span) for span in plan.spans()])
    assert torch.equal(parts[:25], torch.from_numpy(context_track(direction, 97)))


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no weights at"), (b"not a safetensors file", "cannot be read as weights")],
)
def test_missing_or_broken_files_are_named(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        load_mini(tmp_path)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    weights = tiny_weights()
    other = replace(weights.settings, transformer=replace(TINY, ffn_dim=48))
    save_mini(tmp_path / WEIGHTS_NAME, replace(weights, settings=other))
    with pytest.raises(WeightsError, match="does not fit"):
        load_mini(tmp_path)
