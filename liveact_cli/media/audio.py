"""The sound of a recording as a stream of blocks, through ffmpeg, in constant memory."""

from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from liveact_cli.core.errors import MediaError, UsageError
from liveact_cli.core.units import format_time
from liveact_cli.media.ffmpeg import FfmpegError, FfmpegProcess
from liveact_cli.media.inputs import READ_OPTIONS, input_url
from liveact_cli.media.probe import (
    SHORTEST,
    AudioInfo,
    Scan,
    known_layout,
    not_sound,
    probe_audio,
)

__all__ = ["MODEL_RATE", "SILENCE", "AudioInfo", "AudioSource", "probe_audio"]

MODEL_RATE: Final = 16_000

SILENCE: Final = 10 ** (-60 / 20)
"""Peak (full scale is 1) under which a recording counts as silent: -60 dB."""

_BLOCK_SECONDS: Final = 0.5
_SLACK: Final = 0.1
_KEPT_LAYOUTS: Final = {"mono": "mono", "stereo": "stereo", "5.1": "5.1", "5.1(side)": "5.1"}
_CHANNELS: Final = {"mono": 1, "stereo": 2, "5.1": 6}


class AudioSource:
    """The sound from `start` on, `duration` seconds at most, exact to the sample.

    `peak` is the largest magnitude of the mono mix that `blocks` has passed on so far (full scale
    is 1). Raises MediaError when the part is damaged, too short or not there.
    """

    def __init__(self, path: Path | str, start: float = 0.0, duration: float | None = None) -> None:
        self.path = Path(path)
        if start < 0 or not np.isfinite(start):
            raise UsageError(f"the start, {start:g} s, is not possible", "--start 0 or later")
        if duration is not None and not SHORTEST <= duration < float("inf"):
            raise UsageError(
                f"a duration of {duration:g} s is not possible", f"--duration {SHORTEST:g} or more"
            )
        scan = Scan(self.path, start, duration)
        self.info = scan.info
        self.start_sample = scan.first
        self.peak = 0.0

    @property
    def seconds(self) -> float:
        """Exact length of the part that is used."""
        return self.info.seconds

    @property
    def silent(self) -> bool:
        """Whether nothing louder than -60 dB has passed `blocks`."""
        return self.peak < SILENCE

    @property
    def layout(self) -> str:
        """Channel layout of `samples`: the recording's own if mono, stereo or 5.1, else stereo."""
        if self.info.layout in _KEPT_LAYOUTS:
            return _KEPT_LAYOUTS[self.info.layout]
        return "stereo" if self.info.channels > 1 else "mono"

    @property
    def channels(self) -> int:
        """Channels of `samples`."""
        return _CHANNELS[self.layout]

    def blocks(
        self, rate: int = MODEL_RATE, channel: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Yield one channel or the mean of all at `rate` Hz, `[n]` samples a block, full scale 1.

        `round(seconds * rate)` samples in all. Raises MediaError when the file has changed.
        """
        wanted = self._all_channels if channel is None else f"c{channel}"
        pipeline = self._part().filter("pan", f"mono|c0<{wanted}")
        for block in self._decoded(pipeline, rate, 1):
            self.peak = max(self.peak, float(np.abs(block).max()))
            yield block[:, 0]

    def samples(self, rate: int) -> Iterator[NDArray[np.float32]]:
        """Yield the sound for the video, `[n, channels]` at `rate` Hz in `layout`."""
        pipeline = self._part()
        if not known_layout(self.info.layout):
            # Without names of the channels there is no downmix but the mean.
            sides = "|".join(f"c{side}<{self._all_channels}" for side in range(self.channels))
            pipeline = pipeline.filter("pan", f"{self.layout}|{sides}")
        pipeline = pipeline.filter("aformat", channel_layouts=self.layout)
        yield from self._decoded(pipeline, rate, self.channels)

    @property
    def _all_channels(self) -> str:
        """Name every channel in a sum for the filter `pan`, whose sign `<` makes it a mean."""
        return "+".join(f"c{channel}" for channel in range(self.info.channels))

    def _part(self) -> Any:
        """Return the pipeline up to the cut, by counting samples: time stamps have gaps."""
        stop = self.start_sample + self.info.samples
        source = ffmpeg.input(input_url(self.path), vn=None, sn=None, dn=None, **READ_OPTIONS)
        cut = source[str(self.info.stream)].filter("asetpts", "N/SR/TB")
        cut = cut.filter("atrim", start_sample=self.start_sample, end_sample=stop)
        return cut.filter("asetpts", "N/SR/TB")

    def _decoded(self, pipeline: Any, rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
        """Yield exactly as many samples as the part has at `rate`, all of them finite."""
        wanted = round(Fraction(self.info.samples * rate, self.info.sample_rate))
        pipeline = pipeline.filter("aresample", rate).output(
            "pipe:1", format="f32le", acodec="pcm_f32le"
        )
        size = round(_BLOCK_SECONDS * rate) * channels * 4
        got = 0
        process = FfmpegProcess(pipeline, f"decode {self.path}", collect=True)
        with process, closing(process.read_blocks(size)) as blocks:
            try:
                for data in blocks:
                    block = np.frombuffer(data, dtype="<f4").reshape(-1, channels)
                    block = block[: wanted - got].astype(np.float32, copy=False)
                    if not np.isfinite(block).all():
                        raise not_sound(self.path, (got + self.start_sample) / rate)
                    got += len(block)
                    if len(block):
                        yield block
            except FfmpegError as error:
                raise MediaError(error.message, error.hint) from error
        # Resamplers differ by a few samples at the end; more than that is another file.
        if wanted - got > _SLACK * rate:
            raise MediaError(
                f"{self.path} changed while it was read: {format_time(got / rate)} of "
                f"{format_time(self.seconds)} came",
                "do not touch the recording during a render",
            )
        if got < wanted:
            yield np.zeros((wanted - got, channels), dtype=np.float32)
