"""Kokoro's spelling and speakers: what goes into the network."""

import random

import numpy as np
import pytest

from liveact_cli.training.kokoro import (
    DEV_VOICES,
    HALF,
    SHADES,
    draw_accent,
    draw_far_style,
    draw_style,
    mix_shades,
    number_shades,
    spelling,
)

ALPHABET = {c: k for k, c in enumerate("AIOQTWYʤʧʦabdefhijklmnopstuvwzæðŋɑɔəɛɜɡɪɹʁœ ˈˌːʃʊʌθ\u0303")}
NAMES = ("af_heart", "af_sarah", "am_adam", "bf_emma", "bm_lewis", "ff_siwis", "am_fenrir", "bf_x")


@pytest.fixture
def styles() -> dict[str, np.ndarray]:
    return {
        name: np.full((3, 2 * HALF), k, np.float32) + np.arange(3, dtype=np.float32)[:, None] / 10
        for k, name in enumerate(NAMES)
    }


@pytest.mark.parametrize(
    ("ipa", "kind", "letters"),
    [
        ("dʒˈʌmps ˌoʊvɚ", "a", "ʤˈʌmps ˌOvəɹ"),
        ("nˈɜːs fˈɑːks", "a", "nˈɜɹs fˈɑks"),
        ("nˈəʊ fˈɑːs", "b", "nˈQ fˈɑːs"),
        ("bɔ̃ʒˈuʁ mɑ̃ʒe", "f", "bɔ̃ˈuʁ mɑ̃e"),  # ʒ is not in this alphabet: left out
        ("ɡrˈatsje", "i", "ɡˈaʦje"),
    ],
)
def test_espeak_phones_in_the_network_s_letters(ipa: str, kind: str, letters: str) -> None:
    assert spelling(ipa, kind, ALPHABET) == letters


def test_composed_letters_are_taken_apart() -> None:
    assert spelling("p\u00e3o", "p", ALPHABET) == "pa\u0303o"


@pytest.mark.parametrize("kind", ["a", "b", "f"])
def test_train_and_dev_share_no_english_voice(styles: dict[str, np.ndarray], kind: str) -> None:
    rng = random.Random(3)
    for dev in (False, True):
        for _ in range(60):
            name, style = draw_style(styles, kind, rng, dev)
            heard = set(name.split("+"))
            assert style.shape == (3, 2 * HALF)
            english = {voice for voice in heard if voice[0] in "ab"}
            assert english <= set(DEV_VOICES) if dev else not english & set(DEV_VOICES)
            assert any(voice[0] == kind for voice in heard)


def test_a_mixed_speaker_lies_between_his_voices(styles: dict[str, np.ndarray]) -> None:
    rng = random.Random(0)
    mixed = 0
    for _ in range(40):
        name, style = draw_style(styles, "f", rng, dev=False)
        if "+" not in name:
            assert np.array_equal(style, styles[name])
            continue
        mixed += 1
        timbre, other, *_ = name.split("+")
        low, high = sorted((styles[timbre][0, 0], styles[other][0, 0]))
        assert low - 1e-5 <= style[0, 0] <= high + 1e-5
        assert style[0, HALF] == pytest.approx(styles["ff_siwis"][0, HALF])
    assert mixed > 15


def test_a_far_speaker_is_no_voice_of_the_package(styles: dict[str, np.ndarray]) -> None:
    rng = random.Random(1)
    middle = np.mean([k for k, name in enumerate(NAMES)
                      if name[0] in "ab" and name not in DEV_VOICES])  # fmt: skip
    outside = 0
    for _ in range(60):
        name, style = draw_far_style(styles, "f", rng)
        *timbres, first, second = name.split("+")
        assert not set(name.split("+")) & set(DEV_VOICES)
        assert first[0] == "f"
        assert len(timbres) == 3
        low, *_, high = sorted(NAMES.index(voice) for voice in timbres)
        away = sorted((middle + 1.6 * (low - middle), middle + 1.6 * (high - middle), low, high))
        assert away[0] - 1e-4 <= style[0, 0] <= away[-1] + 1e-4
        outside += not low <= style[0, 0] <= high
        melodies = sorted(NAMES.index(voice) for voice in (first, second))
        assert melodies[0] - 1e-4 <= style[0, HALF] <= melodies[1] + 1e-4
    assert outside > 3


LETTERS = {letter: k + 1 for k, letter in enumerate("aeioutdyøœɑɔəɛɪʊʦʣʁ")} | {"z": 90}


def test_shades_take_free_numbers() -> None:
    numbers = number_shades(LETTERS)
    assert len(set(numbers.values())) == len(numbers) == sum(map(len, SHADES.values()))
    assert not set(numbers.values()) & set(LETTERS.values())
    assert not set(numbers) & set(LETTERS)


def test_a_shade_s_row_is_a_mixture_and_no_other_changes() -> None:
    rows = np.random.default_rng(0).integers(-60, 60, (91, 7)).astype(np.int8)
    numbers = number_shades(LETTERS)
    mixed = mix_shades(rows, LETTERS)
    others = [k for k in range(91) if k not in numbers.values()]
    assert np.array_equal(mixed[others], rows[others])
    shades = [shade for several in SHADES.values() for shade in several]
    for number, shade in zip(numbers.values(), shades, strict=True):
        assert sum(shade.values()) == pytest.approx(1)
        expected = sum(share * rows[LETTERS[of]].astype(float) for of, share in shade.items())
        assert np.abs(mixed[number] - expected).max() <= 0.5


def test_an_accent_says_a_vowel_in_one_way_and_leaves_the_rest() -> None:
    rng = random.Random(4)
    numbers = number_shades(LETTERS)
    hissing = changed = 0
    for _ in range(80):
        said = draw_accent("tyʁ dyøi ytɔ̃ y", rng)
        assert len(said) == len("tyʁ dyøi ytɔ̃ y")
        vowels = {said[k] for k in (1, 5, 9, 14)}
        assert len(vowels) == 1
        assert vowels <= {"y", *numbers}
        assert said[2] == "ʁ"
        assert said[10] == "t"  # no hiss before an open vowel
        assert (said[0] == "ʦ") == (said[4] == "ʣ")
        hissing += said[0] == "ʦ"
        changed += vowels != {"y"}
    assert 10 < hissing < 45
    assert 25 < changed < 75
