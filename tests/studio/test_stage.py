"""Composed frames are exactly the ones that are meant; panels show the face; voices are gated."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveact_cli.core.units import Size
from liveact_cli.media.mux import mux
from liveact_cli.media.video import SegmentWriter
from liveact_cli.studio.cast import Card, Episode, Layout, Person
from liveact_cli.studio.framing import LARGEST_FACE, SMALLEST_FACE, crop_for, widest_shape
from liveact_cli.studio.layout import cells
from liveact_cli.studio.shots import Shot, View
from liveact_cli.studio.stage import Clip, Stage
from liveact_cli.studio.talk import gate
from liveact_cli.studio.turns import Turn, tidy

FRAMES = 70
SIZE = Size(192, 108)


def grey(number: int, person: int) -> int:
    """Return the light of a frame: it tells its number and whose it is."""
    return 30 + 2 * number + 25 * person


@pytest.fixture(scope="module", params=[Fraction(25), Fraction(30000, 1001)])
def stage_of(request, tmp_path_factory: pytest.TempPathFactory):
    """Give a stage on two clips of 70 frames, in segments of 30, whose light tells their number."""
    import wave

    fps, folder = request.param, tmp_path_factory.mktemp("stage")
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 16_000 * 3))
    clips = []
    for person in (0, 1):
        run = folder / f"run-{person}"
        run.mkdir()
        with SegmentWriter(run, 64, 64, fps, crf=4, segment_frames=30) as writer:
            for number in range(FRAMES):
                writer.write(np.full((64, 64, 3), grey(number, person), np.uint8))
            segments = writer.close()
        from liveact_cli.media.audio import AudioSource

        path = folder / f"{person}.mp4"
        mux(segments, AudioSource(folder / "sound.wav"), path, {}, fps, FRAMES)
        clips.append(Clip(path, Size(64, 64), 1.0, (0.5, 0.45)))

    def make(shots: list[Shot], layout: Layout, **looks) -> Stage:
        people = (Person("A", Path("a")), Person("B", Path("b")))
        episode = Episode(people, layout=layout, size=SIZE, captions=False, **looks)
        stills = folder / f"stills-{len(list(folder.iterdir()))}"
        stills.mkdir()
        return Stage(episode, clips, shots, fps, stills)

    return make


def light(frame: np.ndarray, cell) -> float:
    """Return the RGB light in the middle of a panel of a planar frame."""
    luma = frame[: SIZE.width * SIZE.height].reshape(SIZE.height, SIZE.width)
    y, x = cell.y + cell.height // 2, cell.x + cell.width // 2
    return (float(luma[y - 2 : y + 2, x - 2 : x + 2].mean()) - 16) * 255 / 219


@pytest.mark.parametrize("first", [0, 1, 29, 30, 31, 44, 69])
def test_every_frame_is_the_one_that_is_meant(stage_of, first: int) -> None:
    """Across shots, segments of the clips and any place to go on from."""
    shots = [
        Shot(0, 31, View((0, 1))),
        Shot(31, 45, View((1,))),
        Shot(45, FRAMES, View((0,), (1,))),
    ]
    stage = stage_of(shots, Layout.PICTURE_IN_PICTURE)
    frames = list(stage.frames_from(first))
    assert len(frames) == FRAMES - first
    for number, frame in enumerate(frames, start=first):
        view = next(shot.view for shot in shots if shot.start <= number < shot.stop)
        for cell in cells(view, SIZE, Layout.PICTURE_IN_PICTURE, (1.0, 1.0)):
            assert light(frame, cell) == pytest.approx(grey(number, cell.person), abs=1.0)


def test_cards_fade_wherever_it_goes_on(stage_of) -> None:
    shots = [Shot(0, FRAMES, View((0, 1)))]
    looks = {"intro": Card("Hello", seconds=1.0), "outro": Card("Bye", "all", seconds=1.0)}
    stage = stage_of(shots, Layout.GRID, **looks)
    whole = list(stage.frames_from(0))
    for first in (20, 60):
        rest = list(stage.frames_from(first))
        assert all((a == b).all() for a, b in zip(whole[first:], rest, strict=True))
    cell = cells(shots[0].view, SIZE, Layout.GRID, (1.0, 1.0))[0]
    seen = [light(frame, cell) - grey(number, 0) for number, frame in enumerate(whole)]
    assert seen[0] < -12
    assert seen[35] == pytest.approx(0, abs=1)
    assert seen[-1] < -60


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # busy machines
@given(
    st.integers(64, 2000), st.integers(64, 2000), st.floats(0.05, 0.95), st.floats(0, 1),
    st.floats(0, 1), st.sampled_from([Size(906, 680), Size(400, 532), Size(216, 216)]),
)  # fmt: skip
def test_crops_lie_in_the_picture_and_have_the_panels_shape(
    width: int, height: int, share: float, x: float, y: float, panel: Size
) -> None:
    face = share * min(width, height)
    crop = crop_for(Size(width, height), (x * width, y * height), face, panel)
    assert 0 <= crop.left <= crop.left + crop.width <= width
    assert 0 <= crop.top <= crop.top + crop.height <= height
    # Both sides are whole pixels.
    assert crop.width == pytest.approx(crop.height * panel.width / panel.height, abs=1.5)
    assert crop.height <= face / SMALLEST_FACE + 1
    shape = widest_shape(Size(width, height), face)
    assert 0.75 <= shape <= 4 / 3
    if shape > 0.75:
        assert face / (width / shape) <= LARGEST_FACE * 1.01


@given(
    st.lists(
        st.builds(lambda a, d: Turn(a, a + d, 0), st.floats(0, 50), st.floats(0.1, 5)), max_size=12
    )
)
def test_a_voice_is_whole_in_its_turns_and_silent_elsewhere(turns: list[Turn]) -> None:
    found = tidy(turns, 60.0)
    times, gains = gate(found)
    assert times == sorted(times)
    at = np.arange(0, 60, 0.01)
    gain = np.interp(at, times, gains)
    for turn in found:
        assert (gain[(at >= turn.start) & (at <= turn.stop)] == 1).all()
    far = np.ones_like(at, dtype=bool)
    for turn in found:
        far &= (at < turn.start - 0.1) | (at > turn.stop + 0.1)
    assert (gain[far] == 0).all()
