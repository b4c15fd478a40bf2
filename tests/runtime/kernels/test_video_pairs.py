"""Every fused kernel of the video decoder against its eager twin."""

import pytest
import torch

from liveact_cli.core.errors import UsageError
from liveact_cli.runtime.kernels import video, video_eager

BF16, FP32 = torch.bfloat16, torch.float32


@pytest.fixture(scope="module")
def video_fused(fused):
    from liveact_cli.runtime.kernels import video_fused

    return video_fused


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(11)


def noise(device, *shape: int, dtype=FP32, last: bool = True) -> torch.Tensor:
    x = torch.randn(shape, device=device).to(dtype)
    return x.contiguous(memory_format=torch.channels_last_3d) if last and x.dim() == 5 else x


def same(ours: torch.Tensor, wanted: torch.Tensor) -> None:
    assert ours.shape == wanted.shape
    assert ours.dtype == wanted.dtype
    # The interpreter cuts numbers off where the hardware rounds them to bfloat16.
    tolerance = 1e-5 if ours.dtype == FP32 else 4e-2
    torch.testing.assert_close(ours.float(), wanted.float(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [FP32, BF16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("case", ["whole", "begin", "raw", "norm-only", "bias", "sum"])
def test_prepare(video_fused, device, dtype, count, case) -> None:
    batch, width, height, across = 2, 24, 3, 5
    full = case in ("whole", "begin")
    y = noise(device, batch, width, count, height, across, dtype=dtype)
    bias = noise(device, width) if full or case in ("bias", "sum") else None
    skip = noise(device, *y.shape, dtype=dtype) if full or case == "sum" else None
    gamma = noise(device, width) if case in ("whole", "begin", "norm-only") else None
    frames = 0 if case == "norm-only" else 2
    past = None
    if frames and case != "begin":
        past = noise(device, batch, width, frames, height, across, dtype=dtype)
    given = (y, bias, skip, gamma, past, frames, case != "bias")
    ours, wanted = video_fused.prepare(*given), video_eager.prepare(*given)
    for one, other in zip(ours, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            same(one, other)
            assert one.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("dtype", [FP32, BF16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("doubled", [True, False])
@pytest.mark.parametrize("added", ["nothing", "bias", "both"])
def test_enlarge(video_fused, device, dtype, doubled, added) -> None:
    y = noise(device, 2, 12, 3, 2, 5, dtype=dtype)
    bias = None if added == "nothing" else noise(device, 12)
    skip = noise(device, *y.shape, dtype=dtype) if added == "both" else None
    ours = video_fused.enlarge(y, bias, skip, doubled)
    same(ours, video_eager.enlarge(y, bias, skip, doubled))
    assert ours.shape == (2, 6 if doubled else 12, 6 if doubled else 3, 4, 10)


def test_other_layouts_are_taken_too(video_fused, device) -> None:
    y, past = noise(device, 1, 6, 2, 3, 4, last=False), noise(device, 1, 6, 2, 3, 4, last=False)
    gamma = noise(device, 6)
    ours = video_fused.prepare(y, None, y, gamma, past, 2, True)
    for one, other in zip(ours, video_eager.prepare(y, None, y, gamma, past, 2, True), strict=True):
        same(one, other)
    same(video_fused.enlarge(y, None, y, True), video_eager.enlarge(y, None, y, True))


def test_chosen_by_device_or_name() -> None:
    assert video.resolve(torch.device("cpu")).name == "eager"
    with pytest.raises(UsageError, match="no kernels 'fast'"):
        video.resolve(torch.device("cpu"), "fast")
