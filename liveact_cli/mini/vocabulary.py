"""What liveact-mini can be told: emotions and actions, and how free text is read as them.

A context has one row for emotions and one for actions. A row holds every word's intensity (0..1),
so the transformer's `text_embedding` is the learned vocabulary; all zeros says nothing at all.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMOTIONS: Final[tuple[str, ...]] = (
    "neutral",
    "happy",
    "warm",
    "sad",
    "angry",
    "surprised",
    "disgusted",
    "afraid",
    "contempt",
    "laughing",
    "embarrassed",
    "thinking",
    "excited",
    "calm",
)
ACTIONS: Final[tuple[str, ...]] = (
    "nod",
    "shake",
    "bow",
    "tilt",
    "look_left",
    "look_right",
    "look_up",
    "look_down",
    "wink",
    "raise_brows",
    "frown",
    "smile",
    "pout",
    "lean_in",
    "lean_back",
    "close_eyes",
    "laugh",
    "sigh",
    "yawn",
    "kiss",
)
VOCABULARY: Final[tuple[str, ...]] = EMOTIONS + ACTIONS
WORD_INDEX: Final[dict[str, int]] = {word: i for i, word in enumerate(VOCABULARY)}
CONTEXT_ROWS: Final = 2
"""Rows of one context: emotions, actions."""

SYNONYMS: Final[dict[str, str]] = {
    "natural": "neutral",
    "happily": "happy",
    "happiness": "happy",
    "joyful": "happy",
    "joy": "happy",
    "cheerful": "happy",
    "cheerfully": "happy",
    "glad": "happy",
    "smiling": "happy",
    "warmly": "warm",
    "tender": "warm",
    "tenderly": "warm",
    "friendly": "warm",
    "kind": "warm",
    "kindly": "warm",
    "gentle": "warm",
    "gently": "warm",
    "sadly": "sad",
    "sadness": "sad",
    "sorrowful": "sad",
    "melancholic": "sad",
    "unhappy": "sad",
    "grieving": "sad",
    "crying": "sad",
    "angrily": "angry",
    "anger": "angry",
    "furious": "angry",
    "furiously": "angry",
    "annoyed": "angry",
    "mad": "angry",
    "surprise": "surprised",
    "astonished": "surprised",
    "amazed": "surprised",
    "shocked": "surprised",
    "disgust": "disgusted",
    "fear": "afraid",
    "fearful": "afraid",
    "scared": "afraid",
    "frightened": "afraid",
    "anxious": "afraid",
    "nervous": "afraid",
    "worried": "afraid",
    "contemptuous": "contempt",
    "scornful": "contempt",
    "smirking": "contempt",
    "sarcastic": "contempt",
    "embarrassment": "embarrassed",
    "shy": "embarrassed",
    "ashamed": "embarrassed",
    "bashful": "embarrassed",
    "thoughtful": "thinking",
    "thoughtfully": "thinking",
    "pensive": "thinking",
    "doubtful": "thinking",
    "puzzled": "thinking",
    "excitedly": "excited",
    "enthusiastic": "excited",
    "energetic": "excited",
    "thrilled": "excited",
    "calmly": "calm",
    "relaxed": "calm",
    "serene": "calm",
    "peaceful": "calm",
    "nods": "nod",
    "nodding": "nod",
    "bows": "bow",
    "bowing": "bow",
    "winks": "wink",
    "winking": "wink",
    "frowns": "frown",
    "frowning": "frown",
    "smiles": "smile",
    "pouts": "pout",
    "pouting": "pout",
    "laughs": "laugh",
    "chuckles": "laugh",
    "sighs": "sigh",
    "sighing": "sigh",
    "yawns": "yawn",
    "yawning": "yawn",
    "kisses": "kiss",
}
PHRASES: Final[dict[str, str]] = {
    r"shak\w* (?:(?:his|her|their|the) )?head": "shake",
    r"tilt\w* (?:(?:his|her|their|the) )?head": "tilt",
    r"look\w* (?:to the )?left": "look_left",
    r"look\w* (?:to the )?right": "look_right",
    r"look\w* up": "look_up",
    r"look\w* down": "look_down",
    r"rais\w* (?:(?:his|her|their|the) )?(?:eye)?brows?": "raise_brows",
    r"lean\w* (?:in|forward)": "lean_in",
    r"lean\w* back": "lean_back",
    r"clos\w* (?:(?:his|her|their|the) )?eyes": "close_eyes",
    r"blow\w* a kiss": "kiss",
}
DEGREES: Final[dict[str, float]] = {
    "slightly": 0.4,
    "somewhat": 0.5,
    "a bit": 0.4,
    "a little": 0.4,
    "mildly": 0.4,
    "quite": 0.8,
    "very": 1.0,
    "extremely": 1.0,
    "really": 1.0,
}
DEFAULT_DEGREE: Final = 0.8
NEGATIONS: Final = ("not", "never", "no", "without", "isn't", "doesn't")


def intensities(words: Mapping[str, float]) -> "NDArray[np.float32]":
    """Return the intensity of every word `[len(VOCABULARY)]`; without an emotion, neutral is 1.

    Raises `KeyError` for a word that is not in `VOCABULARY`.
    """
    values = np.zeros(len(VOCABULARY), np.float32)
    for word, value in words.items():
        values[WORD_INDEX[word]] = min(1.0, max(0.0, float(value)))
    if not values[: len(EMOTIONS)].any():
        values[WORD_INDEX["neutral"]] = 1.0
    return values


def context_rows(values: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return contexts `[..., CONTEXT_ROWS, words]` of intensities `[..., words]`."""
    rows = np.zeros((*values.shape[:-1], CONTEXT_ROWS, len(VOCABULARY)), np.float32)
    rows[..., 0, : len(EMOTIONS)] = values[..., : len(EMOTIONS)]
    rows[..., 1, len(EMOTIONS) :] = values[..., len(EMOTIONS) :]
    return rows


def read_prompt(prompt: str) -> dict[str, float]:
    """Pick the known emotions and actions out of free text, with intensities 0..1; else empty.

    "slightly", "very" and the like before a word set its intensity, "not" before it drops it.
    """
    text = prompt.lower().replace("_", " ")
    for pattern, action in PHRASES.items():
        text = re.sub(rf"\b{pattern}\b", action, text)
    for name in DEGREES:
        text = re.sub(rf"\b{name}\b", name.replace(" ", "-"), text)
    degrees = {name.replace(" ", "-"): value for name, value in DEGREES.items()}
    tokens = re.findall(r"[a-z_'-]+", text)
    found: dict[str, float] = {}
    last = 0
    for i, token in enumerate(tokens):
        word = token if token in WORD_INDEX else SYNONYMS.get(token)
        if word is None:
            continue
        before = tokens[max(last, i - 2) : i]
        last = i + 1
        if any(t in NEGATIONS for t in before):
            continue
        degree = next((degrees[t] for t in reversed(before) if t in degrees), DEFAULT_DEGREE)
        found[word] = max(found.get(word, 0.0), 1.0 if word == "neutral" else degree)
    return found
