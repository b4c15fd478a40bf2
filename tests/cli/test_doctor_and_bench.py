"""What this machine can do, and how fast."""

import wave
from pathlib import Path

import pytest

from liveact_cli.core.errors import WeightsError
from liveact_cli.diagnose import doctor
from liveact_cli.diagnose.bench import median_ms, peak_rss, repeat_sound
from liveact_cli.weights.resolve import example_file


def test_doctor_finds_what_the_main_job_needs(shell) -> None:
    outcome = shell("doctor", "--json")
    checks = {check["name"]: check for check in outcome.json["checks"]}
    assert checks["packages"]["status"] == "ok"
    assert checks["ffmpeg"]["status"] == "ok"
    assert checks["the face finder"]["status"] == "ok"
    assert checks["liveact-18b"]["status"] == "note"
    bad = [check for check in checks.values() if check["status"] == "bad"]
    assert outcome.json["ok"] == (not bad)
    assert outcome.code == (1 if bad else 0)


def test_doctor_for_people(shell) -> None:
    lines = shell("doctor").out.splitlines()
    assert any(line.startswith("ok    ffmpeg") for line in lines)
    assert any("55 GB" in line for line in lines)


def test_doctor_says_what_is_missing(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise WeightsError(f"{name} is missing", "install it again")

    monkeypatch.setattr(doctor, "data_file", missing)
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    outcome = shell("doctor")
    assert outcome.code == 1
    assert "no-such-package" in outcome.out
    assert "-> install it again" in outcome.out


def test_sound_is_repeated_to_any_length(tmp_path: Path) -> None:
    target = tmp_path / "long.wav"
    repeat_sound(example_file("audio.wav"), target, 31.5)
    with wave.open(str(target)) as file:
        assert file.getnframes() == round(31.5 * file.getframerate())


def test_medians() -> None:
    chunks = [{"audio": 0.1, "render": 1.0}, {"audio": 0.3}, {"audio": 0.2, "render": 3.0}]
    assert median_ms(chunks) == pytest.approx({"audio": 200.0, "render": 2000.0})
    assert peak_rss() > 1_000_000


@pytest.mark.multi
def test_bench(studio, toy_mini: Path) -> None:
    outcome = studio(
        "bench", "--model", toy_mini, "--seconds", "2", "--size", "128x128", "--json",
        **bench_variables(),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert report["video_seconds"] == 2.0
    assert set(report["stage_ms_per_chunk"]) == {"audio", "transformer", "render", "encode"}
    assert report["wall_seconds"] > report["first_frame_seconds"] > 0
    assert report["peak_rss_bytes"] > 100_000_000


def bench_variables() -> dict[str, str]:
    import os

    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def test_bench_passes_on_what_went_wrong(studio) -> None:
    outcome = studio("bench", "--model", "./absent", "--json", **bench_variables())
    assert outcome.code == 2
    assert "no checkpoint" in outcome.json["error"]["message"]
