"""Precedence of settings and the sentences about wrong ones."""

from fractions import Fraction
from pathlib import Path

import pytest

from liveact_cli.config.edge import _Edge, resolve_settings
from liveact_cli.config.settings import SETTING_NAMES, RenderSettings
from liveact_cli.core.errors import UsageError


def test_edge_and_settings_have_the_same_names() -> None:
    assert tuple(_Edge.model_fields) == SETTING_NAMES


def test_precedence(tmp_path: Path) -> None:
    project = tmp_path / "project" / "deep"
    project.mkdir(parents=True)
    (tmp_path / "project" / "liveact.toml").write_text("[render]\nfps = 30\ncrf = 18\nseed = 3\n")
    user = tmp_path / "config" / "liveact"
    user.mkdir(parents=True)
    (user / "config.toml").write_text("[render]\nfps = 50\ntorch-threads = 2\nlabel = true\n")
    variables = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "LIVEACT_CRF": "25", "HOME": "/x"}
    settings = resolve_settings({"seed": "9", "face": None}, variables, project)
    assert settings == RenderSettings(seed=9, crf=25, fps=Fraction(30), torch_threads=2, label=True)


def test_defaults(tmp_path: Path) -> None:
    variables = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert resolve_settings({}, variables, tmp_path) == RenderSettings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("fps", "0", "--fps 0: frames per second must be from 10 to 60"),
        ("fps", "abc", "write frames per second as a number"),
        ("fps", "nan", "write frames per second as a number"),
        ("fps", "1/0", "write frames per second as a number"),
        ("fps", "61", "from 10 to 60"),
        ("size", "511x512", "must be even numbers, for example 512x512"),
        ("size", "512", "WIDTHxHEIGHT"),
        ("size", "0x0", "WIDTHxHEIGHT"),
        ("size", "32x32", "from 64 to 4096"),
        ("size", "-2x4", "WIDTHxHEIGHT"),
        ("size", "99999x99999", "from 64 to 4096"),
        ("seed", "-1", "must be at least 0"),
        ("seed", "1.5", "whole number"),
        ("crf", "52", "must be at most 51"),
        ("start", "soon", "'soon' is not a time"),
        ("start", "{x}", "'{x}' is not a time"),
        ("start", "-1", "'-1' is not a time"),
        ("duration", "0", "must be more than 0"),
        ("duration", "inf", "'inf' is not a time"),
        ("face", "0", "must be at least 1"),
        ("encoder_preset", "warp", "choose one of"),
        ("audio_guidance", "loud", "write a number"),
        ("audio_guidance", "nan", "finite number"),
        ("audio_guidance", "11", "must be at most 10"),
        ("sampler", "heun", "should be 'renoise' or 'euler'"),
        ("gpus", "0", "must be at least 1"),
        ("precision", "fp4", "should be 'bf16' or 'fp8'"),
        ("kv_precision", "fp32", "should be 'bf16' or 'fp8'"),
        ("offload", "disk", "should be 'none', 'cache', 'blocks' or 'all'"),
        ("kernels", "fast", "should be 'triton', 'compile' or 'eager'"),
        ("attention", "magic", "should be 'sdpa', 'cudnn', 'flash', 'fp8' or 'fp8-emulated'"),
        ("tiles", "8", "write auto, off, or a side from 64"),
        ("tiles", "small", "write a whole number"),
    ],
)
def test_wrong_values(tmp_path: Path, name: str, value: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_settings({name: value}, {"XDG_CONFIG_HOME": str(tmp_path)}, tmp_path)
    assert says in caught.value.message
    assert f"--{name.replace('_', '-')} {value}" in caught.value.message
    assert caught.value.hint


def test_wrong_variable_and_file_are_named(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(UsageError, match="LIVEACT_FPS=0: frames"):
        resolve_settings({"fps": "30"}, home | {"LIVEACT_FPS": "0"}, tmp_path)
    file = tmp_path / "liveact.toml"
    file.write_text("[render]\nfsp = 25\n")
    with pytest.raises(UsageError, match="no such setting") as caught:
        resolve_settings({}, home, tmp_path)
    assert caught.value.hint == "did you mean fps?"
    assert "liveact.toml" in caught.value.message
    for text in ("[render", "render = 3", "\x00"):
        file.write_text(text)
        with pytest.raises(UsageError, match=r"liveact\.toml"):
            resolve_settings({}, home, tmp_path)


def test_auto_leaves_the_choice() -> None:
    names = ("gpus", "precision", "kv_precision", "offload", "kernels", "attention", "tiles")
    edge = _Edge(**dict.fromkeys(names, " Auto "))
    assert {getattr(edge, name) for name in names} == {None}
    assert _Edge(gpus="2", precision="fp8").model_dump(exclude_none=True) == {
        "gpus": 2, "precision": "fp8",
    }  # fmt: skip


def test_sizes_and_rates() -> None:
    assert _Edge(size="640X360").size == (640, 360)
    assert _Edge(fps="29.97").fps == Fraction(29.97).limit_denominator(1001)
    assert _Edge(fps="30000/1001").fps == Fraction(30000, 1001)
    assert _Edge(start="1:02.5").start == 62.5
