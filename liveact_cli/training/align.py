"""Forced alignment: when each phone of a known text is said, with pocketsphinx.

English models serve English and most other languages, French ones French (CMUSphinx, BSD, in the
npm package soundswallower; `python -m liveact_cli.training.packages` fetches it). Words that the
English dictionary lacks, and other languages, are spelt by espeak-ng and mapped to the nearest
phones of the model (no lag was found on recordings with known timings).
"""

import functools
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pocketsphinx import Decoder, get_model_path

from liveact_cli.core.errors import WeightsError
from liveact_cli.training.packages import PACKAGES
from liveact_cli.training.spelling import ipa_to_arpabet, ipa_to_french

FRENCH_MODEL = PACKAGES / "soundswallower" / "model" / "fr-fr"
SILENT = ("SIL", "+NSN+", "+SPN+", "<sil>")


@dataclass(frozen=True)
class AlignedPhone:
    """One phone: the model's name (ARPAbet; '' is silence), seconds, acoustic score per frame.

    `ipa` is what it stands for in another language than English, whose lips may differ: a French r
    is not rounded, its "eu" is. Where several phones spell one sound, it is ''.
    """

    label: str
    start: float
    stop: float
    score: float
    ipa: str = ""


@dataclass(frozen=True)
class AlignedWord:
    """One word as the text spells it, in lower case; seconds."""

    text: str
    start: float
    stop: float


def _pcm(samples: NDArray[np.float32]) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()


def words_of(text: str) -> list[str]:
    """Lower-case words, inner apostrophes kept; figures are words of their own."""
    return re.findall(r"\d+|[^\W\d_]+(?:['’][^\W\d_]+)*", text.lower().replace("’", "'"))


@functools.lru_cache(maxsize=100_000)
def _espeak_ipa(word: str, voice: str) -> str:
    said = subprocess.run(
        ["espeak-ng", "-q", "--ipa", "-v", voice, word], capture_output=True, text=True, check=False
    )
    return re.sub(r"\([a-z-]+\)", "", said.stdout)


def _decoder(model: str, dictionary: str, noises: str, **features: str | float | bool) -> Decoder:
    return Decoder(
        hmm=model, dict=dictionary, fdict=noises, lm=None, loglevel="FATAL", samprate=16000,
        beam=1e-60, wbeam=1e-40, pbeam=1e-60, **features,
    )  # fmt: skip


def _english_decoder() -> Decoder:
    models = f"{get_model_path()}/en-us"
    model = f"{models}/en-us"
    return _decoder(model, f"{models}/cmudict-en-us.dict", f"{model}/noisedict")


def _french_decoder() -> Decoder:
    if not FRENCH_MODEL.is_dir():
        raise WeightsError(
            f"the French alignment model is not in {FRENCH_MODEL}",
            "run python -m liveact_cli.training.packages",
        )
    # Its front end, which pocketsphinx does not read from the package's feat_params.json.
    return _decoder(
        str(FRENCH_MODEL), str(FRENCH_MODEL / "dict.txt"), str(FRENCH_MODEL / "noisedict.txt"),
        lowerf=130.0, upperf=3700.0, nfilt=20, transform="dct", lifter=22, feat="1s_c_d_dd",
        svspec="0-12/13-25/26-38", cmn="batch", varnorm=False, remove_noise=True,
    )  # fmt: skip


class Aligner:
    """Aligns 16 kHz mono sound with its text; `voice` is espeak-ng's name for the language.

    Raises WeightsError for French where its model was not fetched.
    """

    def __init__(self, voice: str = "en-us") -> None:
        self.voice = voice
        self.english = voice.startswith("en")
        french = voice.startswith("fr")
        self.decoder = _french_decoder() if french else _english_decoder()
        self._spelling = ipa_to_french if french else ipa_to_arpabet
        # What the phones of each added word stand for; English ones stand for themselves.
        self._spelt: dict[str, tuple[str, ...]] = {}

    def _entry(self, word: str) -> str | None:
        """The dictionary's name for a word, added from espeak-ng's spelling if need be."""
        if self.english and self.decoder.lookup_word(word):
            return word
        if shutil.which("espeak-ng") is None:
            return None
        return self._entry_of_ipa(_espeak_ipa(word, self.voice))

    def _entry_of_ipa(self, ipa: str) -> str | None:
        phones = self._spelling(ipa)
        if not phones:
            return None
        name = "said_" + "_".join(phone + letters for phone, letters in phones)
        if name not in self._spelt:
            self.decoder.add_word(name, " ".join(phone for phone, _ in phones), True)
            self._spelt[name] = tuple("" if self.english else letters for _, letters in phones)
        return name

    def words(self, samples: NDArray[np.float32], text: str) -> list[AlignedWord] | None:
        """Words with their times, in order; None where text and sound do not fit.

        Recordings of a minute pass here that are too long for `align`: cut them between words.
        """
        pairs = [(word, name) for word in words_of(text) if (name := self._entry(word))]
        if not pairs:
            return None
        try:
            self.decoder.set_align_text(" ".join(name for _, name in pairs))
            self._decode(_pcm(samples))
        except RuntimeError:  # as below
            return None
        if self.decoder.hyp() is None:
            return None
        said = [part for part in self.decoder.seg() if part.word[0] not in "<+["]
        if len(said) != len(pairs):
            return None
        return [
            AlignedWord(word, part.start_frame / 100, (part.end_frame + 1) / 100)
            for (word, _), part in zip(pairs, said, strict=True)
        ]

    def align(self, samples: NDArray[np.float32], text: str) -> list[AlignedPhone] | None:
        """Phones in order with silences between; None where text and sound do not fit."""
        return self._align(samples, [self._entry(word) for word in words_of(text)])

    def align_ipa(
        self, samples: NDArray[np.float32], words: Sequence[str]
    ) -> list[AlignedPhone] | None:
        """The same for what is known phone by phone: words in IPA, between which may be pauses."""
        return self._align(samples, [self._entry_of_ipa(word) for word in words])

    def _align(
        self, samples: NDArray[np.float32], entries: Sequence[str | None]
    ) -> list[AlignedPhone] | None:
        names = [name for name in entries if name]
        if not names:
            return None
        data = _pcm(samples)
        decoder = self.decoder
        try:
            decoder.set_align_text(" ".join(names))
            self._decode(data)
            if decoder.hyp() is None:
                return None
            decoder.set_alignment()
            self._decode(data)
            alignment = decoder.get_alignment()
        except RuntimeError:  # pocketsphinx's way of saying that no path was found
            return None
        return [
            AlignedPhone(
                "" if phone.name in SILENT else phone.name,
                phone.start / 100,
                (phone.start + phone.duration) / 100,
                phone.score / max(1, phone.duration),
                ipa,
            )
            for word in alignment
            for phones in [list(word)]
            for phone, ipa in zip(
                phones, self._spelt.get(word.name, ("",) * len(phones)), strict=True
            )
        ]

    def _decode(self, data: bytes) -> None:
        self.decoder.start_utt()
        self.decoder.process_raw(data, full_utt=True)
        self.decoder.end_utt()
