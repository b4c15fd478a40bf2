"""The sound of the video: encoded to AAC once, in a process of its own while frames are drawn."""

import threading
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import ffmpeg

from liveact_cli.core.errors import LiveActError
from liveact_cli.media.audio import AudioSource
from liveact_cli.media.ffmpeg import FfmpegProcess, sync_file

AAC_RATES: Final = (
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000,
)  # fmt: skip
"""Sample rates that AAC in MP4 can have, in Hz."""

_BITS_PER_SAMPLE: Final = 3
_MOST_BITS: Final = {1: 96_000, 2: 192_000, 6: 384_000}


def aac_rate(rate: int) -> int:
    """Return the recording's own sample rate where AAC has it, else the next one above."""
    return next((possible for possible in AAC_RATES if possible >= rate), AAC_RATES[-1])


class SoundTrack:
    """The sound as `sound.m4a` in `directory`, being made in the background from the start on.

    Encoding takes a tenth of the time that drawing does; done beside it, it costs nothing at the
    end. Leaving the `with` block stops what still runs. With `kept` the complete file is moved
    there, and is not made again where it is there already.
    """

    def __init__(self, audio: AudioSource, directory: Path, kept: Path | None = None) -> None:
        self.path = directory / "sound.m4a"
        self._kept = kept
        self.rate = aac_rate(audio.info.sample_rate)
        self._audio = audio
        self._stop = threading.Event()
        self._wanted: int | None = None
        self._failure: BaseException | None = None
        self._encoder: FfmpegProcess | None = None
        self._pump = threading.Thread(target=self._run, name="sound", daemon=True)
        if kept is not None and kept.is_file():
            self.path = kept
            return
        self._encoder = FfmpegProcess(self._pipeline(), "encode the sound", feed=True)
        self._pump.start()

    def finish(self, seconds: Fraction | float | None = None) -> Path:
        """Wait for the file and return its path; with `seconds`, that much sound is enough."""
        if seconds is not None:
            self._wanted = round(seconds * self.rate)
        self._join()
        if isinstance(self._failure, LiveActError):
            raise self._failure
        if self._failure is not None:
            raise RuntimeError("the sound's thread failed") from self._failure
        return self.path

    def close(self) -> None:
        """Stop encoding, if it still goes on."""
        self._stop.set()
        if self._encoder is not None:
            self._encoder.stop()
        self._join()

    def _join(self) -> None:
        if self._encoder is not None:
            self._pump.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _pipeline(self) -> object:
        channels = self._audio.channels
        bits = min(_MOST_BITS[channels], _BITS_PER_SAMPLE * self.rate * channels)
        source = ffmpeg.input(
            "pipe:0", protocol_whitelist="pipe", format="f32le", ar=self.rate, ac=channels
        )
        return source.output(
            f"file:{self.path}",
            format="ipod",
            acodec="aac",
            audio_bitrate=bits,
            flags="+bitexact",
            fflags="+bitexact",
        )

    def _run(self) -> None:
        assert self._encoder is not None
        try:
            with self._encoder:
                whole = self._feed(self._encoder)
                if self._stop.is_set():
                    return
                self._encoder.finish()
            if whole and self._kept is not None:
                sync_file(self.path)
                self.path = self.path.replace(self._kept)
        except BaseException as error:  # noqa: BLE001 - finish() raises it again
            self._failure = error

    def _feed(self, encoder: FfmpegProcess) -> bool:
        """Encode until the end, or until there is enough; return whether that was the end."""
        done = 0
        for block in self._audio.samples(self.rate):
            if self._stop.is_set():
                return False
            encoder.write(block.tobytes())
            done += len(block)
            if self._wanted is not None and done >= self._wanted:
                return False
        return True
