"""Streaming gives the one-pass rows, whatever the block lengths, in bounded memory."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from liveact_cli.mini.audio import (
    AudioNet,
    AudioNetConfig,
    LogMelAudioEncoder,
    log_mel,
    normalise,
)

SMALL = AudioNetConfig(stem=8, width=16, dilations=(1, 2), channels=12)


def recording(seconds: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    count = int(16000 * seconds)
    swell = np.repeat(rng.uniform(0, 1, count // 1600 + 1) ** 3, 1600)[:count]
    return (0.3 * swell * rng.standard_normal(count)).astype(np.float32)


def blocks(sound: NDArray[np.float32], seed: int) -> Iterator[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    at = 0
    while at < len(sound):
        count = int(rng.integers(0, 9000))
        yield sound[at : at + count]
        at += count


def one_pass(net: AudioNet, sound: NDArray[np.float32], frames: int) -> torch.Tensor:
    mel = log_mel(torch.from_numpy(np.pad(sound, (0, 1600))))[: 4 * frames]
    with torch.inference_mode():
        return net.eval()(normalise(mel)[None])[0]


@pytest.mark.parametrize("seconds", [0.04, 0.3, 5.13, 23.7])
def test_streaming_equals_one_pass(seconds: float) -> None:
    torch.manual_seed(0)
    net, sound = AudioNet(SMALL), recording(seconds)
    frames = max(1, round(seconds * 25))
    rows = LogMelAudioEncoder(net).stream(blocks(sound, 1), frames)
    pieces = [rows.window(a, min(frames, a + 37)) for a in range(0, frames, 37)]
    streamed = torch.cat(pieces)
    assert streamed.shape == (frames, 1, 12)
    torch.testing.assert_close(streamed[:, 0], one_pass(net, sound, frames), rtol=0, atol=2e-5)


def test_the_shipped_sizes_stream_too() -> None:
    torch.manual_seed(0)
    net, sound = AudioNet(), recording(12.0)
    rows = LogMelAudioEncoder(net).stream(blocks(sound, 2), 300)
    streamed = torch.cat([rows.window(a, a + 100) for a in range(0, 300, 100)])
    torch.testing.assert_close(streamed[:, 0], one_pass(net, sound, 300), rtol=0, atol=5e-5)


def test_windows_overlap_go_back_and_are_clamped() -> None:
    net, sound = AudioNet(SMALL), recording(20)
    rows = LogMelAudioEncoder(net).stream(iter([sound]), 500)
    first = rows.window(-3, 4)
    assert torch.equal(first[0], first[3])
    late = rows.window(400, 420)
    assert torch.equal(rows.window(340, 410)[60:], late[:10])
    end = rows.window(495, 510)
    assert torch.equal(end[4], end[-1])
    with pytest.raises(IndexError):
        rows.window(0, 3)


def test_memory_is_bounded() -> None:
    net = AudioNet(SMALL)
    second = recording(1)
    rows = LogMelAudioEncoder(net).stream((second for _ in range(600)), 15000)
    for start in range(0, 15000, 32):
        rows.window(start, min(15000, start + 32))
    assert len(rows._rows) < 600
    assert len(rows._mels._mel) < 2000
    assert len(rows._mels._samples) < 64000


def test_state_round_trip_in_half_precision() -> None:
    net = AudioNet(SMALL)
    state = {name: value.bfloat16() for name, value in net.state_dict().items()}
    encoder = LogMelAudioEncoder.from_state(state, SMALL)
    assert encoder.layers == 1
    assert encoder.channels == 12
    with pytest.raises(RuntimeError):
        LogMelAudioEncoder.from_state({**state, "extra": torch.zeros(1)}, SMALL)


def test_other_frame_rates_are_refused() -> None:
    encoder = LogMelAudioEncoder(AudioNet(SMALL))
    with pytest.raises(ValueError, match="30"):
        encoder.stream(iter([]), 10, 30.0)


def test_a_kernel_must_be_odd() -> None:
    with pytest.raises(ValueError, match="4"):
        AudioNetConfig(kernel=4)


def test_context_is_as_wide_as_the_net_sees() -> None:
    net = AudioNet(SMALL).eval()
    mel = torch.randn(1, 800, 64)
    changed = mel.clone()
    changed[:, 400:404] += 1
    with torch.inference_mode():
        moved = (net(mel) - net(changed)).abs().amax((0, 2)) > 0
    touched = torch.nonzero(moved)[:, 0]
    context = SMALL.context_rows
    assert 100 - context <= int(touched.min()) <= int(touched.max()) <= 100 + context
