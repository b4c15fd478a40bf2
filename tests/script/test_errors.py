"""Errors name the place and the fix, and come all at once."""

import codecs
from pathlib import Path

import pytest
from script_helpers import errors_of, preset

from liveact_cli.core.errors import ExitCode
from liveact_cli.script.parse import load_script, parse_script
from liveact_cli.script.performance import assemble, load_performance
from liveact_cli.script.problems import ScriptError
from liveact_cli.script.source import MAX_BYTES, Source, decode_source

HEAD = "liveact: 1\n"
EVENT = HEAD + "timeline:\n  - at: 2\n    action: nod\n"

# script, line, column, words of the message, words of the fix
CASES = {
    "missing version": ("emotion: happy\n", 1, 1, "liveact: is missing", "liveact: 1"),
    "other version": ("liveact: 2\n", 1, 10, "version", "liveact: 1"),
    "unknown key": (HEAD + "emotoin: happy\n", 2, 1, "unknown key 'emotoin'", "'emotion'"),
    "unknown event key": (EVENT + "    fro: 3s\n", 5, 5, "unknown key 'fro'", "'for'"),
    "merge key": (HEAD + "<<: x\n", 2, 1, "unknown key '<<'", "keys here"),
    "bad time": (HEAD + "timeline:\n  - {at: 0:75, action: nod}\n", 3, 10, "'0:75'", "0:02"),
    "negative time": (HEAD + "timeline:\n  - {at: -2, action: nod}\n", 3, 10, "before", "end-2"),
    "negative length": (EVENT + "    for: -3s\n", 5, 10, "negative", "0 or more"),
    "no length": (EVENT + "    for: 0\n", 5, 5, "no time", "for: 1s"),
    "share as length": (EVENT + "    for: 25%\n", 5, 10, "not a length", "2.5"),
    "backwards": (EVENT + "    until: 1\n", 5, 5, "not after its beginning", "swap"),
    "two ends": (EVENT + "    for: 1\n    until: 5\n", 6, 5, "both say when", "keep one"),
    "two times": (EVENT + "    on: pause\n", 5, 5, "exclude", "two events"),
    "no time": (HEAD + "timeline:\n  - action: nod\n", 3, 5, "no time", "at: 0:02"),
    "no direction": (HEAD + "timeline:\n  - at: 2\n", 3, 5, "directs nothing", "action:"),
    "jitter alone": (EVENT + "    jitter: 1s\n", 5, 5, "every", "add every"),
    "wide jitter": (
        HEAD + "timeline:\n  - {every: 4s, jitter: 3s, action: nod}\n",
        3,
        17,
        "more than half",
        "jitter: 2s",
    ),
    "too often": (HEAD + "timeline:\n  - {every: 10ms, action: nod}\n", 3, 6, "often", "0.2s"),
    "intensity": (EVENT + "    intensity: 1.8\n", 5, 16, "out of range", "0 to 1"),
    "intensity nan": (EVENT + "    intensity: nan\n", 5, 16, "number", "0.5"),
    "intensity word": (EVENT + "    intensity: high\n", 5, 16, "not a number", "0.5"),
    "wrong trigger": (
        HEAD + "timeline:\n  - {on: pauze, action: nod}\n",
        3,
        10,
        "'pauze'",
        "on: pause",
    ),
    "list for text": (HEAD + "emotion: [happy, sad]\n", 2, 10, "not a list", "one line"),
    "text for list": (HEAD + "timeline: nod\n", 2, 11, "is a list", "- "),
    "text for event": (HEAD + "timeline:\n  - nod\n", 3, 5, "keys and values", "at:"),
    "no value": (HEAD + "emotion:\n", 2, 1, "has no value", "take it out"),
    "empty entry": (HEAD + "timeline:\n  -\n", 3, 4, "empty entry", "take"),
    "twice": (EVENT + "    at: 5\n", 5, 5, "second time (first in line 3)", "keep one"),
    "tab": (HEAD + "timeline:\n\t- {at: 2, action: nod}\n", 3, 1, "tab", "spaces"),
    "colon in text": (HEAD + "prompt: He says: hi\n", 2, 16, "not YAML", "in quotes"),
    "open quote": (HEAD + 'prompt: "He says\n', 2, 9, "not YAML", "close the quotation"),
    "full-width colon": (HEAD + "emotion：happy\n", 2, 8, "not YAML", "ordinary colon"),
    "anchor": (HEAD + "emotion: &a happy\n", 2, 10, "anchors", "define"),
    "tag": (HEAD + "emotion: !!str happy\n", 2, 10, "tags", "take the tag out"),
    "python tag": (HEAD + "emotion: !!python/object:os.system x\n", 2, 10, "tags", "tag"),
    "second document": (HEAD + "---\nliveact: 1\n", 2, 1, "second document", "one script"),
    "bell": (HEAD + "emotion: ha\x07ppy\n", 2, 12, "control character (U+0007)", "delete"),
    "lone surrogate": (HEAD + 'prompt: "\\ud800"\n', 2, 9, "not a character", "write"),
    "not a mapping": ("- nod\n", 1, 1, "keys and values", "liveact: 1"),
    "empty": ("", 0, 0, "empty script", "liveact: 1"),
    "released file": ('{"[0, 4]": "x"}', 1, 2, "released edit file", "convert"),
    "unknown word": (HEAD + "emotion: hapy\n", 2, 10, "unknown emotion 'hapy'", "'happy'"),
    "other kind": (HEAD + "emotion: nod\n", 2, 10, "unknown emotion", "action: nod"),
    "unknown action": (
        HEAD + "timeline:\n  - at: 2\n    action: nodd\n",
        4,
        13,
        "unknown action",
        "'nod'",
    ),
    "unknown preset": (HEAD + "preset: podcst\n", 2, 9, "no preset 'podcst'", "'podcast'"),
    "no transcript": (HEAD + "transcript: no.srt\n", 2, 13, "does not exist", "SRT"),
    "say without": (
        HEAD + "timeline:\n  - {say: hi, action: nod}\n",
        3,
        6,
        "needs a transcript",
        "transcript:",
    ),
    "empty definition": (HEAD + "define:\n  x: {}\n", 3, 6, "neither", "like"),
    "unknown like": (HEAD + "define:\n  x: {like: smil}\n", 3, 13, "no word 'smil'", "'smile'"),
    "definition circle": (
        HEAD + "define:\n  x: {like: y}\n  y: {like: x}\n",
        3,
        13,
        "circle: x -> y -> x",
        "break",
    ),
    "long prompt": (HEAD + f"prompt: {'word ' * 500}\n", 2, 9, "characters of text", "shorten"),
    "prompt in lines": (HEAD + "prompt: {a: b}\n", 2, 9, "not keys and values", "quotes"),
}


def problems_of(text: str) -> tuple:
    with pytest.raises(ScriptError) as caught:
        assemble(parse_script(Source(text, "show.yaml")), preset)
    assert caught.value.exit_code is ExitCode.BAD_MEDIA
    return caught.value.problems


@pytest.mark.parametrize("name", CASES)
def test_place_message_and_fix(name: str) -> None:
    text, line, column, message, fix = CASES[name]
    problems = problems_of(text)
    first = next(p for p in problems if message in p.message)
    assert (first.place.line, first.place.column) == (line, column)
    assert fix in first.hint
    assert first.text == (text.splitlines()[line - 1] if line else "")
    assert len(problems) == (2 if name == "definition circle" else 1), [str(p) for p in problems]


def test_everything_wrong_comes_at_once() -> None:
    text = HEAD + (
        "emotoin: happy\n"
        "prompt: He says: hi\n"
        "timeline:\n"
        "  - at: 0:75\n"
        "    for: -1s\n"
        "    action: [nod]\n"
        "  - emotion: sad\n"
        "    intensity: 3\n"
        "  - at: 1\n"
        "    on: pauze\n"
    )
    lines = [problem.place.line for problem in problems_of(text)]
    assert lines == [2, 3, 5, 6, 7, 8, 9, 10, 11, 11]


def test_one_broken_line_gives_one_error() -> None:
    broken = EVENT.replace("action: nod", 'action: "nod') + "  - at: 5\n    action: nod\n"
    assert len(errors_of(broken)) == 1


def all_problems(text: str, folder: Path) -> list[tuple[int, str]]:
    file = folder / "show.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ScriptError) as caught:
        load_performance(file, preset)
    return [(problem.place.line, problem.message) for problem in caught.value.problems]


def test_words_and_references_are_checked_in_a_script_that_is_wrong(tmp_path: Path) -> None:
    text = HEAD + (
        "emotoin: happy\n"
        "preset: nothing\n"
        "emotion: xyzzy\n"
        "define:\n"
        "  smirk: {kind: emotion, like: contempt, intensity: 7}\n"
        "timeline:\n"
        "  - at: 0:75\n"
        "    action: nodd\n"
        "  - {at: 1, acton: nod}\n"
        "  - {at: 2, emotion: smirk, action: [nod]}\n"
        '  - at: "3\n'
        "    action: nod\n"
    )
    found = all_problems(text, tmp_path)
    assert [line for line, _ in found] == [2, 3, 4, 6, 8, 9, 10, 11, 12]
    told = dict(found)
    assert "unknown key 'emotoin'" in told[2]
    assert "no preset 'nothing'" in told[3]
    assert "unknown emotion 'xyzzy'" in told[4]
    assert "out of range" in told[6]
    assert "unknown action 'nodd'" in told[9]
    assert "unknown key 'acton'" in told[10]
    assert "not a list" in told[11]
    assert "not YAML" in told[12]


def test_of_a_key_that_comes_twice_the_first_is_checked(tmp_path: Path) -> None:
    found = all_problems(HEAD + "emotion: [sad]\nemotion: happy\n", tmp_path)
    assert [line for line, _ in found] == [2, 3]
    found = all_problems(HEAD + "emotion: happpy\nemotion: sad\n", tmp_path)
    assert [message[:20] for _, message in found] == [
        "unknown emotion 'hap",
        "'emotion' stands her",
    ]


def test_text_in_another_encoding_is_shown() -> None:
    with pytest.raises(ScriptError) as caught:
        decode_source("liveact: 1\nprompt: Zoë\n".encode("latin-1"), "x", Path())
    (problem,) = caught.value.problems
    assert (problem.place.line, problem.place.column) == (2, 11)
    assert problem.text.startswith("prompt: Zo")


def test_references_are_checked_all_at_once() -> None:
    text = HEAD + (
        "preset: nothing\ntranscript: no.vtt\nemotion: xyzzy\ndefine: {a: {like: b}}\n"
        "timeline:\n  - {at: 1, action: plugh}\n"
    )
    assert len(errors_of(text)) == 5


def test_the_message_shows_the_line_with_a_caret() -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(Source("liveact: 1\nemotion:  [x]\n", "show.yaml"))
    assert "show.yaml:2:11: error: " in caught.value.message
    assert "    emotion:  [x]\n              ^" in caught.value.message


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings_with_a_mark_are_read(encoding: str) -> None:
    marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
    data = marks.get(encoding, b"") + "liveact: 1\nemotion: 开心\n".encode(encoding)
    script = parse_script(decode_source(data, "x", Path())).script
    assert script.emotion == "开心"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("liveact: 1\nemotion: 开心\n".encode("gbk"), "not UTF-8"),
        ("liveact: 1\n".encode("utf-16-le"), "binary file, or UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0", "binary file"),
        (b"#" * 10_000_000, "larger than 1,000,000 bytes"),
    ],
)
def test_other_bytes_are_refused(data: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "show.yaml"
    file.write_bytes(data)
    with pytest.raises(ScriptError, match=message):
        load_script(file)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{" * 100_000, "- " * 100_000, "? " * 100_000, "a: " * 30_000, "'" * 99_999],
    ids=lambda text: text[:2],
)
def test_deep_nesting_ends_quickly(text: str) -> None:
    with pytest.raises(ScriptError):
        parse_script(Source(text))


def test_a_bomb_of_anchors_does_not_explode() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
    )
    with pytest.raises(ScriptError, match="anchors and aliases"):
        parse_script(Source(HEAD + bomb))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="does not exist"):
        load_script(tmp_path / "none.yaml")
    with pytest.raises(ScriptError, match="is a folder"):
        load_script(tmp_path)


def test_a_preset_reports_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("liveact: 1\ndescription: x\nenergy: {haed: 2}\n")
    parsed = parse_script(Source("liveact: 1\npreset: mine.yaml\n", "show.yaml", tmp_path))
    with pytest.raises(ScriptError, match=r"mine\.yaml:3:10: error: unknown key 'haed'"):
        assemble(parsed, preset)


def test_large_files_within_the_limit_are_read() -> None:
    rows = "".join(f"  - at: {i}\n    action: nod\n" for i in range(2_000))
    text = HEAD + "timeline:\n" + rows
    assert len(text) < MAX_BYTES
    assert len(parse_script(Source(text)).script.timeline) == 2_000
