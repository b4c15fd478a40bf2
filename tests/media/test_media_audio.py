"""Recordings: what is found in them, what comes out of them, and what is refused."""

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest_media import ffmpeg, speech_like, write_wav

from liveact_cli.core.errors import LiveActError, MediaError, UsageError
from liveact_cli.media import audio as audio_module
from liveact_cli.media.audio import AudioSource, probe_audio
from liveact_cli.media.ffmpeg import FfmpegProcess

CODECS = {
    "mp3": ("-c:a", "libmp3lame"),
    "m4a": ("-c:a", "aac"),
    "flac": (),
    "ogg": ("-c:a", "libvorbis"),
    "opus": ("-c:a", "libopus"),
    "aiff": (),
    "mka": ("-c:a", "flac"),
    "webm": ("-c:a", "libopus"),
}


def whole(blocks):
    return np.concatenate(list(blocks))


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (16_000, 1)])
def test_every_format_gives_the_sound_at_its_exact_length(suffix, rate, channels, sounds, tmp_path):
    path = tmp_path / f"x.{suffix}"
    ffmpeg("-i", sounds(3.33, rate, channels), *CODECS[suffix], path)
    source = AudioSource(path)
    assert source.info.channels == channels
    # Opus codes blocks of 20 ms; every other format gives back the sample count.
    slack = 0.021 if "libopus" in CODECS[suffix] else 1e-9
    assert abs(source.seconds - 3.33) <= slack
    heard = whole(source.blocks())
    assert heard.dtype == np.float32
    assert len(heard) == round(source.seconds * 16_000)
    mono = speech_like(3.33, 16_000, channels).mean(axis=1)
    near = min(len(mono), len(heard))
    assert np.corrcoef(heard[:near], mono[:near])[0, 1] > 0.99


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 96_000])
def test_any_rate_is_resampled_in_place(rate, sounds):
    heard = whole(AudioSource(sounds(1.0, rate, 1)).blocks())
    expected = speech_like(1.0, 16_000)[:, 0]
    assert len(heard) == 16_000
    assert np.abs(heard - expected)[200:-200].max() < 0.01


def test_the_mono_mix_is_the_mean_of_all_channels(tmp_path):
    channels = np.zeros((16_000, 6))
    channels[:, 2] = 0.6 * np.sin(np.arange(16_000) / 20)  # the voice is in the centre
    heard = whole(AudioSource(write_wav(tmp_path / "x.wav", channels, 16_000)).blocks())
    assert np.abs(heard - channels.mean(axis=1)).max() < 1e-3


@pytest.mark.parametrize(("start", "duration"), [(0.0, 0.5), (0.7, None), (0.5003, 0.25)])
@pytest.mark.parametrize("suffix", ["wav", "flac", "m4a"])
def test_cuts_are_exact_to_the_sample(start, duration, suffix, sounds, tmp_path):
    rate = 44_100
    path = tmp_path / f"x.{suffix}"
    ffmpeg("-i", sounds(1.0, rate, 1), *CODECS.get(suffix, ()), path)
    everything = whole(AudioSource(path).samples(rate))
    first = round(start * rate)
    stop = rate if duration is None else first + round(duration * rate)
    source = AudioSource(path, start, duration)
    cut = whole(source.samples(rate))
    assert source.info.samples == len(cut) == stop - first
    np.testing.assert_array_equal(cut, everything[first:stop])


def test_a_cut_beyond_the_end_takes_what_is_there(sounds):
    assert AudioSource(sounds(1.0, 16_000, 1), 0.25, 99).seconds == 0.75


@pytest.mark.parametrize(
    ("layout", "channels", "kept"),
    [("mono", 1, "mono"), ("stereo", 2, "stereo"), ("5.1", 6, "5.1"), ("5.1(side)", 6, "5.1"),
     ("3.0", 3, "stereo"), ("quad", 4, "stereo"), ("7.1", 8, "stereo")],
)  # fmt: skip
def test_the_layout_for_the_video(layout, channels, kept, sounds, tmp_path):
    path = tmp_path / "x.flac"
    ffmpeg("-i", sounds(0.5, 48_000, 1), "-af", f"aformat=channel_layouts={layout}", path)
    source = AudioSource(path)
    assert (source.info.channels, source.layout) == (channels, kept)
    assert whole(source.samples(48_000)).shape == (24_000, source.channels)
    assert len(whole(source.blocks())) == 8_000


def test_channels_without_names_are_mixed(tmp_path):
    path = write_wav(tmp_path / "x.wav", speech_like(0.5, 16_000, 12), 16_000)
    source = AudioSource(path)
    assert (source.info.channels, source.layout) == (12, "stereo")
    both = whole(source.samples(16_000))
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    assert np.abs(both[:, 0] - whole(source.blocks())).max() < 1e-6


def test_two_unnamed_channels_stay_left_and_right(sounds):
    both = whole(AudioSource(sounds(0.5, 16_000, 2)).samples(16_000))
    assert np.abs(both - speech_like(0.5, 16_000, 2)).max() < 1e-3


def test_the_sound_of_a_video(sounds, tmp_path):
    path = tmp_path / "x.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=2:s=64x64", "-i", sounds(1.0, 44_100, 2), path)
    source = AudioSource(path)
    assert source.info.stream == 1
    assert abs(source.seconds - 1.0) < 0.03
    assert len(whole(source.blocks())) > 15_900


@pytest.mark.parametrize(
    "name", ["-i.wav", "a b'\"%03d.wav", "http:x.wav", "concat:a|b.wav", "ünï.wav", "[0].wav"]
)
def test_odd_names_are_only_names(name, sounds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(sounds(0.5, 16_000, 1).read_bytes())
    assert len(whole(AudioSource(name).blocks())) == 8_000


def test_silence_is_known_once_it_was_heard(tmp_path):
    quiet = AudioSource(write_wav(tmp_path / "x.wav", np.zeros((8_000, 1)), 16_000))
    list(quiet.blocks())
    assert quiet.silent
    loud = AudioSource(write_wav(tmp_path / "y.wav", speech_like(0.5, 16_000), 16_000))
    list(loud.blocks())
    assert not loud.silent
    assert 0.2 < loud.peak < 0.4


def test_memory_does_not_grow_with_the_length(tmp_path):
    path = tmp_path / "x.mp3"
    ffmpeg("-f", "lavfi", "-i", "sine=300:d=300:r=16000", "-b:a", "32k", path)
    source = AudioSource(path)
    tracemalloc.start()
    samples = sum(len(block) for block in source.blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert samples == 300 * 16_000
    assert peak < 2_000_000  # all of it would be 19 MB


def test_leaving_early_ends_ffmpeg(sounds, monkeypatch):
    started = []

    class Watched(FfmpegProcess):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(audio_module, "FfmpegProcess", Watched)
    blocks = AudioSource(sounds(3.33, 48_000, 2)).blocks()
    next(blocks)
    blocks.close()
    assert [process.ended() for process in started] == [True]


# What cannot be used.


def float_wav(path: Path, samples: np.ndarray) -> Path:
    data = samples.astype("<f4").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, 16_000, 64_000, 4, 32)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)
    return path


def spoilt(path: Path, at: int, value: float) -> Path:
    samples = speech_like(1.0, 16_000)[:, 0]
    samples[at] = value
    return float_wav(path, samples)


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def converted(sounds, path: Path, *options: object, seconds: float = 3.33) -> Path:
    ffmpeg("-i", sounds(seconds, 44_100, 2), *options, path)
    return path


def cut_off(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * keep)])
    return path


def garbled(path: Path) -> Path:
    """Every third kilobyte of the second half is noise."""
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(1)
    for start in range(len(data) // 2, len(data) - 1024, 3072):
        data[start : start + 1024] = noise.bytes(1024)
    path.write_bytes(data)
    return path


def two_rates(sounds, path: Path) -> Path:
    one, two = path.with_suffix(".1.mp3"), path.with_suffix(".2.mp3")
    ffmpeg("-i", sounds(1.0, 44_100, 2), one)
    ffmpeg("-i", sounds(1.0, 16_000, 1), two)
    path.write_bytes(one.read_bytes() + two.read_bytes())
    return path


PICTURES = ("-f", "lavfi", "-i", "testsrc=d=3:s=64x64")


def made(path: Path, *arguments: object) -> Path:
    ffmpeg(*arguments, path)
    return path


def noise(path: Path) -> Path:
    path.write_bytes(np.random.default_rng(0).bytes(40_000))
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


M3U = "#EXTM3U\n#EXTINF:1,\nfile:/etc/passwd\n"
HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
BAD = {
    "missing": (lambda s, d: d / "x.wav", "does not exist"),
    "a folder": (lambda s, d: folder(d / "x.wav"), "is a folder"),
    "a pipe": (lambda s, d: fifo(d / "x.wav"), "not a regular file"),
    "empty": (lambda s, d: text(d / "x.wav", ""), "is empty"),
    "text": (lambda s, d: text(d / "x.wav", "Dear diary,\n" * 50), "not a sound or video file"),
    "m3u": (lambda s, d: text(d / "x.m3u", M3U), "playlist"),
    "m3u as wav": (lambda s, d: text(d / "x.wav", M3U), "playlist"),
    "hls": (lambda s, d: text(d / "x.m3u8", HLS), "playlist"),
    "concat list": (
        lambda s, d: text(d / "x.txt", f"ffconcat version 1.0\nfile {s(1.0, 16_000, 1)}\n"),
        "playlist",
    ),
    "concat list without a head": (
        lambda s, d: text(d / "x.concat", f"file '{s(1.0, 16_000, 1)}'\n"),
        "playlist",
    ),
    "a url": (lambda s, d: Path("http://127.0.0.1:9/x.wav"), "does not exist"),
    "a lavfi graph": (lambda s, d: text(d / "x.lavfi", "sine=440"), "not a sound"),
    "no sound": (lambda s, d: made(d / "x.mp4", *PICTURES), "no sound in it"),
    "a picture": (
        lambda s, d: made(d / "x.png", "-f", "lavfi", "-i", "testsrc", "-frames:v", 1),
        "not a sound",
    ),
    "zero length": (lambda s, d: write_wav(d / "x.wav", np.zeros((0, 1)), 16_000), "no sound"),
    "too short": (lambda s, d: write_wav(d / "x.wav", np.zeros((800, 1)), 16_000), "0.050 s"),
    "not a number": (lambda s, d: spoilt(d / "x.wav", 8_000, np.nan), "not numbers"),
    "infinite": (lambda s, d: spoilt(d / "x.wav", 8_000, -np.inf), "not numbers"),
    "far too loud": (lambda s, d: spoilt(d / "x.wav", 8_000, 3e4), "not numbers"),
    "noise named mp3": (lambda s, d: noise(d / "x.mp3"), ""),
    "wav cut off": (lambda s, d: cut_off(converted(s, d / "x.wav"), 0.5), "cut off"),
    "flac cut off": (lambda s, d: cut_off(converted(s, d / "x.flac"), 0.5), "could be read"),
    "mp3 cut off": (lambda s, d: cut_off(converted(s, d / "x.mp3"), 0.5), "cut off"),
    "m4a cut off": (lambda s, d: cut_off(converted(s, d / "x.m4a"), 0.5), "index"),
    "m4a cut off after its index": (
        lambda s, d: cut_off(converted(s, d / "x.m4a", "-movflags", "faststart"), 0.5),
        "could be read",
    ),
    "mka cut off": (lambda s, d: cut_off(converted(s, d / "x.mka"), 0.5), "cut off"),
    "mkv cut off": (
        lambda s, d: cut_off(made(d / "x.mkv", *PICTURES, "-i", s(3.33, 16_000, 1)), 0.5),
        "cut off",
    ),
    "flac damaged": (lambda s, d: garbled(converted(s, d / "x.flac")), "could be read"),
    "mp3 damaged": (lambda s, d: garbled(converted(s, d / "x.mp3")), "could be read"),
    "m4a damaged": (
        lambda s, d: garbled(converted(s, d / "x.m4a", "-movflags", "faststart")),
        "could be read",
    ),
    "another rate half-way": (lambda s, d: two_rates(s, d / "x.mp3"), "changes from"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_recordings_are_refused_with_a_sentence(case, sounds, tmp_path):
    make, words = BAD[case]
    path = make(sounds, tmp_path)
    with pytest.raises(MediaError) as caught:
        AudioSource(path)
    message = caught.value.message + " " + caught.value.hint
    assert words in message
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("start", "duration"),
    [(-1, None), (float("nan"), None), (0, 0), (0, -1), (0, 0.01), (0, float("inf"))],
)
def test_impossible_cuts_are_refused(start, duration, sounds):
    with pytest.raises(UsageError):
        AudioSource(sounds(1.0, 16_000, 1), start, duration)


def test_a_start_after_the_end_is_refused(sounds):
    with pytest.raises(MediaError, match="after the end"):
        AudioSource(sounds(1.0, 16_000, 1), 1.0)


def test_the_whole_part_of_a_damaged_file_can_be_used(sounds, tmp_path):
    path = cut_off(converted(sounds, tmp_path / "x.wav"), 0.5)
    source = AudioSource(path, 0.25, 1.0)
    assert len(whole(source.blocks())) == 16_000


def test_a_file_that_shrinks_after_it_was_looked_at(sounds, tmp_path):
    path = converted(sounds, tmp_path / "x.wav")
    source = AudioSource(path)
    cut_off(path, 0.5)
    with pytest.raises(MediaError, match="changed while it was read"):
        list(source.blocks())


def test_a_file_that_is_replaced_by_text(sounds, tmp_path):
    path = converted(sounds, tmp_path / "x.wav")
    source = AudioSource(path)
    path.write_text(M3U)
    with pytest.raises(LiveActError):
        list(source.blocks())


def test_a_header_without_a_length_is_read_to_the_end(sounds, tmp_path):
    path = tmp_path / "x.wav"
    data = bytearray(sounds(1.0, 16_000, 1).read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4  # as written into a pipe
    path.write_bytes(data)
    assert probe_audio(path).seconds == 1.0


def test_what_a_probe_tells(sounds):
    info = probe_audio(sounds(0.5, 48_000, 2))
    assert (info.seconds, info.sample_rate, info.channels) == (0.5, 48_000, 2)
    assert (info.codec, info.format, info.layout) == ("pcm_s16le", "wav", "stereo")
