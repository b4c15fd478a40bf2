"""A render that stopped anywhere goes on, and its file is that of one that never stopped."""

import math
import os
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import LiveActError, UsageError
from liveact_cli.core.events import Caution, Finished, Note, Resumed, Saved
from liveact_cli.core.units import Size
from liveact_cli.engine.models import load_speaker
from liveact_cli.engine.prepare import Job, prepare
from liveact_cli.engine.render import render_video
from liveact_cli.engine.resume import Keeping
from liveact_cli.engine.unfinished import state_files, unfinished
from liveact_cli.media.metadata import read_metadata
from liveact_cli.media.workfolder import WorkFolder, work_folder_of
from liveact_cli.weights.resolve import example_file

TINY = Path(__file__).resolve().parent.parent / "golden" / "tiny-liveact"


class Crash(BaseException):
    """What no handler expects."""


def tone(path: Path, seconds: float) -> Path:
    moments = np.arange(round(seconds * 16000)) / 16000
    samples = np.sin(2 * math.pi * 180 * moments) * np.sin(2 * math.pi * 2 * moments)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((samples * 9000).astype("<i2").tobytes())
    return path


class Studio:
    """Renders of one recording with a tiny model that is loaded once."""

    def __init__(self, model: Path, folder: Path, **settings: object) -> None:
        self.folder, self.output = folder, folder / "out.mp4"
        self.audio = tone(folder / "a.wav", 5.3)
        self.settings = RenderSettings(
            model=str(model), size=Size(64, 64), seed=3, segment_seconds=2.0, **settings
        )
        self.variables = {"XDG_CACHE_HOME": str(folder / "cache")}
        self.speaker = load_speaker(self.job(self.output, self.settings).plan)

    def job(self, output: Path, settings: RenderSettings, *, force: bool = False) -> Job:
        face = example_file("face.png")
        return prepare(self.audio, face, output, settings, self.variables, force=force)

    def render(self, output: Path | None = None, *, crash=None, force=False, keeping=None, **new):
        """Render and return the events; `crash` says of an event whether to fall over there."""
        job = self.job(output or self.output, replace(self.settings, **new), force=force)
        events = []
        more = {"keeping": keeping} if keeping else {}
        stream = render_video(job, speaker=self.speaker, force=force, **more)
        for event in stream:
            events.append(event)
            if crash is not None and crash(event):
                with pytest.raises(Crash):
                    stream.throw(Crash())
                break
        return events

    def crashed(self, saves: int = 1) -> int:
        """Leave a render that fell over once states were saved; return the frames that are safe."""
        seen: list[Saved] = []

        def enough(event: object) -> bool:
            seen.extend([event] if isinstance(event, Saved) else [])
            return len(seen) == saves

        self.render(crash=enough)
        return seen[-1].frames


@pytest.fixture
def studio(toy_mini: Path, tmp_path: Path) -> Studio:
    return Studio(toy_mini, tmp_path)


def kinds(events, *wanted):
    return [event for event in events if isinstance(event, wanted)]


@pytest.mark.parametrize(("family", "fps"), [("mini", "29.97"), ("wan", "10")])
def test_it_goes_on_to_the_same_bytes(toy_mini, tmp_path, family, fps) -> None:
    """Boundaries of segments fall inside chunks; liveact-mini's decoder looks ahead as well."""
    model = toy_mini if family == "mini" else TINY
    studio = Studio(model, tmp_path, fps=fps, prompt="A man talks.")
    whole = studio.folder / "whole.mp4"
    studio.render(whole)
    safe = studio.crashed()
    events = studio.render()
    resumed, finished = kinds(events, Resumed)[0], kinds(events, Finished)[0]
    assert resumed.frames == finished.before >= safe > 0
    assert studio.output.read_bytes() == whole.read_bytes()
    assert sorted(set(os.listdir(tmp_path)) - {"cache"}) == ["a.wav", "out.mp4", "whole.mp4"]


def test_without_a_seed_the_one_of_the_state_is_taken(studio: Studio) -> None:
    studio.settings = replace(studio.settings, seed=None)
    studio.crashed()
    drawn = unfinished(studio.output)["record"]["seed"]
    assert kinds(studio.render(), Resumed)
    assert read_metadata(studio.output).settings["seed"] == drawn


def test_other_inputs_are_refused_in_words(studio: Studio) -> None:
    studio.crashed()
    with pytest.raises(UsageError, match="is not the same render: crf 30 instead of 18") as caught:
        studio.render(crf=30)
    assert "--resume" in caught.value.hint
    with pytest.raises(UsageError, match="seed 4 instead of 3; size 96x64 instead of 64x64"):
        studio.render(seed=4, size=Size(96, 64))
    tone(studio.audio, 5.2)
    with pytest.raises(UsageError, match="the recording is another"):
        studio.render()
    tone(studio.audio, 5.3)
    assert kinds(studio.render(), Resumed)


def test_force_begins_again_where_something_differs(studio: Studio) -> None:
    studio.crashed()
    events = studio.render(crf=30, force=True)
    assert not kinds(events, Resumed)
    assert any("was thrown away: crf 30" in note.message for note in kinds(events, Note))
    assert sorted(os.listdir(studio.folder)) == ["a.wav", "out.mp4"]


def test_two_runs_never_share_a_folder(studio: Studio) -> None:
    studio.crashed()
    folder = WorkFolder(work_folder_of(studio.output))
    with pytest.raises(LiveActError, match=rf"another run \(process {os.getpid()}\)"):
        studio.render()
    folder.release()
    assert kinds(studio.render(), Resumed)


def test_a_damaged_state_gives_way_to_the_one_before(studio: Studio) -> None:
    whole = studio.folder / "whole.mp4"
    studio.render(whole)
    studio.crashed(saves=2)
    newest, _ = state_files(work_folder_of(studio.output))
    data = bytearray(newest.read_bytes())
    data[-100] ^= 1
    newest.write_bytes(data)
    events = studio.render()
    assert any(newest.name in caution.message for caution in kinds(events, Caution))
    assert kinds(events, Resumed)[0].frames == 50
    assert studio.output.read_bytes() == whole.read_bytes()


def test_a_damaged_segment_is_noticed(studio: Studio) -> None:
    studio.crashed()
    segment = next(work_folder_of(studio.output).glob("run-*/000000.mp4"))
    segment.write_bytes(segment.read_bytes()[:-1])
    events = studio.render()
    assert not kinds(events, Resumed)
    assert any("segment 000000.mp4 has changed" in c.message for c in kinds(events, Caution))
    assert kinds(events, Finished)


def test_states_can_be_kept_or_left_out(studio: Studio) -> None:
    studio.render(keeping=Keeping(keep=True))
    assert len(state_files(work_folder_of(studio.output))) == 2
    again = studio.render(force=True)
    assert kinds(again, Resumed)[0].frames == kinds(again, Finished)[0].frames
    assert not kinds(studio.render(force=True, keeping=Keeping(every=None)), Saved)
    saved = kinds(studio.render(force=True, keeping=Keeping(every=2)), Saved)
    assert [event.frames for event in saved] == [100, 132]


def test_a_finished_video_is_never_lost(studio: Studio) -> None:
    """Somebody makes the target while it is rendered: both files stay."""

    def meddle(event: object) -> bool:
        if isinstance(event, Saved):
            studio.output.write_bytes(b"theirs")
        return False

    with pytest.raises(UsageError, match=r"the finished video is .*out-2\.mp4"):
        studio.render(crash=meddle)
    assert studio.output.read_bytes() == b"theirs"
    assert read_metadata(studio.folder / "out-2.mp4").settings["frames"] == 132


def test_killed_when_the_video_was_in_place(studio: Studio) -> None:
    studio.crashed()
    staging = next(work_folder_of(studio.output).glob("run-*")) / "video.mp4"
    staging.write_bytes(b"film")
    os.link(staging, studio.output)
    with pytest.raises(UsageError, match="exists already"):
        studio.render()
    assert not work_folder_of(studio.output).exists()
    assert studio.output.read_bytes() == b"film"
