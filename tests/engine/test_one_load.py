"""A model that is loaded once renders any number of jobs, each as if it were its first."""

from dataclasses import replace
from pathlib import Path

import pytest

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.units import Size
from liveact_cli.engine.models import load_speaker
from liveact_cli.engine.prepare import Job, prepare
from liveact_cli.engine.render import render_video
from liveact_cli.weights.resolve import example_file

TINY = Path(__file__).resolve().parent.parent / "golden" / "tiny-liveact"


@pytest.mark.parametrize("family", ["mini", "wan"])
def test_a_used_speaker_gives_the_same_bytes(toy_mini: Path, tmp_path: Path, family: str) -> None:
    model = str(toy_mini if family == "mini" else TINY)
    settings = RenderSettings(model=model, size=Size(64, 64), seed=3, duration=0.5)

    def job_of(name: str, start: float) -> Job:
        return prepare(
            example_file("audio.wav"),
            example_file("face.png"),
            tmp_path / name,
            replace(settings, start=start),
            {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        )

    def render(name: str, start: float, **given: object) -> bytes:
        list(render_video(job_of(name, start), **given))
        return (tmp_path / name).read_bytes()

    speaker = load_speaker(job_of("any.mp4", 0.0).plan)
    fresh = render("fresh.mp4", 1.0)
    other = render("other.mp4", 0.0, speaker=speaker)
    used = render("used.mp4", 1.0, speaker=speaker)
    assert used == fresh
    assert other != fresh
