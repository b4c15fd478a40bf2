"""A recording on disk and its statistics: any stretch of it can be had without the whole."""

import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Statistics:
    """Of a whole recording: of its samples, and of the first convolution's windows on them."""

    samples: int
    mean: float
    variance: float
    window_mean: NDArray[np.float64]
    window_covariance: NDArray[np.float64]


class Moments:
    """Gathers Statistics block by block; `kernel` and `stride` are the first convolution's."""

    def __init__(self, kernel: int, stride: int) -> None:
        self._kernel, self._stride = kernel, stride
        self._samples = self._windows = 0
        self._sum = self._squares = 0.0
        self._window_sum = np.zeros(kernel)
        self._products = np.zeros((kernel, kernel))
        self._carry = np.zeros(0)

    def add(self, block: Samples) -> None:
        """Take the next samples."""
        wide = block.astype(np.float64)
        self._samples += len(wide)
        self._sum += float(wide.sum())
        self._squares += float(wide @ wide)
        waiting = np.concatenate([self._carry, wide])
        count = max(0, (len(waiting) - self._kernel) // self._stride + 1)
        if count:
            views = np.lib.stride_tricks.sliding_window_view(waiting, self._kernel)
            windows = views[: count * self._stride : self._stride]
            self._window_sum += windows.sum(axis=0)
            self._products += windows.T @ windows
            self._windows += count
        self._carry = waiting[count * self._stride :]

    def result(self) -> Statistics:
        """The statistics of everything added."""
        samples, windows = max(self._samples, 1), max(self._windows, 1)
        mean, window_mean = self._sum / samples, self._window_sum / windows
        return Statistics(
            samples=self._samples,
            mean=mean,
            variance=max(0.0, self._squares / samples - mean * mean),
            window_mean=window_mean,
            window_covariance=self._products / windows - np.outer(window_mean, window_mean),
        )


class Spool:
    """A recording in an unnamed temporary file (230 MB an hour), readable at any place."""

    def __init__(self, blocks: Iterable[Samples], kernel: int, stride: int, least: int) -> None:
        """Take all of `blocks`; silence is added up to `least` samples."""
        # Unnamed where the system allows it: it vanishes with the process, however that ends.
        self._file = tempfile.TemporaryFile(prefix="liveact-audio-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        moments, written = Moments(kernel, stride), 0
        for block in blocks:
            written += self._write(moments, block)
        if written < least:
            self._write(moments, np.zeros(least - written, np.float32))
        self._file.flush()
        self.statistics = moments.result()

    def _write(self, moments: Moments, block: Samples) -> int:
        samples = np.ascontiguousarray(block, dtype=np.float32).reshape(-1)
        moments.add(samples)
        self._file.write(samples.tobytes())
        return len(samples)

    def read(self, start: int, stop: int) -> Samples:
        """Samples `start` to `stop`."""
        width = np.dtype(np.float32).itemsize
        self._file.seek(start * width)
        return np.frombuffer(self._file.read((stop - start) * width), np.float32)
