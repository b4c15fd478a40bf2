"""The toy checkpoint and the golden files: the released code's numbers at small sizes."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from liveact_cli.wan.audio_rows import SpeechEncoder
from liveact_cli.wan.vae import WanVae
from liveact_cli.wan.wav2vec2 import Wav2Vec2

GOLDEN = Path(__file__).parents[1] / "golden"
CHECKPOINT = GOLDEN / "tiny-liveact"
AUDIO = GOLDEN / "tiny-wav2vec2"


class Golden(NamedTuple):
    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def prompts(self) -> list[str]:
        return json.loads(self.metadata["prompts"])


def read_golden(name: str) -> Golden:
    path = GOLDEN / f"golden_{name}.safetensors"
    with safe_open(path, "pt") as file:
        return Golden(load_file(path), dict(file.metadata()))


@pytest.fixture(scope="session")
def components() -> Golden:
    return read_golden("components")


@pytest.fixture(scope="session")
def pipeline() -> Golden:
    return read_golden("pipeline")


@pytest.fixture(scope="session")
def vae() -> WanVae:
    return WanVae(CHECKPOINT / "Wan2.1_VAE.pth", "cpu", torch.float32)


@pytest.fixture(scope="session")
def speech() -> Wav2Vec2:
    return Wav2Vec2(AUDIO, "cpu", torch.float32)


@pytest.fixture(scope="session")
def speech_encoder(speech: Wav2Vec2) -> SpeechEncoder:
    return SpeechEncoder(speech)


def relative(ours: Tensor, golden: Tensor) -> float:
    """Largest difference over the largest golden value, as everywhere in these tests."""
    return float((ours - golden).abs().max() / golden.abs().max())
