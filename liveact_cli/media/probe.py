"""What a recording holds, found by decoding it once from end to end.

Containers lie about lengths, and damage is better found before an hour of work than after it.
Decoding is some 1,000 times faster than playing; nothing here grows with the length.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from liveact_cli.core.errors import MediaError
from liveact_cli.core.units import format_time
from liveact_cli.media.inputs import open_media

SHORTEST: Final = 0.1
"""Seconds of sound that a render needs at least."""

LOUDEST: Final = 100.0
"""Peak above which floating-point samples are not sound: 40 dB over full scale."""

_MISSING_ALLOWED: Final = 0.5
_DAMAGE_ALLOWED: Final = 0.01
_GUESSED_LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1"}
_EXACT_LENGTHS: Final = {"aiff", "caf", "flac", "matroska", "ogg", "w64", "webm"}
_REPAIR: Final = "export or copy it again, or render the part that is whole with --duration"


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """A recording, or the part of one that is used, as decoding it shows.

    `samples` per channel at `sample_rate` Hz; `layout` is ffmpeg's name of the channel layout,
    `stream` the sound's place in the file, `damaged` the number of packets that did not decode.
    """

    samples: int
    sample_rate: int
    channels: int
    layout: str
    codec: str
    format: str
    stream: int
    damaged: int = 0

    @property
    def seconds(self) -> float:
        """Exact length."""
        return self.samples / self.sample_rate


def probe_audio(path: Path | str) -> AudioInfo:
    """Return what a sound or video file holds, decoded from end to end; MediaError if unusable."""
    return Scan(Path(path), 0.0, None).info


class Scan:
    """One pass over a recording, up to the end of the part that is used."""

    def __init__(self, path: Path, start: float, duration: float | None) -> None:
        self._path = path
        with open_media(path) as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise MediaError(
                    f"{path} has no sound in it", "give a recording with an audio track"
                )
            self._format, self._stream = container.format.name, stream
            self._rate = self._channels = self._count = self._packets = self._damaged = 0
            self._layout, self._seen = "", 0.0
            self._start, self._duration = start, duration
            self.first, self._end = 0, 0
            self._stop = None if duration is None else -1
            try:
                complete = self._decode(container)
            except (av.FFmpegError, OSError) as error:
                raise self._broken(f"cannot be read further: {error.strerror}") from error
            if complete:
                self._compare(container)
            codec, index = stream.codec_context.name, stream.index
        used = min(self._count, self._end or self._count)
        if self._stop is not None:
            used = min(used, self._stop)
        self._check(used - self.first)
        self.info = AudioInfo(
            samples=used - self.first,
            sample_rate=self._rate,
            channels=self._channels,
            layout=self._layout,
            codec=codec,
            format=self._format,
            stream=index,
            damaged=self._damaged,
        )

    def _decode(self, container: Any) -> bool:
        """Count samples; say whether the whole recording was read (False: up to the cut)."""
        codec = self._stream.codec_context.name
        may_be_nan = codec.startswith("pcm_f") or codec == "wavpack"
        for packet in container.demux():
            if packet.stream.index != self._stream.index:
                if packet.pts is not None:
                    self._seen = max(self._seen, float(packet.pts * packet.time_base))
                continue
            self._packets += 1
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                self._damaged += 1
                continue
            for frame in frames:
                self._take(frame, may_be_nan)
            if self._stop is not None and 0 <= self._stop <= self._count:
                return False
        return True

    def _take(self, frame: Any, may_be_nan: bool) -> None:
        kind = (frame.sample_rate, frame.layout.nb_channels)
        if not self._rate:
            self._rate, self._channels = kind
            self._layout = frame.layout.name
            if not known_layout(self._layout):
                self._layout = _GUESSED_LAYOUTS.get(self._channels, self._layout)
            self.first = round(self._start * self._rate)
            if "mov" in self._format.split(",") and self._stream.duration:
                # The last block of a codec is padded; decoders leave that to the container.
                self._end = round(self._stream.duration * self._stream.time_base * self._rate)
            if self._duration is not None:
                self._stop = self.first + round(self._duration * self._rate)
        elif kind != (self._rate, self._channels):
            raise MediaError(
                f"{self._path} changes from {self._rate} Hz, {self._channels} channels to "
                f"{kind[0]} Hz, {kind[1]} channels at {format_time(self._count / self._rate)}",
                "ffmpeg -i IN -ar 48000 -ac 2 OUT.wav makes it uniform",
            )
        if may_be_nan:
            values = frame.to_ndarray()
            # Comparisons are false for NaN, so this refuses NaN and infinity too.
            if values.dtype.kind == "f" and not bool((np.abs(values) <= LOUDEST).all()):
                raise not_sound(self._path, self._count / self._rate)
        self._count += frame.samples

    def _compare(self, container: Any) -> None:
        """Compare what was read with what the file says it holds, where its word counts."""
        claimed = self._claimed(container)
        decoded = self._count / self._rate if self._rate else 0.0
        if "mov" not in self._format:
            # Other containers give the length of the whole film, whose picture may outlast it.
            decoded = max(decoded, self._seen)
        if claimed - decoded > _MISSING_ALLOWED:
            raise self._broken(f"is cut off or damaged: it says {format_time(claimed)}")

    def _claimed(self, container: Any) -> float:
        """Return the seconds that the file promises, 0 where it does not know."""
        names = set(self._format.split(","))
        if "mov" in names:
            return float((self._stream.duration or 0) * self._stream.time_base)
        if "wav" in names:
            return _seconds_in_wav(self._path)
        if names & _EXACT_LENGTHS or ("mp3" in names and _counts_frames(self._path)):
            return float((container.duration or 0) / av.time_base)
        return 0.0

    def _check(self, samples: int) -> None:
        """Raise MediaError unless what was read is sound, and enough of it."""
        if self._damaged > max(1.0, _DAMAGE_ALLOWED * self._packets):
            raise self._broken(f"is damaged: {self._damaged} of {self._packets} packets are broken")
        if not self._count:
            raise MediaError(f"{self._path} has no sound in it (0 s)", "export or copy it again")
        length = self._count / self._rate
        if samples <= 0:
            raise MediaError(
                f"--start {self._start:g} s is after the end of {self._path} ({length:.2f} s)",
                f"choose a start before {length:.2f} s",
            )
        if samples < round(SHORTEST * self._rate):
            raise MediaError(
                f"{self._path} has only {samples / self._rate:.3f} s of sound to use",
                f"at least {SHORTEST:g} s are needed",
            )

    def _broken(self, what: str) -> MediaError:
        length = format_time(self._count / self._rate) if self._rate else "nothing"
        return MediaError(f"{self._path} {what}, {length} could be read", _REPAIR)


def not_sound(path: Path, seconds: float) -> MediaError:
    """Return the error for samples that are no sound, `seconds` into the file."""
    return MediaError(
        f"{path} has samples that are not numbers or far beyond full scale at {seconds:.2f} s",
        "export it again as 16- or 24-bit WAV",
    )


def known_layout(name: str) -> bool:
    """Say whether ffmpeg knows which channel is which (else it says `7 channels`)."""
    return "channels" not in name and name != ""


def _counts_frames(path: Path) -> bool:
    """Say whether an MP3 carries a frame count; without one its length is a guess."""
    with path.open("rb") as file:
        head = file.read(10)
        tag = 0
        if head[:3] == b"ID3" and len(head) == 10:
            a, b, c, d = head[6:10]
            tag = 10 + (a << 21 | b << 14 | c << 7 | d)
        file.seek(tag)
        frame = file.read(4096)
    return any(sign in frame for sign in (b"Xing", b"Info", b"VBRI"))


def _seconds_in_wav(path: Path) -> float:
    """Return the length that a WAV header promises, 0 if it does not: ffmpeg believes the file."""
    with path.open("rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return 0.0
        byte_rate = 0
        while len(head := file.read(8)) == 8:
            kind, size = struct.unpack("<4sI", head)
            if kind == b"data":
                # Programs that write into a pipe leave 0 or the highest number that fits.
                known = byte_rate and size < 0x7FFF0000
                return size / byte_rate if known else 0.0
            if kind == b"fmt " and len(form := file.read(16)) == 16:
                byte_rate = struct.unpack_from("<I", form, 8)[0]
                size -= 16
            file.seek(size + size % 2, 1)
    return 0.0
