"""What happens to speech before it is recorded: rooms, noise, music, talkers, codecs, telephones.

Waveform functions take and return 16 kHz mono float32 of the same length, without lag.
Mel functions act on batches of normalised log-mels while training.
"""

import io
from collections.abc import Callable

import av
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from torch import Tensor

from liveact_cli.training.resample import RATE, resample

Sound = NDArray[np.float32]
Rng = np.random.Generator


def power(sound: Sound) -> float:
    """Mean square of the louder parts (so that pauses do not count)."""
    blocks = sound[: len(sound) // 800 * 800].reshape(-1, 800)
    levels = np.mean(blocks**2, 1) if len(blocks) else np.zeros(1)
    loud = levels[levels > 1e-3 * levels.max(initial=0.0)]
    return float(loud.mean()) if len(loud) else 1e-8


def _filter(sound: Sound, response: NDArray[np.floating]) -> Sound:
    """Apply a magnitude response given at evenly spaced frequencies from 0 to 8 kHz (no phase)."""
    size = next_fast_len(len(sound) + RATE // 10)
    spectrum = rfft(sound, size)
    grid = np.linspace(0, 1, len(spectrum))
    spectrum *= np.interp(grid, np.linspace(0, 1, len(response)), response)
    return np.asarray(irfft(spectrum, size)[: len(sound)], np.float32)


def room(sound: Sound, rng: Rng) -> Sound:
    """A few early reflections and a diffuse tail that darkens; the direct sound stays at time 0."""
    decay = rng.uniform(0.12, 0.9)  # RT60
    length = int(min(decay, 0.6) * RATE)
    time = np.arange(length) / RATE
    tail = rng.standard_normal(length) * 10 ** (-3 * time / decay)
    dark = np.convolve(tail, np.ones(6) / 6, "same")
    blend = np.minimum(1, time / 0.1)
    tail = tail * (1 - blend) + dark * blend * 2
    tail[: int(0.004 * RATE)] = 0
    tail *= 10 ** (-rng.uniform(0, 18) / 20) / np.sqrt((tail**2).sum())
    for _ in range(rng.integers(2, 7)):
        tail[int(rng.uniform(0.001, 0.03) * RATE)] += rng.uniform(-0.5, 0.5)
    tail[0] = 1
    size = next_fast_len(len(sound) + length)
    wet = irfft(rfft(sound, size) * rfft(tail, size), size)[: len(sound)]
    return np.asarray(wet, np.float32)


def noise(count: int, rng: Rng) -> Sound:
    """Noise of a random colour with a few resonances, sometimes swelling, sometimes with hum."""
    grid = np.linspace(1, 8000, 200)
    response = (grid / 500) ** -rng.uniform(-0.2, 1.3)
    response = np.minimum(response, response[4])
    for _ in range(rng.integers(0, 4)):
        at, width = rng.uniform(100, 6000), rng.uniform(50, 800)
        response *= 1 + rng.uniform(0, 4) * np.exp(-(((grid - at) / width) ** 2))
    sound = _filter(rng.standard_normal(count).astype(np.float32), response)
    if rng.random() < 0.5:
        knots = rng.uniform(0.1, 1.0, max(2, count // RATE + 2))
        swell = np.interp(np.arange(count) / RATE, np.arange(len(knots)), knots)
        sound = np.asarray(sound * swell, np.float32)
    if rng.random() < 0.15:
        hum = rng.choice([50.0, 60.0]) * np.arange(count) / RATE
        tones = sum(rng.uniform(0, 1) * np.sin(2 * np.pi * k * hum) for k in (1, 2, 3, 5))
        sound = np.asarray(sound + sound.std() * tones, np.float32)
    return sound


def music(count: int, rng: Rng) -> Sound:
    """Decaying chords over a bass with a noise drum: a bed, not a composition."""
    sound = np.zeros(count, np.float32)
    beat = int(RATE * rng.uniform(0.25, 0.7))
    root = rng.uniform(100, 260)
    scale = (
        np.array([0, 2, 4, 5, 7, 9, 11, 12])
        if rng.random() < 0.6
        else np.array([0, 2, 3, 5, 7, 8, 10, 12])
    )
    bright, length = rng.uniform(0.4, 1.5), int(RATE * rng.uniform(0.4, 1.6))
    time = np.arange(length) / RATE
    envelope = np.exp(-time * rng.uniform(1.0, 6.0)) * np.minimum(1, time / 0.01)
    drums = rng.random() < 0.5
    for start in range(0, count, beat):
        stop = min(count, start + length)
        mixed = np.zeros(length, np.float32)
        for degree in rng.choice(scale, rng.integers(1, 4)):
            pitch = root * 2 ** ((degree + 12 * rng.integers(-1, 2)) / 12)
            for harmonic in range(1, 7):
                if pitch * harmonic < 7000:
                    phase = rng.uniform(0, 6.28)
                    mixed += np.sin(2 * np.pi * pitch * harmonic * time + phase) / harmonic**bright
        sound[start:stop] += (mixed * envelope)[: stop - start]
        if drums:
            hit = (
                rng.standard_normal(length)
                * np.exp(-time * rng.uniform(20, 60))
                * rng.uniform(0, 3)
            )
            sound[start:stop] += hit[: stop - start].astype(np.float32)
    return sound


def breath(count: int, rng: Rng) -> Sound:
    """Air drawn in or let out: noise that swells once."""
    rise = rng.uniform(0.2, 0.8)
    at = np.linspace(0, 1, count)
    swell = np.minimum(at / rise, (1 - at) / (1 - rise)).clip(0) ** rng.uniform(0.7, 2.0)
    return np.asarray(noise(count, rng) * swell, np.float32)


def laughter(count: int, rng: Rng) -> Sound:
    """What laughs are like: breathy voiced bursts, four to six a second, that sink and die away."""
    time = np.arange(count) / RATE
    share = time / max(time[-1], 1e-3)
    phase = rng.uniform(4.0, 6.2) * time
    burst = np.clip(np.sin(2 * np.pi * phase), 0, 1) ** rng.uniform(0.5, 1.5)
    pitch = rng.uniform(120, 420) * (1 - rng.uniform(0, 0.4) * share)
    pulses = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) ** 15
    mixed = pulses + rng.uniform(0.05, 0.6) * rng.standard_normal(count)
    grid = np.linspace(0, 8000, 200)
    formants = zip((rng.uniform(500, 900), rng.uniform(1100, 1900), 2700.0), (150, 220, 400),
                   strict=True)  # fmt: skip
    peaks = [np.exp(-(((grid - at) / width) ** 2)) for at, width in formants]
    response = np.sum(peaks, axis=0) + 0.03
    return _filter((mixed * burst * (1 - share) ** rng.uniform(0.2, 1.0)).astype(np.float32),
                   response)  # fmt: skip


def pause_noise(count: int, rng: Rng) -> Sound:
    """What is heard between phrases although nobody speaks: a breath, a laugh, a tap, a click."""
    kind = rng.random()
    if kind < 0.55:
        return breath(count, rng)
    if kind < 0.8:
        return laughter(count, rng)
    time = np.arange(count) / RATE
    hit = noise(count, rng) * np.exp(-time * rng.uniform(15, 200))
    return np.asarray(hit, np.float32)


def add_at(sound: Sound, other: Sound, decibels: float) -> Sound:
    """Mix `other` in at a signal-to-noise ratio."""
    gain = np.sqrt(power(sound) / max(float(np.mean(other**2)), 1e-9) * 10 ** (-decibels / 10))
    return np.asarray(sound + gain * other, np.float32)


def equalise(sound: Sound, rng: Rng) -> Sound:
    """A random smooth frequency response of up to about +-10 dB."""
    gains = rng.normal(0, rng.uniform(0, 5), 9)
    return _filter(sound, 10 ** (np.interp(np.linspace(0, 8, 200), np.arange(9), gains) / 20))


def band_limit(sound: Sound, rng: Rng) -> Sound:
    """A telephone's or a cheap microphone's band."""
    low, high = (
        (300, 3400) if rng.random() < 0.4 else (rng.uniform(40, 300), rng.uniform(3000, 7600))
    )
    grid = np.linspace(0, 8000, 400)
    response = 1 / (1 + np.exp(-(grid - low) / (0.15 * low))) / (1 + np.exp((grid - high) / 100))
    return _filter(sound, np.maximum(response, 1e-4))


def clip(sound: Sound, rng: Rng) -> Sound:
    """Too loud for the converter: hard or soft clipping."""
    limit = np.abs(sound).max(initial=1e-6) * rng.uniform(0.15, 0.7)
    if rng.random() < 0.5:
        return np.clip(sound, -limit, limit).astype(np.float32)
    return np.asarray(limit * np.tanh(sound / limit), np.float32)


def compress(sound: Sound, rng: Rng) -> Sound:
    """Broadcast compression: quiet passages are raised."""
    level = np.sqrt(np.convolve(sound**2, np.ones(640) / 640, "same") + 1e-6)
    return np.asarray(sound * (level / level.max()) ** -rng.uniform(0.2, 0.6), np.float32)


_CODECS: tuple[tuple[str, str, int, tuple[int, ...]], ...] = (
    # codec, container, sample rate, bit rates
    ("libopus", "ogg", 48000, (8_000, 12_000, 16_000, 24_000, 48_000)),
    ("libmp3lame", "mp3", 16000, (16_000, 24_000, 32_000, 64_000)),
    ("libmp3lame", "mp3", 44100, (48_000, 64_000, 128_000)),
    ("g722", "g722", 16000, (64_000,)),
    ("aac", "adts", 44100, (32_000, 64_000)),
    ("pcm_mulaw", "wav", 8000, (64_000,)),
)  # fmt: skip


def _through_codec(sound: Sound, name: str, container: str, rate: int, bits: int) -> Sound:
    peak = max(1.0, float(np.abs(sound).max(initial=0.0)))
    data = np.round(resample(sound / peak, RATE, rate) * 32767).clip(-32768, 32767)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(name, rate=rate)
        stream.layout = "mono"
        stream.bit_rate = bits
        frame = av.AudioFrame.from_ndarray(data.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    buffer.seek(0)
    parts = []
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(buffer, format="aac" if container == "adts" else container) as source:
        for decoded in source.decode(audio=0):
            parts += [part.to_ndarray().reshape(-1) for part in resampler.resample(decoded)]
        parts += [part.to_ndarray().reshape(-1) for part in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32) * peak


def _undo_lag(coded: Sound, sound: Sound, reach: int = 4096) -> Sound:
    """Shift a codec's output back onto its input (encoders add up to 2,000 samples of delay)."""
    count = len(sound)
    coded = np.pad(coded, (0, max(0, count + reach - len(coded))))[: count + reach]
    part = slice(0, min(count, 20 * RATE))
    size = next_fast_len(2 * (part.stop + reach))
    product = rfft(coded[: part.stop + reach], size) * np.conj(rfft(sound[part], size))
    correlation = np.abs(irfft(product, size)[:reach])
    lag = int(correlation.argmax())
    return np.ascontiguousarray(coded[lag : lag + count])


def codec(sound: Sound, rng: Rng) -> Sound:
    """Through a real encoder and decoder at a low or middling bit rate."""
    name, container, rate, bit_rates = _CODECS[rng.integers(len(_CODECS))]
    return _undo_lag(
        _through_codec(sound, name, container, rate, int(rng.choice(bit_rates))), sound
    )


def spoil(sound: Sound, rng: Rng, talkers: Callable[[int], Sound]) -> Sound:
    """A random recording situation; `talkers(n)` gives n samples of other people speaking."""
    if rng.random() < 0.3:
        sound = equalise(sound, rng)
    if rng.random() < 0.5:
        sound = room(sound, rng)
    if rng.random() < 0.15:
        sound = compress(sound, rng)
    sound = add_at(sound, noise(len(sound), rng), rng.uniform(5, 50))
    kind = rng.random()
    if kind < 0.2:
        sound = add_at(sound, music(len(sound), rng), rng.uniform(3, 25))
    elif kind < 0.4:
        sound = add_at(sound, talkers(len(sound)), rng.uniform(6, 25))
    if rng.random() < 0.15:
        sound = clip(sound, rng)
    if rng.random() < 0.25:
        sound = band_limit(sound, rng)
    if rng.random() < 0.4:
        sound = codec(sound, rng)
    return np.asarray(sound * 10 ** rng.uniform(-1.5, 0.2), np.float32)


def vary_mels(mel: Tensor, generator: torch.Generator) -> Tensor:
    """Per item of [B, T, 64]: a vocal tract length, an equaliser, a noise floor, hidden bands."""
    batch, frames, bands = mel.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    factor = uniform(0.85, 1.17, batch, 1).where(uniform(0, 1, batch, 1) < 0.8, torch.ones(1))
    source = (torch.arange(bands) * factor).clamp(0, bands - 1)
    low = source.long()
    share = (source - low)[:, None].to(mel.dtype)
    high = (low + 1).clamp(max=bands - 1)

    def gather(index: Tensor) -> Tensor:
        return mel.gather(2, index[:, None].expand(-1, frames, -1))

    mel = gather(low) * (1 - share) + gather(high) * share
    knots = torch.randn(batch, 1, 6, generator=generator) * uniform(0, 0.4, batch, 1, 1)
    curve = torch.nn.functional.interpolate(knots, bands, mode="linear", align_corners=True)
    mel = mel + (curve - curve.mean(2, keepdim=True))
    mel = mel * uniform(0.85, 1.15, batch, 1, 1) + uniform(-0.2, 0.2, batch, 1, 1)
    floor = uniform(-2.0, -0.5, batch, 1, 1)
    floor = floor.where(uniform(0, 1, batch, 1, 1) < 0.25, torch.full((1,), -9.0))
    mel = torch.maximum(mel, floor)
    for widest in (12, 7):
        start = (uniform(0, 1, batch, 1) * bands).long()
        band = torch.arange(bands)
        hidden = (band >= start) & (band < start + uniform(0, widest, batch, 1).long())
        mel = mel.masked_fill(hidden[:, None], 0.0)
    return mel
