"""Drawn-out sounds keep their pitch, and everything stays where the time map says."""

import numpy as np
import pytest

from liveact_cli.training.prolong import prolong, time_map

RATE = 16000


def test_time_map_prolongs_only_its_spans() -> None:
    before, after = time_map(2.0, [(0.5, 0.7, 3.0), (1.0, 1.1, 2.0)])
    said = np.interp([0.5, 0.6, 0.7, 1.0, 1.1, 2.0], before, after)
    assert said == pytest.approx([0.5, 0.8, 1.1, 1.4, 1.6, 2.5])


def test_a_tone_keeps_its_pitch_and_strength() -> None:
    tone = np.sin(2 * np.pi * 137 * np.arange(RATE) / RATE).astype(np.float32)
    longer = prolong(tone, *time_map(1.0, [(0.3, 0.6, 3.0)]))
    assert len(longer) == pytest.approx(1.6 * RATE, abs=1)
    spectrum = np.abs(np.fft.rfft(longer * np.hanning(len(longer))))
    assert spectrum.argmax() * RATE / len(longer) == pytest.approx(137, abs=1)
    assert np.sqrt(np.mean(longer[2000:-2000] ** 2)) == pytest.approx(np.sqrt(0.5), rel=0.02)


def test_clicks_land_where_the_map_says() -> None:
    sound = np.zeros(2 * RATE, np.float32)
    times = np.array([0.2, 0.9, 1.3, 1.8])
    sound[(times * RATE).astype(int)] = 1.0
    before, after = time_map(2.0, [(0.3, 0.6, 2.5), (1.0, 1.2, 1.7)])
    found = np.flatnonzero(prolong(sound, before, after) > 0.3) / RATE
    assert found == pytest.approx(np.interp(times, before, after), abs=0.011)


def test_nothing_prolonged_is_nothing_changed() -> None:
    sound = np.random.default_rng(0).standard_normal(12345).astype(np.float32)
    same = prolong(sound, *time_map(len(sound) / RATE, []))
    assert len(same) == len(sound)
    assert np.abs(same - sound)[400:-400].max() < 1e-5
