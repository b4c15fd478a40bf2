"""A whole video decoder with the fused kernels, against the eager ones."""

import torch

from liveact_cli.runtime.kernels import video_eager
from liveact_cli.wan.frames import WanFrameDecoder
from liveact_cli.wan.keymaps import VaeSizes
from liveact_cli.wan.vae_decoder import WanDecoder

SMALL = VaeSizes(4, 4, 16, (1, 2, 4, 4), 1, (False, True, True))


def test_the_fused_decoder_end_to_end(fused, device) -> None:
    from liveact_cli.runtime.kernels import video_fused

    latent = torch.randn(16, 4, 2, 3, generator=torch.Generator().manual_seed(4)).to(device)
    videos = []
    for kernels in (video_eager, video_fused):
        torch.manual_seed(2)
        decoder = WanFrameDecoder(WanDecoder.random(SMALL, device, torch.float32, kernels))
        videos.append(torch.cat([decoder.video(part) for part in latent.split([2, 2], 1)], 1))
    assert videos[0].shape == (3, 13, 16, 24)
    assert videos[0].std() > 0.05
    assert (videos[1] - videos[0]).abs().max() < 1e-4
