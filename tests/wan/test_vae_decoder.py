"""The video decoder as pure functions: one graph, any layout, any kernels, any width."""

import pytest
import torch
from conftest_wan import Golden, relative
from diffusers import AutoencoderKLWan
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from liveact_cli.runtime import fallbacks
from liveact_cli.wan.frames import WanFrameDecoder
from liveact_cli.wan.keymaps import VaeSizes
from liveact_cli.wan.vae import WanVae
from liveact_cli.wan.vae_decoder import WAN_SIZES, WanDecoder, channels_last
from liveact_cli.wan.vae_stream import VideoDecoder

SMALL = VaeSizes(4, 4, 16, (1, 2, 4, 4), 1, (False, True, True))


@pytest.fixture(scope="module")
def small() -> WanDecoder:
    torch.manual_seed(2)
    return WanDecoder.random(SMALL, "cpu", torch.float32)


@pytest.fixture(scope="module")
def latent() -> Tensor:
    torch.manual_seed(4)
    return torch.randn(16, 6, 2, 3)


def video(decoder: WanDecoder, latent: Tensor, cuts: list[int]) -> Tensor:
    stream = WanFrameDecoder(decoder)
    return torch.cat([stream.video(part) for part in latent.split(cuts, 1)], 1)


def test_the_released_sizes_are_those_of_diffusers() -> None:
    with torch.device("meta"):
        ours = VideoDecoder(WAN_SIZES).state_dict()
        theirs = AutoencoderKLWan().decoder.state_dict()
    assert {n: v.shape for n, v in ours.items()} == {n: v.shape for n, v in theirs.items()}


def test_the_weights_are_shared_with_diffusers(vae: WanVae) -> None:
    ours = vae.decoder._weights.decoder.conv_in.weight
    assert ours.data_ptr() == vae._model.decoder.conv_in.weight.data_ptr()


def test_calls_change_nothing_that_they_are_given(small: WanDecoder, latent: Tensor) -> None:
    with torch.inference_mode():
        x, _ = small.stem(latent[:, :1], {})
        _, state = small.body(x, {}, True)
        before = {name: value.clone() for name, value in state.items()}
        x, _ = small.stem(latent[:, 1:3], {})
        first, after = small.body(x, state, False)
        second, _ = small.body(x, state, False)
    assert torch.equal(first, second)
    assert {n: v.shape for n, v in after.items()} == {n: v.shape for n, v in state.items()}
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_one_graph_for_each_number_of_frames(small: WanDecoder) -> None:
    torch.manual_seed(5)
    latent = torch.randn(16, 7, 2, 2)
    compiled = WanDecoder.random(SMALL, "cpu", torch.float32)
    compiled._weights = small._weights
    counter = CompileCounter()
    body = small._weights.decoder.body
    compiled._stem = small._weights.decoder.stem
    compiled._body = torch.compile(body, backend=counter, fullgraph=True, dynamic=False)
    assert relative(video(compiled, latent, [1, 3, 3]), video(small, latent, [1, 3, 3])) < 1e-6
    # The stream's first latent, then 3 latents; the second 3 run what is there.
    assert counter.frame_count == 2


def test_a_compiler_that_fails_is_replaced_by_the_decoder_as_it_is_written(
    small: WanDecoder, latent: Tensor
) -> None:
    fallbacks.forget()
    torch.manual_seed(2)
    tensors = small._weights.state_dict()
    broken = WanDecoder(
        tensors, SMALL, "the toy", "cpu", torch.float32, compiled=True, backend="no such compiler"
    )
    assert torch.equal(video(broken, latent, [2, 4]), video(small, latent, [2, 4]))
    (told,) = fallbacks.taken()
    assert told.startswith("the compiled video decoder cannot run here")
    fallbacks.forget()


def test_channels_last_computes_the_same(small: WanDecoder, latent: Tensor) -> None:
    torch.manual_seed(2)
    other = WanDecoder.random(SMALL, "cpu", torch.float32)
    wanted = video(small, latent, [2, 4])
    channels_last(other._weights)
    weight = other._weights.decoder.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert relative(video(other, latent, [2, 4]), wanted) < 1e-5


def test_bfloat16_stays_near(components: Golden, vae: WanVae) -> None:
    tensors = vae._model.state_dict()
    low = WanDecoder(tensors, vae.sizes, "the toy", "cpu", torch.bfloat16)
    latent, wanted = components.tensors["vae.latent"][0, :, :4], components.tensors["vae.decoded"]
    ours, wanted = video(low, latent, [4]), wanted[0, :, :13]
    error = (ours - wanted).norm() / wanted.norm()
    theirs = AutoencoderKLWan.from_config(vae._model.config).to(torch.bfloat16)
    theirs.load_state_dict(tensors)
    with torch.inference_mode():
        reference = theirs.decode(low.scaled(latent).bfloat16()).sample[0].float()
    assert 1e-4 < error < 1.1 * (reference - wanted).norm() / wanted.norm()
