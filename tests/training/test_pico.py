"""Pico speaks with aligned phones; only where its package and espeak-ng are installed."""

import itertools
import shutil

import numpy as np
import pytest

from liveact_cli.training.pico import LANGUAGES, speak_pico
from liveact_cli.training.streams import viseme_of

pytest.importorskip("py_nanotts")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng spells other languages")
def test_pico_says_its_phones_where_there_is_sound() -> None:
    for utterance in itertools.islice(speak_pico(0), 4):
        assert utterance.voice in {voice for voice, *_ in LANGUAGES}
        assert np.abs(utterance.samples).max() == pytest.approx(0.9, abs=0.1)
        spoken = [(a, b) for label, a, b in utterance.phones if label and viseme_of(label)]
        loud = np.abs(utterance.samples) > 0.1
        said = np.zeros(len(loud), bool)
        for start, stop in spoken:
            said[round(start * 16000) : round(stop * 16000)] = True
        assert said[loud].mean() > 0.97
        assert spoken == sorted(spoken)
