"""Audio rows for recordings of any length: wav2vec2 over overlapping windows, pulled as needed."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liveact_cli.wan.spool import Samples, Spool
from liveact_cli.wan.wav2vec2 import Wav2Vec2

SAMPLE_RATE = 16_000
# The model was conditioned on video at this rate; for others the recording's tempo is changed.
MODEL_FPS = 25.0
# Rows of a window: three minutes at most of its own, and 10 s more on both sides, which are thrown
# away. The positional convolution reaches 2.6 s; the rest is for attention, which in one pass would
# see the whole recording: the wider the window, the nearer to that (0.5 % on steady sound).
WINDOW_ROWS = 4500
MARGIN_ROWS = 250
# Convolutional features computed at a time: 10 s, so that the first layer stays below 70 MB.
FEATURES_AT_ONCE = 500
# How far back a caller may reach (AudioRows protocol).
REACH_BACK_ROWS = 64


class SpeechEncoder:
    """wav2vec2 behind the AudioEncoder protocol."""

    def __init__(
        self, network: Wav2Vec2, window: int = WINDOW_ROWS, margin: int = MARGIN_ROWS
    ) -> None:
        self._network, self._window, self._margin = network, window, margin
        self.layers, self.channels = network.layers, network.channels

    def stream(self, blocks: Iterator[Samples], frames: int, fps: float) -> "SpeechRows":
        """Rows for a recording of `frames` video frames at `fps`; `blocks` are 16 kHz mono.

        At rates other than 25 the tempo is changed first, so that a row is always 1/25 s of what
        the network hears. The recording is read once, to a temporary file, when rows are wanted.
        """
        if fps != MODEL_FPS:
            # Here, since only this needs ffmpeg.
            from liveact_cli.wan.tempo import changed_tempo

            blocks = changed_tempo(blocks, MODEL_FPS / fps, SAMPLE_RATE)
        return self.rows(blocks, frames)

    def rows(self, blocks: Iterator[Samples], frames: int) -> "SpeechRows":
        """Rows for a recording cut evenly in `frames` parts, its tempo left alone."""
        return SpeechRows(self._network, blocks, frames, self._window, self._margin)


class SpeechRows:
    """AudioRows of one recording, on the CPU; holds two windows at most (170 MB each).

    A recording that fits one window with its margins goes through the network in one pass, as
    released.
    """

    def __init__(
        self, network: Wav2Vec2, blocks: Iterator[Samples], frames: int, window: int, margin: int
    ) -> None:
        self._network, self._blocks = network, blocks
        self._frames, self._margin = frames, margin
        alone = frames <= window + 2 * margin
        self._count = 1 if alone else -(-frames // window)
        self._spool: Spool | None = None
        self._kept: dict[int, Tensor] = {}

    def window(self, start: int, stop: int) -> Tensor:
        """Rows `[stop - start, layers, channels]`, float32; indices are clamped to the recording.

        `start` may go back by 64 between calls without anything being computed again.
        """
        wanted = np.clip(np.arange(start, stop), 0, self._frames - 1)
        parts = [self._row(int(row)) for row in wanted]
        return torch.stack(parts)

    def _edge(self, index: int) -> int:
        return round(index * self._frames / self._count)

    def _row(self, row: int) -> Tensor:
        index = min(self._count - 1, row * self._count // self._frames)
        # Rounding may put a row one window off.
        index += int(row >= self._edge(index + 1)) - int(row < self._edge(index))
        if index not in self._kept:
            oldest = self._edge(index) - REACH_BACK_ROWS
            self._kept = {i: rows for i, rows in self._kept.items() if self._edge(i + 1) > oldest}
            self._kept[index] = self._encode(index)
        return self._kept[index][row - self._edge(index)]

    def _encode(self, index: int) -> Tensor:
        start, stop = self._edge(index), self._edge(index + 1)
        seen_start = max(0, start - self._margin)
        seen_stop = min(self._frames, stop + self._margin)
        states = self._network.hidden_states(self._features(seen_start, seen_stop))
        return states[start - seen_start : stop - seen_start].cpu().clone()

    def _features(self, start: int, stop: int) -> Tensor:
        """Convolutional features at rows `start` to `stop`, as one pass over everything gives."""
        network = self._network
        if self._spool is None:
            self._spool = Spool(self._blocks, network.kernels[0], network.strides[0], network.reach)
        statistics = self._spool.statistics
        last = network.count(statistics.samples) - 1
        # The ends of the rows are the ends of the features, as torch's `align_corners=True`.
        positions = np.arange(start, stop, dtype=np.float64) * (last / max(1, self._frames - 1))
        first, final = int(positions[0]), min(last, int(positions[-1]) + 1)
        parts = []
        for begin in range(first, final + 1, FEATURES_AT_ONCE):
            end = min(final + 1, begin + FEATURES_AT_ONCE)
            samples = self._spool.read(begin * network.hop, (end - 1) * network.hop + network.reach)
            parts.append(network.features(samples, statistics))
        return _at(torch.cat(parts), first, positions)


def _at(features: Tensor, first: int, positions: NDArray[np.float64]) -> Tensor:
    """Linear interpolation of features `first`, `first` + 1, ... at (fractional) `positions`."""
    left = np.floor(positions).astype(np.int64)
    weight = torch.from_numpy(positions - left).to(features)[:, None]
    low = torch.from_numpy(left - first).to(features.device)
    high = (low + 1).clamp(max=len(features) - 1)
    return features[low] * (1 - weight) + features[high] * weight
