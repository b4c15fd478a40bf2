"""The vocabulary: complete, without double names, and playable by liveact-mini."""

import pytest

from liveact_cli.mini.vocabulary import VOCABULARY
from liveact_cli.script.definitions import define_words
from liveact_cli.script.parse import parse_script
from liveact_cli.script.source import Source
from liveact_cli.script.vocabulary import normalise, standard
from liveact_cli.script.words import WORDS, Kind, Word


def name_of(word: Word | None) -> str | None:
    return word and word.name


@pytest.mark.parametrize("kind", [Kind.EMOTION, Kind.ACTION])
def test_every_name_means_one_word(kind: Kind) -> None:
    names = [
        normalise(n) for w in WORDS if w.kind is kind for n in (w.name, *w.english, *w.chinese)
    ]
    assert len(names) == len(set(names))


def test_every_word_is_complete() -> None:
    for word in WORDS:
        assert word.english, word.name
        assert word.chinese, word.name
        assert all(any("\u4e00" <= sign <= "\u9fff" for sign in name) for name in word.chinese)
        assert word.text
        assert word.motion
        assert all(0 < weight <= 1 for _, weight in word.motion)
        assert 0.3 <= word.seconds <= 5


def test_mini_plays_every_word_and_every_motion_has_a_word() -> None:
    played = {motion for word in WORDS for motion, _ in word.motion}
    assert played == set(VOCABULARY)


def test_each_motion_of_mini_is_the_exact_motion_of_a_word() -> None:
    exact = {word.motion[0][0] for word in WORDS if word.exact and len(word.motion) == 1}
    assert exact == set(VOCABULARY)


@pytest.mark.parametrize(
    ("kind", "text", "name"),
    [
        (Kind.EMOTION, "Laughing", "laughing"),
        (Kind.EMOTION, "大笑", "laughing"),
        (Kind.EMOTION, "ｈａｐｐｙ", "happy"),
        (Kind.ACTION, "nods", "nod"),
        (Kind.ACTION, "shakes his head", "shake head"),
        (Kind.ACTION, "LOOK_LEFT", "look left"),
        (Kind.ACTION, "比心", "heart gesture"),
        (Kind.ACTION, "raise-eyebrows!", "raise eyebrows"),
        (Kind.ACTION, "laughing", None),
        (Kind.ACTION, "", None),
    ],
)
def test_words_are_found_in_any_spelling(kind: Kind, text: str, name: str | None) -> None:
    assert name_of(standard().find(kind, text)) == name


def test_definitions_are_words() -> None:
    text = """\
liveact: 1
define:
  smirk: {kind: emotion, like: contempt, intensity: 0.5, synonyms: [坏笑, sly smile]}
  big nod: {like: [nod, smile], for: 2s, prompt: nods vigorously}
  nod: {like: nod, intensity: 0.5}
  backflip: {prompt: does a backflip}
"""
    vocabulary, problems = define_words(parse_script(Source(text)), standard())
    assert problems == []
    smirk = vocabulary.find(Kind.EMOTION, "坏笑")
    assert smirk is not None
    assert smirk.motion == (("contempt", 0.5),)
    big = vocabulary.find(Kind.ACTION, "big nod")
    assert big is not None
    # `nod` inside the definition of another word is the user's own nod.
    assert (big.motion, big.seconds, big.text) == (
        (("nod", 0.5), ("smile", 1.0)),
        2.0,
        "nods vigorously",
    )
    backflip = vocabulary.find(Kind.ACTION, "backflip")
    assert backflip is not None
    assert (backflip.motion, backflip.exact) == ((), False)
