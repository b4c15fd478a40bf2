"""Forced alignment replaces a voice's own phones only where both tell of the same words."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from liveact_cli.training.rawstore import read_raw, write_raw
from liveact_cli.training.realign_text import agree, realign_source
from liveact_cli.training.synthesise import PhoneSpan, Utterance

pytest.importorskip("pocketsphinx")
SPEECH = Path(__file__).parents[1] / "data" / "speech"
OWN = [("b", 0.1, 0.2), ("ɪ", 0.2, 0.3), ("s", 0.3, 0.4), ("f", 0.5, 0.6), ("ʃ", 0.6, 0.7)]


def moved(by: float) -> list[PhoneSpan]:
    return [(label, start + by, stop + by) for label, start, stop in OWN]


def test_other_vowels_and_small_shifts_agree() -> None:
    other = [("ARPA:AH" if label == "ɪ" else label, a, b) for label, a, b in moved(0.03)]
    assert agree(OWN, other)


def test_other_words_and_other_times_do_not() -> None:
    assert not agree(OWN, [("m", 0.1, 0.2), *OWN, ("v", 0.8, 0.9)])
    assert not agree(OWN, moved(0.1))


def test_a_source_is_rewritten_in_place(tmp_path: Path) -> None:
    sound, _ = soundfile.read(SPEECH / "sense_0880.wav", dtype="float32")
    text = (SPEECH / "sense_0880.txt").read_text(encoding="utf8")
    wrong = [("b", 0.1 * k, 0.1 * k + 0.05) for k in range(20)]
    said = [
        Utterance(np.asarray(sound, np.float32), [], "x", "x", "en", text),
        Utterance(np.asarray(sound, np.float32), wrong, "x", "x", "en", text),
        Utterance(np.asarray(sound, np.float32), [], "x", "x", "de", text),
    ]
    write_raw(tmp_path, "x", iter(said), 1e9)
    first = [entry.text for entry in read_raw(tmp_path, "x")]
    assert realign_source(tmp_path, "x", 1)[1] == 3
    entries = read_raw(tmp_path, "x")
    assert [entry.text for entry in entries] == first
    assert len(entries[1].phones) == 20
    assert entries[2].phones == []
