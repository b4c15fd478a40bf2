"""A recording faster or slower at the same pitch, by ffmpeg's `atempo`, as a stream."""

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from liveact_cli.media.ffmpeg import FfmpegProcess

Samples = NDArray[np.float32]

BLOCK = 16_000
# What one `atempo` takes; beyond, they are chained.
SLOWEST, FASTEST = 0.5, 100.0


def tempo_filters(factor: float) -> list[float]:
    """Factors of the `atempo` filters whose product is `factor`."""
    filters = []
    while factor < SLOWEST:
        filters.append(SLOWEST)
        factor /= SLOWEST
    while factor > FASTEST:
        filters.append(FASTEST)
        factor /= FASTEST
    return [*filters, factor]


def changed_tempo(blocks: Iterator[Samples], factor: float, rate: int) -> Iterator[Samples]:
    """Play mono `blocks` at `rate` Hz `factor` times as fast, pitch kept; yields blocks.

    The result has `1 / factor` times the samples, exactly: rows are spread evenly over it, and
    what atempo leaves over or owes at the end would shift them. Raises FfmpegError when ffmpeg
    fails, WeightsError when there is none.
    """
    import ffmpeg

    stream = ffmpeg.input("pipe:", format="f32le", ar=rate, ac=1).audio
    for one in tempo_filters(factor):
        stream = stream.filter("atempo", one)
    stream = stream.output("pipe:", format="f32le", ar=rate, ac=1)
    with FfmpegProcess(stream, "change the tempo", feed=True, collect=True) as process:
        # ffmpeg reads and writes at its own pace, so one thread feeds it while this one listens.
        feeder = _Feeder(process, blocks)
        feeder.start()
        produced, held = 0, np.zeros(0, np.float32)
        for data in process.read_blocks(BLOCK * 4):
            # One block is held back: only at the end is it known how long the result must be.
            yield held
            produced += len(held)
            held = np.frombuffer(data, np.float32).copy()
        feeder.join()
        if feeder.trouble is not None:
            raise feeder.trouble
        rest = max(0, round(feeder.fed / factor) - produced)
        yield np.pad(held, (0, max(0, rest - len(held))))[:rest]


class _Feeder(threading.Thread):
    """Writes a recording to ffmpeg; `fed` samples so far, `trouble` if the source failed."""

    def __init__(self, process: FfmpegProcess, blocks: Iterator[Samples]) -> None:
        super().__init__(daemon=True)
        self._process, self._blocks = process, blocks
        self.fed = 0
        self.trouble: Exception | None = None

    def run(self) -> None:
        try:
            for block in self._blocks:
                self._process.write(np.ascontiguousarray(block, np.float32).tobytes())
                self.fed += len(block)
        except Exception as error:  # noqa: BLE001 - what a source raises belongs to the listener
            self.trouble = error
        finally:
            self._process.close_input()
