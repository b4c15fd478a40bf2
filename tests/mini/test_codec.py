"""The motion codec is linear and exact."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from liveact_cli.mini.codec import (
    LATENT_CHANNELS,
    STRIDE,
    MotionCodec,
    dct_basis,
    latent_frames,
    latent_mask,
    video_frames,
)
from liveact_cli.mini.motion import NUM_CHANNELS, NUM_GROUPS


def random_codec(seed: int = 0) -> MotionCodec:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(NUM_CHANNELS, generator=generator)
    scale = 0.1 + torch.rand(STRIDE, NUM_CHANNELS, generator=generator)
    return MotionCodec(mean, scale)


def test_basis_is_orthonormal() -> None:
    assert torch.allclose(dct_basis() @ dct_basis().T, torch.eye(STRIDE), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 120))
def test_round_trip_is_exact(frames: int) -> None:
    codec = random_codec()
    motion = torch.randn(frames, NUM_CHANNELS)
    latent = codec.encode(motion)
    assert latent.shape == (LATENT_CHANNELS, latent_frames(frames), 1, NUM_GROUPS)
    decoded = codec.decode(latent, first=True)
    assert len(decoded) == video_frames(latent.shape[1])
    assert torch.allclose(decoded[:frames], motion, atol=1e-5)


def test_chunks_decode_as_the_whole() -> None:
    codec = random_codec()
    latent = codec.encode(torch.randn(53, NUM_CHANNELS))
    whole = codec.decode(latent, first=True)
    parts = [codec.decode(latent[:, :6], first=True), codec.decode(latent[:, 6:], first=False)]
    assert [len(part) for part in parts] == [21, 32]
    assert torch.equal(torch.cat(parts), whole)


def test_latents_of_seen_motion_are_standardised() -> None:
    tracks = [torch.randn(801, NUM_CHANNELS).cumsum(0) * 0.1 + 3.0 for _ in range(3)]
    codec = MotionCodec.fit(tracks)
    latent = torch.cat([codec.encode(track)[:, 1:] for track in tracks], dim=1)
    spread = latent.square().mean(dim=1, keepdim=True).sqrt()
    mask = latent_mask().bool()
    assert torch.allclose(spread[mask], torch.ones_like(spread[mask]), atol=1e-3)
    assert torch.equal(latent * latent_mask(), latent)


def test_state_survives() -> None:
    codec = random_codec()
    again = MotionCodec.from_state(codec.state_dict())
    motion = torch.randn(21, NUM_CHANNELS)
    assert torch.equal(codec.encode(motion), again.encode(motion))
    with pytest.raises(ValueError, match="codec statistics"):
        MotionCodec(torch.zeros(3), torch.ones(STRIDE, NUM_CHANNELS))
