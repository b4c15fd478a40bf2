"""Where events lie on a recording: in frames, inside it, composed as the language says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from script_helpers import preset
from script_strategies import points, scripts

from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy, frames_of
from liveact_cli.script.direct import direct, grid
from liveact_cli.script.formats.write import format_script
from liveact_cli.script.models import Event, Script
from liveact_cli.script.parse import parse_script
from liveact_cli.script.performance import Orders, assemble
from liveact_cli.script.problems import Place, Severity
from liveact_cli.script.resolve import Placed, Recording, Resolver
from liveact_cli.script.sound import Sound
from liveact_cli.script.source import Source
from liveact_cli.script.timing import Origin, TimePoint
from liveact_cli.script.vocabulary import standard
from liveact_cli.script.words import Kind

EMOTION, ACTION, PROMPT = Kind


def spans(direction, kind: Kind) -> list[tuple[str, int, int]]:
    return [(s.name, s.start, s.stop) for s in direction.script.spans if s.kind is kind]


def test_the_example_of_the_documentation(place, tmp_path) -> None:
    (tmp_path / "show.srt").write_text(
        "1\n00:00:08,000 --> 00:00:12,000\nHe told it, and then she laughed!\n\n"
        "2\n00:00:12,500 --> 00:00:13,500\n[nods]\n"
    )
    direction = place(
        """
        prompt: A talk-show host speaks to the camera.
        emotion: warm
        transcript: show.srt
        timeline:
          - {at: 0:02, for: 3s, action: heart gesture}
          - {at: 0:05.5, until: 0:07, emotion: laughing, intensity: 0.8, fade: 0.4s}
          - {at: 12s, prompt: He leans in and whispers.}
          - {every: 8s, for: 1s, action: nod}
          - {say: "and then she laughed", emotion: happy, for: 2s}
        """
    )
    assert spans(direction, EMOTION) == [
        ("warm", 0, 500),
        ("laughing", 138, 175),
        ("happy", 236, 286),
    ]
    assert spans(direction, ACTION) == [
        ("nod", 312, 338),
        ("heart gesture", 50, 125),
        ("nod", 200, 225),
        ("nod", 400, 425),
    ]
    assert spans(direction, PROMPT) == [("He leans in and whispers.", 300, 500)]
    assert direction.problems == ()


def test_events_outside_the_recording_warn(place) -> None:
    direction = place("timeline: [{at: 25, action: nod}, {at: end-30s, action: nod}]")
    assert spans(direction, ACTION) == []
    assert [p.severity for p in direction.problems] == [Severity.WARNING] * 2
    assert "outside the recording: 25.00 s of 20.00 s" in direction.problems[0].message


def test_an_event_that_ends_before_it_begins_here_warns(place) -> None:
    direction = place("timeline: [{at: 15, until: 25%, action: nod}]")
    assert "before its beginning" in direction.problems[0].message


def test_the_later_event_wins_with_a_warning(place) -> None:
    direction = place(
        """
        timeline:
          - {at: 2, for: 6, emotion: happy, fade: 0}
          - {at: 4, for: 2, emotion: sad, fade: 0}
        """
    )
    levels = direction.script.levels(0, 500)
    assert levels["happy"][[60, 110, 170, 199, 200]].tolist() == [1, 0, 1, 1, 0]
    assert levels["sad"][[60, 110, 149, 150]].tolist() == [0, 1, 1, 0]
    assert "'sad' covers 'happy' (line 4) for 2.00 s" in direction.problems[0].message
    assert direction.problems[0].place.line == 5


def test_an_action_runs_over_an_emotion_without_a_warning(place) -> None:
    direction = place("emotion: happy\ntimeline: [{at: 2, for: 2, action: nod}]")
    levels = direction.script.levels(60, 90)
    assert levels["happy"].min() == levels["nod"].min() == 1.0
    assert direction.problems == ()


def test_fades_are_half_way_at_the_scripted_times(place) -> None:
    direction = place("timeline: [{at: 4, until: 8, emotion: sad, intensity: 0.5, fade: 1s}]")
    level = direction.script.levels(0, 500)["sad"]
    assert level.max() == 0.5
    assert np.interp(0.25, level[80:120], np.arange(80, 120) + 0.5) == pytest.approx(100, abs=0.1)
    assert level[[86, 113]].tolist() == [0.0, 0.5]
    assert np.interp(-0.25, -level[180:220], np.arange(180, 220) + 0.5) == pytest.approx(
        200, abs=0.1
    )


def test_crossing_fades_leave_no_gap(place) -> None:
    direction = place(
        "emotion: warm\ntimeline: [{at: 4, emotion: sad, fade: 1s}, {at: 8, emotion: angry}]"
    )
    levels = direction.script.levels(0, 500)
    total = sum(levels.values())
    assert total.min() == pytest.approx(1.0)
    assert total.max() == pytest.approx(1.0)


def test_until_something_else_is_said(place) -> None:
    direction = place("timeline: [{at: 2, emotion: sad}, {at: 5, emotion: happy}]")
    levels = direction.script.levels(0, 500)
    assert levels["sad"][100] == levels["happy"][499] == 1.0
    assert levels["sad"][200:].max() == 0.0
    assert direction.problems == ()


def test_repetitions_follow_the_seed(place) -> None:
    text = "timeline: [{every: 4s, jitter: 1s, for: 0.4s, action: nod}]"
    first, again, other = (spans(place(text, seed=s), ACTION) for s in (1, 1, 2))
    assert first == again != other
    assert len(first) == 4
    assert all(abs(start - 100 * i) <= 25 for i, (_, start, _) in enumerate(first, 1))


def test_a_longer_recording_keeps_the_first_repetitions(place) -> None:
    text = "timeline: [{every: 4s, jitter: 1s, for: 0.4s, action: nod}]"
    short, long = (spans(place(text, seconds=s), ACTION) for s in (20.0, 60.0))
    assert long[: len(short)] == short


def test_too_many_events_are_refused(place) -> None:
    from liveact_cli.script.problems import ScriptError

    with pytest.raises(ScriptError, match="gives 36,000 events"):
        place("timeline: [{every: 0.2s, action: nod}, {every: 0.2s, action: nod}]", seconds=7200.0)


def test_on_pause(place) -> None:
    decibels = np.full(1_000, -20, np.float32)
    decibels[250:300] = decibels[600:630] = -80.0
    sound = Sound(decibels, 20.0)
    text = "timeline: [{on: pause, action: look down}, {on: pause, emotion: calm}]"
    direction = place(text, sound=sound)
    assert spans(direction, ACTION) == [("look down", 125, 165)]
    assert spans(direction, EMOTION) == [("calm", 125, 150)]
    assert "has no pause" in place(text, sound=Sound(decibels[:200], 4.0)).problems[0].message


def test_say_finds_words_across_cues_and_inline_times(place, tmp_path) -> None:
    (tmp_path / "show.vtt").write_text(
        "WEBVTT\n\n00:02.000 --> 00:04.000\nWell, hello\n\n00:04.000 --> 00:08.000\n"
        "<v Ann>there, <00:00:06.000>my dear\n"
    )
    direction = place(
        """
        transcript: show.vtt
        timeline: [{say: 'HELLO  there', action: nod}, {say: my dear, emotion: warm}]
        """
    )
    assert spans(direction, ACTION)[0][1] == frames_of(2 + 2 * 6 / 11, 25)
    assert spans(direction, EMOTION) == [("warm", 150, 200)]


def test_say_finds_chinese(place, tmp_path) -> None:
    (tmp_path / "show.srt").write_text("1\n00:00:02,000 --> 00:00:06,000\n然后她笑了。\n")
    direction = place("transcript: show.srt\ntimeline: [{say: 她笑, emotion: 开心}]")
    assert spans(direction, EMOTION)[0][:2] == ("happy", frames_of(2 + 4 * 2 / 6, 25))


def test_words_that_are_not_said_warn(place, tmp_path) -> None:
    (tmp_path / "show.srt").write_text("1\n00:00:02,000 --> 00:00:06,000\nHello\n")
    direction = place("transcript: show.srt\ntimeline: [{say: goodbye, action: nod}]")
    assert "'goodbye' is not in" in direction.problems[0].message


def test_orders_of_the_command_line_lie_on_top(place) -> None:
    orders = Orders(emotion="sad", actions=("smile@3s",), prompt="A man.", preset="podcast")
    direction = place(
        "emotion: happy\nprompt: A woman.\ntimeline: [{at: 3, for: 2, action: nod, fade: 0}]",
        orders=orders,
    )
    assert spans(direction, EMOTION) == [("sad", 0, 500)]
    assert direction.script.levels(85, 86)["smile"] == 1.0
    assert "nod" not in direction.script.levels(85, 86)
    assert direction.script.prompt.startswith("A man.")


@pytest.mark.parametrize("action", ["nod", "nod@", "@3s", "nod@soon", "nod@-1"])
def test_orders_that_are_wrong(place, action: str) -> None:
    from liveact_cli.core.errors import UsageError

    with pytest.raises(UsageError, match="--action"):
        place(orders=Orders(actions=(action,)))


def test_an_unknown_word_is_text_for_a_model_that_reads(place) -> None:
    direction = place("timeline: [{at: 2, for: 2, action: juggles}]", reads_text=True)
    assert direction.problems[0].severity is Severity.NOTE
    texts = direction.texts(ChunkPlan(MemoryPolicy(), 500), "frame")
    assert "juggles" in texts[20]


def test_what_mini_cannot_show_is_said_once(place) -> None:
    direction = place("timeline: [{every: 3s, action: wave}, {at: 1, prompt: He waves.}]")
    plan = ChunkPlan(MemoryPolicy(), 500)
    text, wave = (p.message for p in direction.model_notes(plan, reads_text=False))
    assert "'wave' needs hands" in wave
    assert "it plays smile + nod" in wave
    assert "reads no text" in text


def test_texts_change_at_the_nearest_chunk_and_say_so(place) -> None:
    direction = place("timeline: [{at: 4, for: 2, prompt: He sings.}]")
    plan = ChunkPlan(MemoryPolicy(), 500)
    assert grid(plan, "chunk")[:6] == [0, 21, 53, 85, 117, 149]
    texts = direction.texts(plan)
    assert [i for i, text in enumerate(texts) if text == "He sings."] == [3, 4]
    (note,) = direction.model_notes(plan, reads_text=True)
    assert "begins 0.60 s earlier, ends 0.04 s earlier" in note.message
    assert direction.model_notes(plan, reads_text=True, granularity="frame") == []


def test_a_short_event_is_not_lost_between_chunks(place) -> None:
    direction = place("timeline: [{at: 4, for: 0.2s, prompt: Boo.}]")
    texts = direction.texts(ChunkPlan(MemoryPolicy(), 500))
    assert [i for i, text in enumerate(texts) if text == "Boo."] == [3]


def test_a_cut_shows_the_same_frames(place) -> None:
    text = (
        "emotion: warm\ntimeline: [{at: 4, for: 3, emotion: sad, fade: 2s}, {at: 6, action: nod}]"
    )
    whole = place(text).script
    cut = whole.cut(95, 90)
    for name, level in cut.levels(0, 90).items():
        np.testing.assert_array_equal(level, whole.levels(95, 185)[name])


@given(st.lists(points, min_size=2, max_size=2), st.floats(0.2, 4000), st.integers(10, 60))
def test_resolving_is_monotone(pair: list[TimePoint], seconds: float, fps: int) -> None:
    recording = Recording(seconds, float(fps))
    resolver = Resolver(recording, standard())
    for point in pair:
        resolver.place(0, Placed(Event(at=point, action="nod"), 3, Place()))
    moments = [point.seconds(seconds) for point in pair]
    inside = [t for t in moments if 0 <= t < seconds]
    frames = [span.start for span in resolver.spans]
    assert len(frames) == len(inside)
    if len(inside) == 2 and inside[0] <= inside[1]:
        assert frames[0] <= frames[1]


@settings(max_examples=60, deadline=None)
@given(scripts, st.floats(0.1, 200), st.sampled_from([10.0, 25.0, 29.97, 60.0]))
def test_nothing_leaves_the_recording(script: Script, seconds: float, fps: float) -> None:
    script = script.model_copy(update={"transcript": None, "define": {}})
    timeline = tuple(e for e in script.timeline if e.say is None)
    text = format_script(script.model_copy(update={"timeline": timeline}))
    performance = assemble(parse_script(Source(text)), preset)
    recording = Recording(seconds, fps, Sound(np.zeros(0, np.float32), seconds))
    if recording.frames < 1:
        return
    resolved = direct(performance, recording).script
    for span in resolved.spans:
        assert 0 <= span.start < span.stop <= recording.frames
        assert 0 <= span.fade <= span.stop - span.start
    for kind in Kind:
        total = sum(share for _, share in resolved.weights(kind, 0, recording.frames))
        assert np.all(total <= 1 + 1e-9)


def test_points_before_the_start_are_not_wrapped(place) -> None:
    assert TimePoint(Origin.END, 30_000).seconds(20.0) == -10.0
