"""What tests in several folders need."""

import os
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # Triton's interpreter stands in for a GPU. Read when Triton is imported, which other tests
    # than those of kernels do as well.
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def toy_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of liveact-mini's form: the real classes, tiny, with random weights."""
    from liveact_cli.mini.audio import AudioNet, AudioNetConfig
    from liveact_cli.mini.codec import LATENT_CHANNELS, MotionCodec
    from liveact_cli.mini.model import WEIGHTS_NAME
    from liveact_cli.mini.motion import NUM_GROUPS
    from liveact_cli.mini.vocabulary import CONTEXT_ROWS, VOCABULARY
    from liveact_cli.mini.weights import MiniSettings, MiniWeights, save_mini
    from liveact_cli.model.config import TransformerConfig
    from liveact_cli.model.schedule import StepSchedule
    from liveact_cli.model.transformer import LiveActTransformer

    config = TransformerConfig(
        dim=24,
        ffn_dim=32,
        heads=2,
        layers=2,
        in_dim=LATENT_CHANNELS,
        out_dim=LATENT_CHANNELS,
        patch=(1, 1, NUM_GROUPS),
        text_dim=len(VOCABULARY),
        text_len=CONTEXT_ROWS,
        freq_dim=16,
        audio_layers=1,
        audio_channels=8,
        audio_hidden=16,
        audio_dim=8,
        audio_tokens=2,
    )
    audio = AudioNetConfig(stem=8, width=8, dilations=(1, 2), channels=8)
    schedule = StepSchedule(sigmas=(1.0, 0.5), audio=(True, True))
    torch.manual_seed(0)
    net = LiveActTransformer(config)
    torch.nn.init.normal_(net.head.linear.weight, std=0.1)
    weights = MiniWeights(
        MiniSettings(config, dict(audio.as_metadata()), schedule),
        net.state_dict(),
        AudioNet(audio).state_dict(),
        MotionCodec.identity().state_dict(),
    )
    path = tmp_path_factory.mktemp("toy") / WEIGHTS_NAME
    save_mini(path, weights)
    return path
