"""Every phone that the speaking machines use has the viseme that a reader of lips would expect."""

from pathlib import Path

import pytest

from liveact_cli.mini.visemes import (
    SHAPE_NAMES,
    VISEME_INDEX,
    VISEME_SHAPES,
    VISEMES,
    viseme_of_arpabet,
    viseme_of_ipa,
)

DATA = Path(__file__).parents[2] / "data" / "speech"
MARKS_ONLY = {"ʲ", "̩", "??"}


def met(name: str) -> list[str]:
    return (DATA / name).read_text(encoding="utf8").split("\n")[:-1]


def test_every_ipa_phone_met_in_the_corpus_has_a_viseme() -> None:
    silent = {label for label in met("phones_ipa.txt") if viseme_of_ipa(label) == "sil"}
    assert silent <= MARKS_ONLY


def test_every_arpabet_phone_met_in_the_corpus_has_a_viseme() -> None:
    assert all(viseme_of_arpabet(label) in VISEMES for label in met("phones_arpabet.txt"))


@pytest.mark.parametrize(
    ("label", "viseme"),
    [
        ("p", "PBM"), ("bʲ", "PBM"), ("m̩", "PBM"), ("pf", "PBM"), ("f", "FV"), ("v", "FV"),
        ("tʃ", "SH"), ("dʒ", "SH"), ("ts", "SZ"), ("t", "TDN"), ("r", "TDN"),
        ("ɹ", "R"), ("ʁ", "KG"), ("aɪ", "AA"), ("aʊ", "AA"), ("oʊ", "OW"), ("əʊ", "OW"),
        ("eɪ", "AE"), ("iː", "IY"), ("uː", "UW"), ("ɔ̃", "OW"), ("ɛ̃", "AE"),
        ("y", "UW"), ("ø", "OW"), ("w", "W"), ("ˈɑː", "AA"), ("ə", "AX"), ("", "sil"),
        ("(en)", "sil"), ("_:", "sil"),
    ],
)  # fmt: skip
def test_ipa(label: str, viseme: str) -> None:
    assert viseme_of_ipa(label) == viseme


def test_unknown_phones_are_errors() -> None:
    with pytest.raises(KeyError):
        viseme_of_arpabet("QQ")
    with pytest.raises(KeyError):
        viseme_of_ipa("ж")


def test_arpabet_ignores_case_and_stress() -> None:
    assert viseme_of_arpabet("aa1") == viseme_of_arpabet("AA") == "AA"
    assert viseme_of_arpabet("SIL") == viseme_of_arpabet("") == "sil"


def test_the_table_is_complete_and_bilabials_close_most() -> None:
    assert VISEME_SHAPES.shape == (len(VISEMES), len(SHAPE_NAMES))
    close = VISEME_SHAPES[:, SHAPE_NAMES.index("close")]
    assert close.argmax() == VISEME_INDEX["PBM"]
    assert ((VISEME_SHAPES >= 0) & (VISEME_SHAPES <= 1)).all()
