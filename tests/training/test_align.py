"""Forced alignment finds phones where they are known to be."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from liveact_cli.core.errors import WeightsError
from liveact_cli.mini.visemes import viseme_of_arpabet, viseme_of_ipa
from liveact_cli.training import align
from liveact_cli.training.align import Aligner, words_of
from liveact_cli.training.realign_text import words_between_pauses
from liveact_cli.training.synthesise import trim_to_sound

DATA = Path(__file__).parents[1] / "data" / "speech"


def synthetic() -> tuple[np.ndarray, str, list[tuple[str, float, float]]]:
    """A neural voice's sentence and the phone times that it was spoken with."""
    samples, _ = soundfile.read(DATA / "heart.wav", dtype="float32")
    phones = []
    for line in (DATA / "heart.phones").read_text(encoding="utf8").splitlines():
        label, start, stop = line.split("\t")
        phones.append((label, float(start), float(stop)))
    return samples, (DATA / "heart.words").read_text(), phones


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


def test_bilabials_of_a_synthetic_voice_are_found_in_time(aligner: Aligner) -> None:
    samples, words, phones = synthetic()
    found = aligner.align(samples, words)
    assert found is not None
    known = [(a, b) for label, a, b in phones if viseme_of_ipa(label) == "PBM"]
    ours = [(p.start, p.stop) for p in found if viseme_of_arpabet(p.label) == "PBM"]
    assert len(known) == len(ours) == 14
    starts = np.array(ours)[:, 0] - np.array(known)[:, 0]
    assert np.abs(starts).max() < 0.06
    assert abs(np.median(starts)) < 0.03


def test_other_languages_keep_the_sounds_that_english_phones_stand_for(
    aligner: Aligner, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, words, _ = synthetic()

    def spelt(word: str) -> list[tuple[str, str]]:
        return [
            (phone, "ʁ" if phone == "R" else "")
            for phone in aligner.decoder.lookup_word(word).split()
        ]

    monkeypatch.setattr(align, "_espeak_ipa", lambda word, voice: word)
    monkeypatch.setattr(align, "ipa_to_arpabet", spelt)
    monkeypatch.setattr(align.shutil, "which", lambda name: name)
    found = Aligner("it").align(samples, words)
    assert found is not None
    assert {(p.label, p.ipa) for p in found if p.label == "R" or p.ipa} == {("R", "ʁ")}
    english = aligner.align(samples, words)
    assert english is not None
    assert not any(p.ipa for p in english)


def test_known_phones_get_the_times_at_which_they_are_said() -> None:
    samples, _, phones = synthetic()
    found = Aligner("it").align_ipa(samples, words_between_pauses(phones))
    assert found is not None
    said = [p for p in found if p.ipa]
    known = {label: [a for name, a, _ in phones if name == label] for label in "pbmfvsʃz"}
    ours = {label: [p.start for p in said if p.ipa == label] for label in known}
    assert {k: len(v) for k, v in ours.items()} == {k: len(v) for k, v in known.items()}
    apart = np.concatenate([np.subtract(ours[label], known[label]) for label in known])
    assert len(apart) >= 20
    assert abs(np.median(apart)) < 0.03
    assert np.quantile(np.abs(apart), 0.85) < 0.07


def test_french_tells_where_its_model_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(align, "FRENCH_MODEL", tmp_path / "fr-fr")
    with pytest.raises(WeightsError, match="French") as caught:
        Aligner("fr-be")
    assert "training.packages" in str(caught.value.hint)


def test_phones_are_in_order_and_inside_the_recording(aligner: Aligner) -> None:
    samples, words, _ = synthetic()
    found = aligner.align(samples, words)
    assert found is not None
    times = [t for phone in found for t in (phone.start, phone.stop)]
    assert times == sorted(times)
    assert times[-1] <= len(samples) / 16000 + 0.02


def test_a_text_without_words_cannot_be_aligned(aligner: Aligner) -> None:
    assert aligner.align(np.zeros(16000, np.float32), "... 123") is None


def test_words() -> None:
    assert words_of("Don’t stop, it's Élan!") == ["don't", "stop", "it's", "élan"]


def test_a_last_phone_ends_with_its_sound() -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(16000).astype(np.float32) * 0.1
    samples[8000:] = 0
    phones = [("a", 0.1, 0.4), ("m", 0.4, 0.8), ("", 0.8, 1.0)]
    assert trim_to_sound(samples, phones) == [
        ("a", 0.1, 0.4), ("m", 0.4, pytest.approx(0.5, abs=0.011)), ("", 0.8, 1.0),
    ]  # fmt: skip
