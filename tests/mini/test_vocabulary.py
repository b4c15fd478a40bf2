"""Free text is read as the vocabulary's emotions and actions."""

import numpy as np
import pytest

from liveact_cli.mini.vocabulary import (
    CONTEXT_ROWS,
    SYNONYMS,
    VOCABULARY,
    WORD_INDEX,
    context_rows,
    intensities,
    read_prompt,
)


@pytest.mark.parametrize("word", VOCABULARY)
def test_every_word_reads_as_itself(word: str) -> None:
    assert word in read_prompt(f"She speaks. {word.replace('_', ' ').capitalize()}!")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", {}),
        ("A woman talks to the camera.", {}),
        ("a very happy man", {"happy": 1.0}),
        ("a slightly sad voice", {"sad": 0.4}),
        ("a little embarrassed, shakes her head", {"embarrassed": 0.4, "shake": 0.8}),
        ("he is not angry but thoughtful", {"thinking": 0.8}),
        ("looks to the left and raises his eyebrows", {"look_left": 0.8, "raise_brows": 0.8}),
    ],
)
def test_prompts(prompt: str, expected: dict[str, float]) -> None:
    assert read_prompt(prompt) == expected


def test_synonyms_name_known_words() -> None:
    assert set(SYNONYMS.values()) <= set(VOCABULARY)


def test_rows_hold_intensities() -> None:
    rows = context_rows(intensities({"happy": 0.5, "nod": 2.0}))
    assert rows.shape == (CONTEXT_ROWS, len(VOCABULARY))
    assert rows[0, WORD_INDEX["happy"]] == np.float32(0.5)
    assert rows[1, WORD_INDEX["nod"]] == 1.0
    assert np.count_nonzero(rows) == 2


def test_actions_alone_leave_the_face_neutral() -> None:
    assert intensities({"nod": 1.0})[WORD_INDEX["neutral"]] == 1.0
    assert intensities({})[WORD_INDEX["neutral"]] == 1.0
    with pytest.raises(KeyError):
        intensities({"grumpy": 1.0})
