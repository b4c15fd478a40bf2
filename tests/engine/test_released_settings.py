"""What the settings of models like liveact-18b change, on the small checkpoint of that layout."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liveact_cli.config.edge import resolve_settings
from liveact_cli.engine.models import WanSpeaker, decode_settings_of, load_speaker
from liveact_cli.engine.prepare import prepare
from liveact_cli.engine.render import generate
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.weights.resolve import example_file

CHECKPOINT = Path(__file__).parents[1] / "golden" / "tiny-liveact"
FLAGS = {"model": str(CHECKPOINT), "size": "64x64", "duration": "2.3", "seed": "5", "prompt": "A"}


def settings_of(**flags):
    return resolve_settings(FLAGS | flags, {"XDG_CONFIG_HOME": "/nonexistent"}, CHECKPOINT)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def job(cache: Path):
    sound, face = example_file("audio.wav"), example_file("face.png")
    return prepare(sound, face, cache / "a.mp4", settings_of(), {"XDG_CACHE_HOME": str(cache)})


@pytest.fixture(scope="module")
def speaker(job) -> WanSpeaker:
    return load_speaker(job.plan)


@pytest.fixture(scope="module")
def view(speaker, job):
    return speaker.look(job.picture, job.plan.size, 25.0, None)


def latents(speaker, view, job, **flags) -> list[torch.Tensor]:
    settings = decode_settings_of(settings_of(**flags))
    chosen = replace(speaker, load=lambda: speaker.transformer, decode_settings=settings)
    chunks = generate(chosen, view, job, speaker.say("A man."))
    return [timed.chunk.latent for timed in chunks]


@pytest.fixture(scope="module")
def plain(speaker, view, job) -> list[torch.Tensor]:
    return latents(speaker, view, job)


@pytest.mark.parametrize(
    ("flags", "changed_from"),
    [
        ({"audio_guidance": "1.7"}, 0),
        ({"sampler": "euler"}, 0),
        # The third chunk is the first that folds.
        ({"memory": "mean"}, 2),
    ],
)
def test_each_setting_changes_what_it_should(
    speaker, view, job, plain, flags: dict[str, str], changed_from: int
) -> None:
    ours = latents(speaker, view, job, **flags)
    changed = [not torch.equal(a, b) for a, b in zip(ours, plain, strict=True)]
    assert changed == [index >= changed_from for index in range(3)]


def test_what_is_said_as_released_changes_nothing(speaker, view, job, plain) -> None:
    ours = latents(speaker, view, job, audio_guidance="1", sampler="renoise", memory="conv")
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))


def test_prompts_change_with_the_latent_frame_where_asked(speaker, view, job) -> None:
    plan = job.plan.chunks
    script = ResolvedScript(fps=25.0, frames=plan.frames, prompt="A man.", spans=())
    for granularity, dimensions in (("chunk", 2), ("frame", 3)):
        chosen = replace(speaker, granularity=granularity)
        assert chosen.direct(script, plan, view).context(plan.span(1)).dim() == dimensions


def test_each_way_of_drawing(speaker, view, job) -> None:
    torch.manual_seed(0)
    chunks = [torch.randn(16, frames, 16, 8) for frames in (6, 8)]

    def frames(**flags) -> torch.Tensor:
        settings = settings_of(size="64x128", **flags)
        plan = replace(job.plan, settings=settings, placement=None)
        codecs = load_speaker(plan).codecs
        drawn = codecs.frame_decoder()
        return torch.stack([torch.from_numpy(f) for c in chunks for f in drawn.decode(c)]).int()

    plain = frames()
    overlapped, tiled, whole = frames(vae_overlap="true"), frames(tiles="64"), frames(tiles="off")
    assert plain.shape == overlapped.shape == (53, 128, 64, 3)
    assert torch.equal(plain, whole)
    assert torch.equal(plain[:21], overlapped[:21])
    assert not torch.equal(plain[21:], overlapped[21:])
    assert 0 < (plain - tiled).abs().max() <= 2


def test_the_encoders_leave_before_the_transformer_comes(job) -> None:
    speaker = load_speaker(job.plan)
    speaker.say("A woman sings.")
    assert speaker.codecs.prompt_encoder._model is None
    assert "transformer" not in vars(speaker)
