"""How loud, how high, how voiced: curves at 25 fps that head and brow motion follow."""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.ndimage import gaussian_filter1d

from liveact_cli.mini.audio import ROW_RATE, SAMPLE_RATE

_SPAN = SAMPLE_RATE // ROW_RATE
_WINDOW = 1024
_LOW_HZ, _HIGH_HZ = 60.0, 420.0
FLOOR_DECIBELS = -40.0


def _windows(sound: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """[frames, 1024], window f centred on video frame f."""
    lead = (_WINDOW - _SPAN) // 2
    padded = np.pad(sound, (lead, max(0, frames * _SPAN + _WINDOW - len(sound))))
    return np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_SPAN][:frames]


def prosody(sound: NDArray[np.float32], speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """[F, 3] of one clean utterance: loudness (dB from its speech level), pitch (semitones from its
    median, interpolated where unvoiced, 0 in silence), voicing 0..1. `speech` is 0..1 per frame."""
    frames = len(speech)
    windows = _windows(sound, frames) * np.hanning(_WINDOW).astype(np.float32)
    level = 10 * np.log10(np.mean(windows**2, 1) + 1e-9)
    talking = speech > 0.5
    usual = level[talking].mean() if talking.any() else 0.0
    loudness = np.maximum(gaussian_filter1d(level - usual, 0.7), FLOOR_DECIBELS)

    correlation = irfft(np.abs(rfft(windows, 2 * _WINDOW)) ** 2)[:, :_WINDOW]
    taper = irfft(np.abs(rfft(np.hanning(_WINDOW), 2 * _WINDOW)) ** 2)[:_WINDOW]
    correlation = correlation / (correlation[:, :1] + 1e-9) / (taper / taper[0] + 1e-3)
    low, high = int(SAMPLE_RATE / _HIGH_HZ), int(SAMPLE_RATE / _LOW_HZ)
    lags = np.arange(low, high)
    # A slight preference for short lags keeps the octave below away.
    score = correlation[:, low:high] - 0.02 * np.log2(lags / low)
    best = score.argmax(1)
    strength = correlation[np.arange(frames), low + best]
    voicing = np.clip((strength - 0.3) / 0.4, 0, 1) * talking
    semitones = 12 * np.log2(SAMPLE_RATE / lags[best])
    voiced = voicing > 0.5
    if not voiced.any():
        return np.stack([loudness, np.zeros(frames), voicing], 1).astype(np.float32)
    relative = np.clip(semitones - np.median(semitones[voiced]), -12, 12)
    at = np.arange(frames)
    pitch = np.interp(at, at[voiced], relative[voiced])
    pitch = gaussian_filter1d(pitch, 1.0) * gaussian_filter1d(talking.astype(float), 1.0)
    return np.stack([loudness, pitch, voicing], 1).astype(np.float32)
