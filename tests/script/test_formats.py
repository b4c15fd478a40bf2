"""Other forms: written and read back."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from script_strategies import scripts, texts

from liveact_cli.core.errors import UsageError
from liveact_cli.core.geometry import ChunkPlan
from liveact_cli.script.formats.convert import form_of, read_form, write_form
from liveact_cli.script.formats.released import RELEASED_POLICY, format_released, read_released
from liveact_cli.script.formats.subtitles import (
    Cue,
    format_srt,
    format_vtt,
    parse_transcript,
)
from liveact_cli.script.formats.table import format_table, read_table
from liveact_cli.script.formats.write import format_script, quote
from liveact_cli.script.models import Script
from liveact_cli.script.parse import parse_script
from liveact_cli.script.problems import ScriptError
from liveact_cli.script.source import Source


@settings(max_examples=200, deadline=None)
@given(scripts)
def test_a_script_is_read_back_as_written(script: Script) -> None:
    assert parse_script(Source(format_script(script))).script == script


@given(st.lists(texts.filter(str.strip), min_size=2, max_size=3, unique_by=str.casefold))
@example(["well", "A?"])
@example(["a,b", "c"])
def test_any_text_survives_in_a_list(synonyms: list[str]) -> None:
    definition = {"kind": "emotion", "like": "warm", "synonyms": synonyms}
    script = Script.model_validate({"liveact": 1, "define": {"glad": definition}})
    assert parse_script(Source(format_script(script))).script == script


@given(texts)
def test_any_text_survives_quoting(text: str) -> None:
    assert parse_script(Source(f"liveact: 1\nprompt: {quote(text)}\n")).script.prompt == text


@settings(max_examples=60, deadline=None)
@given(scripts)
def test_a_table_holds_all_but_definitions(script: Script) -> None:
    script = script.model_copy(update={"define": {}})
    assert read_table(Source(format_table(script))) == script


def test_released_edits_become_times_by_chunk() -> None:
    text = '{"[0, 1]": "He smiles.", "[3, 3]": "He waves."}'
    first, second = read_released(Source(text), 25.0).timeline
    assert (str(first.at), str(first.for_), first.prompt) == ("0:00", "2.12s", "He smiles.")
    assert (str(second.at), str(second.for_)) == ("0:03.4", "1.28s")


def test_the_first_released_edit_that_fits_wins(place) -> None:
    text = '{"[2, 9]": "a", "[0, 4]": "b", "[4, 6]": "c"}'
    script = read_released(Source(text), 25.0)
    direction = place(format_script(script).partition("\n")[2])
    shown = direction.texts(ChunkPlan(RELEASED_POLICY, 500))[:11]
    assert shown == ["b", "b", *["a"] * 8, "A person speaks to the camera."]


def test_released_edits_survive_the_way_there_and_back(place) -> None:
    text = (
        '[{"prompt": "A man.", "cond_image": "x", "edit_prompt": {"[2, 4]": "a", "[7, 7]": "b"}}]'
    )
    script = read_released(Source(text), 25.0)
    direction = place(format_script(script).partition("\n")[2])
    assert json.loads(write_form(script, "json", direction)) == {"[2, 4]": "a", "[7, 7]": "b"}


def test_runs_of_one_text_become_one_edit() -> None:
    table = json.loads(format_released(["x", "a", "a", "x", "b"], "x"))
    assert table == {"[1, 2]": "a", "[4, 4]": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"[4, 0]": "x"}', "not a range"),
        ('{"[0, 999999]": "x"}', "not a range"),
        ('{"[0, 4]": 7}', "not an edit"),
        ('{"zero": "x"}', "not an edit"),
        ("[1, 2]", "2 jobs"),
        ("7", "not an edit file"),
    ],
)
def test_wrong_edit_files(text: str, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        read_released(Source(text, "edits.json"), 24.0)


SRT = """\
1
00:00:01,000 --> 00:00:04,500
Hello <i>everybody</i>, [laughs]
welcome {\\an8}&amp; good evening.
2
00:00:05,000 --> 00:00:07,000
[laughing]
"""


def test_srt_is_read_with_its_habits() -> None:
    transcript = parse_transcript(Source(SRT))
    first, second = transcript.cues
    assert first.text == "Hello everybody, [laughs] welcome & good evening."
    assert [word.text for word in transcript.words()][-3:] == ["welcome", "good", "evening"]
    (laughs, at, again, _), (laughing, start, stop, _) = transcript.brackets()
    assert (laughs, laughing, start, stop) == ("laughs", "laughing", 5.0, 7.0)
    assert at == again == pytest.approx(1.0 + 3.5 * 17 / 49)
    assert (first.line, second.line) == (2, 6)


def test_subtitles_are_read_back_as_written() -> None:
    cues = (Cue(0.5, 1.25, "[nod] a < b"), Cue(3661.001, 3662.0, "two"))
    for form in (format_srt, format_vtt):
        read = parse_transcript(Source(form(cues))).cues
        assert [(c.start, c.stop, c.text) for c in read] == [
            (c.start, c.stop, c.text) for c in cues
        ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "holds no subtitles"),
        ("00:00:05,000 --> 00:00:04,000\nx", "before it begins"),
        ("00:00:99,000 --> 00:00:04,000\nx", "is not a time"),
    ],
)
def test_wrong_subtitles(text: str, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        parse_transcript(Source(text, "show.srt"))


def test_directions_in_subtitles_become_events(place) -> None:
    direction = place(
        """
        emotion: warm
        timeline:
          - {at: 2, for: 1.5s, action: wink}
          - {at: 4, for: 3s, prompt: He sings.}
        """
    )
    for form in ("srt", "vtt"):
        text = write_form(Script(liveact=1), form, direction)
        script = read_form(Source(text), form, 24.0)
        assert [(e.emotion, e.action, e.prompt) for e in script.timeline] == [
            ("warm", None, None),
            (None, "wink", None),
            (None, None, "He sings."),
        ]


def test_spoken_subtitles_become_the_transcript() -> None:
    script = read_form(Source(SRT, "folder/show.srt"), "srt", 24.0)
    assert script == Script(liveact=1, transcript="show.srt")


def test_timed_forms_need_the_recording() -> None:
    with pytest.raises(UsageError, match="json holds times"):
        write_form(Script(liveact=1), "json")


def test_a_table_reports_its_rows() -> None:
    with pytest.raises(ScriptError) as caught:
        read_table(Source("at,action,intensity\n2,nod,0.5\nsoon,nod,7\n", "x.csv"))
    assert [(p.place.line, p.text) for p in caught.value.problems] == [(3, "soon,nod,7")] * 2
    with pytest.raises(ScriptError, match=r"unknown column 'acton'"):
        read_table(Source("at,acton\n2,nod\n"))


def test_a_table_from_a_spreadsheet_is_read() -> None:
    script = read_table(Source("At;Action;Prompt\n;;A man.\n2;点头;\n;;\n"))
    assert (script.prompt, script.timeline[0].action) == ("A man.", "点头")


def test_forms_go_by_the_name() -> None:
    assert form_of(Path("a.YML")) == "yaml"
    with pytest.raises(UsageError, match="no known form"):
        form_of("a.docx")
