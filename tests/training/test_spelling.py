"""IPA in other alphabets: what each phone becomes, and that lips stay what they were."""

from pathlib import Path

from liveact_cli.mini.visemes import viseme_of_arpabet, viseme_of_ipa
from liveact_cli.training.spelling import ipa_to_arpabet, ipa_to_french

DATA = Path(__file__).parents[1] / "data" / "speech"


def test_ipa_words_become_arpabet() -> None:
    assert ipa_to_arpabet("tʃˈaʊ") == [("CH", "tʃ"), ("AW", "aʊ")]
    assert [phone for phone, _ in ipa_to_arpabet("ˈbampoʊ")] == ["B", "AA", "M", "P", "OW"]
    assert ipa_to_arpabet("ʁøɲ") == [("R", "ʁ"), ("ER", "ø"), ("N", ""), ("Y", "")]


def test_arpabet_spelling_keeps_the_viseme_of_lip_sounds() -> None:
    for label in (DATA / "phones_ipa.txt").read_text(encoding="utf8").split("\n")[:-1]:
        viseme = viseme_of_ipa(label)
        if viseme in ("PBM", "FV", "W"):
            spelt = ipa_to_arpabet(label)
            assert viseme_of_arpabet(spelt[0][0]) == viseme, label


def test_french_words_keep_their_nasal_vowels() -> None:
    assert ipa_to_french("blˈɑ̃") == [("bb", "b"), ("ll", "l"), ("an", "ɑ")]
    assert [phone for phone, _ in ipa_to_french("yn pɔ̃, ɛ̃ ʧa")] == [
        "uu", "nn", "pp", "on", "in", "tt", "ch", "aa",
    ]  # fmt: skip
