"""Spoiling keeps length and time; only then do the labels still fit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from liveact_cli.training import augment


def clicks(seconds: float = 2.0) -> np.ndarray:
    """Bursts of noise: any shift in time shows."""
    rng = np.random.default_rng(0)
    count = int(16000 * seconds)
    gate = np.repeat(rng.random(count // 800) < 0.4, 800)[:count]
    return (0.3 * gate * rng.standard_normal(count)).astype(np.float32)


def lag(changed: np.ndarray, sound: np.ndarray) -> int:
    product = np.fft.rfft(changed, 65536) * np.conj(np.fft.rfft(sound, 65536))
    peak = int(np.abs(np.fft.irfft(product)).argmax())
    return peak if peak < 32768 else peak - 65536


@pytest.mark.parametrize(
    "change",
    [augment.room, augment.equalise, augment.band_limit, augment.clip, augment.compress],
)
def test_changes_keep_length_and_time(change: Callable[..., np.ndarray]) -> None:
    sound = clicks()
    for seed in range(3):
        changed = change(sound, np.random.default_rng(seed))
        assert changed.shape == sound.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        assert abs(lag(changed, sound)) <= 2


@pytest.mark.parametrize("kind", augment._CODECS, ids=lambda kind: f"{kind[0]}-{kind[2]}")
def test_codecs_add_no_lag(kind: tuple[str, str, int, tuple[int, ...]]) -> None:
    name, container, rate, bit_rates = kind
    sound = clicks()
    coded = augment._through_codec(sound, name, container, rate, bit_rates[-1])
    undone = augment._undo_lag(coded, sound)
    assert undone.shape == sound.shape
    assert abs(lag(undone, sound)) <= 2
    assert np.corrcoef(undone, sound)[0, 1] > 0.5


def test_noise_and_music_fill_the_time_asked_for() -> None:
    for make in (augment.noise, augment.music, augment.breath, augment.laughter):
        for seed in range(4):
            made = make(20000, np.random.default_rng(seed))
            assert made.shape == (20000,)
            assert np.isfinite(made).all()
            assert made.std() > 0


def test_mixing_reaches_the_asked_ratio() -> None:
    sound, other = clicks(), np.random.default_rng(1).standard_normal(32000).astype(np.float32)
    mixed = augment.add_at(sound, other, 10.0)
    ratio = 10 * np.log10(augment.power(sound) / np.mean((mixed - sound) ** 2))
    assert ratio == pytest.approx(10.0, abs=0.01)


def test_spoiling_is_seeded() -> None:
    sound = clicks(1.0)

    def talkers(count: int) -> np.ndarray:
        return np.ones(count, np.float32)

    first, again = (augment.spoil(sound, np.random.default_rng(5), talkers) for _ in range(2))
    assert np.array_equal(first, again)


def test_varied_mels_keep_their_shape_and_are_seeded() -> None:
    mel = torch.randn(3, 40, 64)
    first, again = (augment.vary_mels(mel, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == mel.shape
    assert not torch.equal(first, mel)


def test_laughter_comes_in_bursts_that_die_away() -> None:
    sound = augment.laughter(32000, np.random.default_rng(3))
    level = (sound[: 32000 // 400 * 400].reshape(-1, 400) ** 2).mean(1)
    spectrum = np.abs(np.fft.rfft(level - level.mean()))
    assert 3.5 < np.fft.rfftfreq(len(level), 0.025)[spectrum.argmax()] < 6.7
    assert level[: len(level) // 3].mean() > 2 * level[-len(level) // 3 :].mean()
