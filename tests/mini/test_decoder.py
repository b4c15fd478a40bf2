"""Latents become motion as a causal stream, joined at chunk boundaries, at any frame rate."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from liveact_cli.mini.codec import MotionCodec
from liveact_cli.mini.decoder import (
    LIP_JUMP,
    QUICK_FADE,
    CurveResampler,
    MotionDecoder,
    MotionFrameDecoder,
    begin_awake,
    meet_lips,
    shut_lids,
)
from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS, NUM_CHANNELS, lip_aperture

YAW, JAW = CHANNEL_INDEX["yaw"], CHANNEL_INDEX["jawOpen"]
PUCKER, SMILE = CHANNEL_INDEX["mouthPucker"], CHANNEL_INDEX["mouthSmileLeft"]


def smooth_motion(frames: int) -> NDArray[np.float32]:
    t = np.arange(frames) / MOTION_FPS
    motion = np.full((frames, NUM_CHANNELS), 0.05, np.float32)
    motion[:, YAW] = 4.0 * np.sin(2.0 * t)
    motion[:, JAW] = 0.3 + 0.2 * np.sin(15.0 * t)
    return motion


def chunks(latent: torch.Tensor) -> list[torch.Tensor]:
    return [latent[:, :6], *latent[:, 6:].split(8, 1)]


class Painter:
    """Draws the motion's numbers instead of a face."""

    def render(self, motion: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.full((2, 2, 3), round(100 * float(motion[JAW])), np.uint8)


def test_smooth_motion_passes_unchanged() -> None:
    motion = smooth_motion(85)
    codec = MotionCodec.identity()
    decoder = MotionDecoder(codec)
    parts = [decoder.decode(part) for part in chunks(codec.encode(torch.from_numpy(motion)))]
    assert [len(part) for part in parts] == [21, 32, 32]
    off = np.abs(np.concatenate(parts)[:, JAW] - motion[:, JAW])
    near = np.concatenate([np.arange(start, start + QUICK_FADE) for start in (21, 53)])
    assert np.delete(off, near).max() < 1e-5
    assert off.max() < 0.01
    assert np.abs(np.concatenate(parts)[:, YAW] - motion[:, YAW]).max() < 0.5


def test_seams_are_mended() -> None:
    codec = MotionCodec.identity()
    rng = np.random.default_rng(0)
    motion = smooth_motion(21 + 32 * 8)
    for start in range(21, len(motion), 32):
        motion[start : start + 32, YAW] += rng.normal(0.0, 1.5)
    latent = codec.encode(torch.from_numpy(motion))
    jumps = {}
    for mend in (False, True):
        decoder = MotionDecoder(codec, mend=mend)
        yaw = np.concatenate([decoder.decode(part) for part in chunks(latent)])[:, YAW]
        step = np.abs(np.diff(yaw))
        jumps[mend] = step[20::32].mean() / step.mean()
    assert jumps[False] > 3.0
    assert jumps[True] < 1.3


def test_eyes_look_on_across_seams() -> None:
    codec = MotionCodec.identity()
    motion = smooth_motion(21 + 32 * 4)
    gaze = CHANNEL_INDEX["gazeX"]
    for number, start in enumerate(range(21, len(motion), 32)):
        motion[start : start + 32, gaze] = 0.1 * (-1) ** number
    motion[60:, gaze] += 0.4  # a saccade inside a chunk stays one
    latent = codec.encode(torch.from_numpy(motion))
    decoder = MotionDecoder(codec)
    looked = np.concatenate([decoder.decode(part) for part in chunks(latent)])[:, gaze]
    step = np.abs(np.diff(looked))
    assert step[20::32].max() < 1e-6
    assert step[59] > 0.35
    assert np.delete(step, 59).max() < 0.02
    assert abs(looked[52] - motion[52, gaze]) < 0.01


def test_smiles_are_joined_and_speech_only_within_a_little() -> None:
    codec = MotionCodec.identity()
    motion = smooth_motion(21 + 32 * 8)
    motion[:, [JAW, PUCKER, SMILE]] = 0.4
    for number, start in enumerate(range(21, len(motion), 32)):
        motion[start : start + 32, [JAW, SMILE]] += 0.2 * (-1) ** number
        motion[start : start + 32, PUCKER] += 0.02 * (-1) ** number
    latent = codec.encode(torch.from_numpy(motion))
    decoder = MotionDecoder(codec)
    made = np.concatenate([decoder.decode(part) for part in chunks(latent)])
    jump = np.abs(np.diff(motion, axis=0))[20::32]
    left = np.abs(np.diff(made, axis=0))[20::32]
    assert np.abs(made - motion)[:, JAW].max() < LIP_JUMP + 1e-5
    assert (left[:, PUCKER] < 0.6 * jump[:, PUCKER]).all()
    assert (left[:, SMILE] < 0.4 * jump[:, SMILE]).all()
    inside = np.concatenate([np.arange(s + QUICK_FADE, s + 32) for s in range(21, len(made), 32)])
    assert np.abs(made - motion)[inside][:, [JAW, PUCKER, SMILE]].max() < 1e-5


def test_values_stay_in_range() -> None:
    decoder = MotionDecoder(MotionCodec.identity())
    noise = torch.randn((32, 6, 1, 5), generator=torch.Generator().manual_seed(1))
    motion = decoder.decode(5.0 * noise)
    assert motion[:, JAW].min() >= 0.0
    assert motion[:, JAW].max() <= 1.0
    assert np.abs(motion[:, YAW]).max() > 1.0


def test_lips_that_almost_meet_do_meet() -> None:
    names = ("jawOpen", "mouthClose", "mouthUpperUp", "mouthLowerDown", "mouthRollLower")
    rows = {
        "open": (0.40, 0.10, 0.20, 0.20, 0.00),
        "closing": (0.12, 0.45, 0.08, 0.10, 0.05),
        "touching": (0.16, 0.10, 0.10, 0.10, 0.35),
    }
    motion = np.zeros((len(rows), NUM_CHANNELS), np.float32)
    for row, values in zip(motion, rows.values(), strict=True):
        row[[CHANNEL_INDEX[name] for name in names]] = values
    before = motion.copy()
    meet_lips(motion)
    apart = lip_aperture(motion)
    assert np.array_equal(motion[0], before[0])
    assert lip_aperture(before)[1] > 0.1
    assert apart[1] == 0.0
    assert apart[2] < 0.2
    assert motion[2, CHANNEL_INDEX["mouthRollLower"]] >= 0.3


def test_lips_seal_at_the_crest_of_a_closing_wherever_a_chunk_ends() -> None:
    close = CHANNEL_INDEX["mouthClose"]
    motion = np.zeros((20, NUM_CHANNELS), np.float32)
    motion[:, CHANNEL_INDEX["jawOpen"]] = 0.3
    motion[4:11, close] = 0.3, 0.45, 0.6, 0.8, 0.6, 0.45, 0.3
    motion[14:, close] = 0.6  # lips at rest stay shut
    whole, parts = motion.copy(), motion.copy()
    meet_lips(whole)
    shut = whole[:, close] > 0.95
    assert shut.nonzero()[0].tolist() == [7, *range(14, 20)]
    assert lip_aperture(whole)[7] == 0.0
    meet_lips(parts[:9])
    meet_lips(parts[9:], motion[6:9])
    np.testing.assert_array_equal(parts[7:12], whole[7:12])


def test_the_lip_touches_the_teeth_only_at_the_crest() -> None:
    roll, jaw = CHANNEL_INDEX["mouthRollLower"], CHANNEL_INDEX["jawOpen"]
    motion = np.zeros((9, NUM_CHANNELS), np.float32)
    motion[:, jaw] = 0.4
    motion[:, roll] = 0.05, 0.12, 0.25, 0.4, 0.5, 0.4, 0.25, 0.12, 0.05
    meet_lips(motion)
    assert motion[4, jaw] < 0.16
    assert motion[4, roll] >= 0.6
    assert (motion[[0, 1, 2, 6, 7, 8], jaw] == np.float32(0.4)).all()


def test_half_blinks_become_blinks() -> None:
    motion = np.zeros((4, NUM_CHANNELS), np.float32)
    left = CHANNEL_INDEX["eyeBlinkLeft"]
    motion[:, left] = 0.0, 0.28, 0.5, 0.7
    shut_lids(motion)
    assert motion[:2, left] == pytest.approx([0.0, 0.28])
    assert motion[2, left] > 0.7
    assert motion[3, left] == 1.0


@pytest.mark.parametrize("fps", [10.0, 24.0, 25.0, 29.97, 60.0])
def test_resampling_as_a_stream_equals_at_once(fps: float) -> None:
    motion = smooth_motion(117)
    whole, parts = CurveResampler(fps), CurveResampler(fps)
    at_once = np.concatenate([whole.push(motion), whole.flush()])
    pieces = [parts.push(motion[i : i + 13]) for i in range(0, 117, 13)]
    streamed = np.concatenate([*pieces, parts.flush()])
    assert len(at_once) == pytest.approx(117 * fps / MOTION_FPS, abs=0.51)
    assert np.array_equal(at_once, streamed)
    moments = ((np.arange(len(at_once)) + 0.5) / fps) - 0.5 / MOTION_FPS
    error = at_once[:, YAW] - 4.0 * np.sin(2.0 * moments)
    assert np.abs(error[4:-4]).max() < 0.01
    if fps == MOTION_FPS:
        assert np.abs(at_once - motion).max() < 1e-6


def test_frames_resume_where_they_stopped() -> None:
    codec = MotionCodec.identity()
    parts = chunks(codec.encode(torch.from_numpy(smooth_motion(117))))
    decoder = MotionFrameDecoder(codec, Painter(), fps=30.0)
    frames = [list(decoder.decode(part)) for part in parts[:2]]
    resumed = MotionFrameDecoder(codec, Painter(), fps=30.0)
    resumed.load_state(decoder.state())
    rests = [
        [frame for part in parts[2:] for frame in going.decode(part)] + list(going.flush())
        for going in (decoder, resumed)
    ]
    assert sum(map(len, frames)) + len(rests[0]) == round(117 * 30 / 25)
    assert all(np.array_equal(a, b) for a, b in zip(*rests, strict=True))
    assert frames[0][0].shape == (2, 2, 3)


@pytest.mark.parametrize("first", [0, 1, 5])
def test_no_recording_begins_with_a_blink(first: int) -> None:
    blink = [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]
    motion = np.full((21, NUM_CHANNELS), 0.05, np.float32)
    motion[first : first + 5, blink] = np.array([[0.4, 1.0, 1.0, 0.6, 0.2]]).T
    motion[14:18, blink] = later = np.array([[0.5, 1.0, 0.5, 0.2]]).T
    motion[:, CHANNEL_INDEX["jawOpen"]] = 0.5
    begin_awake(motion)
    assert motion[:14, blink] == pytest.approx(0.05)
    assert motion[14:18, blink] == pytest.approx(np.repeat(later, 2, axis=1))
    assert (motion[:, CHANNEL_INDEX["jawOpen"]] == 0.5).all()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (slice(2, 16), slice(2, 16)),  # longer than a blink
        (slice(6, 21), slice(6, 21)),  # to the end of what is known
        (slice(1, 6), slice(0)),  # a wink
    ],
)
def test_lids_that_are_told_to_shut_do(left: slice, right: slice) -> None:
    motion = np.zeros((21, NUM_CHANNELS), np.float32)
    motion[left, CHANNEL_INDEX["eyeBlinkLeft"]] = 0.9
    motion[right, CHANNEL_INDEX["eyeBlinkRight"]] = 0.9
    before = motion.copy()
    begin_awake(motion)
    assert np.array_equal(motion, before)
