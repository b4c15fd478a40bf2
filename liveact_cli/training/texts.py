"""What the synthetic voices say: our own sentences, and the fortunes texts where installed."""

import random
import re
from functools import cache
from pathlib import Path

FORTUNES = Path("/usr/share/games/fortunes")
_FORTUNE_FILES = {
    "en": [
        "wisdom", "literature", "people", "love", "work", "education", "science", "food", "kids",
        "humorists", "pets", "sports", "travel", "songs-poems", "computers", "law", "medicine",
        "startrek", "platitudes", "tao", "goedel", "art", "fortunes", "cookie",
    ],
    "de": ["de/*"],
    "es": ["es/*"],
    "it": ["it/*", "italia", "leggi", "formiche", "definizioni"],
    "cs": ["cs/*", "cz/*"],
    "sk": ["sk/*"],
    "ru": ["ru/*"],
    "pl": ["pl/*"],
    "pt": ["brasil"],
}  # fmt: skip
_COARSE = re.compile(
    r"\b(sex|fuck|shit|bitch|rape|nazi|hitler|whore|nigg|penis|vagina|porn|kill|suicid|drug)\w*"
    r"|\b(merd|cazz|puta|scheiß)\w*",
    re.IGNORECASE,
)

_OWN = Path(__file__).with_name("sentences.txt")


@cache
def sections(path: Path) -> dict[str, tuple[str, ...]]:
    """Lines of a text file under each of its headings, such as "[fr]" alone in a line."""
    parts = path.read_text(encoding="utf8").split("[")
    found = dict(part.split("]\n") for part in parts if part)
    return {name: tuple(lines.splitlines()) for name, lines in found.items()}


def own_sentences(language: str) -> tuple[str, ...]:
    """Our own sentences of one language, in the order of sentences.txt."""
    return sections(_OWN).get(language, ())


def _clean(entry: str) -> list[str]:
    entry = re.sub(r"\n\s*--.*", "", entry, flags=re.DOTALL)
    entry = re.sub(r"\s+", " ", entry)
    kept = []
    for part in re.split(r"(?<=[.!?])\s+", entry):
        sentence = re.sub(r"[\[\]<>{}|*_#@/\\^~`=+\"“”«»„()]", " ", part)
        sentence = re.sub(r"\s+", " ", sentence).strip()
        shouting = re.search(r"\d|[A-Z]{3,}", sentence)
        if 20 <= len(sentence) <= 160 and not shouting and not _COARSE.search(sentence):
            kept.append(sentence)
    return kept


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8")
    except UnicodeDecodeError:
        return path.read_text(encoding="latin1")


@cache
def sentences(language: str) -> tuple[str, ...]:
    """Every distinct sentence of a language, sorted: ours, and the fortunes if they are there."""
    found = set(own_sentences(language))
    for pattern in _FORTUNE_FILES.get(language, []):
        for path in sorted(FORTUNES.glob(pattern)):
            if path.is_file() and path.suffix not in (".dat", ".u8"):
                for entry in re.split(r"\n%\n", _read(path)):
                    found.update(_clean(entry))
    return tuple(sorted(found))


_SPACELESS = ("cmn", "ja")


def draw(language: str, rng: random.Random) -> str:
    """One thing to say: a sentence, or (mostly, for small pools) words shuffled anew.

    Shuffled words give every sound many neighbours where a language has few sentences.
    """
    pool = sentences(language)
    if rng.random() > (0.7 if len(pool) < 200 else 0.1):
        return pool[rng.randrange(len(pool))]
    words: list[str] = []
    while len(words) < rng.randint(5, 14):
        source = pool[rng.randrange(len(pool))]
        parts = re.split(r"[，、。]", source) if language in _SPACELESS else source.split()
        words.append(parts[rng.randrange(len(parts))])
    joiner = "、" if language in _SPACELESS else " "
    return joiner.join(words)


_FILLERS = ("um,", "uh,", "erm,", "hmm,", "well,", "you know,", "I mean,", "like,")


def hesitate(text: str, rng: random.Random) -> str:
    """An English text as people say it unprepared: fillers, a word begun again, a pause."""
    words = text.split()
    for _ in range(1 + len(words) // 8):
        at = rng.randrange(len(words))
        kind = rng.random()
        if kind < 0.5:
            words.insert(at, rng.choice(_FILLERS))
        elif kind < 0.8:
            words.insert(at, words[at].rstrip(",.;:!?") + ",")
        else:
            words[at] = words[at].rstrip(",.;:!?") + "\u2026"
    return " ".join(words)
