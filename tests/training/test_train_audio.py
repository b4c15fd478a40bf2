"""The audio net's training: targets, a few steps that learn, saving, resuming, rows."""

import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import liveact_cli
from liveact_cli.core.errors import UsageError
from liveact_cli.mini.audio import AudioNet, AudioNetConfig
from liveact_cli.mini.visemes import VISEME_INDEX, VISEME_SHAPES, VISEMES
from liveact_cli.mini.weights import read_mini, save_mini
from liveact_cli.training import average, train_audio
from liveact_cli.training.audio_heads import (
    AudioHeads,
    event_targets,
    load_net,
    save_net,
    score,
    shape_targets,
    trained_net,
)
from liveact_cli.training.corpus import PHONE_DTYPE, Stream
from liveact_cli.training.lips import LIP_CHANNELS
from liveact_cli.training.realign import realign
from liveact_cli.training.texts import draw, hesitate, own_sentences
from liveact_cli.training.train_audio import RARE_WEIGHT, Diet, Sampler, Trainer, frame_weights

SHIPPED = Path(liveact_cli.__file__).parent / "data" / "liveact-mini.safetensors"
SMALL = AudioNetConfig(stem=8, width=16, dilations=(1, 2), channels=16)


def toy_stream(seed: int, frames: int = 150) -> Stream:
    """Each class lights its own mel bands, so that a few steps can learn it."""
    rng = np.random.default_rng(seed)
    classes = np.repeat(rng.integers(0, len(VISEMES), frames * 4 // 10 + 1), 10)[: frames * 4]
    mel = rng.normal(0, 0.3, (frames * 4, 64))
    for k in range(3):
        mel[np.arange(frames * 4), classes * 3 + k] += 3.0
    speech = (classes.reshape(-1, 4) > 0).mean(1).astype(np.float32)
    zeros = np.zeros(frames, np.float32)
    return Stream(
        name=f"toy-{seed}",
        language="xx",
        source="toy",
        voice="toy",
        take=0,
        clean=True,
        frames=frames,
        mel=mel.astype(np.float16),
        classes=classes.astype(np.int8),
        loudness=zeros,
        pitch=zeros,
        voicing=speech,
        speech=speech,
        rows=None,
        lips=np.repeat(0.3 * speech[:, None], len(LIP_CHANNELS), 1).astype(np.float16),
        phone_table=np.zeros(0, PHONE_DTYPE),
    )


def test_shape_targets_of_a_held_phone_are_the_table() -> None:
    classes = torch.full((1, 80), VISEME_INDEX["AA"])
    expected = torch.from_numpy(VISEME_SHAPES[VISEME_INDEX["AA"]]).expand(20, 5)
    torch.testing.assert_close(shape_targets(classes)[0], expected)


def test_short_closures_are_events_on_every_frame_they_touch() -> None:
    classes = torch.full((1, 40), VISEME_INDEX["AA"])
    classes[0, 15:18] = VISEME_INDEX["PBM"]
    assert event_targets(classes)[0, :, 0].tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    shapes = shape_targets(classes)[0]
    assert shapes[3:5, 1].max() > 0.3
    assert shapes[0, 1] == 0


def test_frames_of_vowels_that_few_languages_have_count_more() -> None:
    said = [("ɛ", 0.9, 1.1), ("y", 1.1, 1.17), ("ɑ\u0303", 1.17, 1.3), ("i", 1.3, 1.4)]
    table = np.array([(label, 0, a, b) for label, a, b in said], PHONE_DTYPE)
    other = replace(toy_stream(0), phone_table=table)
    french = replace(other, language="fr-be")
    for stream, last in ((other, 17), (french, 30)):
        weights = frame_weights(stream, slice(100, 140))
        assert weights[10:last].tolist() == [RARE_WEIGHT] * (last - 10)
        assert weights[:10].tolist() == [1.0] * 10
        assert weights[last:].tolist() == [1.0] * (40 - last)
    assert frame_weights(french, slice(112, 118)).tolist() == [RARE_WEIGHT] * 6


def test_training_learns_saves_and_resumes(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    streams = [toy_stream(k) for k in range(4)]
    sampler, trainer = Sampler(streams, 0), Trainer(SMALL, 0, tmp_path)
    start = trainer.step(sampler.draw(4), 3e-3)["phones"]
    for _ in range(150):
        last = trainer.step(sampler.draw(4), 3e-3)["phones"]
    assert last < start - 0.25
    trainer.save()
    again = Trainer(SMALL, 1, tmp_path)
    again.resume()
    assert again.steps == trainer.steps == 151
    assert torch.equal(again.net.stem.weight, trainer.net.stem.weight)
    net, heads = load_net(tmp_path / "audio_net.safetensors")
    assert net.config == SMALL
    figures = score(net, heads, [toy_stream(9)])
    assert figures["accuracy"] > 0.1
    assert 0 <= figures["closure_precision"] <= 1


def test_the_rows_learn_to_carry_the_lips(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    sampler, trainer = Sampler([toy_stream(k) for k in range(4)], 0), Trainer(SMALL, 0, tmp_path)
    start = trainer.step(sampler.draw(4), 3e-3)["lips"]
    for _ in range(40):
        last = trainer.step(sampler.draw(4), 3e-3)["lips"]
    assert last < 0.8 * start


@pytest.mark.parametrize(
    ("diet", "heard"),
    [
        (Diet(), ["en-us toy", "en toy spoilt", "it other"]),
        (Diet(without=("other",)), ["en-us toy", "en toy spoilt"]),
        (Diet(languages=("it",)), ["it other"]),
        (Diet(clean=True), ["en-us toy", "it other"]),
    ],
)
def test_a_diet_leaves_out_what_it_says(diet: Diet, heard: list[str]) -> None:
    one = toy_stream(0, 10)
    streams = [
        replace(one, name="en-us toy", language="en-us"),
        replace(one, name="en toy spoilt", language="en", clean=False),
        replace(one, name="it other", language="it", source="other"),
    ]
    assert [stream.name for stream in streams if diet.allows(stream)] == heard


def test_mels_are_left_alone_where_nothing_is_varied() -> None:
    stream = toy_stream(0)
    batch = Sampler([stream], 0, vary=False).draw(1)
    assert any(
        torch.equal(batch.mel[0], torch.from_numpy(stream.mel[4 * k : 4 * k + 400].astype("f4")))
        for k in range(stream.frames - 99)
    )


def test_a_net_starts_from_a_run_or_from_shipped_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = AudioNet(SMALL)
    heads = AudioHeads(SMALL)
    save_net(net, heads, tmp_path / "net.safetensors", {})
    taken, its_heads = trained_net(tmp_path / "net.safetensors")
    assert torch.equal(taken.stem.weight, net.stem.weight)
    assert its_heads is not None
    assert torch.equal(its_heads.lips.weight, heads.lips.weight)
    shipped, none = trained_net(SHIPPED)
    assert (shipped.config.channels, none) == (128, None)


def test_training_is_seeded(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    losses = []
    for _ in range(2):
        sampler, trainer = Sampler([toy_stream(0)], 3), Trainer(SMALL, 3, tmp_path)
        losses.append([trainer.step(sampler.draw(2), 1e-3) for _ in range(3)])
    assert losses[0] == losses[1]


def test_a_net_grows_without_changing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    old = AudioNet(SMALL)
    grown = Trainer(replace(SMALL, dilations=(1, 2, 4)), 1, tmp_path)
    grown.start_from(old)
    mel = torch.randn(1, 80, 64)
    with torch.no_grad():
        torch.testing.assert_close(grown.average_net.eval()(mel), old.eval()(mel))
    assert grown.net.config.context_rows > SMALL.context_rows


def test_averaged_nets_hear_the_average_of_what_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    young = (AudioNet(SMALL), AudioHeads(SMALL))
    config = replace(SMALL, dilations=(1, 2, 4))
    old = (AudioNet(config), AudioHeads(config))
    for number, (net, heads) in enumerate((young, old)):
        save_net(net, heads, tmp_path / f"{number}.safetensors", {})
    paths = [str(tmp_path / f"{number}.safetensors") for number in range(2)]
    out = tmp_path / "both.safetensors"
    arguments = ["average", *paths, "--shares", "1", "3", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    average.main()
    mean, heads = load_net(out)
    torch.testing.assert_close(
        mean.stem.weight, 0.25 * young[0].stem.weight + 0.75 * old[0].stem.weight
    )
    grown = mean.blocks[2]
    torch.testing.assert_close(grown.conv.weight, old[0].blocks[2].conv.weight)
    torch.testing.assert_close(grown.mix.weight, 0.75 * old[0].blocks[2].mix.weight)
    torch.testing.assert_close(heads.lips.bias, 0.25 * young[1].lips.bias + 0.75 * old[1].lips.bias)
    monkeypatch.setattr(sys, "argv", [*arguments[:3], "--shares", "1", "--out", str(out)])
    with pytest.raises(UsageError, match="as many shares"):
        average.main()


def test_averaged_models_lie_between_and_keep_the_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = read_mini(SHIPPED)
    name, value = next(iter(shipped.transformer.items()))
    moved = replace(shipped, transformer={**shipped.transformer, name: value + 1})
    save_mini(tmp_path / "moved.safetensors", moved)
    out = tmp_path / "mean.safetensors"
    arguments = ["average", str(SHIPPED), str(tmp_path / "moved.safetensors"), "--models",
                 "--shares", "3", "1", "--out", str(out)]  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments)
    average.main()
    mean = read_mini(out)
    torch.testing.assert_close(
        mean.transformer[name].float(), value.float() + 0.25, atol=0.02, rtol=0.01
    )
    for part in ("audio_encoder", "codec"):
        for key, expected in getattr(shipped, part).items():
            assert torch.equal(getattr(mean, part)[key], expected)
    assert [one["share"] for one in mean.settings.provenance["averaged"]] == [0.75, 0.25]
    other = replace(shipped, codec={key: v * 2 for key, v in shipped.codec.items()})
    with pytest.raises(UsageError, match="codec"):
        average.average_models([shipped, other], [1, 1])


def test_rows_are_written_beside_the_mels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [toy_stream(0, 101), toy_stream(1, 120)]
    for split in ("train", "dev", "test"):
        (tmp_path / "streams" / split).mkdir(parents=True)
        (tmp_path / "streams" / split / "index.json").touch()
    monkeypatch.setattr(train_audio, "load_streams", lambda corpus, split: streams)
    torch.manual_seed(0)
    net = AudioNet(SMALL).eval()
    save_net(net, AudioHeads(SMALL), tmp_path / "net.safetensors", {})
    train_audio.write_rows(tmp_path, tmp_path / "net.safetensors", "x")
    rows = np.load(tmp_path / "streams" / "dev" / "rows-x.npy")
    assert rows.shape == (221, 16)
    with torch.inference_mode():
        expected = net(torch.from_numpy(streams[1].mel.astype(np.float32))[None])[0]
    np.testing.assert_allclose(rows[101:], expected.numpy(), atol=0.06)
    assert not (tmp_path / "streams" / "natural").exists()


def test_realignment_finds_the_borders_again() -> None:
    truth = [("", 0.0, 0.2), ("a", 0.2, 0.33), ("m", 0.33, 0.41), ("i", 0.41, 0.6), ("", 0.6, 0.9)]
    posteriors = np.full((90, len(VISEMES)), 0.02, np.float32)
    names = {"": "sil", "a": "AA", "m": "PBM", "i": "IY"}
    for label, start, stop in truth:
        span = slice(round(start * 100), round(stop * 100))
        posteriors[span, VISEME_INDEX[names[label]]] = 0.7
    # Borders 50 ms off, a gap between words that does not exist, and a phone held into silence.
    given = [("a", 0.15, 0.36), ("m", 0.36, 0.43), ("", 0.43, 0.46), ("i", 0.46, 0.66)]
    assert realign(posteriors, given) == [
        (a, pytest.approx(b), pytest.approx(c)) for a, b, c in truth
    ]


def test_realignment_keeps_what_it_cannot_explain() -> None:
    posteriors = np.full((5, len(VISEMES)), 0.05, np.float32)
    given = [(label, 0.001 * k, 0.001 * k + 0.04) for k, label in enumerate("amiamiami")]
    assert realign(posteriors, given) == given


def test_hesitation_keeps_the_words() -> None:
    text = "we have a train to catch before the night is over"
    said = [hesitate(text, random.Random(seed)) for seed in range(20)]
    assert said == [hesitate(text, random.Random(seed)) for seed in range(20)]
    assert all(len(one.split()) >= len(text.split()) for one in said)
    for one in said:
        words = iter(word.rstrip(",\u2026") for word in one.split())
        assert all(word in words for word in text.split())


def test_texts_are_our_own_and_drawn_by_seed() -> None:
    import random

    assert len(own_sentences("en")) > 20
    assert own_sentences("fr")
    assert all("[" not in sentence for sentence in own_sentences("ja"))
    assert draw("sv", random.Random(1)) == draw("sv", random.Random(1))
