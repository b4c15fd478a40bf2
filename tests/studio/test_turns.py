"""Who speaks when: files of every form, and hearing through microphones that leak."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveact_cli.core.errors import MediaError
from liveact_cli.script.problems import ScriptError
from liveact_cli.script.sound import listen
from liveact_cli.studio.turns import (
    Turn,
    format_rttm,
    parse_rttm,
    pauses,
    read_turns,
    tidy,
)
from liveact_cli.studio.voices import check_apart, turns_heard

NAMES = ("Ada", "Bo Lee")
TURNS = st.lists(
    st.builds(
        lambda start, length, person: Turn(start, start + length, person),
        st.floats(-5, 70),
        st.floats(0, 20),
        st.integers(0, 3),
    ),
    max_size=30,
)


@given(TURNS, st.floats(0.5, 60))
def test_turns_cover_what_is_said_and_stay_inside(turns: list[Turn], seconds: float) -> None:
    found = tidy(turns, seconds)
    assert list(found) == sorted(found)
    assert all(0 <= turn.start < turn.stop <= seconds for turn in found)
    for person in range(4):
        own = [turn for turn in found if turn.person == person]
        assert all(a.stop < b.start for a, b in pairwise(own))
    for turn in turns:
        start, stop = max(0.0, turn.start), min(turn.stop, seconds)
        if stop - start >= 0.1:
            assert any(
                one.person == turn.person and one.start <= start and stop <= one.stop
                for one in found
            )
    for start, stop in pauses(found, seconds, 0.5):
        assert not any(one.start < stop and start < one.stop for one in found)


@given(TURNS)
def test_rttm_goes_there_and_back(turns: list[Turn]) -> None:
    from liveact_cli.script.source import Source

    found = tidy(turns, 60.0)
    names = ("Ada", "Bo Lee", "Cy", "Dora")
    if not found:
        return
    back = parse_rttm(Source(format_rttm(found, names, "my show"), "show.rttm"))
    assert [part.name for part in back] == [names[turn.person].replace(" ", "_") for turn in found]
    for part, turn in zip(back, found, strict=True):
        assert part.start == pytest.approx(turn.start, abs=1e-3)
        assert part.stop == pytest.approx(turn.stop, abs=2e-3)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


FORMS = {
    "show.rttm": ";; made by hand\nSPEAKER show 1 0.5 1.5 <NA> <NA> Ada <NA> <NA>\n"
    "SPEAKER show 1 2.0 1.0 <NA> <NA> Bo_Lee <NA> <NA>\n",
    "anonymous.rttm": "SPEAKER x 1 2.0 1.0 <NA> <NA> spk7 <NA> <NA>\n"
    "SPEAKER x 1 0.5 1.5 <NA> <NA> spk3 <NA> <NA>\n",
    "voices.vtt": "WEBVTT\n\n00:00.500 --> 00:02.000\n<v Ada>Hello there.</v>\n\n"
    "00:02.000 --> 00:03.000\n<v.loud Bo Lee>Hi: you.\n",
    "prefix.srt": "1\n00:00:00,500 --> 00:00:01,200\nAda: Hello\n\n"
    "2\n00:00:01,200 --> 00:00:02,000\nNote: this goes on\n\n"
    "3\n00:00:02,000 --> 00:00:03,000\n- bo lee: hi\n",
    "others.srt": "1\n00:00:00,500 --> 00:00:02,000\nHOST: Hello\n\n"
    "2\n00:00:02,000 --> 00:00:03,000\nGUEST: hi\n",
    "one-cue.srt": "1\n00:00:00,500 --> 00:00:03,000\nAda: 12345678 Bo Lee: 9\n",
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_file(tmp_path: Path, name: str) -> None:
    turns, _ = read_turns(written(tmp_path, name, FORMS[name]), NAMES, 60.0)
    if name == "anonymous.rttm":
        assert [turn.person for turn in turns] == [1, 0]  # the file's order names them
        return
    assert [turn.person for turn in turns] == [0, 1]
    assert turns[0].start == pytest.approx(0.5)
    assert turns[0].stop == pytest.approx(turns[1].start) == pytest.approx(2.0, abs=0.1)
    assert turns[1].stop == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("name", "text", "place", "message"),
    [
        ("a.rttm", "SPEAKER x 1 0.5 1.5 <NA>\n", "a.rttm:1:1", "6 fields"),
        ("a.rttm", "SPEAKER x 1 0.5 soon <NA> <NA> Ada\n", "a.rttm:1:17", "'soon' is not a time"),
        ("a.rttm", "SPEAKER x 1 0 1 <NA> <NA> Ada\nSPEAKER x 1 1 1 <NA> <NA> Boo_Lee\n",
         "a.rttm:2:27", "did you mean 'bo lee'"),
        ("a.rttm", "nothing\n", "a.rttm", "no SPEAKER line"),
        ("a.rttm", "".join(f"SPEAKER x 1 {i} 1 <NA> <NA> s{i}\n" for i in range(3)), "a.rttm",
         "3 people speak ('s0', 's1', 's2'), the cast has 2"),
        ("a.srt", "1\n00:00:00,500 --> 00:00:01,200\nHello\n", "a.srt:2:1", "who speaks"),
        ("a.srt", "1\n00:00:00,500 --> 00:00:01,200\nAda: a\n\n2\n00:00:02,000 --> 00:00:03,000\n"
         "Bo Le: b\n", "a.srt:6:1", "did you mean 'bo lee'"),
        ("a.srt", "no cues\n", "a.srt", "holds no subtitles"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path: Path, name: str, text: str, place: str, message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        read_turns(written(tmp_path, name, text), NAMES, 60.0)
    assert place in caught.value.message
    assert message in caught.value.message


RATE = 16_000


def speech(seconds: float, turns: list[tuple[float, float]], pitch: float) -> np.ndarray:
    """Syllables of a hum, four a second, where somebody speaks."""
    t = np.arange(round(seconds * RATE)) / RATE
    voice = np.sin(2 * np.pi * pitch * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))
    mask = np.zeros_like(t)
    for start, stop in turns:
        mask[(t >= start) & (t < stop)] = 1
    return 0.3 * voice * mask


def heard(*tracks: np.ndarray) -> tuple[Turn, ...]:
    return turns_heard([listen([track.astype(np.float32)]) for track in tracks])


@pytest.mark.parametrize("leak_db", [-9, -15, -40])
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_leaking_microphones(leak_db: int, gain: float) -> None:
    noise = np.random.default_rng(0).normal(0, 2e-4, (3, 12 * RATE))
    clean = [
        speech(12, [(0.5, 3), (6, 9)], 150),
        speech(12, [(3.5, 5.5), (8, 11)], 220),
        speech(12, [], 180),  # never says a word, hears everybody
    ]
    leak = 10 ** (leak_db / 20)
    mixed = [
        own + leak * sum(other for other in clean if other is not own) + noise[i]
        for i, own in enumerate(clean)
    ]
    mixed[1] = mixed[1] * gain
    turns = heard(*mixed)
    expected = [Turn(0.5, 3, 0), Turn(3.5, 5.5, 1), Turn(6, 9, 0), Turn(8, 11, 1)]
    assert [turn.person for turn in turns] == [turn.person for turn in expected]
    for turn, truth in zip(turns, expected, strict=True):
        assert turn.start == pytest.approx(truth.start, abs=0.2)
        assert turn.stop == pytest.approx(truth.stop, abs=0.2)


def test_two_equal_sides_say_nothing() -> None:
    both = listen([speech(3, [(0.5, 2.5)], 150).astype(np.float32)])
    other = listen([speech(3, [(1.5, 2.5)], 150).astype(np.float32)])
    with pytest.raises(MediaError, match="same sound"):
        check_apart([both, both], "show.wav", "give an RTTM file")
    check_apart([both, other], "show.wav", "")
