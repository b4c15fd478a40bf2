"""What the sound says: the same for any block lengths, silence found where it is."""

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from script_helpers import speech

from liveact_cli.script.formats.subtitles import parse_transcript
from liveact_cli.script.parse import parse_script
from liveact_cli.script.sound import FRAME, HOP, Sound, listen, rms_of
from liveact_cli.script.source import Source
from liveact_cli.script.suggest import suggest_script

TALK = speech((2.0, 0.1), (1.0, 0.0), (3.0, 0.1), (0.6, 0.0), (2.0, 0.1), (1.5, 1e-4), (1.0, 0.1))


def test_loudness_is_librosas() -> None:
    theirs = librosa.feature.rms(y=TALK, frame_length=FRAME, hop_length=HOP, center=False)[0]
    np.testing.assert_allclose(rms_of(TALK), theirs, rtol=1e-4, atol=1e-7)


def test_pauses_are_silences_longer_than_800_ms() -> None:
    pauses = listen([TALK]).pauses
    assert [(round(a, 1), round(b, 1)) for a, b in pauses] == [(2.0, 3.0), (8.6, 10.1)]


def test_a_click_does_not_end_a_pause() -> None:
    sound = listen([speech((2.0, 0.1), (0.7, 0.0), (0.03, 0.1), (0.7, 0.0), (2.0, 0.1))])
    assert len(sound.pauses) == 1


def test_sound_without_pauses_has_none() -> None:
    assert listen([speech((5.0, 0.1))]).pauses == ()
    assert listen([np.zeros(0, np.float32)]).pauses == ()


def test_a_noise_floor_is_not_speech() -> None:
    rng = np.random.default_rng(1)
    noisy = TALK + (rng.standard_normal(len(TALK)) * 0.003).astype(np.float32)
    assert len(listen([noisy]).pauses) == 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40_000), max_size=8))
def test_block_lengths_do_not_matter(cuts: list[int]) -> None:
    whole = listen([TALK])
    parts = listen(np.split(TALK, np.unique(np.cumsum(cuts) % len(TALK))))
    assert parts.seconds == whole.seconds == len(TALK) / 16_000
    assert len(whole.decibels) == -(-len(TALK) // HOP)
    np.testing.assert_allclose(parts.decibels, whole.decibels, atol=1e-3)


def test_memory_holds_loudness_only() -> None:
    def blocks():
        for _ in range(120):
            yield TALK[: 16_000 * 5]

    assert listen(blocks()).decibels.nbytes == 4 * 120 * 5 * 50


def test_loud_passages_and_laughter_like_bursts() -> None:
    calm = speech((6.0, 0.03), (0.3, 0.0))
    loud = speech((2.0, 0.3))
    beat = np.tile(speech((0.11, 0.15), (0.11, 0.004)), 10)
    sound = listen([calm, loud, calm, beat, calm])
    (start, stop), *_ = sound.loud_passages
    assert start == pytest.approx(6.3, abs=0.4)
    assert stop == pytest.approx(8.3, abs=0.4)
    bursts = sound.bursts
    assert len(bursts) == 1
    assert bursts[0][0] == pytest.approx(14.6, abs=0.5)


def test_a_suggested_script_parses_and_names_what_was_found() -> None:
    sound = listen([TALK])
    transcript = parse_transcript(
        Source("1\n00:00:03,000 --> 00:00:05,000\nIs: that # so?\n", "show.srt")
    )
    text = suggest_script("a: b.wav", sound, transcript=transcript, transcript_name="show.srt")
    script = parse_script(Source(text)).script
    assert script.transcript == "show.srt"
    assert [event.on for event in script.timeline] == ["pause", None]
    assert "# a question: Is: that # so?" in text
    assert "2 silences" in text


def test_a_suggestion_for_nothing_parses() -> None:
    text = suggest_script("x.wav", Sound(np.zeros(0, np.float32), 0.5), preset="podcast")
    assert parse_script(Source(text)).script.preset == "podcast"
