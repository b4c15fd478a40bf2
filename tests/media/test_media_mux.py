"""The finished file: counted frames, one start, one length, one set of bytes, all or nothing."""

import hashlib
import os
import resource
import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest_media import ffmpeg, moving_frames, number_of, write_wav

from liveact_cli.core.errors import LiveActError
from liveact_cli.core.geometry import frames_of
from liveact_cli.media.audio import AudioSource, probe_audio
from liveact_cli.media.metadata import read_metadata
from liveact_cli.media.mux import mux
from liveact_cli.media.sound import SoundTrack, aac_rate
from liveact_cli.media.video import SegmentWriter, frame_rate

SETTINGS = {"seed": 7, "prompt": 'fröhlich, "laut" & <schnell> \U0001f600', "fps": "25"}
FRAMES = moving_frames(40)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Gives segments with so many frames at a rate, made once for all tests of this file."""
    made = {}

    def segments(frames: int, fps: Fraction, segment_frames: int = 250):
        key = frames, fps, segment_frames
        if key not in made:
            folder = tmp_path_factory.mktemp("segments")
            with SegmentWriter(folder, 64, 64, fps, segment_frames=segment_frames) as to:
                for number in range(frames):
                    to.write(FRAMES[number % len(FRAMES)])
                made[key] = to.close()
        return made[key]

    return segments


def look(path: Path):
    """Return what an independent reader sees: every packet's time stamp, the streams' times."""
    with av.open(str(path)) as film:
        picture, sound = film.streams.video[0], film.streams.audio[0]
        stamps = sorted(p.pts * p.time_base for p in film.demux(picture) if p.pts is not None)
        return {
            "stamps": stamps,
            "starts": (picture.start_time * picture.time_base, sound.start_time * sound.time_base),
            "picture": picture.duration * picture.time_base,
            "sound": sound.duration * sound.time_base,
            "film": Fraction(film.duration, av.time_base),
            "frames": picture.frames,
            "rate": picture.average_rate,
        }


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0, 3.33, 10.01])
@pytest.mark.parametrize("fps", [10, 24, 25, 29.97, Fraction(2997, 100), 60])
def test_frames_starts_and_lengths(seconds, fps, sounds, rendered, tmp_path):
    # Every rate meets every kind of sound at some length.
    kinds = [(8_000, 1), (48_000, 2), (44_100, 6)]
    rate, channels = kinds[(round(seconds * 100) + round(fps)) % 3]
    audio = AudioSource(sounds(seconds, rate, channels))
    fps = fps if isinstance(fps, Fraction) else frame_rate(fps)
    frames = frames_of(audio.seconds, float(fps))
    out = mux(rendered(frames, fps), audio, tmp_path / "x.mp4", {}, fps, frames)
    seen = look(out)
    assert seen["stamps"] == [number / fps for number in range(frames)]
    assert seen["frames"] == frames
    assert seen["starts"] == (0, 0)
    assert seen["picture"] == frames / fps
    assert abs(seen["sound"] - Fraction(audio.info.samples, rate)) < Fraction(1, 10_000)
    assert abs(seen["film"] - Fraction(audio.info.samples, rate)) <= 1 / fps
    if frames > 1:
        assert seen["rate"] == fps
    assert os.listdir(tmp_path) == ["x.mp4"]


def test_picture_and_sound_events_meet(rendered, tmp_path):
    """A click at a frame's time is heard where that frame is shown, at the end as at the start."""
    fps, rate = Fraction(25), 48_000
    clicks = np.zeros((3 * rate, 1))
    for frame in (0, 25, 74):
        clicks[frame * rate // 25 : frame * rate // 25 + 240] = 0.8
    audio = AudioSource(write_wav(tmp_path / "x.wav", clicks, rate))
    out = mux(rendered(75, fps, 37), audio, tmp_path / "x.mp4", {}, fps, 75)
    with av.open(str(out)) as film:
        shown = [(f.pts * f.time_base, number_of(f.to_ndarray(format="rgb24")))
                 for f in film.decode(video=0)]  # fmt: skip
    assert shown == [(number / fps, number % len(FRAMES)) for number in range(75)]
    assert look(out)["rate"] == fps  # though the last segment is a single frame
    heard = np.concatenate([*AudioSource(out).samples(rate)])[:, 0]
    assert len(heard) == 3 * rate
    loud = np.flatnonzero(np.abs(heard) > 0.4)
    starts = loud[np.insert(np.diff(loud) > rate / 10, 0, True)]
    assert np.abs(starts - np.array([0, rate, 74 * rate // 25])).max() < rate / 1000


@pytest.mark.parametrize(
    ("suffix", "rate", "channels"),
    [("mp3", 44_100, 2), ("m4a", 48_000, 1), ("flac", 96_000, 2), ("ogg", 22_050, 1),
     ("opus", 48_000, 2), ("webm", 48_000, 2), ("wav", 192_000, 2), ("wav", 8_000, 6)],
)  # fmt: skip
def test_inputs_keep_their_channels_and_rate(suffix, rate, channels, sounds, rendered, tmp_path):
    path = sounds(1.0, rate, channels)
    if suffix != "wav":
        path = tmp_path / f"x.{suffix}"
        ffmpeg("-i", sounds(1.0, rate, channels), path)
    audio = AudioSource(path)
    out = mux(rendered(25, Fraction(25)), audio, tmp_path / "x.mp4", {}, Fraction(25), 25)
    info = probe_audio(out)
    assert (info.codec, info.channels, info.sample_rate) == ("aac", channels, min(rate, 96_000))
    assert abs(info.seconds - audio.seconds) < 1e-3


def test_rates_that_aac_has_not():
    assert [aac_rate(r) for r in (8_000, 44_100, 50_000, 192_000, 6_000)] == [
        8_000, 44_100, 64_000, 96_000, 8_000,
    ]  # fmt: skip


def test_the_cut_part_is_what_is_heard(sounds, rendered, tmp_path):
    audio = AudioSource(sounds(3.33, 16_000, 1), 1.3, 1.0)
    out = mux(rendered(25, Fraction(25)), audio, tmp_path / "x.mp4", {}, Fraction(25), 25)
    expected = np.concatenate([*audio.blocks()])
    heard = np.concatenate([*AudioSource(out).blocks()])
    assert len(heard) == len(expected) == 16_000
    assert np.corrcoef(heard, expected)[0, 1] > 0.98


def test_an_interrupted_render_has_the_sound_of_its_frames(sounds, rendered, tmp_path):
    audio = AudioSource(sounds(10.01, 48_000, 2))
    with SoundTrack(audio, tmp_path) as track:
        out = mux(rendered(25, Fraction(25)), track, tmp_path / "x.mp4", {}, Fraction(25), 25)
    seen = look(out)
    assert seen["picture"] == 1
    assert 1 <= seen["sound"] <= Fraction(26, 25)


def test_the_same_input_gives_the_same_file(sounds, tmp_path):
    hashes = set()
    for run in ("1", "second"):
        folder = tmp_path / run
        folder.mkdir()
        audio = AudioSource(sounds(3.33, 44_100, 2))
        with (
            SegmentWriter(folder, 64, 64, Fraction(25), segment_frames=40) as to,
            SoundTrack(audio, folder) as track,
        ):
            for number in range(83):
                to.write(FRAMES[number % len(FRAMES)])
            out = mux(to.close(), track, folder / f"{run}.mp4", SETTINGS, Fraction(25), 83)
        hashes.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(hashes) == 1


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


def test_the_file_starts_fast_and_tells_no_more_than_it_should(sounds, rendered, tmp_path):
    audio = AudioSource(sounds(1.0, 16_000, 1))
    out = mux(rendered(25, Fraction(25)), audio, tmp_path / "x.mp4", SETTINGS, Fraction(25), 25)
    data = out.read_bytes()
    kinds = [kind for kind, _ in boxes(data)]
    assert [kind for kind in kinds if kind != b"free"] == [b"ftyp", b"moov", b"mdat", b"uuid"]
    for word in (
        b"x264 - core",
        b"Lavc",
        b"Lavf",
        str(tmp_path).encode(),
        audio.path.name.encode(),
    ):
        assert word not in data
    at = data.index(b"mvhd")
    assert data[at + 8 : at + 16] == bytes(8)
    info = read_metadata(out)
    assert info.settings == SETTINGS
    assert info.generated


@pytest.mark.skipif(sys.platform != "linux", reason="limits ourselves by prlimit")
@pytest.mark.parametrize("limit", [1_000, 34_000])
def test_a_full_disk_leaves_nothing_at_the_name(limit, sounds, rendered, tmp_path):
    audio = AudioSource(sounds(3.33, 48_000, 2))
    segments = rendered(83, Fraction(25))
    with SoundTrack(audio, tmp_path) as track:
        track.finish()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(LiveActError, match="limit of file sizes") as caught:
                mux(segments, track, tmp_path / "x.mp4", {}, Fraction(25), 83)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.hint
    assert os.listdir(tmp_path) == ["sound.m4a"]


def test_a_target_that_cannot_be_written(sounds, rendered, tmp_path):
    audio = AudioSource(sounds(1.0, 16_000, 1))
    with pytest.raises(LiveActError):
        mux(rendered(25, Fraction(25)), audio, tmp_path / "no" / "x.mp4", {}, Fraction(25), 25)


def test_a_sound_that_fails_leaves_nothing(sounds, rendered, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(sounds(1.0, 16_000, 1).read_bytes())
    audio = AudioSource(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(LiveActError, match="changed while it was read"):
        mux(rendered(25, Fraction(25)), audio, tmp_path / "x.mp4", {}, Fraction(25), 25)
    assert os.listdir(tmp_path) == ["x.wav"]


def test_segments_of_other_settings_are_not_joined(sounds, rendered, tmp_path):
    one = rendered(10, Fraction(25))
    with SegmentWriter(tmp_path, 96, 64, Fraction(25), first_frame=10) as to:
        to.write(np.zeros((64, 96, 3), np.uint8))
        other = to.close()
    audio = AudioSource(sounds(0.5, 16_000, 1))
    with pytest.raises(LiveActError, match="other settings"):
        mux([*one, *other], audio, tmp_path / "x.mp4", {}, Fraction(25), 11)
    assert not (tmp_path / "x.mp4").exists()


def test_frames_that_do_not_add_up_are_our_own_mistake(sounds, rendered, tmp_path):
    audio = AudioSource(sounds(0.5, 16_000, 1))
    with pytest.raises(ValueError, match="10 frames, not 11"):
        mux(rendered(10, Fraction(25)), audio, tmp_path / "x.mp4", {}, Fraction(25), 11)
