"""What is heard in an episode: its length, who speaks when, each person's own voice as a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

import ffmpeg
import numpy as np

from liveact_cli.core.errors import MediaError, UsageError
from liveact_cli.media.audio import MODEL_RATE, AudioSource
from liveact_cli.media.ffmpeg import FfmpegProcess, sync_file
from liveact_cli.media.probe import probe_audio
from liveact_cli.script.formats.subtitles import Transcript
from liveact_cli.script.sound import listen
from liveact_cli.studio.cast import STEREO, Episode
from liveact_cli.studio.shots import Span
from liveact_cli.studio.turns import Turn, read_turns, tidy
from liveact_cli.studio.voices import check_apart, turns_heard

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOW_TO_TELL: Final = (
    "--turns show.rttm (or .srt, .vtt with names), one recording a person, or a stereo recording "
    "with a person a side"
)
PAD, OWN_PAD = 0.05, 0.2
"""Seconds around a turn in which a voice is still let through: of a mix, of a track of its own."""
_FADE: Final = 0.03
_TAIL: Final = 0.1
"""Seconds of silence after the recording: the last frame may end a little later."""
_LAUGHS: Final = ("laugh", "chuckle", "giggle")
_FULL_SCALE: Final = 0.98


@dataclass(frozen=True, slots=True)
class Talk:
    """An episode's sound: its length, who speaks when, who laughs when; `how` it was found out.

    `side` says that each person is a side of the recording.
    """

    seconds: float
    turns: tuple[Turn, ...]
    laughs: tuple[tuple[float, float], ...]
    how: str
    side: bool = False

    def share(self, person: int, part: Span) -> float:
        """Return the seconds of a part of the recording in which a person speaks."""
        own = (turn for turn in self.turns if turn.person == person)
        return sum(max(0.0, min(t.stop, part.stop) - max(t.start, part.start)) for t in own)


def hear(episode: Episode) -> Talk:
    """Find out who speaks when; MediaError or `EpisodeError` where that cannot be."""
    tracks = [person.track for person in episode.people if person.track is not None]
    if episode.sound is not None:
        info = probe_audio(episode.sound)
        seconds, channels = info.seconds, info.channels
    else:
        seconds, channels = max(probe_audio(track).seconds for track in tracks), 0
    if isinstance(episode.turns, Path):
        turns, transcript = read_turns(episode.turns, episode.names, seconds)
        side = channels == 2 and not tracks and len(episode.people) == 2 and _apart(episode.sound)
        laughs = tuple(_laughs(transcript)) if transcript is not None else ()
        return Talk(seconds, turns, laughs, f"as {episode.turns.name} says", side)
    if tracks and episode.turns is None:
        sounds = [listen(AudioSource(track).blocks()) for track in tracks]
        names = ", ".join(dict.fromkeys(track.name for track in tracks))
        if len(sounds) > 1:
            check_apart(sounds, names, "give each person a recording of their own microphone")
        turns = tidy(turns_heard(sounds), seconds)
        return _checked(Talk(seconds, turns, (), "as heard on everybody's track"))
    return _heard_on_one(episode, seconds, channels)


def _heard_on_one(episode: Episode, seconds: float, channels: int) -> Talk:
    """Find out who speaks when from the one recording there is."""
    sound, people = episode.sound, len(episode.people)
    if sound is None:
        raise UsageError("--turns stereo needs a stereo recording", "give one as EPISODE")
    if people == 1:
        turns = turns_heard([listen(AudioSource(sound).blocks())])
        return _checked(Talk(seconds, turns, (), f"as heard in {sound.name}"))
    if episode.turns != STEREO and (channels != 2 or people != 2):
        raise MediaError(f"{sound.name} does not say who of {people} speaks when", HOW_TO_TELL)
    if channels != 2 or people != 2:
        raise MediaError(
            f"the sides of a stereo recording are two people; {sound.name} has {channels} "
            f"channel{'s' * (channels != 1)}, the cast {people}",
            "--turns show.rttm (or .srt, .vtt with names), or one recording a person",
        )
    sounds = [listen(AudioSource(sound).blocks(channel=side)) for side in (0, 1)]
    check_apart(sounds, sound.name, HOW_TO_TELL)
    turns = turns_heard(sounds)
    return _checked(Talk(seconds, turns, (), f"as heard on the sides of {sound.name}", side=True))


def _checked(talk: Talk) -> Talk:
    if not talk.turns:
        raise MediaError("nobody speaks in this recording", "check it, or give --turns FILE")
    return talk


def _apart(sound: Path | None) -> bool:
    """Say whether the sides of a stereo recording differ."""
    assert sound is not None
    sounds = [listen(AudioSource(sound).blocks(channel=side)) for side in (0, 1)]
    try:
        check_apart(sounds, sound.name, "")
    except MediaError:
        return False
    return True


def _laughs(transcript: Transcript) -> Iterator[tuple[float, float]]:
    for text, start, stop, _ in transcript.brackets():
        if any(word in text.casefold() for word in _LAUGHS):
            yield start, max(stop, start + 1.0)


def write_voice(episode: Episode, talk: Talk, person: int, path: Path) -> None:
    """Write what a person says, and silence in between, as 16 kHz mono FLAC: what the lips follow.

    It is a little longer than the recording. The same inputs give the same bytes.
    """
    track = episode.people[person].track
    source = track or episode.sound
    assert source is not None
    channel = person if talk.side and track is None else None
    own = [turn for turn in talk.turns if turn.person == person]
    times, gains = gate(own, PAD if track is None and channel is None else OWN_PAD)
    length = round((talk.seconds + _TAIL) * MODEL_RATE)
    with _flac(path, MODEL_RATE, 1, "s16le") as encoder:
        done = 0
        for block in AudioSource(source).blocks(channel=channel):
            block = block[: length - done]
            at = np.arange(done, done + len(block)) / MODEL_RATE
            gated = block * np.interp(at, times, gains)
            encoder.write(np.rint(gated.clip(-1, 1) * 32767).astype("<i2").tobytes())
            done += len(block)
        silence = bytes(2 * MODEL_RATE)
        while done < length:
            count = min(length - done, MODEL_RATE)
            encoder.write(silence[: 2 * count])
            done += count
        encoder.finish()
    sync_file(path)


def gate(turns: Sequence[Turn], pad: float = PAD) -> tuple[list[float], list[float]]:
    """Return times and gains between which a voice is faded: 1 while it speaks, 0 elsewhere."""
    times, gains = [-1.0], [0.0]
    for turn in sorted(turns):
        start, stop = turn.start - pad, turn.stop + pad
        if times[-1] >= start - _FADE and len(times) > 1:
            del times[-2:], gains[-2:]
        else:
            times += [start - _FADE, start]
            gains += [0.0, 1.0]
        times += [stop, stop + _FADE]
        gains += [1.0, 0.0]
    return times, gains


def write_mix(tracks: Sequence[Path], path: Path) -> None:
    """Write everybody's tracks together as 24-bit FLAC, no louder than full scale."""
    sources = [AudioSource(track) for track in dict.fromkeys(tracks)]
    rate = max(source.info.sample_rate for source in sources)
    channels = 2 if any(source.channels > 1 for source in sources) else 1
    peak = max(float(np.abs(block).max()) for block in _mixed(sources, rate, channels))
    gain = min(1.0, _FULL_SCALE / max(peak, 1e-9))
    with _flac(path, rate, channels, "s32le") as encoder:
        for block in _mixed(sources, rate, channels):
            whole = np.rint(block * (gain * (2**23 - 1))).astype("<i4") << 8
            encoder.write(whole.tobytes())
        encoder.finish()
    sync_file(path)


def _mixed(
    sources: Sequence[AudioSource], rate: int, channels: int
) -> "Iterator[NDArray[np.float64]]":
    """Yield the sum of recordings, `[n, channels]` a block; shorter ones end in silence."""
    streams = [source.samples(rate) for source in sources]
    for blocks in zip_longest(*streams):
        there = [_as_channels(block, channels) for block in blocks if block is not None]
        total = np.zeros((max(map(len, there)), channels))
        for block in there:
            total[: len(block)] += block
        yield total


def _as_channels(block: "NDArray[np.float32]", channels: int) -> "NDArray[np.float32]":
    """Return samples as mono or stereo; more channels become their mean on both sides."""
    if block.shape[1] == channels:
        return block
    return np.repeat(block.mean(1, keepdims=True), channels, 1).astype(np.float32)


def _flac(path: Path, rate: int, channels: int, form: str) -> FfmpegProcess:
    """Start an encoder that is fed with samples."""
    samples = ffmpeg.input("pipe:0", protocol_whitelist="pipe", format=form, ar=rate, ac=channels)
    # FLAC holds 24 bits at most in ffmpeg; it takes the upper ones of 32.
    output = samples.output(
        f"file:{path}",
        format="flac",
        acodec="flac",
        compression_level=5,
        flags="+bitexact",
        fflags="+bitexact",
    )
    return FfmpegProcess(output, f"write {path.name}", feed=True)
