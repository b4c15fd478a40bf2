"""IPA words in the phones of the aligner's models: English, which serve most, and French."""

import unicodedata

from liveact_cli.mini.visemes import ipa_letters

_IPA_PAIRS_TO_ARPABET = {
    "tʃ": "CH", "dʒ": "JH", "tɕ": "CH", "dʑ": "JH", "ts": "T S", "dz": "D Z",
    "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY",
}  # fmt: skip
_IPA_TO_ARPABET = {
    phone: arpabet
    for arpabet, phones in {
        "P": "p", "B": "bɓ", "M": "mɱ", "F": "f", "V": "vβɸʋ", "T": "tʈ", "D": "dɖɗɾrɽɟɺ",
        "N": "nɳ", "N Y": "ɲ", "L": "lɫɬɭʟɮ", "L Y": "ʎ", "S": "s", "Z": "z", "SH": "ʃʂɕçɧ",
        "ZH": "ʒʐʑ",
        "CH": "ʧʨ", "JH": "ʤʥ", "K": "kcqɢ", "G": "gɡɣɰɠ", "NG": "ŋɴ", "HH": "hɦxχħʜ", "TH": "θ",
        "DH": "ð",
        "R": "ɹɻʁʀ", "W": "wɥʍ", "Y": "jʝ", "AA": "aɑɒ", "AE": "æɶ", "EH": "eɛε", "IH": "ɪɨᵻ",
        "IY": "i", "AO": "ɔ", "OW": "o", "UH": "ʊʏɵᵿ", "UW": "uyʉɯ", "AH": "əɐʌɘɤᵊɞ", "ER": "øœɜɚɝ",
        "T S": "ʦ", "D Z": "ʣ",
    }.items()
    for phone in phones
}  # fmt: skip


def ipa_to_arpabet(word: str) -> list[tuple[str, str]]:
    """ARPAbet phones nearest to an IPA word, to align any language with English models.

    Each comes with what it stands for: the IPA letters, or '' where several phones spell one sound.
    """
    text = ipa_letters(word)
    phones: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        pair = _IPA_PAIRS_TO_ARPABET.get(text[at : at + 2])
        letters = text[at : at + 2] if pair else text[at]
        spelt = (pair or _IPA_TO_ARPABET.get(letters, "")).split()
        phones += [(phone, letters if len(spelt) == 1 else "") for phone in spelt]
        at += len(letters)
    return phones


_NASAL = ("an", "an", "in", "on", "on", "un")
_IPA_TO_FRENCH = {
    phone: french
    for french, phones in {
        "aa": "aɑɐæ", "ai": "ɛ", "au": "oɒ", "bb": "b", "ch": "ʃç", "dd": "dð", "ee": "ə",
        "ei": "e", "eu": "ø", "ff": "f", "gg": "ɡg", "gn": "ɲ", "ii": "iɪ", "jj": "ʒ", "kk": "k",
        "ll": "l", "mm": "m", "nn": "nŋ", "oe": "œʌɜ", "oo": "ɔ", "ou": "uʊ", "pp": "p",
        "rr": "ʁʀrɹx", "ss": "sθ", "tt": "t", "uu": "yʏ", "uy": "ɥ", "vv": "v", "ww": "w",
        "yy": "j", "zz": "z",
    }.items()
    for phone in phones
} | {vowel + "\u0303": nasal for vowel, nasal in zip("ɑaɛɔoœ", _NASAL, strict=True)}  # fmt: skip
_LIGATURES = str.maketrans({"ʧ": "tʃ", "ʤ": "dʒ", "ʦ": "ts", "ʣ": "dz"})


def ipa_to_french(word: str) -> list[tuple[str, str]]:
    """Phones of CMUSphinx's French models, which know nasal vowels, for an IPA word.

    Each comes with the IPA letter that it stands for.
    """
    text = unicodedata.normalize("NFD", word).translate(_LIGATURES)
    marked = zip(text, text[1:] + " ", strict=True)
    spelt = (
        (_IPA_TO_FRENCH.get(letter + mark) or _IPA_TO_FRENCH.get(letter), letter)
        for letter, mark in marked
    )
    return [(phone, letter) for phone, letter in spelt if phone]
