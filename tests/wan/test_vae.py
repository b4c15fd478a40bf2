"""The video VAE: parity, and a stream that may be cut anywhere."""

import inspect

import numpy as np
import pytest
import torch
from conftest_wan import Golden, relative
from diffusers import AutoencoderKLWan
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liveact_cli.core.errors import UsageError
from liveact_cli.wan.frames import RELEASED_OVERLAP, WanFrameDecoder, pieces
from liveact_cli.wan.vae import WanVae
from liveact_cli.wan.vae_decoder import LATENT_MEAN, LATENT_STD


def stream(decoder: WanFrameDecoder, latent: Tensor, cuts: list[int]) -> Tensor:
    """Decode `latent` in chunks of `cuts`, before the frames are rounded to bytes."""
    return torch.cat([decoder.video(part) for part in latent.split(cuts, dim=1)], dim=1)


def frames(decoder: WanFrameDecoder, chunks: list[Tensor]) -> np.ndarray:
    return np.stack([frame for chunk in chunks for frame in decoder.decode(chunk)]).astype(int)


@pytest.fixture(scope="module")
def short(components: Golden) -> Tensor:
    """Ten latent frames of 4 x 6, for chunks of 2, 4 and 4."""
    return components.tensors["vae.latent"][0, :, :10]


@pytest.fixture(scope="module")
def wide(components: Golden) -> Tensor:
    """Three latent frames of 8 x 16, so that tiles have something to cut."""
    latent = components.tensors["vae.latent"][0, :, :3]
    torch.manual_seed(3)
    return latent.repeat(1, 1, 2, 3)[..., :16] + 0.3 * torch.randn(16, 3, 8, 16)


def test_constants_are_those_of_diffusers() -> None:
    defaults = inspect.signature(AutoencoderKLWan.__init__).parameters
    assert list(LATENT_MEAN) == defaults["latents_mean"].default
    assert list(LATENT_STD) == defaults["latents_std"].default


def test_sizes_are_read_from_tensors(vae: WanVae) -> None:
    assert vae.sizes.multipliers == (1, 2, 4, 4)
    assert (vae.sizes.temporal_stride, vae.sizes.spatial_stride) == (4, 8)


def test_encoding_matches_the_released_code(components: Golden, vae: WanVae) -> None:
    encoded = vae.encode_reference(components.tensors["image"][0, :, 0], 53)
    assert relative(encoded, components.tensors["vae.encoded"][0]) < 1e-5


@pytest.mark.parametrize("cuts", [[6, 8, 8], [1] * 5 + [17], [22]])
def test_the_stream_matches_the_released_one_shot(
    components: Golden, vae: WanVae, cuts: list[int]
) -> None:
    video = stream(WanFrameDecoder(vae.decoder), components.tensors["vae.latent"][0], cuts)
    assert video.shape == (3, 85, 32, 48)
    assert relative(video, components.tensors["vae.decoded"][0]) < 1e-5


def test_the_stream_equals_diffusers(wide: Tensor, vae: WanVae) -> None:
    with torch.inference_mode():
        mean = torch.tensor(LATENT_MEAN).view(16, 1, 1, 1)
        std = torch.tensor(LATENT_STD).view(16, 1, 1, 1)
        whole = vae._model.decode((wide * std + mean)[None]).sample[0]
    assert relative(stream(WanFrameDecoder(vae.decoder), wide, [2, 1]), whole) < 1e-5


def test_calls_may_be_short(short: Tensor, vae: WanVae) -> None:
    chunks = list(short.split([2, 4, 4], dim=1))
    at_once = frames(WanFrameDecoder(vae.decoder), chunks)
    one_by_one = frames(WanFrameDecoder(vae.decoder, latents_per_call=3), chunks)
    assert np.abs(at_once - one_by_one).max() <= 1


def test_state_does_not_grow(short: Tensor, vae: WanVae) -> None:
    decoder = WanFrameDecoder(vae.decoder)
    sizes = []
    for chunk in short.split([2, 4, 4], dim=1):
        frames(decoder, [chunk])
        kept = decoder.state().values()
        sizes.append(sum(value.untyped_storage().nbytes() for value in kept))
    assert sizes[0] == sizes[1] == sizes[2]


@pytest.mark.parametrize("options", [{}, {"overlap": True}, {"tile": 3}])
def test_a_saved_state_goes_on(short: Tensor, vae: WanVae, options: dict[str, int]) -> None:
    first, second, _ = short.split([2, 4, 4], dim=1)
    decoder = WanFrameDecoder(vae.decoder, **options)
    frames(decoder, [first])
    resumed = WanFrameDecoder(vae.decoder, **options)
    resumed.load_state({name: value.clone() for name, value in decoder.state().items()})
    assert np.array_equal(frames(decoder, [second]), frames(resumed, [second]))


def test_overlap_decodes_each_chunk_afresh(components: Golden, vae: WanVae) -> None:
    first, second = components.tensors["vae.latent"][0, :, :10].split([6, 4], dim=1)
    decoder = WanFrameDecoder(vae.decoder, overlap=True)
    assert len(frames(decoder, [first])) == 21
    joined = torch.cat([first[:, -RELEASED_OVERLAP:], second], dim=1)
    expected = frames(WanFrameDecoder(vae.decoder), [joined])[9:]
    assert np.array_equal(frames(decoder, [second]), expected)
    assert len(expected) == 16


def test_tiles_stay_within_two_grey_levels(wide: Tensor, vae: WanVae) -> None:
    whole = frames(WanFrameDecoder(vae.decoder), [wide])
    tiled = frames(WanFrameDecoder(vae.decoder, tile=8), [wide])
    assert np.abs(whole - tiled).max() <= 2


def test_tiles_that_see_far_enough_are_exact(components: Golden, vae: WanVae) -> None:
    torch.manual_seed(5)
    strip = torch.randn(16, 2, 2, 36)
    whole = stream(WanFrameDecoder(vae.decoder), strip, [2])
    tiled = stream(WanFrameDecoder(vae.decoder, tile=12, halo=13), strip, [2])
    assert relative(tiled, whole) < 1e-5


def test_tiles_go_through_a_chunk_in_short_calls(wide: Tensor, vae: WanVae) -> None:
    once = stream(WanFrameDecoder(vae.decoder, tile=8), wide, [1, 2])
    short = stream(WanFrameDecoder(vae.decoder, tile=8, latents_per_call=1), wide, [3])
    assert relative(short, once) < 1e-5


def test_a_tile_of_nothing_is_refused(vae: WanVae) -> None:
    with pytest.raises(UsageError, match="tile 0"):
        WanFrameDecoder(vae.decoder, tile=0)


@given(length=st.integers(1, 200), side=st.integers(1, 60), halo=st.integers(0, 20))
def test_pieces_cover_everything_once(length: int, side: int, halo: int) -> None:
    cut = pieces(length, side, halo)
    assert [at for piece in cut for at in range(piece.start, piece.stop)] == list(range(length))
    for piece in cut:
        assert 0 < piece.stop - piece.start <= side
        assert 0 <= piece.seen_start <= piece.start < piece.stop <= piece.seen_stop <= length
