"""Forced alignment: when each phone of a known text is said, with pocketsphinx's English models.

Words that its dictionary lacks, and other languages, are spelt by espeak-ng and mapped to the
nearest ARPAbet phones (MINI.md's speech section: no lag on recordings with known timings).
"""

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pocketsphinx import Decoder, get_model_path

from liveact_cli.mini.visemes import ipa_to_arpabet

SILENT = ("SIL", "+NSN+", "+SPN+", "<sil>")


@dataclass(frozen=True)
class AlignedPhone:
    """One phone: ARPAbet name ('' is silence), seconds, acoustic score per frame.

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
def _espeak_phones(word: str, voice: str) -> tuple[tuple[str, str], ...]:
    said = subprocess.run(
        ["espeak-ng", "-q", "--ipa", "-v", voice, word], capture_output=True, text=True, check=False
    )
    return tuple(ipa_to_arpabet(re.sub(r"\([a-z-]+\)", "", said.stdout)))


class Aligner:
    """Aligns 16 kHz mono sound with its text; `voice` is espeak-ng's name for the language."""

    def __init__(self, voice: str = "en-us") -> None:
        models = get_model_path()
        self.voice = voice
        self.english = voice.startswith("en")
        self.decoder = Decoder(
            hmm=f"{models}/en-us/en-us", dict=f"{models}/en-us/cmudict-en-us.dict", lm=None,
            loglevel="FATAL", samprate=16000, beam=1e-60, wbeam=1e-40, pbeam=1e-60,
        )  # fmt: skip
        # What the phones of each added word stand for; English ones stand for themselves.
        self._spelt: dict[str, tuple[str, ...]] = {}

    def _entry(self, word: str) -> str | None:
        """The dictionary's name for a word, added from espeak-ng's spelling if need be."""
        if self.english and self.decoder.lookup_word(word):
            return word
        if shutil.which("espeak-ng") is None:
            return None
        phones = _espeak_phones(word, self.voice)
        if not phones:
            return None
        arpabet = [phone for phone, _ in phones]
        name = "said_" + "_".join(phone + ipa for phone, ipa in phones)
        if name not in self._spelt:
            self.decoder.add_word(name, " ".join(arpabet), True)
            self._spelt[name] = tuple("" if self.english else ipa for _, ipa in phones)
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
        names = [name for name in map(self._entry, words_of(text)) if name]
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
