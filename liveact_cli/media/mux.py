"""Segments and sound into one MP4: nothing is encoded here, time stamps are counted exactly.

The container is written by PyAV, not by ffmpeg's `concat`, because that adds up durations rounded
to microseconds: at 30000/1001 frames per second, hours later, a frame would be off.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from heapq import merge
from pathlib import Path
from typing import Any, Final

import av

from liveact_cli.core.errors import LiveActError
from liveact_cli.media.audio import AudioSource
from liveact_cli.media.ffmpeg import explain_os_error, sync_file
from liveact_cli.media.metadata import append_mark, comment_of
from liveact_cli.media.sound import SoundTrack
from liveact_cli.media.video import Segment

_FINENESS: Final = 48_000


def mux(
    segments: Sequence[Segment],
    audio: AudioSource | SoundTrack,
    out: Path,
    metadata: Mapping[str, Any],
    fps: Fraction,
    frames: int,
) -> Path:
    """Write `out`: the segments' video copied, the sound, the settings and the generated mark.

    `frames` is the number of frames in the segments; sound that goes on for more than a frame after
    them (a render that was interrupted) is left out. `out` appears complete or not at all; it
    replaces a file of that name. Raises LiveActError when it cannot be written.
    """
    there = sum(segment.frames for segment in segments)
    if there != frames or frames == 0:
        raise ValueError(f"the segments have {there} frames, not {frames}")
    part = out.with_name(f".{out.name}.part")
    try:
        with contextlib.ExitStack() as stack:
            if isinstance(audio, AudioSource):
                audio = stack.enter_context(SoundTrack(audio, out.parent))
                stack.callback(audio.path.unlink, missing_ok=True)
            sound = audio.finish((frames + 1) / fps)
            _write(segments, sound, part, metadata, fps, frames)
        append_mark(part)
        _check(part, frames)
        sync_file(part)
        os.replace(part, out)
        sync_file(out.parent)
    except OSError as error:
        cause, hint = explain_os_error(error)
        raise LiveActError(f"{out} could not be written: {cause}", hint) from error
    finally:
        part.unlink(missing_ok=True)
    return out


def _write(
    segments: Sequence[Segment],
    sound: Path,
    part: Path,
    metadata: Mapping[str, Any],
    fps: Fraction,
    frames: int,
) -> None:
    # Edit lists count in the movie's ticks: a frame must be a whole number of them.
    ticks = fps.numerator * max(1, _FINENESS // fps.numerator)
    options = {
        "movflags": "+faststart",
        "movie_timescale": str(ticks),
        "fflags": "+bitexact",
    }
    with (
        av.open(f"file:{segments[0].path}") as first,
        av.open(f"file:{sound}") as heard,
        av.open(f"file:{part}", "w", format="mp4", options=options) as film,
    ):
        film.metadata["comment"] = comment_of(metadata)
        picture = film.add_stream_from_template(first.streams.video[0])
        picture.time_base = 1 / fps
        track = film.add_stream_from_template(heard.streams.audio[0])
        track.time_base = heard.streams.audio[0].time_base
        # In the order of decoding times, so that the muxer holds back only a few packets.
        both = merge(
            _pictures(segments, picture, fps),
            _sounds(heard, track, (frames + 1) / fps),
            key=lambda packet: packet.dts * packet.time_base,
        )
        for packet in both:
            film.mux(packet)


def _pictures(segments: Sequence[Segment], stream: Any, fps: Fraction) -> Iterator[Any]:
    """Yield the video's packets, counted in frames from 0."""
    header: bytes | None = None
    # A segment of a frame or two is decoded with less delay than others; one film has one delay.
    delay = max(_packets_before_first(segment) for segment in segments)
    offset = 0
    coded = -delay
    for segment in segments:
        with av.open(f"file:{segment.path}") as container:
            source = container.streams.video[0]
            header = header or source.codec_context.extradata
            if source.codec_context.extradata != header:
                raise LiveActError(
                    f"segment {segment.index} was encoded with other settings than the first",
                    "render again from the start",
                )
            ticks = 1 / (fps * source.time_base)
            for packet in container.demux(source):
                if packet.dts is None:
                    continue
                packet.pts = offset + _whole(packet.pts / ticks)
                packet.dts = coded
                coded += 1
                packet.duration = 1
                packet.time_base = 1 / fps
                packet.stream = stream
                yield packet
        offset += segment.frames


def _packets_before_first(segment: Segment) -> int:
    """Return how many packets are decoded before the first frame is shown."""
    with av.open(f"file:{segment.path}") as container:
        first = next(container.demux(video=0))
        return max(0, _whole(-first.dts / Fraction(first.duration)))


def _sounds(container: Any, stream: Any, end: Fraction) -> Iterator[Any]:
    """Yield the sound's packets up to `end` seconds; the first lies before 0 (AAC's priming)."""
    source = container.streams.audio[0]
    last = int(end / source.time_base)
    for packet in container.demux(source):
        if packet.dts is None or packet.pts >= last:
            continue
        packet.duration = min(packet.duration, last - packet.pts)
        packet.stream = stream
        yield packet


def _whole(ticks: Fraction) -> int:
    if ticks.denominator != 1:
        raise ValueError(f"a frame lies at {ticks}, between two frames")
    return ticks.numerator


def _check(part: Path, frames: int) -> None:
    """Look at the file once more: a full disk may go unnoticed until it is closed."""
    with av.open(f"file:{part}") as film:
        there = film.streams.video[0].frames
    if there != frames:
        raise LiveActError(f"{part.name} has {there} of {frames} frames", "render it again")
