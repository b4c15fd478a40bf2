"""Real voices with text: Debian's Asterisk prompts (CC-BY-3.0) to train on, LibriVox to test.

The English and Spanish prompts are reserved for the project's final judge and are not read here.
French is share-alike: it tests, it never trains.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from liveact_cli.training.align import Aligner
from liveact_cli.training.synthesise import Utterance

SOUNDS = Path("/usr/share/asterisk/sounds")
DOCUMENTS = Path("/usr/share/doc")
LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
PROMPTS = {
    "it": ("it_IT_m_Carlo", "it"),
    "ru": ("ru_RU_f_IvrvoiceRU", "ru"),
    "fr": ("fr_CA_f_June", "fr"),
}
HELD_OUT = 8
"""Every eighth prompt is kept for choosing, in the part "dev"."""
_WORST_SCORE = -250.0
"""Mean acoustic score per frame below which text and prompt do not match."""


def decode_g722(path: Path) -> NDArray[np.float32]:
    """Samples of a headerless G.722 file, 16 kHz mono."""
    parts = []
    with av.open(str(path), format="g722") as container:
        for frame in container.decode(audio=0):
            parts.append(frame.to_ndarray().reshape(-1))
    if not parts:
        return np.zeros(0, np.float32)
    return np.asarray(np.concatenate(parts) / 32768, np.float32)


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
    """Prompts of one language (it, ru, fr) whose text could be aligned; `part` is train or dev."""
    folder, voice = PROMPTS[language]
    aligner, said = Aligner(voice), _texts(language)
    root = SOUNDS / folder
    for number, path in enumerate(sorted(root.rglob("*.g722"))):
        if part and (number % HELD_OUT == 0) != (part == "dev"):
            continue
        text = said.get(str(path.relative_to(root).with_suffix("")))
        if not text or "[" in text or "?" in text[1:-1] or re.search(r"\d", text):
            continue
        samples = decode_g722(path)
        if not 0.7 < len(samples) / 16000 < 25:
            continue
        phones = aligner.align(samples, text)
        if not phones:
            continue
        scores = [phone.score for phone in phones if phone.label]
        if scores and np.mean(scores) > _WORST_SCORE:
            spans = [("ARPA:" + p.label if p.label else "", p.start, p.stop) for p in phones]
            yield Utterance(samples, spans, "prompt", folder, language, text)


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
            spans = [("ARPA:" + p.label if p.label else "", p.start, p.stop) for p in phones]
            yield Utterance(samples, spans, "librivox", "librivox", "en", match[1].strip())
