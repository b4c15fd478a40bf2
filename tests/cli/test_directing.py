"""Scripts through the command line: check, show, new, convert, presets, and renders that follow."""

import json
import math
import subprocess
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from liveact_cli.core.errors import ExitCode
from liveact_cli.weights.resolve import example_file

FACE, SPEECH = example_file("face.png"), example_file("audio.wav")
SCRIPT = """\
liveact: 1
emotion: warm
timeline:
  - at: 0:00.4
    for: 0.4s
    action: nod
  - at: 0:00.6
    action: wave
  - at: 0:30
    emotion: sad
"""


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    moments = np.arange(24_000) / 16_000
    samples = 0.3 * np.sin(2 * math.pi * 220 * moments) * (moments % 1 < 0.1)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((samples * 32_000).astype("<i2").tobytes())
    return path


@pytest.fixture
def show(tmp_path: Path) -> Path:
    path = tmp_path / "show.yaml"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def test_check_says_what_is_doubtful(shell, show: Path, tone: Path) -> None:
    assert shell("script", "check", "show.yaml").out == "show.yaml: ok\n"
    outcome = shell("script", "check", "show.yaml", "--audio", tone)
    assert outcome.code == 0
    assert "outside the recording: 30.00 s of 1.50 s" in outcome.err
    assert "'wave' covers 'nod'" in outcome.err
    assert "it plays smile + nod" in outcome.err
    report = shell("script", "check", show, "--audio", tone, "--json").json
    assert report["ok"] is True
    assert [p["severity"] for p in report["problems"]] == ["warning", "warning", "note"]


def test_check_reports_every_error_with_its_place(shell, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("liveact: 1\nemotion: hapy\ntimline: []\n")
    outcome = shell("script", "check", "bad.yaml", "--json")
    assert outcome.code == ExitCode.BAD_MEDIA
    found = [(p["line"], p["column"]) for p in outcome.json["problems"]]
    assert found == [(2, 10), (3, 1)]
    (tmp_path / "bad.yaml").write_text("liveact: 1\nemotion: hapy\npreset: podcst\n")
    outcome = shell("script", "check", "bad.yaml")
    assert outcome.code == ExitCode.BAD_MEDIA
    assert "bad.yaml:2:10: error: unknown emotion 'hapy'" in outcome.err
    assert "bad.yaml:3:9: error: there is no preset 'podcst'" in outcome.err
    assert "Traceback" not in outcome.err


def test_an_unknown_word_is_fine_for_the_model_that_reads_text(shell, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("liveact: 1\nemotion: like a cat\n")
    assert shell("script", "check", "a.yaml").code == ExitCode.BAD_MEDIA
    outcome = shell("script", "check", "a.yaml", "--model", "liveact-18b")
    assert outcome.code == 0
    assert "reads it as text" in outcome.err


def test_show_draws_lines_and_a_picture(shell, show: Path, tone: Path, tmp_path: Path) -> None:
    outcome = shell("script", "show", show, "--audio", tone)
    assert outcome.code == 0
    assert "emotion   warm" in outcome.out
    assert "\x1b" not in outcome.out
    picture = shell("script", "show", show, "--audio", tone, "-o", "line.png")
    assert Image.open(tmp_path / "line.png").width > 1000
    assert picture.out == f"{tmp_path / 'line.png'}\n"
    assert shell("script", "show", show, "--audio", tone, "-o", "line.png").code == 1
    events = shell("script", "show", show, "--audio", tone, "--json").json["events"]
    assert [event["name"] for event in events] == ["warm", "nod", "wave"]
    assert events[1]["frames"] == [10, 20]


def test_new_writes_a_script_that_passes(shell, tmp_path: Path) -> None:
    outcome = shell("script", "new", "--audio", SPEECH, "--preset", "podcast", "-o", "new.yaml")
    assert outcome.code == 0
    assert shell("script", "check", "new.yaml", "--audio", SPEECH).code == 0
    assert shell("script", "new", "--audio", SPEECH, "-o", "new.yaml").code == 1
    assert shell("script", "new", "--audio", SPEECH, "--preset", "nothing").code == 2


def test_convert_there_and_back(shell, show: Path, tone: Path, tmp_path: Path) -> None:
    (tmp_path / "edits.json").write_text('{"[0, 1]": "He smiles."}')
    assert shell("script", "convert", "edits.json", "--fps", "25", "-o", "edits.yaml").code == 0
    outcome = shell(
        "script", "convert", "edits.yaml", "--to", "json", "--fps", "25", "--audio", SPEECH
    )
    assert outcome.json == {"[0, 1]": "He smiles."}
    assert "[nod]" in shell("script", "convert", show, "--to", "srt", "--audio", tone).out
    assert shell("script", "convert", show, "--to", "srt").code == 2
    table = shell("script", "convert", show, "--to", "csv").out
    (tmp_path / "show.csv").write_text(table)
    assert shell("script", "convert", "show.csv").out == show.read_text()
    assert shell("script", "convert", "a.docx").code == 2


def test_vocabulary_and_schema(shell) -> None:
    words = shell("script", "vocabulary", "--json").json["words"]
    assert {"emotion", "action"} == {word["kind"] for word in words}
    assert "比心" in shell("script", "vocabulary", "heart").out
    assert shell("script", "vocabulary", "xyzzy").code == 2
    assert "timeline" in json.loads(shell("script", "schema").out)["properties"]


def test_presets(shell) -> None:
    listed = shell("preset", "list").out
    assert "podcast" in listed
    names = [preset["name"] for preset in shell("preset", "list", "--json").json["presets"]]
    assert len(names) == 7
    assert shell("preset", "show", "Talk Show").out.startswith("liveact: 1\n")
    assert shell("preset", "show", "singer", "--json").json["preset"]["energy"]["head"] == 1.4
    assert shell("preset", "show", "podcats").code == 2


def test_a_script_comes_through_a_pipe(show: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "liveact_cli", "script", "check", "-", "--json"],
        input=show.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert json.loads(result.stdout)["ok"] is True


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.stack([f.to_ndarray(format="gray") for f in film.decode(video=0)]).astype(float)


def test_a_render_follows_its_script(studio, tone: Path, tmp_path: Path) -> None:
    command = ("render", tone, "--ref", FACE, "--size", "96x112", "--seed", "7")
    (tmp_path / "nod.yaml").write_text(
        "liveact: 1\ntimeline:\n  - {at: 0.8, for: 0.6, action: lean in, fade: 0.1s}\n"
    )
    runs = {"plain": (), "script": ("--script", "nod.yaml"), "flag": ("--action", "lean in@0.8s")}
    for name, flags in runs.items():
        outcome = studio(*command, *flags, "-o", f"{name}.mp4")
        assert outcome.code == 0, outcome.err
    plain, script, flag = (frames_of(tmp_path / f"{name}.mp4") for name in runs)
    moved = np.abs(script - plain).mean(axis=(1, 2))
    assert moved[24:32].mean() > 1.3 * moved[:12].mean()
    assert np.abs(flag - plain).mean(axis=(1, 2))[24:32].mean() > 1
    record = studio("inspect", "script.mp4", "--json").json["liveact"]
    assert len(record["direction"]) == 64
    assert "direction" not in studio("inspect", "plain.mp4", "--json").json["liveact"]


def test_a_wrong_script_stops_the_render_before_it_begins(studio, tone: Path, tmp_path) -> None:
    (tmp_path / "bad.yaml").write_text("liveact: 1\nemotion: hapy\n")
    outcome = studio("render", tone, "--ref", FACE, "--script", "bad.yaml")
    assert outcome.code == ExitCode.BAD_MEDIA
    assert "did you mean 'happy'?" in outcome.err
    assert not (tmp_path / "tone.mp4").exists()
    for flags in (("--action", "nod"), ("--preset", "nothing")):
        assert studio("render", tone, "--ref", FACE, *flags).code == ExitCode.USAGE
    assert studio("render", tone, "--ref", FACE, "--emotion", "hapy").code == ExitCode.BAD_MEDIA


def test_a_preset_sets_the_picture_and_flags_win(studio, tone: Path) -> None:
    command = ("render", tone, "--ref", FACE, "--preset", "facetime", "--dry-run", "--json")
    plan = studio(*command).json
    assert (plan["width"], plan["height"]) == (480, 640)
    assert studio(*command, "--size", "96x112").json["width"] == 96
