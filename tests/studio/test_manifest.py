"""Manifests of every form say the same; what is wrong is told all at once, with its place."""

import json
from pathlib import Path

import pytest

from liveact_cli.core.errors import ExitCode, UsageError
from liveact_cli.studio.manifest import Overrides, fill, parse_overrides, read_manifest
from liveact_cli.studio.rows import ManifestError

YAML = """\
liveact: 1
defaults:
  ref: host.png
  size: 128x128
  output: out/{stem}-{ref}.mp4
jobs:
  - a.wav
  - audio: b.mp3
    ref: guest.png
    encoder-threads: 1
    preset: podcast
    action: [nod@1s, "smile@2s"]
"""
CSV = """\
audio,ref,size,output,encoder-threads,preset,action
a.wav,host.png,128x128,out/a-host.mp4,,,
b.mp3,guest.png,128x128,out/{stem}-{ref}.mp4,1,podcast,nod@1s; smile@2s
"""
JSONL = "\n".join(
    (
        '{"audio": "a.wav", "ref": "host.png", "size": "128x128", "output": "out/a-host.mp4"}',
        "",
        json.dumps(
            {
                "audio": "b.mp3", "ref": "guest.png", "size": "128x128", "preset": "podcast",
                "output": "out/{stem}-{ref}.mp4", "encoder_threads": 1,
                "action": ["nod@1s", "smile@2s"],
            }
        ),
    )
)  # fmt: skip


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def told(path: Path, overrides: Overrides | None = None) -> list[tuple[int, str, str, str]]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, {}, overrides)
    assert caught.value.exit_code == ExitCode.BAD_MEDIA
    return [(p.place.line, p.text, p.message, p.hint) for p in caught.value.problems]


@pytest.mark.parametrize(("name", "text"), [("m.yaml", YAML), ("m.csv", CSV), ("m.jsonl", JSONL)])
def test_every_form_gives_the_same_jobs(tmp_path: Path, name: str, text: str) -> None:
    first, second = read_manifest(written(tmp_path, name, text), {}).jobs
    assert (first.name, first.audio) == ("out/a-host.mp4", tmp_path / "a.wav")
    assert first.settings == {"size": "128x128"}
    assert second.output == tmp_path / "out/b-guest.mp4"
    assert second.reference == tmp_path / "guest.png"
    assert second.settings == {"size": "128x128", "encoder_threads": "1"}
    assert second.orders.actions == ("nod@1s", "smile@2s")
    assert str(second.orders.preset).endswith("podcast.yaml")


def test_a_folder_is_a_manifest(tmp_path: Path) -> None:
    for name in ("a.wav", "a.png", "b.mp3", "b.yaml", "notes.txt", ".hidden.wav"):
        (tmp_path / name).touch()
    ((_, _, message, hint),) = told(tmp_path)
    assert "ref: is missing" in message
    assert "--ref" in hint
    jobs = read_manifest(tmp_path, {}, Overrides(tmp_path / "host.png")).jobs
    assert [job.name for job in jobs] == ["a.mp4", "b.mp4"]
    assert [job.reference.name for job in jobs] == ["a.png", "host.png"]
    assert [job.script for job in jobs] == [None, tmp_path / "b.yaml"]


def test_everything_wrong_is_told_at_once_with_line_text_and_fix(tmp_path: Path) -> None:
    text = (
        "defaults:\n  ref: host.png\n  sise: 128x128\nbatch: 2\njobs:\n  - audoi: a.wav\n"
        "  - audio: a.wav\n    size: 511x511\n    emotion: hapy\n  - b.wav\n"
        "  - audio: c/b.wav\n  - audio: d.wav\n    output: '{steem}.mp4'\n"
        "  - audio: e.wav\n    output: e.avi\n  - audio: f.wav\n    preset: potcast\n"
        "  - audio: g.wav\n    model: liveact-mni\n  - audio: h.wav\n    action: nod\n"
    )
    found = {line: (text, message, hint) for line, text, message, hint in told(
        written(tmp_path, "m.yaml", text))}  # fmt: skip
    assert "did you mean 'size'?" in found[3][2]
    assert "unknown key 'batch'" in found[4][1]
    assert found[6][0] == "  - audoi: a.wav"
    assert "even numbers" in found[8][1]
    assert "did you mean 'happy'?" in found[9][2]
    assert "also the output of the job in line 10" in found[11][1]
    assert "{stem}-{ref}" in found[11][2]
    assert "{steem} is not known" in found[13][1]
    assert "e.mp4" in found[15][2]
    assert "did you mean 'podcast'?" in found[17][2]
    assert "liveact-mini" in found[19][1]
    assert "nod@3s" in found[21][2]


@pytest.mark.parametrize(
    ("name", "text", "line", "says"),
    [
        ("m.yaml", "jobs:\n  - audio: [a\n", 2, "not YAML"),
        ("m.yaml", "jobs: a.wav\n", 1, "list of jobs"),
        ("m.yaml", "jobs: []\n", 0, "no jobs"),
        ("m.yaml", "", 0, "no jobs"),
        ("m.yaml", "liveact: 2\njobs: [a.wav]\n", 1, "version"),
        ("m.yaml", "jobs:\n  - audio: a.wav\n    ref:\n", 3, "has no value"),
        ("m.yaml", "jobs:\n  - audio: a.wav\n    ref: [b.png, c.png]\n", 3, "one value"),
        ("m.csv", "audio;ref;seeed\na.wav;b.png;1\n", 1, "unknown key 'seeed'"),
        ("m.csv", "audio,ref\na.wav,b.png,c\n", 2, "3 values"),
        ("m.csv", "audio,ref,seed\na.wav,b.png,-1\n", 2, "at least 0"),
        ("m.jsonl", '{"audio": "a.wav", "ref": "b.png"}\n{"audio": \n', 2, "not JSON"),
        ("m.jsonl", '["a.wav"]\n', 1, "object"),
        ("m.jsonl", '{"audio": {"x": 1}, "ref": "b.png"}\n', 1, "text or a number"),
        ("m.txt", "a.wav\n", 0, "not a manifest by its name"),
        ("m.yaml", "\0", 0, "binary"),
    ],
)  # fmt: skip
def test_broken_forms(tmp_path: Path, name: str, text: str, line: int, says: str) -> None:
    assert any(
        found == line and says in message
        for found, _, message, _ in told(written(tmp_path, name, text))
    )


def test_a_manifest_that_is_absent(tmp_path: Path) -> None:
    assert "does not exist" in told(tmp_path / "absent.yaml")[0][2]


def test_overrides_win(tmp_path: Path) -> None:
    overrides = parse_overrides(None, "x/{n:02}.mp4", ["size=64x64", "crf=30"], tmp_path)
    first, second = read_manifest(written(tmp_path, "m.yaml", YAML), {}, overrides).jobs
    assert (first.name, second.name) == ("x/01.mp4", "x/02.mp4")
    assert first.settings["size"] == second.settings["size"] == "64x64"
    with pytest.raises(UsageError, match="no such key"):
        parse_overrides(None, None, ["sise=64x64"], tmp_path)


def test_templates_know_their_names_only() -> None:
    assert fill("{stem}/{n:03}{{x", {"stem": "a"}, 7) == "a/007{{x"
    for bad in ("{stem.real}", "{0}", "{}", "{n:>9}", "{stem!r}"):
        with pytest.raises(ValueError, match="is not known; there are"):
            fill(bad, {"stem": "a"}, 1)
