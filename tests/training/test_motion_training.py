"""The whole road from a corpus to a weights file, at toy size."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from liveact_cli.core.errors import UsageError
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.mini.audio import AudioNet, AudioNetConfig
from liveact_cli.mini.codec import STRIDE, latent_mask
from liveact_cli.mini.model import load_mini
from liveact_cli.mini.motion import GROUP_WIDTH, MOTION_GROUPS, NUM_GROUPS
from liveact_cli.mini.visemes import VISEMES
from liveact_cli.mini.vocabulary import WORD_INDEX
from liveact_cli.training import distil, evaluate, export, targets, train_motion
from liveact_cli.training.audio_heads import AudioHeads, save_net

FRAMES = 400
STREAMS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three streams of random phones in the corpus' own format."""
    root = tmp_path_factory.mktemp("corpus")
    folder = root / "streams" / "train"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    index, phones = [], []
    kinds = [("label", "U8"), ("viseme", "i1"), ("start", "f4"), ("stop", "f4")]
    for number in range(STREAMS):
        start = len(phones)
        for clock in np.arange(0.5, FRAMES / 25 - 1, 0.12):
            phones.append(("x", int(rng.integers(1, len(VISEMES))), clock, clock + 0.12))
        index.append(
            {
                "name": f"s{number}",
                "language": "en",
                "source": "test",
                "voice": f"v{number}",
                "frames": FRAMES,
                "take": 0,
                "offset": number * FRAMES,
                "phones_start": start,
                "phones_stop": len(phones),
                "clean": True,
            }
        )
    total = STREAMS * FRAMES
    (folder / "index.json").write_text(json.dumps(index), encoding="utf8")
    np.save(folder / "phones.npy", np.array(phones, dtype=kinds))
    np.save(folder / "mel.npy", np.zeros((4 * total, 64), np.float16))
    np.save(folder / "classes.npy", np.zeros(4 * total, np.int8))
    prosody = rng.normal(0, 3, (total, 4)).astype(np.float32)
    np.save(folder / "prosody.npy", prosody)
    np.save(folder / "rows-test.npy", rng.normal(0, 1, (total, 128)).astype(np.float16))
    return root


@pytest.fixture(scope="module")
def performed(corpus: Path) -> Path:
    out = corpus / "targets"
    targets.make_targets(corpus, out, "train", seed=1)
    return out


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(
        train_motion.MINI_CONFIG,
        dim=24,
        heads=2,
        layers=2,
        ffn_dim=32,
        audio_hidden=16,
        audio_dim=8,
        audio_tokens=2,
    )
    for module in (train_motion, distil, export):
        monkeypatch.setattr(module, "MINI_CONFIG", small)
    monkeypatch.setattr(train_motion, "LENGTHS", ((14, 2), (22, 2)))
    monkeypatch.setattr(distil, "CHAIN", 22)
    monkeypatch.setattr(distil, "BATCH", 2)


def run_stage(module: object, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["stage", *map(str, arguments)])
    module.main()  # type: ignore[attr-defined]


def test_targets_line_up_with_the_corpus(corpus: Path, performed: Path) -> None:
    data = targets.ChainData(corpus, performed, "rows-test")
    chains = data.sample(4, 22, np.random.default_rng(0))
    assert chains.latent.shape == (4, 32, 22, 1, 5)
    assert chains.context.shape == (4, 22, 2, len(WORD_INDEX))
    assert chains.rows.shape == (4, 88, 1, 128)
    one = data.chain(1, 10, 14)
    motion = torch.from_numpy(data.motion[FRAMES + 10 : FRAMES + 10 + 53].astype(np.float32))
    assert torch.allclose(data.codec.decode(one.latent, first=True), motion, atol=2e-3)
    assert torch.equal(
        one.rows[:, 0], torch.from_numpy(data.rows[FRAMES + 9 : FRAMES + 65].astype(np.float32))
    )
    first = data.chain(2, 0, 6)
    assert torch.equal(first.rows[0], first.rows[1])


def test_chains_come_from_every_split(corpus: Path, performed: Path) -> None:
    mix = targets.ChainMix(corpus, [performed, performed], "rows-test", ["train", "train"])
    first, second = (part.codec for part in mix.parts)
    assert first is second is mix.codec
    mix.parts[1].rows = np.full_like(mix.parts[1].rows, 7.0)
    chains = mix.sample(40, 14, np.random.default_rng(0))
    assert chains.latent.shape[0] == chains.context.shape[0] == chains.rows.shape[0] == 40
    from_second = int((chains.rows == 7.0).all((1, 2, 3)).sum())
    assert 8 < from_second < 32
    with pytest.raises(UsageError, match="2 splits need as many folders"):
        targets.ChainMix(corpus, [performed], "rows-test", ["train", "dev"])


def test_directions_are_mostly_neutral() -> None:
    rng = np.random.default_rng(0)
    neutral = [
        targets.intensity_track(targets.random_direction(1200, rng), 1200)[:, 0].mean()
        for _ in range(400)
    ]
    assert 0.45 < np.mean(neutral) < 0.7


def test_loss_weights_ignore_padding() -> None:
    weights = train_motion.loss_weights()
    mask = latent_mask()
    assert (weights[mask == 0] == 0).all()
    assert float(weights.sum() / mask.sum()) == pytest.approx(1.0)
    net = train_motion.new_transformer(train_motion.MINI_CONFIG, 0)
    assert net.patch_embedding.weight[:, mask.flatten() == 0].abs().max() == 0.0


@pytest.mark.usefixtures("tiny")
def test_two_stages_resume_and_ship(
    corpus: Path, performed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--corpus", corpus, "--targets", performed, "--rows", "rows-test", "--out", tmp_path)
    run_stage(train_motion, monkeypatch, *given, "--steps", 2)
    run_stage(train_motion, monkeypatch, *given, "--steps", 3)
    assert torch.load(tmp_path / "stage1.pt", weights_only=True)["step"] == 3
    run_stage(distil, monkeypatch, *given, "--steps", 6)
    config = AudioNetConfig(stem=8, width=8, dilations=(1,), channels=128)
    save_net(AudioNet(config), AudioHeads(config), tmp_path / "net.safetensors", {})
    out = tmp_path / "mini.safetensors"
    export.export(
        tmp_path, "distilled", performed, tmp_path / "net.safetensors", out, {"data": "made up"}
    )
    model = load_mini(out)
    assert model.settings.provenance["steps"] == 6
    sound = np.random.default_rng(0).normal(0, 0.1, 16 * 16000).astype(np.float32)
    tables = evaluate.evaluate(model, sound, seeds=1)
    assert set(tables) == {"life", "drift", "silence", "variants"}
    assert tables["variants"]["3 steps (shipped)"]["blinks/min"] >= 0.0


def test_seam_loss_sees_jumps_at_seams_only(corpus: Path, performed: Path) -> None:
    data = targets.ChainData(corpus, performed, "rows-test")
    latents = data.sample(4, 22, np.random.default_rng(0)).latent
    seams = distil.SeamLoss(data.codec, list(latents), MemoryPolicy())
    usual = float(seams(latents))
    inside, across = latents.clone(), latents.clone()
    inside[:, :8, 10:, :, 4] += 3.0
    across[:, :8, 14:, :, 4] += 3.0
    assert float(seams(across)) > 3 * usual
    assert float(seams(inside)) < 1.2 * usual


def test_the_jaw_weighs_more_than_its_region() -> None:
    weights = train_motion.loss_weights().reshape(STRIDE, GROUP_WIDTH, NUM_GROUPS)
    (region,) = [k for k, names in enumerate(MOTION_GROUPS.values()) if "jawOpen" in names]
    names = list(MOTION_GROUPS.values())[region]
    for coefficient in weights[:, : len(names), region]:
        usual = coefficient[names.index("mouthFunnel")]
        assert coefficient / usual == pytest.approx(
            [train_motion.CHANNEL_WEIGHTS.get(name, 1.0) for name in names]
        )
