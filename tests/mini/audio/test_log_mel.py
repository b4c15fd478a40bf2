"""Log-mels are librosa's; normalisation removes level and spread, and nothing else."""

import librosa
import numpy as np
import pytest
import torch

from liveact_cli.mini.audio import HALF_WINDOW, log_mel, mel_filters, normalise


@pytest.fixture
def sound() -> np.ndarray:
    rng = np.random.default_rng(0)
    time = np.arange(16000 * 8) / 16000
    voice = np.sin(2 * np.pi * 140 * time) * np.clip(np.sin(2 * np.pi * 3 * time), 0, 1)
    return (0.2 * voice + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


def test_filters_equal_librosas() -> None:
    theirs = librosa.filters.mel(sr=16000, n_fft=512, n_mels=64, fmin=50, fmax=7600)
    np.testing.assert_allclose(mel_filters(), theirs, atol=1e-7)


def test_log_mel_equals_librosas(sound: np.ndarray) -> None:
    theirs = librosa.feature.melspectrogram(
        y=sound, sr=16000, n_fft=512, hop_length=160, win_length=400, n_mels=64, fmin=50, fmax=7600,
        pad_mode="constant",
    )  # fmt: skip
    np.testing.assert_allclose(
        log_mel(torch.from_numpy(sound)), np.log10(theirs.T + 1e-7), atol=1e-4
    )


def test_level_hardly_matters(sound: np.ndarray) -> None:
    loud, quiet = (normalise(log_mel(torch.from_numpy(sound * gain))) for gain in (1.0, 0.4))
    assert float((loud - quiet).abs().max()) < 0.2


def test_normalisation_is_local(sound: np.ndarray) -> None:
    mel = log_mel(torch.from_numpy(sound))
    changed = mel.clone()
    changed[700:] += 1.0
    reach = 2 * HALF_WINDOW
    same, moved = normalise(mel), normalise(changed)
    torch.testing.assert_close(same[: 700 - reach], moved[: 700 - reach], rtol=0, atol=1e-6)
    assert float((same[690] - moved[690]).abs().max()) > 0.1


def test_silence_stays_quiet() -> None:
    silent = normalise(log_mel(torch.zeros(16000)))
    assert float(silent.abs().max()) == 0.0
