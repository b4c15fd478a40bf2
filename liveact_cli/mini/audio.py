"""Sound to rows: log-mels, normalised in a sliding window, through a small conv net; all streaming.

Shape suffixes: T mel frames (100 Hz), F video frames (25 fps), D channels.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 16000
HOP = 160
MEL_RATE = SAMPLE_RATE // HOP
ROW_RATE = 25
FRAMES_PER_ROW = MEL_RATE // ROW_RATE
BANDS = 64
_FFT, _WINDOW = 512, 400
_LOW_HZ, _HIGH_HZ = 50.0, 7600.0
_FLOOR = 1e-7

HALF_WINDOW = 150
"""Mel frames on each side over which the level is normalised (1.5 s)."""
_DEPTH = 4.0
"""Decades below the loudest frame near by that count as silence, digital zeros or not."""
_LEAST_SPREAD = 0.5
_DROPOUT = 0.1


@functools.cache
def mel_filters() -> NDArray[np.float32]:
    """Slaney mel filters [64, 257], the numbers of librosa.filters.mel(norm="slaney")."""
    # The Slaney scale: linear below 1 kHz, logarithmic above (27 steps per factor 6.4).
    step, knee_hz, knee_mel, log_step = 200.0 / 3, 1000.0, 15.0, np.log(6.4) / 27

    def to_mel(hz: float) -> float:
        return hz / step if hz < knee_hz else knee_mel + float(np.log(hz / knee_hz)) / log_step

    mels = np.linspace(to_mel(_LOW_HZ), to_mel(_HIGH_HZ), BANDS + 2)
    edges = np.where(mels < knee_mel, mels * step, knee_hz * np.exp(log_step * (mels - knee_mel)))
    bins = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)
    slopes = edges[:, None] - bins[None]
    widths = np.diff(edges)
    rising, falling = -slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None], np.float32)


def _power_mel(framed: Tensor) -> Tensor:
    """log10 mel [T, 64] of samples that already carry half an FFT of context on both sides."""
    window = torch.hann_window(_WINDOW)
    spectrum = torch.stft(framed, _FFT, HOP, _WINDOW, window, center=False, return_complex=True)
    power = spectrum.real**2 + spectrum.imag**2
    return torch.log10(torch.from_numpy(mel_filters()) @ power + _FLOOR).T


def log_mel(samples: Tensor) -> Tensor:
    """Log-mel [1 + n // 160, 64] of 16 kHz sound [n]; frame k is centred at k * 10 ms."""
    return _power_mel(functional.pad(samples, (_FFT // 2, _FFT // 2)))


def normalise(mel: Tensor) -> Tensor:
    """Remove level and spread (two scalars) of the +-1.5 s around each frame: [T, 64] -> [T, 64].

    Frame k depends on frames k-300..k+300: the floor and the level each look 150 far.
    """
    loudest = functional.max_pool1d(mel.mean(1)[None, None], 2 * HALF_WINDOW + 1, 1, HALF_WINDOW)
    mel = torch.maximum(mel, loudest[0, 0, :, None] - _DEPTH)
    total = functional.pad(
        torch.stack([mel.mean(1), mel.square().mean(1)]).double().cumsum(1), (1, 0)
    )
    frame = torch.arange(mel.shape[0])
    first = (frame - HALF_WINDOW).clamp(min=0)
    last = (frame + HALF_WINDOW + 1).clamp(max=mel.shape[0])
    mean, square = (total[:, last] - total[:, first]) / (last - first)
    spread = (square - mean**2).clamp(min=0).sqrt().clamp(min=_LEAST_SPREAD)
    return ((mel.double() - mean[:, None]) / spread[:, None]).float()


@dataclass(frozen=True)
class AudioNetConfig:
    """Sizes of the audio net; `dilations` is one residual block each, at 50 Hz."""

    stem: int = 96
    width: int = 192
    kernel: int = 5
    dilations: tuple[int, ...] = (1, 1, 2, 2, 2, 1)
    channels: int = 128

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"the kernel must be odd to be centred (kernel {self.kernel})")

    @property
    def context_rows(self) -> int:
        """Rows of context on each side beyond which nothing changes a row."""
        at_50_hz = (self.kernel // 2) * sum(self.dilations) + 2
        return -(-(2 * at_50_hz + self.kernel // 2 + 2) // FRAMES_PER_ROW)

    def as_metadata(self) -> dict[str, int | list[int]]:
        """Plain values for a weight file's metadata."""
        values = asdict(self)
        values["dilations"] = list(self.dilations)
        return values


class _FrameNorm(nn.Module):
    """Normalise the channels of each frame; nothing mixes over time, so streaming is exact."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, 1))
        self.bias = nn.Parameter(torch.zeros(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        # Two means are three times as fast as torch.var_mean over a strided dimension on a CPU.
        centred = x - x.mean(1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(1, keepdim=True) + 1e-5)
        return centred * scale * self.weight + self.bias


class _Block(nn.Module):
    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.norm = _FrameNorm(width)
        self.conv = nn.Conv1d(
            width, width, kernel, padding=dilation * (kernel // 2), dilation=dilation
        )
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.gelu(self.conv(self.norm(x)), approximate="tanh")
        return x + self.mix(functional.dropout(inner, _DROPOUT, self.training))


class AudioNet(nn.Module):
    """Normalised log-mels at 100 Hz to rows at 25 fps; trained by training/train_audio.py."""

    def __init__(self, config: AudioNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AudioNetConfig()
        self.stem = nn.Conv1d(BANDS, config.stem, 5, padding=2)
        self.halve = nn.Conv1d(config.stem, config.width, 4, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            _Block(config.width, config.kernel, dilation) for dilation in config.dilations
        )
        self.norm = _FrameNorm(config.width)
        self.rows = nn.Conv1d(config.width, config.channels, 4, stride=2, padding=1)

    def trunk(self, mel: Tensor) -> Tensor:
        """[B, 4F, 64] -> [B, width, 2F] at 50 Hz."""
        x = functional.gelu(self.stem(mel.transpose(1, 2)), approximate="tanh")
        x = self.halve(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def rows_of(self, trunk: Tensor) -> Tensor:
        """[B, width, 2F] -> [B, F, channels], each row with mean 0 and spread 1."""
        rows = self.rows(functional.gelu(trunk, approximate="tanh")).transpose(1, 2)
        return functional.layer_norm(rows.float(), rows.shape[-1:])

    def forward(self, mel: Tensor) -> Tensor:
        """Normalised log-mel [B, 4F, 64] -> rows [B, F, channels]."""
        return self.rows_of(self.trunk(mel))


class _MelReader:
    """Normalised mels of a recording that arrives in blocks; forgets what lies behind."""

    def __init__(self, blocks: Iterator[NDArray[np.float32]], frames: int) -> None:
        self.blocks = blocks
        self.frames = frames
        self._samples = np.zeros(0, np.float32)
        self._first_sample = 0
        self._mel = torch.zeros(0, BANDS)
        self._first_mel = 0

    def _pull(self, stop: int) -> None:
        """Have samples up to `stop`, zeros beyond the recording's end."""
        parts = [self._samples]
        have = self._first_sample + len(self._samples)
        while have < stop:
            block = next(self.blocks, None)
            if block is None:
                block = np.zeros(stop - have, np.float32)
            parts.append(np.asarray(block, np.float32))
            have += len(block)
        self._samples = np.concatenate(parts)

    def _extend(self, stop: int) -> None:
        """Have raw mels up to frame `stop`."""
        start = self._first_mel + len(self._mel)
        if stop <= start:
            return
        first, last = start * HOP - _FFT // 2, (stop - 1) * HOP + _FFT // 2
        self._pull(last)
        padding = max(0, -first)  # the recording's start
        offset = max(0, first) - self._first_sample
        piece = torch.from_numpy(self._samples[offset : last - self._first_sample].copy())
        self._mel = torch.cat([self._mel, _power_mel(functional.pad(piece, (padding, 0)))])
        keep = max(0, stop * HOP - _FFT // 2) - self._first_sample
        self._samples = self._samples[keep:]
        self._first_sample += keep

    def read(self, start: int, stop: int) -> Tensor:
        """Normalised mels [stop-start, 64]; `start` must not go back."""
        reach = 2 * HALF_WINDOW
        first, last = max(0, start - reach), min(self.frames, stop + reach)
        self._extend(last)
        drop = first - self._first_mel
        self._mel, self._first_mel = self._mel[drop:], first
        return normalise(self._mel[: last - first])[start - first : stop - first]


class StreamedRows:
    """Rows of one recording, computed a piece at a time; implements core.protocols.AudioRows."""

    PIECE = 128
    KEEP = 160
    """Rows kept behind the last window's start; callers go back at most 64."""

    def __init__(self, net: AudioNet, blocks: Iterator[NDArray[np.float32]], frames: int) -> None:
        if frames < 1:
            raise ValueError(f"a recording has at least one frame (frames {frames})")
        self.net, self.frames = net, frames
        self._mels = _MelReader(blocks, frames * FRAMES_PER_ROW)
        self._rows = torch.zeros(0, net.config.channels)
        self._first = 0

    @torch.inference_mode()
    def _compute(self) -> None:
        start = self._first + len(self._rows)
        stop = min(self.frames, start + self.PIECE)
        context = self.net.config.context_rows
        first, last = max(0, start - context), min(self.frames, stop + context)
        mel = self._mels.read(first * FRAMES_PER_ROW, last * FRAMES_PER_ROW)
        rows = self.net(mel[None])[0, start - first : stop - first]
        self._rows = torch.cat([self._rows, rows])

    def window(self, start: int, stop: int) -> Tensor:
        """Rows [stop-start, 1, channels]; indices are clamped to the recording.

        Raises IndexError for rows already forgotten.
        """
        wanted = torch.arange(start, stop).clamp(0, self.frames - 1)
        if wanted.numel() == 0:
            return self._rows.new_zeros(0, 1, self.net.config.channels)
        low, high = int(wanted[0]), int(wanted[-1])
        if low < self._first:
            raise IndexError(f"row {low} is gone: rows before {self._first} were dropped")
        while self._first + len(self._rows) <= high:
            self._compute()
        result = self._rows[wanted - self._first].clone()
        drop = min(max(0, low - self.KEEP - self._first), len(self._rows))
        self._rows, self._first = self._rows[drop:], self._first + drop
        return result[:, None]


class LogMelAudioEncoder:
    """liveact-mini's ears: 16 kHz sound to one row of channels per 25 fps frame (AudioEncoder)."""

    layers = 1

    def __init__(self, net: AudioNet) -> None:
        self.net = net.eval().requires_grad_(False)
        self.channels = net.config.channels

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], config: AudioNetConfig | None = None
    ) -> "LogMelAudioEncoder":
        """Build from AudioNet's state (any float type); strict about names and sizes."""
        net = AudioNet(config)
        net.load_state_dict({name: value.float() for name, value in state.items()})
        return cls(net)

    def stream(
        self, blocks: Iterator[NDArray[np.float32]], frames: int, fps: float = float(ROW_RATE)
    ) -> StreamedRows:
        """Rows of a recording of `frames` video frames; `blocks` are 16 kHz mono, any lengths."""
        if fps != ROW_RATE:
            raise ValueError(f"liveact-mini hears one row per 1/{ROW_RATE} s (fps {fps})")
        return StreamedRows(self.net, blocks, frames)
