"""Finding words: by name or synonym in any spelling, and the nearest for a typing error."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Final

from liveact_cli.script.problems import did_you_mean
from liveact_cli.script.words import WORDS, Kind, Word

_FILLERS: Final = frozenset(("a", "an", "the", "his", "her", "their", "my", "your", "one's"))


def normalise(text: str) -> str:
    """Return a word as it is compared: one case, no full-width forms, articles or punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    parts = re.split(r"[\W_]+", folded.replace("'", ""))
    kept = [part for part in parts if part and part not in _FILLERS]
    return " ".join(kept or (part for part in parts if part))


class Vocabulary:
    """Words that can be looked up by any of their names; later words hide earlier ones."""

    def __init__(self, words: Iterable[Word]) -> None:
        self.words = tuple(words)
        self._index: dict[tuple[Kind, str], Word] = {}
        for word in self.words:
            for name in (word.name, *word.english, *word.chinese):
                self._index[word.kind, normalise(name)] = word

    def find(self, kind: Kind, text: str) -> Word | None:
        """Return the word of `kind` that `text` names, or None."""
        return self._index.get((kind, normalise(text)))

    def matching(self, texts: Iterable[str]) -> list[Word]:
        """Return the words that have one of `texts` in a name; all words without any."""
        wanted = [normalise(text) for text in texts]
        return [
            word
            for word in self.words
            if not wanted
            or any(
                part in normalise(name)
                for part in wanted
                for name in (word.name, word.kind, *word.english, *word.chinese)
            )
        ]

    def extended(self, words: Iterable[Word]) -> "Vocabulary":
        """Return this vocabulary with more words on top."""
        return Vocabulary((*self.words, *words))

    def hint(self, kind: Kind, text: str) -> str:
        """Return the fix for an unknown word: the other kind, or the nearest name."""
        other = Kind.ACTION if kind is Kind.EMOTION else Kind.EMOTION
        word = self.find(other, text)
        if word is not None:
            return f"{word.name!r} is an {other}: write {other}: {word.name}"
        names = [name for of_kind, name in self._index if of_kind is kind]
        near = did_you_mean(normalise(text), names)
        listing = f"liveact script vocabulary lists every {kind}"
        return f"{near} {listing}" if near else listing


@cache
def standard() -> Vocabulary:
    """Return the documented vocabulary."""
    return Vocabulary(WORDS)
