"""The performer keeps the rules of speech and looks alive."""

import sys
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS, lip_aperture
from liveact_cli.mini.performer import Cue, Direction, action_frames, context_track, perform
from liveact_cli.mini.performer.articulation import NAMES
from liveact_cli.mini.performer.expression import ACTION_TEMPLATES, MANNERS
from liveact_cli.mini.visemes import VISEME_SHAPES, VISEMES
from liveact_cli.mini.vocabulary import ACTIONS, EMOTIONS, VOCABULARY, WORD_INDEX

SPOKEN = [name for name in NAMES if name != "sil"]


@dataclass(frozen=True)
class Sound:
    viseme: str
    start: float
    stop: float


def talk(seconds: float, seed: int = 0, pauses: bool = True) -> list[Sound]:
    """Random phones of natural lengths; consonants and vowels alternate, with pauses."""
    rng = np.random.default_rng(seed)
    vowels = ["AA", "AE", "IY", "OW", "UW", "AX"]
    consonants = [name for name in SPOKEN if name not in vowels]
    sounds: list[Sound] = []
    clock = 0.4
    while clock < seconds - 0.5:
        for kind in (consonants, vowels):
            stop = clock + float(rng.uniform(0.05, 0.14 if kind is consonants else 0.22))
            sounds.append(Sound(str(rng.choice(kind)), clock, stop))
            clock = stop
        if pauses and rng.random() < 0.06:
            clock += float(rng.uniform(0.3, 2.5))
    return sounds


def voice(sounds: list[Sound], frames: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Loudness in dB and pitch in semitones that fit the phones: vowels loud, melody falling."""
    loudness = np.full(frames, -40.0, np.float32)
    pitch = np.zeros(frames, np.float32)
    rng = np.random.default_rng(1)
    for sound in sounds:
        rows = slice(round(sound.start * MOTION_FPS), round(sound.stop * MOTION_FPS) + 1)
        vowel = sound.viseme in {"AA", "AE", "IY", "OW", "UW", "AX"}
        loudness[rows] = rng.normal(2.0 if vowel else -6.0, 2.5)
        pitch[rows] = rng.normal(0.0, 2.5)
    return loudness, pitch


def performance(
    seconds: float, seed: int = 0, direction: Direction | None = None, silent: bool = False
) -> tuple[NDArray[np.float32], list[Sound]]:
    frames = round(seconds * MOTION_FPS)
    sounds = [] if silent else talk(seconds, seed)
    loudness, pitch = voice(sounds, frames)
    motion = perform(sounds, loudness, pitch, "speaker", frames, seed, direction or Direction())
    return motion, sounds


def column(motion: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    return motion[:, CHANNEL_INDEX[name]]


def missed_closures(motion: NDArray[np.float32], sounds: list[Sound]) -> list[Sound]:
    aperture = lip_aperture(motion)
    missed = []
    for sound in sounds:
        if sound.viseme == "PBM":
            rows = slice(int(sound.start * MOTION_FPS), int(sound.stop * MOTION_FPS) + 1)
            if aperture[rows].min() >= 0.06:
                missed.append(sound)
    return missed


def test_tables_cover_everything() -> None:
    assert set(NAMES) == set(VISEMES)
    assert set(MANNERS) == set(EMOTIONS)
    assert set(ACTION_TEMPLATES) == set(ACTIONS)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_bilabials_always_close(emotion: str) -> None:
    direction = Direction((Cue(emotion, 0, 1500, 1.0),))
    motion, sounds = performance(90.0, 3, direction)
    assert sum(sound.viseme == "PBM" for sound in sounds) > 20
    assert missed_closures(motion, sounds) == []


def test_nothing_else_closes() -> None:
    motion, sounds = performance(120.0, 5)
    aperture = lip_aperture(motion)
    bad = 0
    for before, sound, after in zip(sounds, sounds[1:], sounds[2:], strict=False):
        near = {before.viseme, sound.viseme, after.viseme}
        apart = sound.start - before.stop > 0.01 or after.start - sound.stop > 0.01
        if "PBM" in near or apart:
            continue
        rows = slice(int(sound.start * MOTION_FPS) + 1, int(sound.stop * MOTION_FPS))
        bad += bool((aperture[rows] < 0.06).any())
    assert bad == 0


def test_labiodentals_touch() -> None:
    motion, sounds = performance(60.0, 7)
    aperture, roll = lip_aperture(motion), column(motion, "mouthRollLower")
    for before, sound, after in zip(sounds, sounds[1:], sounds[2:], strict=False):
        if sound.viseme != "FV" or "PBM" in {before.viseme, after.viseme}:
            continue
        rows = slice(int(sound.start * MOTION_FPS), int(sound.stop * MOTION_FPS) + 1)
        assert ((roll[rows] >= 0.3) & (aperture[rows] < 0.2)).any()


def test_jaw_and_rounding_follow_the_viseme_table() -> None:
    motion, sounds = performance(120.0, 9)
    rows, shapes = [], []
    for sound in sounds:
        rows.append(int(0.5 * (sound.start + sound.stop) * MOTION_FPS))
        shapes.append(VISEME_SHAPES[VISEMES.index(sound.viseme)])
    truth = np.stack(shapes)
    rounding = np.maximum(column(motion, "mouthPucker"), column(motion, "mouthFunnel"))
    assert np.corrcoef(column(motion, "jawOpen")[rows], truth[:, 0])[0, 1] > 0.85
    assert np.corrcoef(rounding[rows], truth[:, 3])[0, 1] > 0.72


def test_rounding_starts_early() -> None:
    sounds = [Sound("TDN", 1.0, 1.1), Sound("L", 1.1, 1.2), Sound("UW", 1.2, 1.4)]
    loudness, pitch = voice(sounds, 75)
    motion = perform(sounds, loudness, pitch, "speaker", 75, 0)
    pucker = column(motion, "mouthPucker")
    assert pucker[28] > 0.2
    assert pucker[32] > 0.7


def blink_count(motion: NDArray[np.float32]) -> int:
    closed = column(motion, "eyeBlinkLeft") > 0.5
    return int(np.count_nonzero(closed[1:] & ~closed[:-1]))


def test_alive_while_talking_and_listening() -> None:
    talking, _ = performance(600.0, 1)
    listening, _ = performance(600.0, 2, silent=True)
    assert 14 <= blink_count(talking) / 10 <= 26
    assert 10 <= blink_count(listening) / 10 <= 20
    for name, low, high in (("yaw", 1.8, 4.5), ("pitch", 1.5, 4.0), ("roll", 1.0, 3.5)):
        assert low < column(talking, name).std() < high
        assert column(listening, name).std() > 0.4 * low
    assert column(talking, "browOuterUpLeft").std() > 0.03
    assert np.abs(column(talking, "gazeX")).max() > 0.3
    assert lip_aperture(listening).max() < 0.12


def test_motion_is_smooth_except_lids_gaze_and_lips() -> None:
    motion, _ = performance(300.0, 4)
    for name in ("yaw", "pitch", "roll"):
        assert np.abs(np.diff(column(motion, name))).max() < 3.0
        assert np.abs(np.diff(column(motion, name), 2)).max() < 2.0


def test_same_seed_same_motion() -> None:
    first, second, other = (performance(20.0, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_move_something(action: str) -> None:
    start = 50
    cue = Cue(action, start, start + action_frames(action), 1.0)
    still, _ = performance(8.0, 2, silent=True)
    acted, _ = performance(8.0, 2, Direction((cue,)), silent=True)
    change = np.abs(acted - still)
    assert change[start : cue.stop].max() > 0.05
    assert change[: start - 5].max() == 0.0


@pytest.mark.parametrize("emotion", [name for name in EMOTIONS if name != "neutral"])
def test_emotions_have_a_face(emotion: str) -> None:
    manner = MANNERS[emotion]
    motion, _ = performance(10.0, 2, Direction((Cue(emotion, 0, 250, 1.0),)), silent=True)
    plain, _ = performance(10.0, 2, silent=True)
    for name, value in manner.face.items():
        if name in ("eyeBlink", "eyeWide") or value < 0.12:
            continue
        side = name if name in CHANNEL_INDEX else f"{name}Left"
        grown = column(motion, side).mean() - column(plain, side).mean()
        assert grown == pytest.approx(value + manner.rest.get(name, 0.0), rel=0.45)


def test_channels_stay_in_range() -> None:
    cues = tuple(Cue(word, 40 * i, 40 * i + 40, 1.0) for i, word in enumerate(VOCABULARY))
    motion, _ = performance(60.0, 8, Direction(cues))
    assert np.isfinite(motion).all()
    face = motion[:, : CHANNEL_INDEX["gazeX"]]
    assert face.min() >= 0.0
    assert face.max() <= 1.0
    assert np.abs(column(motion, "yaw")).max() < 16.0


def test_context_track_follows_the_cues() -> None:
    direction = Direction((Cue("happy", 21, 53, 0.5), Cue("nod", 21, 41, 1.0)))
    track = context_track(direction, 85).sum(axis=1)
    assert track.shape == (22, len(VOCABULARY))
    happy = np.flatnonzero(track[:, WORD_INDEX["happy"]])
    assert (happy[0], happy[-1]) == (6, 13)
    assert (track[happy, WORD_INDEX["happy"]] == 0.5).all()
    assert np.flatnonzero(track[:, WORD_INDEX["nod"]])[-1] == 10
    assert track[0, WORD_INDEX["neutral"]] == 1.0


def test_cues_are_checked() -> None:
    with pytest.raises(ValueError, match="is none of"):
        Cue("grumpy", 0, 5)
    with pytest.raises(ValueError, match="spans"):
        Cue("happy", 5, 5)


def load_judge() -> ModuleType:
    """The judge is a script in tools/, not a module of the package."""
    path = Path(__file__).parents[2] / "tools" / "lip_sync.py"
    spec = spec_from_file_location("lip_sync", path)
    assert spec is not None
    assert spec.loader is not None
    judge = module_from_spec(spec)
    sys.modules["lip_sync"] = judge
    spec.loader.exec_module(judge)
    return judge


def test_the_judge_agrees() -> None:
    judge = load_judge()
    name_of = {viseme: names.split()[0] for viseme, names in judge.PHONES.items()}
    seconds = 120.0
    motion, sounds = performance(seconds, 11)
    phones: list[tuple[str, float, float]] = []
    clock = 0.0
    for sound in sounds:
        if sound.start > clock + 1e-6:
            phones.append(("", clock, sound.start))
        phones.append((name_of[sound.viseme], sound.start, sound.stop))
        clock = sound.stop
    clip = judge.Clip("made up", np.zeros(round(seconds * 16000), np.float32), phones)
    figures = judge.judge([clip], [motion], MOTION_FPS)
    assert figures["closure_recall"]["value"] == 1.0
    assert figures["closure_precision"]["value"] > 0.98
    assert figures["labiodental_recall"]["value"] > 0.97
    assert figures["labiodental_precision"]["value"] > 0.95
    assert figures["jaw_correlation"]["value"] > 0.85
    assert figures["rounding_correlation"]["value"] > 0.75
    assert abs(figures["lag_ms"]["value"]) < 15
