"""Phones to visemes: what each speech sound asks of the lips, whatever alphabet names it."""

import unicodedata
from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

VISEMES = (
    "sil", "PBM", "FV", "TH", "TDN", "L", "SZ", "SH", "KG", "R", "W",
    "AA", "AE", "IY", "OW", "UW", "AX",
)  # fmt: skip
VISEME_INDEX = {name: index for index, name in enumerate(VISEMES)}

SHAPE_NAMES = ("jaw", "close", "lip_teeth", "round", "stretch")
_SHAPES = {
    "sil": (0.02, 0.35, 0.0, 0.05, 0.0),
    "PBM": (0.03, 1.0, 0.0, 0.08, 0.05),
    "FV": (0.12, 0.15, 1.0, 0.05, 0.15),
    "TH": (0.22, 0.0, 0.1, 0.0, 0.25),
    "TDN": (0.18, 0.0, 0.0, 0.0, 0.25),
    "L": (0.28, 0.0, 0.0, 0.0, 0.2),
    "SZ": (0.10, 0.0, 0.0, 0.0, 0.45),
    "SH": (0.15, 0.0, 0.0, 0.55, 0.0),
    "KG": (0.25, 0.0, 0.0, 0.0, 0.15),
    "R": (0.20, 0.0, 0.0, 0.40, 0.0),
    "W": (0.12, 0.1, 0.0, 0.9, 0.0),
    "AA": (0.85, 0.0, 0.0, 0.0, 0.2),
    "AE": (0.60, 0.0, 0.0, 0.0, 0.4),
    "IY": (0.22, 0.0, 0.0, 0.0, 0.8),
    "OW": (0.50, 0.0, 0.0, 0.65, 0.0),
    "UW": (0.18, 0.0, 0.0, 0.95, 0.0),
    "AX": (0.35, 0.0, 0.0, 0.05, 0.2),
}
VISEME_SHAPES: NDArray[np.float32] = np.array([_SHAPES[name] for name in VISEMES], np.float32)
"""[17, 5]: rows as VISEMES, columns as SHAPE_NAMES, each 0..1."""

_ARPABET_GROUPS = {
    "PBM": "P B M EM",
    "FV": "F V",
    "TH": "TH DH",
    "TDN": "T D N EN DX NX",
    "L": "L EL",
    "SZ": "S Z",
    "SH": "SH ZH CH JH",
    "KG": "K G NG HH HV Q",
    "R": "R ER AXR",
    "W": "W WH",
    "AA": "AA AW AY",
    "AE": "AE EH EY",
    "IY": "IY IH IX Y",
    "OW": "AO OW OY",
    "UW": "UH UW UX",
    "AX": "AH AX",
    "sil": "SIL PAU +SPN+ +NSN+ BREATH H# #",
}
_ARPABET = {phone: name for name, phones in _ARPABET_GROUPS.items() for phone in phones.split()}

_IPA_GROUPS = {
    "PBM": "pbmɓʙ",
    "FV": "fvʋɱɸβ",
    "TH": "θð",
    "TDN": "tdnɾrʈɖɗɳɲɟcɽɺ",
    "L": "lɫʎɭʟɮ",
    "SZ": "szʦʣɬ",
    "SH": "ʃʒʂʐɕʑʧʤʨʥɧ",
    "KG": "kgɡŋxɣhɦχʁqħʔçɴʀɰʕʜɢɠ",
    "R": "ɹɻɝɚɜ",
    "W": "wɥʍ",
    "AA": "aɑɒ",
    "AE": "æɛeɶε",
    "IY": "iɪjɨᵻʝ",
    "OW": "oɔɤøœ",
    "UW": "uʊɯʉᵿyʏ",
    "AX": "əɘɵʌᵊɞɐ",
}
_IPA = {char: name for name, chars in _IPA_GROUPS.items() for char in chars}
_IPA_PAIRS = dict.fromkeys(("tʃ", "dʒ", "tɕ", "dʑ", "tʂ", "dʐ"), "SH") | {
    "ts": "SZ",
    "dz": "SZ",
    "əʊ": "OW",
}
"""Two letters whose lips are not those of the first."""
# The one-letter diphthongs and rhotics of the misaki alphabet (hibari's), which plain IPA lacks.
_MISAKI = {"A": "AE", "I": "AA", "O": "OW", "Q": "OW", "W": "AA", "Y": "OW", "T": "TDN", "S": "SH"}

_LETTERS = _IPA.keys() | _MISAKI.keys()


def _plain(label: str, known: Container[str]) -> str:
    """The known letters; stress, length, tone and combining marks do not change the viseme.

    A letter that is known with its mark (ç) stays whole, others are taken apart (ã is an a).
    """
    whole = unicodedata.normalize("NFC", label)
    parts = (c if c in known else unicodedata.normalize("NFD", c) for c in whole)
    return "".join(c for part in parts for c in part if c in known)


def ipa_letters(word: str) -> str:
    """The letters of an IPA word that have a viseme, without stress, length and tone."""
    return _plain(word, _IPA)


def viseme_of_ipa(label: str) -> str:
    """Viseme of one IPA phone as espeak-ng or hibari writes it; '' and pure marks are silence.

    Raises KeyError for a label whose letters are all unknown.
    """
    text = label.strip().replace("͡", "")
    if not text or text.startswith("("):
        return "sil"
    plain = _plain(text, _LETTERS)
    if not plain:
        if any(c.isalpha() and unicodedata.category(c) != "Lm" for c in text):
            raise KeyError(f"no viseme for the phone {label!r}")
        return "sil"
    if plain[:2] in _IPA_PAIRS:
        return _IPA_PAIRS[plain[:2]]
    return _IPA.get(plain[0]) or _MISAKI[plain[0]]


def viseme_of_arpabet(label: str) -> str:
    """Viseme of one ARPAbet phone, stress digits and letter case ignored; '' is silence.

    Raises KeyError for an unknown phone.
    """
    name = label.strip().rstrip("012").upper()
    return _ARPABET[name] if name else "sil"
