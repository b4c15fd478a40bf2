"""Segments: every frame, the right colours, the same bytes, and an end to everything that fails."""

import os
import re
import resource
import signal
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from conftest_media import moving_frames, number_of

from liveact_cli.core.errors import LiveActError, UsageError
from liveact_cli.media.video import EncoderSettings, SegmentWriter, frame_rate


@pytest.mark.parametrize(
    ("given", "expected"),
    [(25, Fraction(25)), (29.97, Fraction(30000, 1001)), ("23.976", Fraction(24000, 1001)),
     ("59.94", Fraction(60000, 1001)), (Fraction(30000, 1001), Fraction(30000, 1001)),
     ("30000/1001", Fraction(30000, 1001)), (12.5, Fraction(25, 2)), (10, Fraction(10)),
     (60.0, Fraction(60)), (30, Fraction(30))],
)  # fmt: skip
def test_frame_rates(given, expected):
    assert frame_rate(given) == expected


@pytest.mark.parametrize("given", [0, -25, 9.99, 60.01, "fast", "25/0", float("nan"), 1e9])
def test_impossible_frame_rates(given):
    with pytest.raises(UsageError) as caught:
        frame_rate(given)
    assert caught.value.hint


@pytest.mark.parametrize(("width", "height"), [(65, 64), (64, 63), (0, 64), (8, 8)])
def test_impossible_sizes(width, height, tmp_path):
    with pytest.raises(UsageError, match=f"{width}x{height}"):
        SegmentWriter(tmp_path, width, height, Fraction(25))


def decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def written(directory, frames, **options):
    directory.mkdir()
    height, width = frames.shape[1:3]
    with SegmentWriter(directory, width, height, options.pop("fps", Fraction(25)), **options) as to:
        for frame in frames:
            to.write(frame)
        return to.close()


def test_segments_hold_every_frame_in_order(tmp_path):
    frames = moving_frames(100)
    told = []
    segments = written(tmp_path / "s", frames, segment_frames=30, on_segment=told.append)
    assert segments == told
    assert [(s.index, s.first_frame, s.frames) for s in segments] == [
        (0, 0, 30), (1, 30, 30), (2, 60, 30), (3, 90, 10),
    ]  # fmt: skip
    numbers = [number_of(frame) for s in segments for frame in decoded(s.path)]
    assert numbers == list(range(100))


def test_segments_are_twenty_seconds_and_end_where_told(tmp_path):
    frames = moving_frames(4, 16, 16)
    with SegmentWriter(tmp_path, 16, 16, Fraction(10)) as to:
        for number in range(215):
            to.write(frames[number % 4])
            if number in (4, 206):
                to.cut()
        to.cut()
        to.cut()
        assert [segment.frames for segment in to.close()] == [5, 200, 2, 8]


def test_a_segment_is_independent_closed_and_standard(tmp_path):
    segment = written(tmp_path / "s", moving_frames(250), segment_frames=250)[0]
    with av.open(str(segment.path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.profile) == ("h264", "yuv420p", "High")
        bt709, limited = 1, 1
        tags = context.colorspace, context.color_primaries, context.color_trc, context.color_range
        assert tags == (bt709, bt709, bt709, limited)
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
    assert packets[0].is_keyframe
    keys = [packet.pts * packet.time_base for packet in packets if packet.is_keyframe]
    assert max(np.diff([*map(float, keys), 10.0])) <= 4.0
    # Closed groups: what is decoded after a key frame is also shown after it.
    latest_key = -1
    for packet in packets:
        latest_key = packet.pts if packet.is_keyframe else latest_key
        assert packet.pts >= latest_key


def test_nothing_tells_of_encoders_or_days(tmp_path):
    data = written(tmp_path / "s", moving_frames(10))[0].path.read_bytes()
    assert not re.search(rb"Lav[cf]\d|x264 - core|threads", data)
    assert str(tmp_path).encode() not in data
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.index(box)
        assert data[at + 8 : at + 16] == bytes(8)  # made and changed: never


@pytest.mark.parametrize(
    "colour",
    [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128),
     (224, 172, 150), (90, 56, 37)],
)  # fmt: skip
def test_colours_come_back(colour, tmp_path):
    frames = np.full((3, 32, 32, 3), colour, np.uint8)
    path = written(tmp_path / "s", frames, crf=1)[0].path
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        planes = [
            np.frombuffer(plane, np.uint8).reshape(plane.height, -1) for plane in frame.planes
        ]
    luma, blue, red = (float(plane[8, 8]) for plane in planes)
    # BT.709, limited range: the inverse of what the file says of itself.
    y, cb, cr = (luma - 16) / 219, (blue - 128) / 224, (red - 128) / 224
    back = (y + 1.5748 * cr, y - 0.1873 * cb - 0.4681 * cr, y + 1.8556 * cb)
    assert np.abs(255 * np.array(back) - colour).max() <= 3


def test_the_same_frames_give_the_same_bytes(tmp_path):
    frames = moving_frames(60)
    one = written(tmp_path / "1", frames, segment_frames=25)
    two = written(tmp_path / "2", frames, segment_frames=25)
    assert [s.path.read_bytes() for s in one] == [s.path.read_bytes() for s in two]


def test_a_render_that_resumes_writes_what_one_in_one_go_does(tmp_path):
    frames = moving_frames(70)
    whole = written(tmp_path / "1", frames, segment_frames=25)
    rest = written(tmp_path / "2", frames[25:], segment_frames=25, first_index=1, first_frame=25)
    assert [(s.index, s.first_frame, s.frames) for s in rest] == [
        (s.index, s.first_frame, s.frames) for s in whole[1:]
    ]
    assert [s.path.name for s in rest] == [s.path.name for s in whole[1:]]
    assert [s.path.read_bytes() for s in rest] == [s.path.read_bytes() for s in whole[1:]]


def test_the_frame_may_be_used_again(tmp_path):
    frames = moving_frames(40)
    again = np.empty_like(frames[0])
    with SegmentWriter(tmp_path, 64, 64, Fraction(25)) as to:
        for frame in frames:
            again[...] = frame
            to.write(again)
            again[...] = 0
        segments = to.close()
    assert [number_of(frame) for frame in decoded(segments[0].path)] == list(range(40))


def test_wrong_frames_are_our_own_mistake(tmp_path):
    with SegmentWriter(tmp_path, 64, 64, Fraction(25)) as to:
        with pytest.raises(ValueError, match="a frame is"):
            to.write(np.zeros((64, 32, 3), np.uint8))
        with pytest.raises(ValueError, match="a frame is"):
            to.write(np.zeros((64, 64, 3), np.float32))
        assert to.close() == []


def write_until_it_fails(to, frames):
    for number in range(5000):
        to.write(frames[number % len(frames)])
    to.close()


def encoder_of(to):
    deadline = time.monotonic() + 20
    while to._current is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return to._current.process


def test_a_killed_encoder_is_reported(tmp_path):
    frames = moving_frames(10)
    with SegmentWriter(tmp_path, 64, 64, Fraction(25)) as to:
        to.write(frames[0])
        os.kill(encoder_of(to).pid, signal.SIGKILL)
        with pytest.raises(LiveActError, match="it was ended by SIGKILL"):
            write_until_it_fails(to, frames)


def test_an_encoder_that_stands_still_does_not_hold_us(tmp_path):
    frames = moving_frames(10)
    started = time.monotonic()
    with SegmentWriter(tmp_path, 64, 64, Fraction(25)) as to:
        to.write(frames[0])
        process = encoder_of(to)
        os.kill(process.pid, signal.SIGSTOP)
        for frame in frames:
            to.write(frame)
    assert process.ended()
    assert time.monotonic() - started < 20


@pytest.mark.skipif(sys.platform != "linux", reason="limits a child by prlimit")
def test_a_full_disk_is_reported(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    with SegmentWriter(tmp_path, 64, 64, Fraction(25)) as to:
        to.write(noise[0])
        resource.prlimit(encoder_of(to).pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
        with pytest.raises(LiveActError, match="limit of file sizes"):
            write_until_it_fails(to, noise)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_no_space_is_named(tmp_path):
    (tmp_path / "000000.mp4").symlink_to("/dev/full")
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    with (
        SegmentWriter(tmp_path, 64, 64, Fraction(25)) as to,
        pytest.raises(LiveActError, match="no space is left") as caught,
    ):
        write_until_it_fails(to, noise)
    assert caught.value.hint


def test_a_folder_that_is_gone(tmp_path):
    with (
        SegmentWriter(tmp_path / "gone", 64, 64, Fraction(25)) as to,
        pytest.raises(LiveActError, match="No such file"),
    ):
        write_until_it_fails(to, moving_frames(5))


def test_a_mistake_in_a_callback_is_not_lost(tmp_path):
    def trouble(segment):
        raise KeyError(segment.index)

    with SegmentWriter(tmp_path, 16, 16, Fraction(25), on_segment=trouble) as to:
        to.write(np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(RuntimeError) as caught:
            to.close()
    assert isinstance(caught.value.__cause__, KeyError)


def test_leaving_early_keeps_what_is_finished(tmp_path):
    frames = moving_frames(10)
    told = []
    with SegmentWriter(
        tmp_path, 64, 64, Fraction(25), segment_frames=5, on_segment=told.append
    ) as to:
        deadline = time.monotonic() + 60
        while not told and time.monotonic() < deadline:
            to.write(frames[0])
    assert told
    assert all(len(decoded(segment.path)) == 5 for segment in told)
    with pytest.raises(ValueError, match="closed"):
        to.write(frames[0])


def test_the_thread_count_is_not_that_of_the_machine(tmp_path):
    arguments = EncoderSettings(64, 64, Fraction(25)).pipeline(tmp_path / "x.mp4").compile()
    assert arguments[arguments.index("-threads") + 1] == "2"
